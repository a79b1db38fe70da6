"""Distances per compound against the features themselves, resampled row by row."""

from __future__ import annotations

import numpy as np
import pytest

from morphobench.metrics import METRICS, FeatureInputs, FrechetGram, frechet_distance, frechet_distance_by_compound
from morphobench.metrics import frechet_compounds as module
from morphobench.metrics.frechet_compounds import (
    frechet_intervals_by_compound,
    frechet_resamples_by_compound,
    log_interval,
)


def pair(n: int, m: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features with a falling spectrum and a mean far from 0, as a network's are."""
    random = np.random.default_rng(seed)
    scale = np.arange(1, d + 1) ** -0.5
    return 5 + random.normal(size=(n, d)) * scale, 5.2 + 1.3 * random.normal(size=(m, d)) * scale


def draws(n: int, replicates: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)


@pytest.mark.parametrize(("n", "m", "d"), [(16, 16, 200), (7, 12, 50), (40, 30, 10), (2, 3, 5)])
def test_resamples_of_the_gram_matrix_equal_resampled_features(
    n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 5 * n * m)  # several blocks, the last one cut
    a, b = pair(n, m, d)
    weights_a, weights_b = draws(n, 23, 1), draws(m, 23, 2)
    values = FrechetGram.of(a, b).resamples(weights_a, weights_b)
    direct = [
        frechet_distance(np.repeat(a, p, axis=0), np.repeat(b, q, axis=0))
        for p, q in zip(weights_a, weights_b, strict=True)
    ]
    assert values == pytest.approx(direct, rel=1e-9)


def test_any_number_of_rows_may_be_drawn() -> None:
    """Half of the rows, twice as many, one row twice; a side with fewer than two has no covariance."""
    a, b = pair(8, 8, 30)
    weights = np.zeros((4, 8), dtype=int)
    weights[0, :4], weights[1], weights[2, 3], weights[3, 0] = 1, 2, 2, 1
    values = FrechetGram.of(a, b).resamples(weights, np.ones((4, 8), dtype=int))
    parts = (a[:4], np.repeat(a, 2, axis=0), a[[3, 3]])
    assert values[:3] == pytest.approx([frechet_distance(part, b) for part in parts], rel=1e-9)
    assert np.isnan(values[3])


def test_equal_sets_are_nothing_apart() -> None:
    a, _ = pair(16, 2, 40)
    weights = draws(16, 10, 0)
    assert FrechetGram.of(a, a).resamples(weights, weights) == pytest.approx(0, abs=1e-10)


def test_a_compound_is_compared_with_itself_alone() -> None:
    a, b = pair(30, 30, 20)
    names = np.repeat(["z", "a", "m"], 10)
    found = frechet_distance_by_compound(a, names, b, names)
    assert found == pytest.approx([frechet_distance(a[names == name], b[names == name]) for name in ("a", "m", "z")])
    swapped = np.roll(np.arange(30), 10)
    assert frechet_distance(a[swapped], b) == pytest.approx(frechet_distance(a, b))
    with pytest.raises(ValueError, match="2 compounds are on only one side, the first is 'm'"):
        frechet_distance_by_compound(a, names, b, np.repeat(["z", "a", "y"], 10))


def test_unit_weights_give_each_compounds_distance() -> None:
    a, b = pair(20, 20, 30)
    names = np.repeat(["a", "b"], 10)
    ones = np.ones((1, 20))
    found = frechet_resamples_by_compound(a, names, b, names, ones, ones)
    assert np.concatenate(list(found.values())) == pytest.approx(frechet_distance_by_compound(a, names, b, names))


def test_the_row_sees_swapped_compounds_which_the_pooled_distance_forgives() -> None:
    random = np.random.default_rng(0)
    names, plates = np.repeat(["a", "b", "c", "d", "e"], 12), np.tile(["p", "q", "r"], 20)
    effect = np.repeat(3 * random.normal(size=(5, 6)), 12, axis=0)
    real, made = effect + random.normal(size=(60, 6)), effect + random.normal(size=(60, 6))
    sides = (names, plates, names, plates)
    right = FeatureInputs(made, real, *sides)
    swapped = FeatureInputs(np.roll(made, 12, axis=0), real, *sides)
    assert METRICS["fd"].score(swapped) == pytest.approx(METRICS["fd"].score(right))
    row = METRICS["fd_per_compound"]
    assert row.score(swapped) > 5 * row.score(right)
    ends = row.interval(swapped, replicates=200, seed=0)
    assert ends is not None
    assert ends[0] < row.score(swapped) < ends[1]


@pytest.mark.parametrize("spread", [0.25, 0.5, 1.0])
def test_intervals_of_one_compound_hold_its_expected_distance(spread: float) -> None:
    """16 independent images in 64 dimensions; `benchmarks/coverage.py` compares with other ways of resampling."""
    random, n, trials = np.random.default_rng(0), 16, 200
    names, scale = np.full(n, "a"), np.arange(1, 65) ** -spread
    units = [np.char.add(side, np.arange(n).astype(str)) for side in ("g", "r")]
    values, ends = [], []
    for trial in range(trials):
        a, b = 1.2 * random.normal(size=(n, 64)) * scale + 0.3 * scale, random.normal(size=(n, 64)) * scale
        values.append(frechet_distance(a, b))
        ends.append(frechet_intervals_by_compound(a, names, units[0], b, names, units[1], 200, trial)["a"])
    low, high = np.array(ends).T
    assert 0.9 <= ((low <= np.mean(values)) & (np.mean(values) <= high)).mean() <= 0.99
    assert (low > 0).all()


def test_an_interval_is_of_its_own_compound_and_needs_three_units() -> None:
    a, b = pair(24, 24, 20)
    names, plates = np.repeat(["a", "b"], 12), np.r_[np.tile(["p", "q", "r", "s"], 3), np.tile(["p", "q"], 6)]
    found = frechet_intervals_by_compound(a, names, plates, b, names, plates, 100, seed=0)
    alone = frechet_intervals_by_compound(a[:12], names[:12], plates[:12], b[:12], names[:12], plates[:12], 100, 0)
    assert found["b"] is None
    assert found["a"] == alone["a"]
    assert found["a"] is not None
    assert found["a"][0] < frechet_distance(a[:12], b[:12]) < found["a"][1]


def test_a_distance_that_is_lost_in_its_noise_has_no_interval():
    near = np.array([0.9, 1.0, 1.1])
    low, high = log_interval(2.0, 2.0 * near, 1.0)
    assert (low, high) == pytest.approx((2 * np.exp(-0.095), 2 * np.exp(0.095)))
    assert log_interval(1e-4, 1e-4 + 0.01 * (near - 1), 1.0) is None


def test_a_distance_of_exactly_0_has_no_interval() -> None:
    same, names, units = np.full((6, 4), 2.0), np.full(6, "a"), np.array(list("pqrstu"))
    assert frechet_distance(same, same) == 0
    assert frechet_intervals_by_compound(same, names, units, same, names, units, 50, 0) == {"a": None}
