"""CellProfiler's MeasureObjectIntensityDistribution within objects, with its default settings: four rings, scaled.

The values are cp-measure's, bit for bit; there the rings are drawn again for every channel, which took most of the time
of a profile. Rings go by the distance from the pixel that lies deepest in the object, along paths inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from centrosome.cpmorphology import color_labels, distance_to_edge
from centrosome.propagate import propagate

RINGS = 4
WEDGES = 8


@dataclass(frozen=True)
class Rings:
    """`inside` (H, W): pixels that a path joins to their object's centre; then object, ring and wedge of each."""

    inside: np.ndarray
    objects: np.ndarray
    ring: np.ndarray
    wedge: np.ndarray
    count: int


def draw_rings(labels: np.ndarray) -> Rings:
    """Rings and wedges of every object; labels: int (H, W) numbered 1..n.

    Of several pixels that lie deepest the first in reading order is the centre.
    """
    count = int(labels.max())
    depth = distance_to_edge(labels)
    rows, columns = _centres(labels, depth, count)
    seeds = np.zeros(labels.shape, int)
    seeds[rows, columns] = np.arange(1, count + 1)
    reached, distance = np.zeros(labels.shape, int), np.zeros(labels.shape)
    colours = color_labels(labels)  # touching objects have different ones, so that no path leaves its object
    for colour in range(1, int(colours.max()) + 1):
        here = colours == colour
        seed, far = propagate(np.zeros(labels.shape), seeds, here, 1)
        reached[here], distance[here] = seed[here], far[here]
    inside = reached > 0
    objects = labels[inside] - 1
    far = distance[inside]
    ring = (far / (far + depth[inside] + 0.001) * RINGS).astype(int)
    i, j = np.nonzero(inside)
    down, right = i - rows[objects], j - columns[objects]
    wedge = (down > 0) + 2 * (right > 0) + 4 * (np.abs(down) > np.abs(right))
    return Rings(inside, objects, ring, wedge, count)


def radial_distribution(pixels: np.ndarray, rings: Rings) -> dict[str, np.ndarray]:
    """FracAtD, MeanFrac and RadialCV of the rings of every object: feature_RING -> (n,).

    pixels: float32 (H, W). Fraction of the intensity in a ring; that over the ring's share of the pixels; coefficient
    of variation of the means of its eight wedges, 0 for a ring without a pixel. NaN fractions for a black object.
    """
    values = pixels[rings.inside]
    shape = rings.count, RINGS, WEDGES
    index = rings.objects * RINGS + rings.ring
    # In single precision and in reading order, as CellProfiler's sparse matrices add them up.
    total = _sums(values, index, shape[:2])
    area = _sums(np.ones(len(values)), index, shape[:2])
    wedge_area = _sums(np.ones(len(values)), index * WEDGES + rings.wedge, shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = total / total.sum(1, keepdims=True)
        mean_fraction = fraction / (area / area.sum(1, keepdims=True) + np.finfo(float).eps)
        wedges = np.ma.MaskedArray(_sums(values, index * WEDGES + rings.wedge, shape) / wedge_area, wedge_area == 0)
    variation = (wedges.std(2) / wedges.mean(2)).filled(0)
    table = {}
    for ring in range(RINGS):
        for feature, column in (("FracAtD", fraction), ("MeanFrac", mean_fraction), ("RadialCV", variation)):
            table[f"{feature}_{ring + 1}of{RINGS}"] = column[:, ring]
    return table


def _centres(labels: np.ndarray, depth: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column, (n,) each, of the first pixel of every object that lies deepest."""
    deepest = np.zeros(count + 1)
    np.maximum.at(deepest, labels.ravel(), depth.ravel())
    rows, columns = np.nonzero((labels > 0) & (depth == deepest[labels]))
    first = np.unique(labels[rows, columns], return_index=True)[1]
    return rows[first], columns[first]


def _sums(values: np.ndarray, index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    sums = np.zeros(np.prod(shape), values.dtype)
    np.add.at(sums, index, values)
    return sums.reshape(shape)
