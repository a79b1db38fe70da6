"""Segmentation against what CellProfiler 4.2.8.1 wrote, and against the library routines it stands on."""

import csv

import hypothesis
import numpy as np
import pytest
from centrosome.cpmorphology import binary_shrink, fill_labeled_holes, is_local_maximum, strel_disk
from hypothesis import strategies as st
from oracles import NAMES, SHARED, Oracle, assert_same_masks, shared
from scipy import ndimage
from skimage.filters import threshold_li

from morphobench.features import segment as engine
from morphobench.features.objects import COMPARTMENTS

DIAMETER = (8.0, 24.0)


def disks(shape: tuple[int, int], centres: list[tuple[int, int]], radius: float) -> np.ndarray:
    """float32 image of soft bright disks on a dark ground."""
    rows, columns = np.indices(shape)
    image = np.full(shape, 0.02)
    for row, column in centres:
        distance = np.hypot(rows - row, columns - column)
        image = np.maximum(image, 0.8 / (1 + np.exp(2 * (distance - radius))))
    return image.astype(np.float32)


def found_masks(oracle: Oracle) -> dict[str, np.ndarray]:
    """Our masks under CellProfiler's names."""
    whole = engine.segment(oracle.dna, oracle.cell, oracle.diameter)
    inner = engine.discard_border(whole)
    return {
        f"{kind.capitalize()}{suffix}": getattr(masks, kind)
        for suffix, masks in (("", whole), ("Inner", inner))
        for kind in COMPARTMENTS
    }


@pytest.mark.parametrize("oracle", NAMES, indirect=True)
def test_masks_are_those_of_cellprofiler(oracle):
    found = found_masks(oracle)
    assert_same_masks(found, oracle.masks)
    assert {kind: int(labels.max(initial=0)) for kind, labels in found.items()} == oracle.counts


@pytest.mark.parametrize("oracle", NAMES, indirect=True)
def test_thresholds_are_those_of_cellprofiler(oracle):
    assert engine.minimum_cross_entropy(oracle.dna) == pytest.approx(oracle.threshold_nuclei, rel=1e-6)
    assert engine.log_minimum_cross_entropy(oracle.cell) == pytest.approx(oracle.threshold_cells, rel=1e-6)


def test_inner_numbers_are_those_of_cellprofiler(shared_data):
    folder = shared_data / "cellprofiler"
    with (folder / "inner_ids.csv").open() as stream:
        rows = [(row["image"], int(row["inner_id"]), int(row["full_id"])) for row in csv.DictReader(stream)]
    for name in SHARED:
        found = found_masks(shared(folder, name))
        numbers = {(int(a), int(b)) for a, b in zip(found["CellsInner"].flat, found["Cells"].flat, strict=True) if a}
        assert numbers == {(a, b) for image, a, b in rows if image == name}


def test_threshold_is_the_fixed_point_scikit_image_finds():
    values = np.random.default_rng(1).gamma(2, 0.05, 5000).astype(np.float32)
    found = engine.minimum_cross_entropy(values)
    assert found == pytest.approx(threshold_li(values.copy(), tolerance=0.5 / 65536), rel=1e-5)


def test_threshold_of_a_constant_image_is_its_value():
    assert engine.minimum_cross_entropy(np.full((4, 4), 0.25, np.float32)) == 0.25


@pytest.mark.parametrize("seed", range(8))
def test_hole_filling_is_centrosomes(seed):
    rng = np.random.default_rng(seed)
    foreground = ndimage.gaussian_filter(rng.random((50, 63)), 1 + seed % 3) > (0.45, 0.49, 0.5, 1)[seed // 2]
    for limit in (1, 4, 30, 1e4):
        expected = fill_labeled_holes(foreground, size_fn=lambda size, _, limit=limit: size < limit)
        np.testing.assert_array_equal(engine._fill_holes(foreground, limit), expected)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 30), st.integers(1, 30)), st.integers(1, 12))
def test_label_hole_filling_is_centrosomes(seed, shape, objects):
    """Rings within rings of one and of several objects; with as many labels as that, every rule is met."""
    rng = np.random.default_rng(seed)
    distance = np.hypot(*(np.indices(shape) - rng.uniform(0, 20, (2, 1, 1))))
    labels = rng.integers(1, objects + 1, 40)[(distance / 2).astype(int)].astype(np.int32)
    labels[ndimage.gaussian_filter(rng.random(shape), rng.choice([0, 1])) < rng.uniform(0.1, 0.6)] = 0
    before = labels.copy()
    np.testing.assert_array_equal(engine._fill_label_holes(labels), fill_labeled_holes(labels))
    masked = np.where(labels > 0, labels, engine._fill_label_holes(labels))
    np.testing.assert_array_equal(masked, fill_labeled_holes(labels, mask=labels == 0))
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("smallest", [8, 14])
@pytest.mark.parametrize("offset", [-0.5, -0.02, 0])
def test_maxima_at_or_below_zero_are_dropped(offset, smallest):
    """Leaving such pixels out of the search finds the same points as dropping them from what it found."""
    rng = np.random.default_rng(0)
    blurred = (ndimage.gaussian_filter(rng.random((70, 70)), 2) - 0.5 - offset).astype(np.float32)
    components, count = ndimage.label(ndimage.gaussian_filter(rng.random((70, 70)), 2) > 0.5, np.ones((3, 3)))
    assert count > 1
    found = engine._maxima(blurred, components, smallest)
    if smallest == 8:
        everything = is_local_maximum(blurred, components, strel_disk(8 / 1.5 - 0.5)) & (blurred > 0)
    else:
        grid = np.mgrid[0 : 70 * 10 / 14, 0 : 70 * 10 / 14] * 1.4
        small, labels = ndimage.map_coordinates(blurred, grid), ndimage.map_coordinates(components, grid, order=0)
        everything = is_local_maximum(small, labels, strel_disk(6.5)) & (small > 0)
        everything = engine._enlarge(everything, (70, 70))
    np.testing.assert_array_equal(found, binary_shrink(everything))
    assert found.any()


@pytest.mark.parametrize("centres", [[(32, 30)], [(20, 20), (45, 48)]])
def test_every_disk_is_one_cell(centres):
    shape = (64, 64)
    found = engine.segment(disks(shape, centres, 6), disks(shape, centres, 11), DIAMETER)
    assert found.nuclei.max() == found.cells.max() == len(centres)
    assert len({found.nuclei[centre] for centre in centres}) == len(centres)
    # Minimum cross-entropy lies below half height, so that the outline runs up to two pixels outside the disk.
    assert 6 < np.sqrt(np.count_nonzero(found.nuclei) / len(centres) / np.pi) < 8
    assert all(labels.dtype == np.int32 for labels in (found.nuclei, found.cells, found.cytoplasm))


def test_touching_nuclei_are_parted():
    centres = [(32, 25), (32, 37)]
    found = engine.segment(disks((64, 64), centres, 6), disks((64, 64), centres, 10), DIAMETER)
    assert found.nuclei.max() == 2
    assert found.nuclei[centres[0]] != found.nuclei[centres[1]]


def test_nuclei_and_cytoplasm_make_up_the_cells():
    centres = [(20, 20), (45, 48), (2, 40)]
    found = engine.segment(disks((64, 64), centres, 6), disks((64, 64), centres, 11), DIAMETER)
    np.testing.assert_array_equal(found.nuclei + found.cytoplasm, found.cells)
    assert not (found.nuclei.astype(bool) & found.cytoplasm.astype(bool)).any()


def test_inner_drops_what_touches_the_edge_and_renumbers():
    centres = [(3, 30), (40, 20), (40, 48)]
    whole = engine.segment(disks((64, 64), centres, 6), disks((64, 64), centres, 9), DIAMETER)
    inner = engine.discard_border(whole)
    assert whole.cells.max() == 3
    assert sorted(np.unique(inner.cells)) == [0, 1, 2]
    assert inner.cells[centres[0]] == inner.nuclei[centres[0]] == 0
    np.testing.assert_array_equal(inner.cells > 0, whole.cells > 1)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (9, 16), (64, 64)])
@pytest.mark.parametrize("diameter", [(8, 24), (14, 40)])
def test_constant_images_of_any_size_are_segmented_without_an_error(value, shape, diameter):
    image = np.full(shape, value, np.float32)
    found = engine.discard_border(engine.segment(image, image, diameter))
    assert found.cells.shape == shape


def test_an_empty_image_has_no_cell():
    found = engine.segment(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32), DIAMETER)
    assert not found.nuclei.any()
    assert not found.cells.any()


@pytest.mark.parametrize(("shape", "diameter"), [((64, 65), (8, 24)), ((64, 64), (24, 8)), ((64, 64), (0, 8))])
def test_wrong_arguments_are_refused(shape, diameter):
    with pytest.raises(ValueError, match=r"shape|diameter"):
        engine.segment(np.zeros((64, 64), np.float32), np.zeros(shape, np.float32), diameter)
