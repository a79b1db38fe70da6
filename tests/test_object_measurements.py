"""Colocalisation, granularity and rings beside cp-measure's, where it means the same, and by their formulas."""

import numpy as np
import pytest
from cp_measure.core import measurecolocalization as reference
from cp_measure.core.measuregranularity import get_granularity
from cp_measure.core.measureobjectintensitydistribution import get_radial_distribution

from morphobench.features.colocalisation import colocalisation, costes_thresholds
from morphobench.features.granularity import granular_spectrum, granularity
from morphobench.features.radial import draw_rings, radial_distribution

NAMES = ("A", "B")
PAIR = ("A_B", "B_A")


def stains(seed: int, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Two correlated channels over a background that is not, float32 (2, H, W)."""
    generator = np.random.default_rng(seed)
    cells = generator.random(shape) ** 6
    return np.stack([np.clip(0.2 * generator.random(shape) + 0.7 * cells, 0, 1) for _ in NAMES]).astype(np.float32)


def measured(labels: np.ndarray, channels: np.ndarray) -> dict[str, np.ndarray]:
    return colocalisation(labels, channels, NAMES, costes_thresholds(channels))


@pytest.mark.parametrize("seed", range(5))
def test_one_object_that_fills_the_image_is_cp_measures(seed):
    channels = stains(seed)
    labels = np.ones(channels.shape[1:], np.int32)
    ours = measured(labels, channels)
    pearson = reference.get_correlation_pearson(*channels, labels)["Correlation_Pearson"]
    np.testing.assert_allclose(ours["Correlation_Correlation_A_B"], pearson, 1e-6)
    overlap = reference.get_correlation_overlap(*channels, labels)
    np.testing.assert_allclose(ours["Correlation_Overlap_A_B"], overlap["Correlation_Overlap"], 1e-6)
    both_ways = {
        "K": overlap,
        "Manders": reference.get_correlation_manders_fold(*channels, labels),
        "RWC": reference.get_correlation_rwc(*channels, labels),
        "Costes": reference.get_correlation_costes(*channels, labels, scale_max=255),
    }
    for feature, expected in both_ways.items():
        for number, pair in enumerate(PAIR, start=1):
            value = ours[f"Correlation_{feature}_{pair}"]
            np.testing.assert_allclose(value, expected[f"Correlation_{feature}_{number}"], 1e-6, err_msg=feature)
    assert 0 < ours["Correlation_Costes_A_B"][0] < 1


def test_costes_threshold_and_ranks_are_those_of_the_whole_image():
    """Not of each object: by the formulas of the papers, one object at a time."""
    channels = stains(7)
    labels = np.zeros(channels.shape[1:], np.int32)
    labels[4:20, 4:30], labels[25:44, 10:60] = 1, 2
    ours = measured(labels, channels)
    cuts = costes_thresholds(channels)[0, 1]
    inside = labels > 0
    ranks = [np.searchsorted(np.unique(pixels[inside]), pixels) for pixels in channels]
    highest = max(rank[inside].max() for rank in ranks) + 1
    weight = 1 - np.abs(ranks[0] - ranks[1]) / highest
    for label in (1, 2):
        one = labels == label
        above = [pixels >= np.float32(0.15) * pixels[one].max() for pixels in channels]
        for number, pair in enumerate(PAIR):
            pixels, cut = channels[number].astype(float), cuts[number]
            bright = one & (channels[0] > cuts[0]) & (channels[1] > cuts[1])
            costes = pixels[bright].sum() / pixels[one & (channels[number] >= cut)].sum()
            assert ours[f"Correlation_Costes_{pair}"][label - 1] == pytest.approx(costes)
            shared = (pixels * weight)[one & above[0] & above[1]].sum()
            assert ours[f"Correlation_RWC_{pair}"][label - 1] == pytest.approx(
                shared / pixels[one & above[number]].sum()
            )


def test_without_a_line_of_regression_there_is_no_threshold():
    assert np.isnan(costes_thresholds(np.zeros((2, 8, 8), np.float32))[0, 1]).all()
    flat = np.full((2, 8, 8), 0.5, np.float32)
    ours = measured(np.ones((8, 8), np.int32), flat)
    assert np.isnan(ours["Correlation_Costes_A_B"]).all()
    assert np.isnan(ours["Correlation_Correlation_A_B"]).all()


def test_granularity_is_cp_measures_where_the_sides_are_multiples_of_four():
    pixels = stains(3, (64, 80))[0]
    labels = np.zeros(pixels.shape, np.int32)
    labels[3:30, 5:40], labels[33:64, 20:80] = 1, 2
    ours, expected = granularity(labels, granular_spectrum(pixels)), get_granularity(labels, pixels)
    assert list(ours) == list(expected)
    for column, values in expected.items():
        np.testing.assert_allclose(ours[column], values, 1e-9, 1e-9, err_msg=column)
    assert ours["Granularity_1"].min() > 1


def test_a_black_image_has_no_granularity():
    values = granularity(np.ones((30, 33), np.int32), granular_spectrum(np.zeros((30, 33), np.float32)))
    assert {float(value[0]) for value in values.values()} == {0.0}


def test_rings_are_cp_measures():
    """Touching objects, one in two parts, one black, one of a single pixel."""
    pixels = stains(5)[0]
    labels = np.zeros(pixels.shape, np.int32)
    labels[2:20, 3:30], labels[2:20, 30:50], labels[30:40, 5:15], labels[44:46, 5:9] = 1, 2, 3, 3
    labels[30:40, 20:40], labels[45, 60] = 4, 5
    pixels[labels == 4] = 0
    ours = radial_distribution(pixels, draw_rings(labels))
    with np.errstate(all="ignore"):
        expected = get_radial_distribution(labels, pixels)
    assert {f"RadialDistribution_{key}" for key in ours} == set(expected)
    for key, values in ours.items():
        np.testing.assert_array_equal(values, expected[f"RadialDistribution_{key}"], err_msg=key)
    fractions = np.stack([ours[f"FracAtD_{ring}of4"] for ring in (1, 2, 3, 4)])
    np.testing.assert_allclose(fractions[:, :3].sum(0), 1, rtol=1e-5)
    assert np.isnan(fractions[:, 3]).all()
