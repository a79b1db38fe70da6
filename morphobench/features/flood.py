"""The two priority floods of the segmentation, compiled: watershed and propagation.

Both visit pixels in an order that is total, ties included, so that the labels are those of the libraries they replace,
pixel for pixel: scikit-image's watershed until 0.18 and centrosome's propagation (tests/test_flood.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np


def _compiled(function: Callable) -> Callable:
    """Compile at the first call and keep the machine code on disk, which a later process loads in a fraction of it."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no folder may be written: every process compiles for itself
        return numba.njit(function)


def watershed(level: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Flood `level` from `seeds` inside `mask`, 8-connected, by the pixels' own level, first come first served.

    level: float32 (H, W), >= 0; seeds: int32 (H, W), 0 where none, those outside the mask are ignored; mask: bool
    (H, W). Returns int32 labels (H, W), 0 where no seed reaches. scikit-image's watershed was the same until 0.18;
    since then its flood level never falls, which gives small basins between two seeds to the other one.
    """
    # A frame of taken pixels (-1) leaves one test per neighbour.
    labels = np.full((level.shape[0] + 2, level.shape[1] + 2), -1, dtype=np.int32)
    labels[1:-1, 1:-1] = np.where(mask, seeds, -1)
    # Non-negative float32 sort as their bits do; with the age in the low bits the order is one integer.
    heap = np.empty((2, int(np.count_nonzero(mask))), dtype=np.int64)
    _watershed(np.pad(level, 1).view(np.int32).ravel(), labels.ravel(), heap[0], heap[1], labels.shape[1])
    return np.maximum(labels[1:-1, 1:-1], 0)


def propagate(image: np.ndarray, seeds: np.ndarray, mask: np.ndarray, regularization: float) -> np.ndarray:
    """Every pixel of `mask` takes the label of the nearest seed, 8-connected; int32 (H, W), 0 where no seed reaches.

    image: float32 (H, W); seeds: int32 (H, W), 0 where none, kept outside the mask too but growing only from inside;
    mask: bool (H, W). A step costs sqrt(D^2 + s r^2): D the sum of the absolute differences of the two pixels' 3 x 3
    neighbourhoods (the border repeated), s 1 along an axis and 2 diagonally, r the regularization, > 0. Jones et al.
    2005, doi:10.1007/11569541_54.
    """
    shape = (image.shape[0] + 2, image.shape[1] + 2)
    labels, distance = np.zeros(shape, dtype=np.int32), np.zeros(shape)
    labels[1:-1, 1:-1] = seeds
    distance[1:-1, 1:-1] = np.where(mask & (seeds == 0), np.inf, 0)
    start = np.flatnonzero(np.pad(mask & (seeds != 0), 1))
    # Each pair of neighbours is compared at most once, so that this is room enough; most of it stays untouched.
    keys, ties = np.zeros((2, start.size + 4 * int(np.count_nonzero(mask))), dtype=np.int64)
    ties[: start.size] = labels.ravel()[start].astype(np.int64) << 32 | start
    labels[1:-1, 1:-1][mask] = 0
    framed = np.pad(image, 1, mode="edge").ravel()
    _propagate(framed, labels.ravel(), distance.ravel(), keys, ties, start.size, shape[1], regularization)
    return labels[1:-1, 1:-1].copy()


@_compiled
def _push(keys: np.ndarray, ties: np.ndarray, size: int, key: int, tie: int) -> None:
    """Add to a binary heap of `size` pairs, ordered by key, then tie."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if keys[parent] < key or (keys[parent] == key and ties[parent] <= tie):
            break
        keys[place], ties[place] = keys[parent], ties[parent]
        place = parent
    keys[place], ties[place] = key, tie


@_compiled
def _drop_first(keys: np.ndarray, ties: np.ndarray, size: int) -> None:
    """Remove the smallest pair of a heap, which then has `size` pairs: the last one sinks from the top."""
    key, tie = keys[size], ties[size]
    place, child = 0, 1
    while child < size:
        right = child + 1
        if right < size and (keys[right] < keys[child] or (keys[right] == keys[child] and ties[right] < ties[child])):
            child = right
        if key < keys[child] or (key == keys[child] and tie <= ties[child]):
            break
        keys[place], ties[place] = keys[child], ties[child]
        place, child = child, 2 * child + 1
    keys[place], ties[place] = key, tie


@_compiled
def _push_by_key(keys: np.ndarray, pixels: np.ndarray, size: int, key: int, pixel: int) -> None:
    """As `_push`, by key alone: which of equal keys comes first is left to the shape of the heap."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if keys[parent] <= key:
            break
        keys[place], pixels[place] = keys[parent], pixels[parent]
        place = parent
    keys[place], pixels[place] = key, pixel


@_compiled
def _drop_first_by_key(keys: np.ndarray, pixels: np.ndarray, size: int) -> None:
    """As `_drop_first`, by key alone."""
    key, pixel = keys[size], pixels[size]
    place, child = 0, 1
    while child < size:
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if key <= keys[child]:
            break
        keys[place], pixels[place] = keys[child], pixels[child]
        place, child = child, 2 * child + 1
    keys[place], pixels[place] = key, pixel


@_compiled
def _watershed(bits: np.ndarray, labels: np.ndarray, keys: np.ndarray, pixels: np.ndarray, stride: int) -> None:
    """All seeds have age 0: those of one level come in the order that the heap happens to give, as in scikit-image.

    Nuclei of 8-bit images often have two seeds of one level, and the border between them hangs on it.
    """
    offsets = (-stride, -1, 1, stride, -stride - 1, -stride + 1, stride - 1, stride + 1)
    size = 0
    for pixel in range(labels.size):
        if labels[pixel] > 0:
            _push_by_key(keys, pixels, size, np.int64(bits[pixel]) << 32, pixel)
            size += 1
    age = 1
    while size:
        pixel, size = pixels[0], size - 1
        _drop_first_by_key(keys, pixels, size)
        for offset in offsets:
            neighbour = pixel + offset
            if labels[neighbour] == 0:
                labels[neighbour] = labels[pixel]
                _push_by_key(keys, pixels, size, (np.int64(bits[neighbour]) << 32) + age, neighbour)
                age, size = age + 1, size + 1


@_compiled
def _propagate(
    image: np.ndarray,
    labels: np.ndarray,
    distance: np.ndarray,
    keys: np.ndarray,
    ties: np.ndarray,
    size: int,
    stride: int,
    regularization: float,
) -> None:
    """The start is `size` pairs of key 0, taken as a heap without being ordered: so does centrosome.

    Ties between seeds of different labels hang on it.
    """
    offsets = (-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1)
    steps = (2, 1, 2, 1, 1, 2, 1, 2)
    bits = distance.view(np.int64)  # non-negative float64 sort as their bits do
    while size:
        pixel, label = ties[0] & 0xFFFFFFFF, ties[0] >> 32
        size -= 1
        _drop_first(keys, ties, size)
        if labels[pixel]:
            continue  # reached before, by a shorter way
        labels[pixel] = label
        reached = distance[pixel]
        distance[pixel] = 0
        for k in range(8):
            neighbour = pixel + offsets[k]
            if distance[neighbour] <= 0:
                continue
            difference = 0.0
            for row in (-stride, 0, stride):
                for shift in range(row - 1, row + 2):
                    difference += abs(np.float64(image[pixel + shift]) - np.float64(image[neighbour + shift]))
            there = np.sqrt(difference * difference + steps[k] * regularization * regularization) + reached
            if there < distance[neighbour]:
                distance[neighbour] = there
                # centrosome drops the lowest bit; ties go to the lower label, then in reading order.
                _push(keys, ties, size, bits[neighbour] >> 1, (label << 32) | neighbour)
                size += 1
