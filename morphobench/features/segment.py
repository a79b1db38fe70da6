"""Nuclei, cells and cytoplasm in CellProfiler's three steps, on centrosome and scikit-image.

The masks are those of CellProfiler 4.2.8.1 (IdentifyPrimaryObjects, IdentifySecondaryObjects by propagation,
IdentifyTertiaryObjects) with global minimum cross-entropy thresholds and intensity declumping; `docs/decisions.md`
names every setting. Stirling et al. 2021, doi:10.1186/s12859-021-04344-9; propagation: Jones et al. 2005,
doi:10.1007/11569541_54.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from centrosome.cpmorphology import binary_shrink, fill_labeled_holes_loop, is_local_maximum, strel_disk
from scipy import ndimage

from morphobench.features.flood import propagate, watershed

ENGINE = "morphobench-segment-3"
"""Changes whenever a mask or a column of `profile` may change: part of the key of every cached profile."""

THRESHOLD_SIGMA = 1.0
"""Blur before thresholding: CellProfiler's smoothing scale of 1.3488, a full width at half maximum."""
REGULARIZATION = 0.05
"""Weight of distance against intensity steps in the propagation."""
LOW_RESOLUTION_DIAMETER = 10
"""Maxima of larger nuclei are sought in an image scaled so that the smallest nucleus has this diameter."""
LOW_RESOLUTION_SUPPRESSION = 7
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Segmentation:
    """Three int32 label images (H, W); label k is the same cell in each, 0 is background."""

    nuclei: np.ndarray
    cells: np.ndarray
    cytoplasm: np.ndarray


class Nuclei(NamedTuple):
    """`final` is numbered 1..n; `unedited` is the watershed's result before objects are dropped by size."""

    final: np.ndarray
    unedited: np.ndarray


def segment(dna: np.ndarray, cell: np.ndarray, diameter: tuple[float, float]) -> Segmentation:
    """Segment one field.

    dna, cell: float32 (H, W) in 0..1, the nuclear and the cytoplasmic stain; diameter: smallest and largest nucleus in
    pixels. An empty or constant image gives empty masks or those that CellProfiler gives; see `profile.quality`.
    Raises ValueError if the shapes differ or the diameters are not 0 < min < max.
    """
    if dna.shape != cell.shape or dna.ndim != 2:
        raise ValueError(f"{dna.shape=} and {cell.shape=} are not one (H, W)")
    if not 0 < diameter[0] < diameter[1]:
        raise ValueError(f"{diameter=} is not 0 < smallest < largest")
    dna, cell = np.ascontiguousarray(dna, np.float32), np.ascontiguousarray(cell, np.float32)
    nuclei = identify_nuclei(dna, diameter)
    cells = identify_cells(cell, nuclei)
    return Segmentation(nuclei.final, cells, np.where(nuclei.final > 0, 0, cells))


def discard_border(segmentation: Segmentation) -> Segmentation:
    """The `Inner` set: without cells that own a pixel of the outer one-pixel ring, renumbered 1..n in the same order.

    Nuclei and cytoplasm follow their cell. CellProfiler keeps the same cells, but numbers them as a Python set of their
    labels happens to be ordered.
    """
    count = int(segmentation.cells.max(initial=0))
    keep = np.ones(count + 1, dtype=bool)
    keep[_edge_labels(segmentation.cells)] = False
    keep[0] = False
    keep &= np.bincount(segmentation.cells.ravel(), minlength=count + 1) > 0
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return Segmentation(number[segmentation.nuclei], number[segmentation.cells], number[segmentation.cytoplasm])


def identify_nuclei(dna: np.ndarray, diameter: tuple[float, float]) -> Nuclei:
    """IdentifyPrimaryObjects: threshold, declump by intensity, keep sizes in range; dna float32 (H, W)."""
    smallest, largest = diameter
    foreground = _foreground(dna, minimum_cross_entropy(dna))
    foreground = _fill_holes(foreground, largest * largest)
    components, _ = ndimage.label(foreground, EIGHT_CONNECTED)
    seeds, count = ndimage.label(_maxima(_declump_blur(dna, smallest), components, smallest), EIGHT_CONNECTED)
    unedited = watershed(1 - dna, seeds, foreground)
    area = np.bincount(unedited.ravel(), minlength=count + 1)
    keep = (area >= np.pi * smallest * smallest / 4) & (area <= np.pi * largest * largest / 4)
    keep[0] = False
    final = _fill_label_holes(np.where(keep[unedited], unedited, 0))
    present = np.bincount(final.ravel(), minlength=count + 1) > 0
    present[0] = False
    number = np.where(present, np.cumsum(present), 0).astype(np.int32)
    return Nuclei(number[final], unedited)


def identify_cells(cell: np.ndarray, nuclei: Nuclei) -> np.ndarray:
    """IdentifySecondaryObjects: grow the nuclei over the foreground of `cell`, float32 (H, W); int32 labels.

    A nucleus cut by the image edge and dropped for its size still claims its surroundings, so that they are not
    given to a neighbour; its region is dropped afterwards.
    """
    on_edge = np.zeros(int(nuclei.unedited.max(initial=0)) + 1, dtype=bool)
    on_edge[_edge_labels(nuclei.unedited)] = True
    seeds = np.where(on_edge[nuclei.unedited] | (nuclei.final > 0), nuclei.unedited, 0)
    if not seeds.any():
        return np.zeros_like(nuclei.final)
    regions = propagate(cell, seeds, _foreground(cell, log_minimum_cross_entropy(cell)), REGULARIZATION)
    regions = np.where(regions > 0, regions, _fill_label_holes(regions))
    number = np.zeros(int(regions.max()) + 1, dtype=np.int32)
    np.maximum.at(number, regions.ravel(), nuclei.final.ravel())
    number[0] = 0
    return number[regions]


def minimum_cross_entropy(image: np.ndarray) -> float:
    """Li's iterative minimum cross-entropy threshold of all pixels, started at their mean.

    image: float32, any shape. The iteration stops at steps below half the smallest gap between distinct values or
    0.5 / 65536, whichever is larger. A constant image gives its own value. Li & Tam 1998,
    doi:10.1016/S0167-8655(98)00057-9.
    """
    values = np.sort(image, axis=None)
    lowest, highest = values[0], values[-1]
    if lowest == highest:
        return float(lowest)
    gaps = np.diff(values)
    tolerance = max(float(gaps[gaps > 0].min()) / 2, 0.5 / 65536)
    values -= lowest
    below = np.cumsum(values, dtype=np.float64)  # below[k - 1]: sum of the k lowest values
    threshold, previous = below[-1] / values.size, -np.inf
    while abs(threshold - previous) > tolerance:
        previous = threshold
        split = int(np.searchsorted(values, np.float32(threshold), side="right"))
        background = below[split - 1] / split
        if background == 0:
            break
        foreground = (below[-1] - below[split - 1]) / (values.size - split)
        threshold = (background - foreground) / (np.log(background) - np.log(foreground))
    return float(threshold + lowest)


def log_minimum_cross_entropy(image: np.ndarray) -> float:
    """Minimum cross-entropy threshold found on a logarithmic scale of intensity; image float32, any shape.

    Pixels are raised to the minimum plus 1/256 of the range before the logarithm. A constant image gives its own
    value plus float32's epsilon.
    """
    lowest, highest = image.min(), image.max()
    floor = lowest + (highest - lowest) / np.float32(256) + np.finfo(np.float32).eps
    logarithm = np.log(np.maximum(image, floor))
    low, high = logarithm.min(), logarithm.max()
    if low == high:
        return float(np.exp(low))
    return float(np.exp(minimum_cross_entropy((logarithm - low) / (high - low)) * (high - low) + low))


def _foreground(image: np.ndarray, threshold: float) -> np.ndarray:
    """Pixels whose blurred value reaches the threshold, which is held within 0..1."""
    threshold = min(max(threshold, 0.0), 1.0)
    blurred = ndimage.gaussian_filter(image, THRESHOLD_SIGMA, mode="constant", cval=0)
    return blurred / _blurred_ones(image.shape) >= threshold


@lru_cache(maxsize=8)
def _blurred_ones(shape: tuple[int, int]) -> np.ndarray:
    """What the threshold's blur loses at the border; float64 (H, W)."""
    return ndimage.gaussian_filter(np.ones(shape), THRESHOLD_SIGMA, mode="constant", cval=0) + np.finfo(float).eps


def _fill_holes(foreground: np.ndarray, size: float) -> np.ndarray:
    """`foreground` (bool (H, W)), 4-connected holes of under `size` pixels filled, but not at the edge."""
    background, count = ndimage.label(~foreground)
    holes = np.bincount(background.ravel(), minlength=count + 1) < size
    holes[_edge_labels(background)] = False
    holes[0] = False
    return foreground | holes[background]


def _fill_label_holes(labels: np.ndarray) -> np.ndarray:
    """Label images (int32 (H, W)) with the holes of each object filled, objects within a hole included.

    The rule and the compiled walk over touching regions are centrosome's; only its list of neighbours is made in fewer
    passes here.
    """
    background, count = ndimage.label(labels == 0)
    objects = int(labels.max(initial=0))
    size = objects + count + 2
    regions = np.where(background > 0, background + (objects + 1), labels)
    pairs = []
    for one, other in ((regions[:-1], regions[1:]), (regions[:, :-1], regions[:, 1:])):
        differ = one != other
        first, second = one[differ].astype(np.int64), other[differ].astype(np.int64)
        pairs.append(np.minimum(first, second) * size + np.maximum(first, second))
    low, high = np.divmod(np.unique(np.concatenate(pairs)), size)
    region, neighbour = np.divmod(np.sort(np.concatenate([low * size + high, high * size + low])), size)
    degree = np.bincount(region, minlength=size)
    outer = _edge_labels(regions)
    reached, owner, to_do = np.zeros(size, np.uint8), np.zeros(size, np.uint32), np.zeros(size, np.uint32)
    reached[outer] = 1
    to_do[: outer.size] = outer
    ragged = (array.astype(np.uint32) for array in (region, neighbour, np.cumsum(degree) - degree, degree))
    fill_labeled_holes_loop(*ragged, reached, owner, to_do, objects, outer.size)
    label = np.where(np.arange(size) > objects, 0, np.arange(size))
    return np.where(reached, label, owner).astype(np.int32)[regions]


def _declump_blur(image: np.ndarray, smallest: float) -> np.ndarray:
    """Gaussian blur that joins the maxima within one nucleus; float32 (H, W)."""
    kernel = _declump_kernel(smallest)
    return (_convolve(image, kernel) / _convolved_ones(image.shape, smallest)).astype(np.float32)


def _declump_kernel(smallest: float) -> np.ndarray:
    sigma = smallest / 3.5
    radius = max(int(2.35 * sigma / 2), 1)
    return np.exp(-0.5 * np.arange(-radius, radius + 1) ** 2 / sigma**2) / (np.sqrt(2 * np.pi) * sigma)


@lru_cache(maxsize=8)
def _convolved_ones(shape: tuple[int, int], smallest: float) -> np.ndarray:
    return _convolve(np.ones(shape), _declump_kernel(smallest))


def _convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    rows = ndimage.convolve1d(image, kernel, axis=0, mode="constant")
    return ndimage.convolve1d(rows, kernel, axis=1, mode="constant")


def _maxima(blurred: np.ndarray, components: np.ndarray, smallest: float) -> np.ndarray:
    """Points (bool (H, W)), above 0, that are the brightest of their component within the suppression radius."""
    if smallest <= LOW_RESOLUTION_DIAMETER:
        footprint = strel_disk(max(1, smallest / 1.5 - 0.5))
        return binary_shrink(is_local_maximum(blurred, np.where(blurred > 0, components, 0), footprint))
    factor = LOW_RESOLUTION_DIAMETER / smallest
    height, width = blurred.shape
    grid = np.mgrid[0 : height * factor, 0 : width * factor] / factor
    small = ndimage.map_coordinates(blurred, grid)
    small_components = ndimage.map_coordinates(components, grid, order=0)
    footprint = strel_disk(LOW_RESOLUTION_SUPPRESSION - 0.5)
    maxima = is_local_maximum(small, np.where(small > 0, small_components, 0), footprint)
    return binary_shrink(_enlarge(maxima, (height, width)))


def _enlarge(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Spline interpolation of `points` (bool, small) to `shape`, where it exceeds one half.

    Both axes use the ratio of the rows, as CellProfiler does. The spline of isolated points exceeds one half only
    beside one, so that nothing else is computed.
    """
    ratio = shape[0] / points.shape[0]
    near = ndimage.binary_dilation(points, EIGHT_CONNECTED, iterations=2)
    rows = np.minimum((np.arange(shape[0]) / ratio).astype(int), points.shape[0] - 1)
    columns = np.minimum((np.arange(shape[1]) / ratio).astype(int), points.shape[1] - 1)
    where = near[np.ix_(rows, columns)]
    large = np.zeros(shape, dtype=bool)
    large[where] = ndimage.map_coordinates(points.astype(float), np.argwhere(where).T / ratio) > 0.5
    return large


def _edge_labels(labels: np.ndarray) -> np.ndarray:
    """Labels, 0 perhaps included, with a pixel on the outer one-pixel ring."""
    return np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
