"""AreaOccupied shift against scipy's Wasserstein distance and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from morphobench.metrics import area_occupied_shift, area_occupied_shift_by_compound
from morphobench.metrics.morphology import shift_resamples, wasserstein_resamples

REAL = np.array([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("generated", "expected"),
    [(REAL, 1.0), (REAL + 0.4, 0.0), (REAL + 0.1, 0.75), (REAL - 0.1, 0.75), (REAL + 0.8, -1.0)],
)
def test_share_of_the_gap(generated, expected):
    assert area_occupied_shift(generated, REAL, REAL + 0.4) == pytest.approx(expected)


def test_no_gap_is_an_error_with_its_reason():
    with pytest.raises(ValueError, match="no gap to close"):
        area_occupied_shift(REAL + 1, REAL, REAL)
    names = np.array(["x", "x", "y"])
    with pytest.raises(ValueError, match="for every compound"):
        area_occupied_shift_by_compound(REAL, names, np.full(3, 0.5), names, np.full(4, 0.5))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10**6))
def test_weighted_distance_is_scipys(n, m, seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 9, n) / 10, random.integers(0, 9, m) / 10  # ties on purpose
    u, v = random.integers(0, 4, (3, n)), random.integers(0, 4, (3, m))
    u[:, 0] += 1
    v[:, 0] += 1
    expected = [wasserstein_distance(a, b, *weights) for weights in zip(u, v, strict=True)]
    assert wasserstein_resamples(a, b, u, v) == pytest.approx(expected, abs=1e-12)


def test_compounds_weigh_by_their_gap_and_inactive_ones_do_not_swamp():
    names = np.repeat(["active", "inert"], 3)
    real = np.r_[REAL, REAL + 0.4]
    vehicle = REAL + 0.4  # "inert" has no gap at all
    generated = np.r_[REAL, REAL + 0.45]
    assert area_occupied_shift_by_compound(generated, names, real, names, vehicle) == pytest.approx(1 - 0.05 / 0.4)
    swapped = np.r_[REAL + 0.4, REAL]  # the pooled distribution is perfect, every compound is wrong
    assert area_occupied_shift(swapped, real, vehicle) == pytest.approx(1)
    assert area_occupied_shift_by_compound(swapped, names, real, names, vehicle) == pytest.approx(-1)


def test_replicates_equal_the_score_on_repeated_rows():
    names = np.array(["x", "x", "x", "y", "y"])
    generated, real = np.array([0.1, 0.4, 0.2, 0.5, 0.9]), np.array([0.3, 0.3, 0.1, 0.8, 0.7])
    vehicle = np.array([0.0, 0.05])
    rows = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 1, 3], [0, 0, 0, 1, 1]])
    counts = {"x": np.array([1, 1, 1]), "y": np.array([1, 2, 0])}
    weights = (rows, rows, np.ones((3, 2)), counts)
    values = shift_resamples(generated, names, real, names, vehicle, *weights)
    take_x, take_y = [0, 0, 2], [3, 4, 4, 4]
    missed = [wasserstein_distance(generated[take], real[take]) for take in (take_x, take_y)]
    gap = [wasserstein_distance(vehicle, real[take]) for take in (take_x, take_y)]
    assert values[0] == pytest.approx(area_occupied_shift_by_compound(generated, names, real, names, vehicle))
    assert values[1] == pytest.approx(1 - (missed[0] + 2 * missed[1]) / (gap[0] + 2 * gap[1]))
    assert np.isnan(values[2])  # "x" has no row and "y" was not drawn


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"generated: sample.shape=\(3,\), 1 not finite"):
        area_occupied_shift(np.array([0.1, np.nan, 0.2]), REAL, REAL + 1)
    with pytest.raises(ValueError, match=r"vehicle: sample.shape=\(0,\)"):
        area_occupied_shift(REAL, REAL, np.array([]))
    with pytest.raises(ValueError, match="1 compounds are in only one"):
        area_occupied_shift_by_compound(REAL, np.array(["x", "x", "y"]), REAL, np.array(["x", "x", "x"]), REAL + 1)
