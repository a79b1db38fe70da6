"""The profile of every image in CellProfiler's names: AreaOccupied, counts, quality, and what its objects look like.

The areas are fractions of the image, so that images of any size compare; CellProfiler's own unit is pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from rich.console import Console
from rich.progress import track

from morphobench.datasets.tier import ImageSet
from morphobench.features.cache import measured
from morphobench.features.engine import BUILTIN, Engine
from morphobench.features.objects import OBJECT_COLUMNS, OBJECTS, object_statistics
from morphobench.features.segment import ENGINE, discard_border, segment
from morphobench.features.shipped import write_arrays

Profiles = dict[str, np.ndarray]
"""PROFILE_COLUMNS -> float64 (N,)."""

OBJECT_SETS = ("Cells", "Cytoplasm", "Nuclei", "CellsInner", "CytoplasmInner", "NucleiInner")
"""With edge objects, and (`Inner`) without the cells that touch the image edge."""
AREA_COLUMNS = tuple(f"AreaOccupied_AreaOccupied_{name}" for name in OBJECT_SETS)
COUNT_COLUMNS = tuple(f"Count_{name}" for name in OBJECT_SETS)
QUALITY_COLUMNS = (
    "ImageQuality_Correlation_DNA",
    "ImageQuality_Correlation_Tubulin",
    "ImageQuality_PercentSaturated_DNA",
    "ImageQuality_PercentSaturated_Tubulin",
    "ImageQuality_FlagEmpty",
    "ImageQuality_FlagNoise",
    "ImageQuality_FlagSaturated",
)
PROFILE_COLUMNS = AREA_COLUMNS + COUNT_COLUMNS + QUALITY_COLUMNS + OBJECT_COLUMNS
"""The keys of `measure`, in order."""

NOISE_CORRELATION = 0.5
"""White noise of the same variance as a smooth signal gives one half; real fields 0.94 to 0.99, pure noise 0.00."""
SATURATED_PERCENT = 5.0
"""Nuclei cover 5 to 15% of a field: beyond this a third of them, or more, has lost its texture."""
BATCH = 16


class AreaOccupied(NamedTuple):
    """Pixels: labelled, on the outlines (shared borders count for both objects), in all."""

    area: int
    perimeter: int
    total: int


def area_occupied(labels: np.ndarray, mask: np.ndarray | None = None) -> AreaOccupied:
    """CellProfiler's MeasureImageAreaOccupied of a label image.

    labels: integer (H, W), 0 is background; mask: bool (H, W), the pixels to look at, all if None. The perimeter is the
    sum of each object's 4-neighbour perimeter, rounded to a whole pixel per object (Benkrid, Crookes & Benkrid 2000:
    outline pixels weigh 1, sqrt(2) or (1 + sqrt(2)) / 2 by how the outline passes through them).
    """
    if mask is not None:
        labels = np.where(mask, labels, 0)
    total = labels.size if mask is None else int(np.count_nonzero(mask))
    return AreaOccupied(int(np.count_nonzero(labels)), int(_perimeters(labels).sum()), total)


def measure(image: np.ndarray, diameter: tuple[float, float]) -> dict[str, float]:
    """The profile of one image: PROFILE_COLUMNS -> value.

    image: uint8 (H, W, 3), red actin, green tubulin, blue DNA; diameter: smallest and largest nucleus in pixels.
    Areas are fractions of the image; a count is the highest label, as in CellProfiler; flags are 0 or 1 (`quality`).
    What objects look like is NaN where there are none (`object_statistics`). Raises ValueError for another type or
    shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{image.dtype=}, {image.shape=}: not uint8 (H, W, 3)")
    channels = (image / 255).astype(np.float32)
    tubulin, dna = channels[..., 1], channels[..., 2]
    segmentation = segment(dna, tubulin, diameter)
    inner = discard_border(segmentation)
    sets = (segmentation.cells, segmentation.cytoplasm, segmentation.nuclei, inner.cells, inner.cytoplasm, inner.nuclei)
    areas = [float(np.count_nonzero(labels) / labels.size) for labels in sets]
    counts = [float(labels.max()) for labels in sets]
    flags = quality(dna, tubulin, not segmentation.nuclei.any())
    masks = dict(zip(OBJECTS, sets[:3], strict=True))
    measured = dict(zip(AREA_COLUMNS + COUNT_COLUMNS, areas + counts, strict=True))
    return measured | flags | object_statistics(masks, channels)


def quality(dna: np.ndarray, tubulin: np.ndarray, empty: bool) -> dict[str, float]:
    """Whether the masks of an image can be believed: QUALITY_COLUMNS -> value.

    dna, tubulin: float32 (H, W) in 0..1; empty: no nucleus was found. CellProfiler finds dozens of nuclei in camera
    noise and frames in a saturated image, and does not say so.

    - Correlation: Pearson correlation of neighbouring pixels (mean over rows and columns), that is the share of the
      variance that is not pixel noise; NaN for a constant channel.
    - PercentSaturated: percent of pixels at 1.
    - FlagEmpty: no nucleus. FlagNoise: a correlation below NOISE_CORRELATION. FlagSaturated: either percent above
      SATURATED_PERCENT.
    """
    correlation = [neighbour_correlation(channel) for channel in (dna, tubulin)]
    saturated = [100 * float(np.mean(channel >= 1)) for channel in (dna, tubulin)]
    flags = [
        empty,
        any(value < NOISE_CORRELATION for value in correlation),
        max(saturated) > SATURATED_PERCENT,
    ]
    return dict(zip(QUALITY_COLUMNS, [*correlation, *saturated, *map(float, flags)], strict=True))


def neighbour_correlation(channel: np.ndarray) -> float:
    """Correlation of pixels one apart, mean of both axes: 0 for white noise, near 1 for an image in focus or blurred.

    channel: float (H, W). NaN if it is constant.
    """
    if channel.min() == channel.max():
        return float("nan")
    centred = channel - channel.mean(dtype=np.float64)
    variance = np.mean(centred**2)
    return float((np.mean(centred[1:] * centred[:-1]) + np.mean(centred[:, 1:] * centred[:, :-1])) / (2 * variance))


def measure_images(
    images: ImageSet,
    diameter: tuple[float, float],
    cache: Path,
    workers: int | None = None,
    shipped: Path | None = None,
    label: str = "",
    engine: Engine | None = None,
) -> Profiles:
    """The profiles of many images: PROFILE_COLUMNS -> float64 (N,), in the order of the images.

    diameter: as for `measure`. cache: folder of cache files, keyed by the images' content, diameters and engine.
    workers: processes, one per available core if None. shipped: a file of `write_shipped`, used if it was made
    from these images with these diameters by this engine. label: what the progress bar on stderr calls the images.
    engine: of `load_engine`, the built-in one if None. Raises BadInput for a damaged `shipped` file, and what the
    engine raises.
    """
    engine = engine or BUILTIN_ENGINE
    origin = _origin(images.digest(), diameter, engine.version)

    def compute() -> Profiles:
        rows = engine.rows(images, diameter, workers or joblib.cpu_count(), cache)
        return _measure_all(rows, len(images), label or "images")

    profiles = measured(origin, " ".join(origin.values()), cache, shipped, compute)
    return {name: profiles[name] for name in PROFILE_COLUMNS}


def write_shipped(path: Path, profiles: Profiles, images_digest: str, diameter: tuple[float, float]) -> None:
    """Write profiles for shipping with a tier, with what they were computed from."""
    write_arrays(path, profiles, _origin(images_digest, diameter, ENGINE))


def _origin(images_digest: str, diameter: tuple[float, float], engine: str) -> dict[str, str]:
    return {"engine": engine, "diameter": f"{diameter[0]:g}-{diameter[1]:g}", "images": images_digest}


def _measure_all(rows: Iterator[list[float]], count: int, label: str) -> Profiles:
    console = Console(stderr=True)
    shown = track(rows, f"segmenting: {label}", total=count, console=console, transient=True)
    table = np.array(list(shown), dtype=np.float64).reshape(-1, len(PROFILE_COLUMNS))
    if len(table) != count:
        raise ValueError(f"the image set gave {len(table)} images, not {count}")
    return dict(zip(PROFILE_COLUMNS, table.T.copy(), strict=True))


def _rows(images: ImageSet, diameter: tuple[float, float], workers: int, cache: Path) -> Iterator[list[float]]:
    """Profiles in order, from fresh processes (never forks, which would carry a caller's threads along)."""
    workers = min(workers, max(1, -(-len(images) // BATCH)))
    tasks = (joblib.delayed(_measure_batch)(batch, diameter) for batch in images.batches(BATCH))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator", max_nbytes=None)
    try:
        for rows in parallel(tasks):
            yield from rows
    finally:
        if workers > 1:
            # Idle workers would otherwise keep their memory for minutes.
            get_reusable_executor().shutdown(wait=True)


def _measure_batch(batch: np.ndarray, diameter: tuple[float, float]) -> list[list[float]]:
    return [list(measure(image, diameter).values()) for image in batch]


BUILTIN_ENGINE = Engine(BUILTIN, ENGINE, _rows)


# Length of an outline pixel by its outline neighbours of the same object, [corners, sides]; 0 where not listed.
_OUTLINE_LENGTH = np.zeros((5, 5))
_OUTLINE_LENGTH[[0, 0, 1, 1, 2, 2], [2, 3, 2, 3, 2, 3]] = 1
_OUTLINE_LENGTH[[2, 3], [0, 1]] = np.sqrt(2)
_OUTLINE_LENGTH[[1, 2], [1, 1]] = (1 + np.sqrt(2)) / 2


def _perimeters(labels: np.ndarray) -> np.ndarray:
    """Rounded perimeter of every label, int64 (max label + 1,), entry 0 zero; all objects in one pass."""
    framed = np.pad(labels, 1)
    centre = framed[1:-1, 1:-1]
    inside = (framed[:-2, 1:-1] == centre) & (framed[2:, 1:-1] == centre)
    inside &= (framed[1:-1, :-2] == centre) & (framed[1:-1, 2:] == centre)
    centre[inside] = 0  # what is left are the outlines
    outline, stride = framed.ravel(), framed.shape[1]
    pixels = np.flatnonzero(outline)
    label = outline[pixels]
    sides, corners = (
        np.sum([outline[pixels + step] == label for step in steps], axis=0)
        for steps in ((-stride, -1, 1, stride), (-stride - 1, -stride + 1, stride - 1, stride + 1))
    )
    length = _OUTLINE_LENGTH[corners, sides]
    return np.rint(np.bincount(label, weights=length, minlength=1)).astype(np.int64)
