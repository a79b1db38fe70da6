"""The compiled floods against the plain ones: centrosome's propagation and a queue of tuples."""

import numba
import numpy as np
import pytest
from centrosome.propagate import propagate as centrosome_propagate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import watershed as scikit_image_watershed

from morphobench.features import flood


class PlainHeap:
    """A binary heap of the textbook, by (level, age) alone: among equals its shape decides, and heapq has another."""

    def __init__(self):
        self.items = []

    def push(self, *item):
        self.items.append(item)
        child = len(self.items) - 1
        while child and self.items[child][:2] < self.items[(child - 1) // 2][:2]:
            self.swap(child, (child - 1) // 2)
            child = (child - 1) // 2

    def pop(self):
        self.swap(0, len(self.items) - 1)
        first, parent = self.items.pop(), 0
        while self.items:
            both = [child for child in (2 * parent + 1, 2 * parent + 2) if child < len(self.items)]
            # min() takes the first of equals: the parent before the left child before the right one.
            least = min([parent, *both], key=lambda place: self.items[place][:2])
            if least == parent:
                break
            self.swap(parent, least)
            parent = least
        return first

    def swap(self, a, b):
        self.items[a], self.items[b] = self.items[b], self.items[a]


def plain_watershed(level: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The rule of scikit-image 0.18, written out: lowest own level first, then the one that came first."""
    labels = np.where(mask, seeds, 0)
    heap, age = PlainHeap(), 1
    for row, column in np.argwhere(labels):
        heap.push(level[row, column], 0, row, column)
    while heap.items:
        *_, row, column = heap.pop()
        for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
            i, j = row + down, column + right
            if 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1] and mask[i, j] and not labels[i, j]:
                labels[i, j] = labels[row, column]
                heap.push(level[i, j], age, i, j)
                age += 1
    return labels


@pytest.mark.parametrize("seed", range(8))
def test_seeds_of_one_level_are_taken_as_scikit_image_takes_them(seed):
    """The level rises from every seed, where the old rule and today's are one."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros((40, 50), np.int32)
    seeds[rng.integers(0, 40, 30), rng.integers(0, 50, 30)] = np.arange(30) + 1
    level = np.floor(ndimage.distance_transform_cdt(seeds == 0, "chessboard") / 2).astype(np.float32) / 64
    mask = np.ones(seeds.shape, bool)
    expected = scikit_image_watershed(level, seeds, connectivity=np.ones((3, 3)), mask=mask)
    np.testing.assert_array_equal(flood.watershed(level, seeds, mask), expected)


@st.composite
def fields(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(level, seeds, mask): few grey levels make ties; components with no, one and several seeds; seeds beside them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    levels = draw(st.sampled_from([1, 2, 6, 200, 65535]))
    level = (rng.integers(0, levels, shape) / levels).astype(np.float32)
    mask = ndimage.gaussian_filter(rng.random(shape), draw(st.sampled_from([0, 1.5]))) > draw(st.floats(0, 0.55))
    seeds = np.zeros(shape, dtype=np.int32)
    for label in rng.permutation(draw(st.integers(0, 9))) + 1:
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        seeds[row : row + rng.integers(1, 5), column : column + rng.integers(1, 5)] = label
    return level, seeds, mask


@settings(max_examples=100, deadline=None, derandomize=True)
@given(fields())
def test_watershed_is_the_plain_queue(field):
    np.testing.assert_array_equal(flood.watershed(*field), plain_watershed(*field))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(fields(), st.sampled_from([0.05, 0.3, 5.0]))
def test_propagation_is_centrosomes(field, regularization):
    expected, _ = centrosome_propagate(*field, regularization)
    found = flood.propagate(*field, regularization)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(3))
def test_propagation_of_a_smooth_image_is_centrosomes(seed):
    """Long ways over many different small steps, where sums are rounded."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.random((90, 120)), 3).astype(np.float32)
    seeds = np.zeros(image.shape, np.int32)
    seeds[rng.integers(0, 90, 40), rng.integers(0, 120, 40)] = rng.permutation(40) + 1
    mask = image > 0.45
    expected, _ = centrosome_propagate(image, seeds, mask, 0.05)
    np.testing.assert_array_equal(flood.propagate(image, seeds, mask, 0.05), expected)


def test_watershed_parts_two_basins_as_scikit_image_does():
    """Where no basin lies below a pass already flooded, old and new releases agree."""
    rows, columns = np.indices((21, 41))
    level = np.minimum(np.hypot(rows - 10, columns - 10), np.hypot(rows - 10, columns - 29)).astype(np.float32)
    seeds = np.zeros(level.shape, np.int32)
    seeds[10, 10], seeds[10, 29] = 1, 2
    mask = level < 12
    expected = scikit_image_watershed(level, seeds, np.ones((3, 3)), mask=mask)
    np.testing.assert_array_equal(flood.watershed(level, seeds, mask), expected)


def test_watershed_meets_halfway_on_a_plateau():
    level = np.full((1, 9), 0.5, np.float32)
    seeds = np.zeros((1, 9), np.int32)
    seeds[0, 0], seeds[0, 8] = 1, 2
    np.testing.assert_array_equal(flood.watershed(level, seeds, level > 0), [[1, 1, 1, 1, 1, 2, 2, 2, 2]])


def test_watershed_leaves_what_no_seed_reaches():
    mask = np.array([[1, 1, 0, 1, 1, 0, 1]], bool)
    seeds = np.array([[0, 5, 7, 0, 0, 0, 6]])
    np.testing.assert_array_equal(flood.watershed(np.zeros((1, 7), np.float32), seeds, mask), [[5, 5, 0, 0, 0, 0, 6]])


def test_the_arguments_are_left_as_they_are():
    level, mask = np.full((5, 6), 0.5, np.float32), np.ones((5, 6), bool)
    seeds = np.zeros((5, 6), np.int32)
    seeds[2, 2], seeds[4, 5] = 1, 2
    before = level.copy(), seeds.copy(), mask.copy()
    flood.watershed(level, seeds, mask)
    flood.propagate(level, seeds, mask, 0.05)
    for now, then in zip((level, seeds, mask), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_without_a_folder_for_machine_code_every_process_compiles_for_itself():
    """A function without a file stands for an installation that nobody may write to: numba refuses both alike."""
    names: dict = {}
    exec("def increment(value):\n    return value + 1\n", names)
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(names["increment"])
    assert flood._compiled(names["increment"])(3) == 4
