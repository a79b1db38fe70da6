"""Precision, recall, density and coverage against torch-fidelity, a brute force, closed forms and stated ties."""

from __future__ import annotations

import dataclasses
import tracemalloc
from math import prod

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from morphobench.metrics import METRICS, FeatureInputs, coverage, density, precision, recall
from morphobench.metrics import neighbours as module
from morphobench.metrics.neighbours import DENSITY_K, PRECISION_K, neighbourhoods

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def pair() -> Pair:
    random = np.random.default_rng(0)
    return random.normal(size=(90, 8)) * 0.8 + 0.4, random.normal(size=(70, 8))


def test_precision_and_recall_equal_torch_fidelity(pair: Pair) -> None:
    from morphobench.features.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    generated, real = pair
    theirs = prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), prc_neighborhood=PRECISION_K, prc_batch_size=32,
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    assert 0.2 < theirs["recall"] < theirs["precision"] < 1
    assert precision(generated, real) == pytest.approx(theirs["precision"], abs=1e-6)
    assert recall(generated, real) == pytest.approx(theirs["recall"], abs=1e-6)


def test_every_verdict_equals_a_brute_force(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 16)
    generated, real = pair
    found = neighbourhoods(generated, real)

    def reach(points: np.ndarray, k: int) -> np.ndarray:
        return np.array([sorted(np.delete(row, i))[k - 1] for i, row in enumerate(cdist(points, points))])

    between = cdist(generated, real)
    np.testing.assert_array_equal(found.precise, (between <= reach(real, PRECISION_K)).any(axis=1))
    np.testing.assert_array_equal(found.recalled, (reach(generated, PRECISION_K) >= between.T).any(axis=1))
    np.testing.assert_allclose(found.dense, (between <= reach(real, DENSITY_K)).sum(axis=1) / DENSITY_K)
    balls = (between <= reach(real, DENSITY_K)).sum(axis=0)
    np.testing.assert_allclose(found.holding, balls * len(real) / (len(generated) * DENSITY_K))
    assert found.holding.mean() == pytest.approx(found.dense.mean())
    np.testing.assert_array_equal(found.covered, (between <= reach(real, DENSITY_K)).any(axis=0))


def test_coverage_and_density_of_one_law_have_their_expected_value() -> None:
    """Naeem et al. 2020, lemma 2: all k nearest of a real image's m - 1 + n others are real."""
    n, m = 50, 40
    expected = 1 - prod(m - i for i in range(1, DENSITY_K + 1)) / prod(m + n - i for i in range(1, DENSITY_K + 1))
    random = np.random.default_rng(0)
    values = []
    for _ in range(300):
        found = neighbourhoods(random.normal(size=(n, 3)), random.normal(size=(m, 3)))
        values.append((found.covered.mean(), found.dense.mean()))
    error = np.std(values, axis=0) / np.sqrt(len(values))
    assert expected == pytest.approx(0.986, abs=0.001)
    assert np.all(np.abs(np.mean(values, axis=0) - (expected, 1.0)) < 4 * error)


def test_equal_sets_touch_every_edge(pair: Pair) -> None:
    """Closed balls: each image lies in its own and in those of the k that reach to it."""
    _, real = pair
    found = neighbourhoods(real.astype(np.float32) * (1 + 1e-7), real)
    assert found.precise.all()
    assert found.recalled.all()
    assert found.covered.all()
    assert found.dense.mean() == pytest.approx((DENSITY_K + 1) / DENSITY_K, abs=0.005)


def test_far_sets_do_not_meet(pair: Pair) -> None:
    generated, real = pair
    assert [metric(generated + 100, real) for metric in (precision, recall, density, coverage)] == [0, 0, 0, 0]


@pytest.mark.parametrize("side", ["generated", "real"])
def test_no_outlier_of_either_side_moves_the_verdicts_on_the_others(pair: Pair, side: str) -> None:
    """One image at 1e6 sets no tolerance: sets that are apart stay apart, and near ones keep their verdicts."""
    generated, real = pair[0] + 6, pair[1].copy()
    (generated if side == "generated" else real)[0] = 1e6
    found = neighbourhoods(generated, real)
    others = slice(1, None) if side == "real" else slice(None)
    assert not found.covered[others].any()
    if side == "generated":
        assert not found.precise.any()
        assert not found.dense.any()
    plain = neighbourhoods(*pair)
    outlying = [points.copy() for points in pair]
    outlying[0][0] = 1e6
    found = neighbourhoods(*outlying)
    np.testing.assert_array_equal(found.dense[1:], plain.dense[1:])
    np.testing.assert_array_equal(found.precise[1:], plain.precise[1:])


def test_a_repeated_image_has_no_neighbourhood_but_its_own_place() -> None:
    """Precision and density forgive a collapse to one good image; recall and coverage do not."""
    real = np.random.default_rng(0).normal(size=(60, 2))
    middle = real[np.argmin(np.abs(real).sum(axis=1))]
    collapsed = np.tile(middle, (60, 1))
    assert precision(collapsed, real) == 1
    assert density(collapsed, real) > 1
    assert recall(collapsed, real) == pytest.approx(1 / 60)
    assert coverage(collapsed, real) < 0.2


def test_a_dropped_mode_lowers_recall_and_coverage_alone() -> None:
    random = np.random.default_rng(0)
    modes = np.repeat([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]], 50, axis=0)
    real, generated = (modes + random.normal(size=modes.shape) for _ in range(2))
    dropped = np.concatenate([generated[:150], random.normal(size=(50, 2))])
    assert precision(dropped, real) == pytest.approx(precision(generated, real), abs=0.05)
    assert recall(dropped, real) < 0.8 < recall(generated, real)
    assert coverage(dropped, real) == pytest.approx(0.75, abs=0.03)


def test_memory_does_not_grow_with_the_square_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 3000, 4))
    tracemalloc.start()
    neighbourhoods(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 8 / 4


@pytest.mark.parametrize("key", ["precision", "recall", "density", "coverage"])
def test_replicates_are_weighted_means_over_the_right_side(key: str, pair: Pair) -> None:
    """Precision hangs on the draws of generated images, recall and coverage on those of real ones, density on both."""
    generated, real = pair
    labels = [np.tile(["a", "b", "c", "d", "e"], len(side) // 5) for side in pair]
    plates = [np.repeat(["p", "q"], len(side) // 2) for side in pair]
    inputs = FeatureInputs(generated, real, labels[0], plates[0], labels[1], plates[1])
    metric = METRICS[key]
    assert metric.score(inputs) == {"precision": precision, "recall": recall, "density": density, "coverage": coverage}[
        key
    ](*pair)
    low, high = metric.interval(inputs, 200, 0) or (0.0, 0.0)
    assert low < metric.score(inputs) < high
    single = dataclasses.replace(inputs, generated_plates=np.full(len(generated), "p"))
    spread = np.ptp(metric.resample(dataclasses.replace(single, generated_compounds=np.full(90, "a")), 50, 0))
    assert (spread < 1e-12) == (key == "precision")


def test_bad_features_are_named(pair: Pair) -> None:
    generated, real = pair
    with pytest.raises(ValueError, match=f"more than {DENSITY_K} of each"):
        neighbourhoods(generated[:DENSITY_K], real)
    with pytest.raises(ValueError, match="features"):
        neighbourhoods(generated[:, :3], real)
    with pytest.raises(ValueError, match="finite"):
        neighbourhoods(np.where(generated > 1, np.nan, generated), real)
