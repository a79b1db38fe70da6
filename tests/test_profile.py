"""AreaOccupied against CellProfiler's figures, closed forms and scikit-image; quality flags against known images."""

import numpy as np
import pytest
from oracles import BAD, NAMES, OWN, Oracle, own, pixels
from skimage.measure import regionprops

from morphobench.errors import BadInput
from morphobench.features import profile
from morphobench.features.profile import PROFILE_COLUMNS, area_occupied, measure, measure_images, quality

DIAMETER = (8.0, 24.0)


class Arrays:
    """An image set in memory, whose content its digest does not know (the cache is tested for using the digest)."""

    def __init__(self, images: np.ndarray, digest: str):
        self.images, self._digest, self.reads = images, digest, 0

    def __len__(self):
        return len(self.images)

    def digest(self):
        return self._digest

    def batches(self, size):
        for start in range(0, len(self), size):
            self.reads += 1
            yield self.images[start : start + size]

    def take(self, rows):
        return self.images[list(rows)]


def field(seed: int, cells: int, size: int = 64) -> np.ndarray:
    """uint8 (size, size, 3): soft disks with noise; blue nuclei, green and red bodies."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    image = np.zeros((size, size, 3))
    for row, column in rng.uniform(4, size - 4, (cells, 2)):
        distance = np.hypot(rows - row, columns - column)
        for channel, radius in ((0, 11), (1, 10), (2, 6)):
            image[..., channel] = np.maximum(image[..., channel], 150 / (1 + np.exp(2 * (distance - radius))))
    return np.clip(image + rng.normal(10, 3, image.shape), 0, 255).astype(np.uint8)


def oracle_flags(oracle: Oracle) -> dict[str, float]:
    return quality(oracle.dna, oracle.cell, not oracle.masks["Nuclei"].any())


@pytest.mark.parametrize("oracle", NAMES, indirect=True)
def test_area_and_perimeter_are_those_of_cellprofiler(oracle):
    for kind, expected in oracle.areas.items():
        assert area_occupied(oracle.masks[kind].astype(np.int32)) == expected, kind


@pytest.mark.parametrize("name", [name for name in OWN if name != "vehicle16"])
def test_areas_and_counts_of_a_measured_image_are_those_of_cellprofiler(name):
    """The whole way of a submitted image: uint8 in, the columns of a profile out."""
    oracle, row = own(name), measure(pixels(name), OWN[name])
    for kind, (area, _, total) in oracle.areas.items():
        assert row[f"AreaOccupied_AreaOccupied_{kind}"] == area / total, kind
        assert row[f"Count_{kind}"] == oracle.counts[kind], kind


def test_area_of_nothing():
    assert area_occupied(np.zeros((10, 10), int)) == (0, 0, 100)


def test_area_of_a_square():
    labels = np.zeros((10, 10), int)
    labels[2:7, 3:8] = 1
    assert area_occupied(labels) == (25, 16, 100)


def test_area_within_a_mask():
    labels, mask = np.zeros((10, 10), int), np.zeros((10, 10), bool)
    labels[0:7, 3:8] = 1
    mask[1:9, 1:9] = True
    assert area_occupied(labels, mask) == (30, 18, 64)


def test_shared_borders_count_twice():
    labels = np.zeros((10, 10), int)
    labels[2:7, 1:5], labels[2:7, 5:9] = 1, 2
    assert area_occupied(labels).perimeter == 2 * 14


@pytest.mark.parametrize("seed", range(4))
def test_perimeter_is_scikit_images_rounded_per_object(seed):
    labels = np.random.default_rng(seed).integers(0, 4, (30, 41)) * (np.indices((30, 41)).sum(0) % 11 > 1)
    labels[10:20, 5:30] = 7
    assert area_occupied(labels).perimeter == sum(round(region.perimeter) for region in regionprops(labels))


@pytest.mark.parametrize("oracle", [name for name in NAMES if name not in BAD], indirect=True)
def test_good_images_are_not_flagged(oracle):
    flags = oracle_flags(oracle)
    assert not any(value for key, value in flags.items() if "Flag" in key)
    assert flags["ImageQuality_Correlation_DNA"] > 0.9


@pytest.mark.parametrize(("oracle", "flag"), BAD.items(), indirect=["oracle"])
def test_each_bad_image_raises_its_own_flag(oracle, flag):
    flags = oracle_flags(oracle)
    assert [key for key, value in flags.items() if "Flag" in key and value] == [f"ImageQuality_Flag{flag}"]


def test_correlation_is_the_share_of_a_smooth_signal():
    rng = np.random.default_rng(0)
    signal = np.sin(np.linspace(0, 20, 300))[:, None] * np.cos(np.linspace(0, 20, 300))
    noise = rng.normal(0, signal.std(), signal.shape)
    assert profile.neighbour_correlation(signal + noise) == pytest.approx(0.5, abs=0.02)
    assert profile.neighbour_correlation(noise) == pytest.approx(0, abs=0.02)
    assert np.isnan(profile.neighbour_correlation(np.ones((5, 5))))


def test_measure_gives_the_columns_and_their_relations():
    row = measure(field(3, 5), DIAMETER)
    assert tuple(row) == PROFILE_COLUMNS
    area = {key.rsplit("_", 1)[1]: value for key, value in row.items() if key.startswith("AreaOccupied")}
    assert area["Cells"] == pytest.approx(area["Nuclei"] + area["Cytoplasm"])
    assert 0 < area["CellsInner"] <= area["Cells"] < 1
    assert row["Count_Cells"] == row["Count_Nuclei"] >= row["Count_CellsInner"] > 0


@pytest.mark.parametrize("image", [np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
def test_blank_images_are_measured_and_flagged(image):
    row = measure(image, DIAMETER)
    assert row["ImageQuality_FlagEmpty"] or row["ImageQuality_FlagSaturated"]


def test_one_cell_in_the_middle_is_counted_once():
    image = np.zeros((64, 64, 3), np.uint8)
    rows, columns = np.indices((64, 64))
    distance = np.hypot(rows - 32, columns - 32)
    image[distance < 12, 1], image[distance < 6, 2] = 150, 200
    row = measure(image, DIAMETER)
    assert row["Count_Cells"] == row["Count_CellsInner"] == 1
    # The low threshold on a logarithmic scale takes in up to two pixels of blur around the cell.
    assert 12 < 64 * np.sqrt(row["AreaOccupied_AreaOccupied_CellsInner"] / np.pi) < 14.1


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), "u1")]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        measure(image, DIAMETER)


def test_order_batches_and_processes_do_not_matter(tmp_path, monkeypatch):
    images = np.stack([field(seed, seed % 4) for seed in range(9)])
    order = np.random.default_rng(0).permutation(len(images))
    plain = measure_images(Arrays(images, "a" * 64), DIAMETER, tmp_path, workers=1)
    monkeypatch.setattr(profile, "BATCH", 2)
    shuffled = measure_images(Arrays(images[order], "b" * 64), DIAMETER, tmp_path, workers=2)
    assert tuple(plain) == PROFILE_COLUMNS
    for key in PROFILE_COLUMNS:
        assert plain[key].shape == (len(images),)
        np.testing.assert_array_equal(shuffled[key], plain[key][order])
    for index in (0, 5):
        assert [plain[key][index] for key in PROFILE_COLUMNS] == pytest.approx(
            list(measure(images[index], DIAMETER).values()), nan_ok=True
        )


def test_cache_is_keyed_by_content_and_diameter(tmp_path):
    images = Arrays(np.stack([field(1, 2)]), "c" * 64)
    first = measure_images(images, DIAMETER, tmp_path, workers=1)
    again = measure_images(images, DIAMETER, tmp_path, workers=1)
    assert images.reads == 1
    np.testing.assert_array_equal(again["Count_Cells"], first["Count_Cells"])
    measure_images(images, (9.0, 24.0), tmp_path, workers=1)
    assert images.reads == 2


def test_shipped_profiles_stand_for_their_own_images_only(tmp_path):
    images = Arrays(np.stack([field(1, 2)]), "e" * 64)
    path = tmp_path / "profiles.safetensors"
    made = measure_images(images, DIAMETER, tmp_path / "a", workers=1)
    profile.write_shipped(path, made, images.digest(), DIAMETER)
    found = measure_images(images, DIAMETER, tmp_path / "b", workers=1, shipped=path)
    assert images.reads == 1
    for name in PROFILE_COLUMNS:
        np.testing.assert_array_equal(found[name], made[name])
    measure_images(images, (9.0, 24.0), tmp_path / "b", workers=1, shipped=path)
    measure_images(Arrays(images.images, "f" * 64), DIAMETER, tmp_path / "b", workers=1, shipped=path)
    assert images.reads == 2
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match="install the package again"):
        measure_images(images, DIAMETER, tmp_path / "b", workers=1, shipped=path)


def test_no_images_give_empty_columns(tmp_path):
    table = measure_images(Arrays(np.zeros((0, 8, 8, 3), np.uint8), "d" * 64), DIAMETER, tmp_path, workers=1)
    assert {column.shape for column in table.values()} == {(0,)}
