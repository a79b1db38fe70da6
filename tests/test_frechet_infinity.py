"""The extrapolated distance: the line itself, its replicates, and the bias it takes off where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from morphobench.metrics import METRICS, FeatureInputs, fd_infinity, frechet_distance
from morphobench.metrics.frechet import frechet_resamples
from morphobench.metrics.frechet_infinity import PARTS

SCALE = np.arange(1, 49) ** -0.75


def pair(n: int, m: int, random: np.random.Generator, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two normal sets in 48 dimensions; infinitely many rows are (stretch - 1)^2 sum(SCALE^2) apart."""
    return stretch * random.normal(size=(n, 48)) * SCALE, random.normal(size=(m, 48)) * SCALE


def test_the_line_is_the_least_squares_line_through_distances_at_several_n() -> None:
    a, b = pair(120, 90, np.random.default_rng(0), 1.3)
    found = fd_infinity(a, b)
    slope, value = np.polyfit(1 / found.sizes, found.distances, 1)
    assert (found.value, found.slope) == pytest.approx((value, slope))
    assert found.r2 == pytest.approx(np.corrcoef(1 / found.sizes, found.distances)[0, 1] ** 2)
    assert found.distances[0] == pytest.approx(frechet_distance(a, b))
    assert found.sizes.tolist() == [90, 60, 45, 36, 30]
    assert (np.diff(found.distances) > 0).all()


def test_parts_are_disjoint_and_the_same_for_a_seed() -> None:
    a, b = pair(120, 90, np.random.default_rng(0))
    found = fd_infinity(a, b)
    thirds = [part.rows_a for part in found.influence_parts if len(part.rows_a) == 40]
    assert len(thirds) == 12
    assert sorted(np.concatenate(thirds[:3])) == list(range(120))
    assert fd_infinity(a, b).value == found.value
    assert fd_infinity(a, b, seed=1).value != found.value


def test_replicates_are_lines_through_the_replicates_of_the_parts() -> None:
    random = np.random.default_rng(0)
    a, b = pair(60, 60, random)
    found = fd_infinity(a, b)
    weights = random.multinomial(60, np.full(60, 1 / 60), size=(2, 7))
    rows = {int(60 / p): [] for p in PARTS}
    for part in found.influence_parts:
        sides = a[part.rows_a], b[part.rows_b], weights[0][:, part.rows_a], weights[1][:, part.rows_b]
        rows[len(part.rows_a)].append(frechet_resamples(*sides))
    heights = np.array([np.mean(rows[int(size)], axis=0) for size in found.sizes])
    expected = np.polyfit(1 / found.sizes, heights, 1)[1]
    assert found.resamples(*weights) == pytest.approx(expected)
    assert found.resamples(np.ones((1, 60)), np.ones((1, 60)))[0] == pytest.approx(found.value)


@pytest.mark.parametrize("stretch", [1.0, 1.3])
def test_the_bias_of_few_images_goes(stretch: float) -> None:
    random = np.random.default_rng(0)
    truth = (stretch - 1) ** 2 * (SCALE**2).sum()
    found = [fd_infinity(*pair(256, 256, random, stretch)) for _ in range(12)]
    plain = np.mean([fit.distances[0] for fit in found]) - truth
    error = np.std([fit.value for fit in found]) / np.sqrt(len(found))
    left = np.mean([fit.value for fit in found]) - truth
    assert plain > 0.07
    assert abs(left) < 0.1 * plain + 2.5 * error
    assert min(fit.r2 for fit in found) > 0.85


def test_the_row_needs_enough_images_and_has_an_interval() -> None:
    random = np.random.default_rng(0)
    a, b = pair(256, 256, random)
    compounds, plates = np.tile(np.arange(8), 32).astype(str), np.repeat(np.arange(4), 64).astype(str)
    inputs = FeatureInputs(a, b, compounds, plates, compounds, plates)
    row = METRICS["fd_infinity"]
    interval = row.interval(inputs, 200, 0)
    assert interval is not None
    assert interval[0] < row.score(inputs) < interval[1]
    few = FeatureInputs(a[:200], b, compounds[:200], plates[:200], compounds, plates)
    with pytest.raises(ValueError, match="200, at least 256 are needed"):
        row.score(few)
    with pytest.raises(ValueError, match="at least 6 rows of each"):
        fd_infinity(a[:5], b)
