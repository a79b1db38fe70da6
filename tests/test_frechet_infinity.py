"""The extrapolated distance: the line itself, its replicates, and the bias it takes off where the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import morphobench.datasets
from morphobench.datasets import load_tier
from morphobench.metrics import METRICS, FeatureInputs, fd_infinity, frechet_distance
from morphobench.metrics.frechet import frechet_influence
from morphobench.metrics.frechet_infinity import INFLUENCE_ROUNDS, ROUNDS, _cut

SHIPPED = Path(morphobench.datasets.__file__).parent / "features" / "sim"

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


def test_parts_hold_every_row_equally_often_and_are_the_same_for_a_seed() -> None:
    a, b = pair(120, 90, np.random.default_rng(0))
    found = fd_infinity(a, b)
    for size, runs, times in ((120, 1, 1), (80, 3, 2), (60, 2, 1), (48, 5, 2), (40, 3, 1)):
        parts = [part for part in found.influence_parts if len(part.rows_a) == size]
        assert len(parts) == runs * (INFLUENCE_ROUNDS if size < 120 else 1)
        assert (np.bincount(np.concatenate([part.rows_a for part in parts[:runs]])) == times).all()
        assert (np.bincount(np.concatenate([part.rows_b for part in parts[:runs]])) == times).all()
    assert fd_infinity(a, b).value == found.value
    assert fd_infinity(a, b, seed=1).value != found.value


def test_runs_go_round_the_dealt_circle_from_equal_starts() -> None:
    """Of 7 and 11 rows, three runs of two thirds each, whose starts do not divide evenly."""
    cut, random = _cut(7, 11, 1.5, 2, np.random.default_rng(3)), np.random.default_rng(3)
    for dealt in range(2):
        orders = random.permutation(7), random.permutation(11)
        for run, starts in enumerate(((0, 0), (2, 3), (4, 7))):
            for order, start, length, rows in zip(orders, starts, (4, 7), cut[3 * dealt + run], strict=True):
                assert rows.tolist() == order[(start + np.arange(length)) % len(order)].tolist()


@pytest.mark.parametrize("tied", [slice(0, 48, 2), slice(1, 48, 2), slice(24, 48), slice(0, 24)])
def test_rows_that_tie_in_half_of_their_features_are_dealt_alike_in_any_order(tied: slice) -> None:
    random = np.random.default_rng(0)
    a, b = pair(60, 48, random)
    a[:, tied], b[:, tied] = 0, 0
    moved = fd_infinity(a[random.permutation(60)], b[random.permutation(48)])
    assert moved.distances.tolist() == fd_infinity(a, b).distances.tolist()


def test_the_order_of_the_rows_moves_no_bit() -> None:
    random = np.random.default_rng(0)
    a, b = pair(120, 90, random)
    order_a, order_b = random.permutation(120), random.permutation(90)
    found, moved = fd_infinity(a, b), fd_infinity(a[order_a], b[order_b])
    assert moved.value == found.value
    assert moved.distances.tolist() == found.distances.tolist()
    weights = random.integers(0, 3, (4, 120)), random.integers(0, 3, (4, 90))
    expected = found.resamples(*weights)
    assert moved.resamples(weights[0][:, order_a], weights[1][:, order_b]) == pytest.approx(expected, rel=1e-12)


def test_replicates_move_as_the_lines_through_the_moved_distances() -> None:
    random = np.random.default_rng(0)
    a, b = pair(60, 60, random)
    found = fd_infinity(a, b)
    weights = random.multinomial(60, np.full(60, 1 / 60), size=(2, 7))
    rows = {int(60 / p): [] for p in ROUNDS}
    for part in found.influence_parts:
        _, *influences = frechet_influence(a[part.rows_a], b[part.rows_b])
        drawn = [side[:, part_rows] for side, part_rows in zip(weights, (part.rows_a, part.rows_b), strict=True)]
        moved = [w @ i / w.sum(axis=1) for w, i in zip(drawn, influences, strict=True)]
        rows[len(part.rows_a)].append(sum(moved))
    heights = np.array([np.mean(rows[int(size)], axis=0) for size in found.sizes]) + found.distances[:, None]
    expected = np.polyfit(1 / found.sizes, heights, 1)[1]
    assert found.resamples(*weights) == pytest.approx(expected)
    assert found.resamples(np.ones((1, 60)), np.ones((1, 60)))[0] == pytest.approx(found.value)


def test_the_seed_hardly_matters_beside_the_interval() -> None:
    """352 shipped embeddings of `id` against as many of the training images, of all their compounds and plates."""
    tier = load_tier("sim")
    sides, labels = [], []
    for name, rows, every in (("train", tier.training_rows("id"), 6), ("id", tier.test_rows("id"), 2)):
        sides.append(load_file(SHIPPED / f"sim_vit__{name}.safetensors")["embedding"].astype(float)[::every])
        labels += [rows[column].to_numpy(dtype=str)[::every] for column in ("compound", "plate")]
    inputs = FeatureInputs(*sides, *labels)
    low, high = METRICS["fd_infinity"].interval(inputs, 200, 0)
    values = [fd_infinity(*sides, seed=seed).value for seed in range(4)]
    assert 0 < np.std(values, ddof=1) < 0.025 * (high - low)


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
