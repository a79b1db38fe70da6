"""Thumbnails: block means of an image, by which copies are told from look-alikes whichever way up they lie.

The eight views (rotations by 90 degrees and mirror images) of an image have the eight views of its thumbnail, so a
turned copy is found from thumbnails alone. Unlike a hash, a thumbnail hardly changes where rendering or decoding
differs by a grey level.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from morphobench.datasets.tier import ImageSet
from morphobench.errors import BadInput
from morphobench.features.cache import cached_array
from morphobench.storage import atomic_path

VERSION = "thumbnail-8-1"
SIDE = 8
"""Blocks along each edge."""
BATCH = 32


def thumbnail(images: np.ndarray) -> np.ndarray:
    """Rounded means over SIDE x SIDE blocks of uint8 (N, S, S, 3), uint8 (N, SIDE, SIDE, 3).

    Pixels that fill no block are cut off at the edges, as many on either side where their number is even.
    Raises ValueError for fewer than SIDE pixels along an edge.
    """
    block = images.shape[1] // SIDE
    if block == 0:
        raise ValueError(f"{images.shape=}: at least {SIDE} pixels along each edge are needed")
    cut = (images.shape[1] - block * SIDE) // 2
    middle = images[:, cut : cut + block * SIDE, cut : cut + block * SIDE]
    means = middle.reshape(len(images), SIDE, block, SIDE, block, 3).mean(axis=(2, 4), dtype=np.float32)
    return np.rint(means).astype(np.uint8)


def thumbnails(images: ImageSet, cache: Path, shipped: Path | None = None) -> np.ndarray:
    """`thumbnail` of every image, in order: shipped ones where they are of these images, else cached or made now.

    Raises BadInput for a damaged `shipped` file.
    """
    origin = _origin(images.digest())
    known = None if shipped is None else _load_shipped(shipped, origin)
    if known is not None:
        return known

    def compute() -> dict[str, np.ndarray]:
        return {"thumbnail": np.concatenate([thumbnail(batch) for batch in images.batches(BATCH)])}

    return cached_array(" ".join(origin.values()), cache, compute)["thumbnail"]


def write_shipped(path: Path, values: np.ndarray, images_digest: str) -> None:
    """Write thumbnails for shipping with a tier, as .safetensors, with what they were made from."""
    with atomic_path(path) as temporary:
        save_file({"thumbnail": values}, temporary, _origin(images_digest))


def _load_shipped(path: Path, origin: dict[str, str]) -> np.ndarray | None:
    try:
        with safe_open(path, framework="numpy") as stream:
            return np.asarray(stream.get_tensor("thumbnail")) if stream.metadata() == origin else None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path}: no readable thumbnails ({error}); install the package again") from error


def _origin(images_digest: str) -> dict[str, str]:
    return {"format": VERSION, "images": images_digest}
