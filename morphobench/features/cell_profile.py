"""The full profile of an image: what cp-measure says of every cell, as mean, median and standard deviation over them.

Columns bear the names that CellProfiler's own export gives its averages: `Mean_Cells_AreaShape_Area`,
`StDev_Nuclei_Texture_Contrast_DNA_3_00_256`. The cells are those of `segment`; the measurements are cp-measure's
(CellProfiler's modules as functions), but for `colocalisation`, `granularity` and `radial`. docs/precision.md compares
each with CellProfiler's own.

Where a cell lies in the field says nothing of the cell: positions, bounding boxes and object numbers are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from cp_measure.bulk import get_core_measurements
from cp_measure.core.numba.measureobjectintensity import get_intensity
from cp_measure.core.numba.measuretexture import get_texture
from cp_measure.multimask.measureobjectneighbors import M_ALL, get_measurement_name, measureobjectneighbors
from rich.console import Console
from rich.progress import track

from morphobench.datasets.tier import ImageSet
from morphobench.features.cache import cached_array
from morphobench.features.colocalisation import GREY_LEVELS, Thresholds, colocalisation, costes_thresholds
from morphobench.features.granularity import Spectrum, granular_spectrum, granularity
from morphobench.features.objects import OBJECTS
from morphobench.features.radial import draw_rings, radial_distribution
from morphobench.features.segment import ENGINE, segment
from morphobench.storage import sha256_text

VERSION = "morphobench-cell-profile-2"
"""Changes whenever a value may change: part of the key of every cached table."""
CHANNELS = ("Actin", "Tubulin", "DNA")
"""Red, green, blue."""
STATISTICS: dict[str, Callable[..., Any]] = {"Mean": np.nanmean, "Median": np.nanmedian, "StDev": np.nanstd}
"""Over the cells of an image that have a value. As CellProfiler's, the deviation is that of the population."""
PLACES = ("Location_", "AreaShape_Center_", "AreaShape_BoundingBoxM", "AreaShape_SpatialMoment_")
NOT_CELLPROFILERS = ("FilledArea", "PerimeterCrofton")
"""cp-measure has them; CellProfiler has no column of these names."""
ADJACENT = "Adjacent"
BATCH = 8

Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class Field:
    """The channels of one image, float32 (C, H, W) in 0..1, one per name, and what they give all sets of objects."""

    channels: np.ndarray
    names: tuple[str, ...]
    thresholds: Thresholds
    spectra: list[Spectrum]


def prepare(channels: np.ndarray, names: tuple[str, ...] = CHANNELS, steps: int = GREY_LEVELS) -> Field:
    """Costes' thresholds and the granular spectra of an image; steps: what its grey levels were divided by."""
    return Field(channels, names, costes_thresholds(channels, steps), [granular_spectrum(one) for one in channels])


def measure_objects(labels: np.ndarray, field: Field) -> Table:
    """Every measurement of every object: column without its compartment -> (n,).

    labels: int32 (H, W), objects that are present in ascending order. Quartiles follow CellProfiler's convention, not
    numpy's. Empty for no object.
    """
    if not labels.any():
        return {}
    labels = _contiguous(labels)
    core, rings = get_core_measurements(sanitize=False), draw_rings(labels)
    table: Table = {}
    for family in ("sizeshape", "zernike", "feret"):
        for key, value in core[family](labels, None).items():
            if key not in NOT_CELLPROFILERS:
                table[f"AreaShape_{key}"] = value
    for name, pixels, spectrum in zip(field.names, field.channels, field.spectra, strict=True):
        for key, value in get_intensity(labels, pixels, legacy=True).items():
            table[f"{key}_{name}"] = value
        for key, value in granularity(labels, spectrum).items():
            table[f"{key}_{name}"] = value
        for key, value in radial_distribution(pixels, rings).items():
            feature, ring = key.split("_")
            table[f"RadialDistribution_{feature}_{name}_{ring}"] = value
        for key, value in get_texture(labels, pixels).items():
            feature, rest = key.split("_", 1)
            table[f"Texture_{feature}_{name}_{rest}"] = value
    table |= colocalisation(labels, field.channels, field.names, field.thresholds)
    return {key: np.asarray(value, dtype=float) for key, value in table.items()}


def measure_neighbours(labels: np.ndarray) -> Table:
    """MeasureObjectNeighbors of touching objects: column without its compartment -> (n,). Empty for no object.

    What needs another object is 0 where there is none, as in CellProfiler 4.2.8.1: distances and the angle too.
    """
    if not labels.any():
        return {}
    labels = _contiguous(labels)
    if labels.max() == 1:  # cp-measure fails with an object alone
        neighbours = {get_measurement_name(feature, ADJACENT): np.zeros(1) for feature in M_ALL}
    else:
        neighbours = measureobjectneighbors(labels, labels, distance_method=ADJACENT)
    return {key: np.asarray(value, dtype=float) for key, value in neighbours.items() if "ObjectNumber" not in key}


def cell_profile(image: np.ndarray, diameter: tuple[float, float]) -> dict[str, float]:
    """The full profile of one image: column -> value, NaN where no cell has one.

    image: uint8 (H, W, 3), red actin, green tubulin, blue DNA; diameter: smallest and largest nucleus in pixels. An
    image without a cell has no columns. Raises ValueError for another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{image.dtype=}, {image.shape=}: not uint8 (H, W, 3)")
    channels = np.ascontiguousarray((image / 255).astype(np.float32).transpose(2, 0, 1))
    masks = segment(channels[2], channels[1], diameter)
    field = prepare(channels)
    row: dict[str, float] = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of objects of one pixel or one grey level, whose value is NaN
        for compartment in OBJECTS:
            labels = getattr(masks, compartment.lower())
            table = measure_objects(labels, field)
            if compartment != "Cytoplasm":
                table |= measure_neighbours(labels)
            columns = [column for column in table if not column.startswith(PLACES)]
            if not columns:
                continue
            values = np.stack([table[column] for column in columns])  # (columns, n)
            values[~np.isfinite(values)] = np.nan
            averages = np.stack([statistic(values, axis=1) for statistic in STATISTICS.values()], axis=1)
            for column, average in zip(columns, averages.tolist(), strict=True):
                row |= {
                    f"{name}_{compartment}_{column}": value for name, value in zip(STATISTICS, average, strict=True)
                }
    return row


def measure_cell_profiles(
    images: ImageSet, diameter: tuple[float, float], cache: Path, workers: int | None = None, label: str = ""
) -> Table:
    """Full profiles of many images: column -> float64 (N,), NaN for an image without it; cached by content.

    diameter: as for `cell_profile`. cache: folder of cache files. workers: processes, one per available core if None.
    label: what the progress bar on stderr calls the images. Columns stand in a fixed order.
    """
    key = sha256_text(VERSION, ENGINE, f"{diameter}", images.digest())
    return cached_array(key, cache, lambda: _measure_all(images, diameter, workers or joblib.cpu_count(), label))


def _measure_all(images: ImageSet, diameter: tuple[float, float], workers: int, label: str) -> Table:
    tasks = (joblib.delayed(_measure_batch)(batch, diameter) for batch in images.batches(BATCH))
    workers = min(workers, max(1, -(-len(images) // BATCH)))
    batches: Iterator[list[dict[str, float]]] = joblib.Parallel(n_jobs=workers, return_as="generator")(tasks)
    count = -(-len(images) // BATCH)
    shown = track(batches, f"measuring cells: {label}", total=count, console=Console(stderr=True), transient=True)
    rows = [row for batch in shown for row in batch]
    # The longest row first: it holds every column in the order in which they are measured.
    columns = dict.fromkeys(column for row in sorted(rows, key=len, reverse=True) for column in row)
    return {column: np.array([row.get(column, np.nan) for row in rows], dtype=np.float64) for column in columns}


def _measure_batch(batch: np.ndarray, diameter: tuple[float, float]) -> list[dict[str, float]]:
    return [cell_profile(image, diameter) for image in batch]


def _contiguous(labels: np.ndarray) -> np.ndarray:
    """Numbers 1..n in the same order: a cytoplasm may have none, and cp-measure's functions index by label."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    return np.where(present, np.cumsum(present), 0)[labels].astype(np.int32)
