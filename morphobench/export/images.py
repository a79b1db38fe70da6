"""Images as PNG files or as one zarr array, each with a Parquet index of one row per image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from morphobench import storage
from morphobench.datasets.tier import Tier
from morphobench.export.metadata import metadata
from morphobench.ingest.images import encode_png

INDEX = "index.parquet"
ARRAY = "images.zarr"
CHUNK_BYTES = 1 << 20
"""Pixels of a zarr chunk at most, unless one image is larger: whoever wants one image reads a few, not hundreds."""
BATCH_BYTES = 4 << 20
COLOURS = ("FF0000", "00FF00", "0000FF")


def write_png(tier: Tier, rows: pd.DataFrame, folder: Path) -> None:
    """Write images/PLATE/SAMPLE.png, 8-bit RGB, and index.parquet: file, sha256 of the file, `metadata`."""
    files = [f"images/{quote(row.plate, safe='')}/{quote(row.sample_id, safe='')}.png" for row in rows.itertuples()]

    def write(position: int, image: np.ndarray) -> str:
        path = folder / files[position]
        path.parent.mkdir(parents=True, exist_ok=True)
        data = encode_png(image)
        path.write_bytes(data)
        return storage.sha256_bytes(data)

    sums = _for_each(tier, rows, _per_batch(tier, 1), lambda start, batch: map(write, _count(start), batch))
    _write_index(folder, metadata(tier, rows), file=files, sha256=sums)


def write_zarr(tier: Tier, rows: pd.DataFrame, folder: Path) -> None:
    """Write images.zarr, a zarr v3 array, uint8 (N, H, W, 3), and index.parquet.

    The index has file, row (of the array), sha256 (of the image's H * W * 3 bytes in C order) and `metadata`. The
    array's attributes hold axes with units, the pixel size in um, the channels in OME's `omero` form, and the tier.
    """
    import zarr

    side = tier.spec.image_size
    per_chunk = max(1, min(len(rows), CHUNK_BYTES // (side * side * 3)))
    array = zarr.create_array(
        store=folder / ARRAY, shape=(len(rows), side, side, 3), chunks=(per_chunk, side, side, 3), dtype="uint8",
        dimension_names=("sample", "y", "x", "channel"), attributes=_attributes(tier), zarr_format=3,
    )  # fmt: skip

    def write(start: int, batch: np.ndarray) -> Iterator[str]:
        array[start : start + len(batch)] = batch
        return (storage.sha256_bytes(np.ascontiguousarray(image).tobytes()) for image in batch)

    sums = _for_each(tier, rows, _per_batch(tier, per_chunk), write)
    _write_index(folder, metadata(tier, rows), file=[ARRAY] * len(rows), row=range(len(rows)), sha256=sums)


def _attributes(tier: Tier) -> dict[str, Any]:
    spec = tier.spec
    space = {"type": "space", "unit": "micrometer"}
    channels = zip(spec.channels, COLOURS, strict=True)
    return {
        "axes": [{"name": "sample"}, {"name": "y"} | space, {"name": "x"} | space, {"name": "c", "type": "channel"}],
        "um_per_pixel": spec.um_per_pixel,
        "omero": {
            "channels": [
                {"label": name, "color": colour, "window": {"start": 0, "end": 255, "min": 0, "max": 255}}
                for name, colour in channels
            ]
        },
        "tier": spec.name,
        "tier_version": spec.version,
        "split_sha256": tier.split_sha256,
        "simulated": spec.simulated,
        "licence": spec.licence,
    }


def _per_batch(tier: Tier, multiple: int) -> int:
    """Images that are held at once: a multiple of a chunk's, so that no chunk is written twice."""
    return multiple * max(1, BATCH_BYTES // (tier.spec.image_size**2 * 3 * multiple))


def _for_each(
    tier: Tier, rows: pd.DataFrame, batch_size: int, write: Callable[[int, np.ndarray], Iterator[str]]
) -> list[str]:
    """Hand every batch with its first row number to `write`; the hashes it gives, one per image."""
    sums: list[str] = []
    batches = tier.images(rows).batches(batch_size)
    total = -(-len(rows) // batch_size)
    for batch in track(batches, "writing images", total=total, console=Console(stderr=True), transient=True):
        sums.extend(write(len(sums), batch))
    return sums


def _count(start: int) -> Iterator[int]:
    while True:
        yield start
        start += 1


def _write_index(folder: Path, metadata: pd.DataFrame, **columns: object) -> None:
    pd.concat([pd.DataFrame(columns), metadata], axis=1).to_parquet(folder / INDEX, index=False)
