"""Nearest-neighbour mechanism, discrimination and average precision against brute force, copairs and closed forms."""

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from copairs.map import average_precision as copairs_average_precision
from scipy.spatial.distance import cdist

from morphobench.metrics.mechanism import (
    average_precision,
    chance_of_average_precision,
    chance_of_mechanism,
    discrimination,
    mean_profiles,
    mechanism_matches,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import ljosa


def labelled(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Profiles with the compound, mechanism (of two compounds each, the last alone) and batch of each."""
    random = np.random.default_rng(seed)
    compound = random.integers(0, 7, count)
    profiles = random.normal(size=(count, 4)) + 0.7 * np.eye(4)[compound // 2]
    return profiles, compound.astype(str), (compound // 2).astype(str), random.integers(0, 3, count).astype(str)


@pytest.mark.parametrize("batched", [False, True])
def test_matches_are_those_of_a_plain_search(batched: bool) -> None:
    (x, xc, xm, xb), (y, yc, ym, yb) = labelled(0, 40), labelled(1, 30)
    found = mechanism_matches(x, y, (xc, yc), (xm, ym), (xb, yb) if batched else None)
    distance = cdist(x, y, "cosine")
    for row in range(len(x)):
        pool = [col for col in range(len(y)) if yc[col] != xc[row] and not (batched and yb[col] == xb[row])]
        if not any(ym[col] == xm[row] for col in pool):
            assert np.isnan(found[row])
        else:
            assert found[row] == (ym[min(pool, key=lambda col: distance[row, col])] == xm[row])
    assert 0 < np.nanmean(found) < 1
    assert np.isnan(found[xm == "3"]).all(), "a mechanism of one compound has no answer"
    assert not np.isnan(found[xm != "3"]).all()


def test_nearest_in_equal_measure_share_the_answer_in_any_order() -> None:
    query, reference = np.array([[1.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, -1.0]])
    labels = np.array(["b", "c", "d"]), np.array(["one", "two", "one"])
    for order in map(list, permutations(range(3))):
        found = mechanism_matches(
            query, reference[order], (np.array(["a"]), labels[0][order]), (np.array(["one"]), labels[1][order])
        )
        assert found == [0.5]


def test_profiles_that_are_not_there_are_nobodys_neighbours() -> None:
    x, compounds, mechanisms, _ = labelled(2, 30)
    hollow = x.copy()
    hollow[3] = np.nan
    found = mechanism_matches(hollow, hollow, (compounds, compounds), (mechanisms, mechanisms))
    kept = np.arange(30) != 3
    alone = mechanism_matches(x[kept], x[kept], (compounds[kept],) * 2, (mechanisms[kept],) * 2)
    assert np.isnan(found[3])
    np.testing.assert_array_equal(found[kept], alone)
    with pytest.raises(ValueError, match="do not pair up"):
        mechanism_matches(x, x, (compounds, compounds[1:]), (mechanisms, mechanisms))
    with pytest.raises(ValueError, match="same features"):
        mechanism_matches(x, x[:, :2], (compounds, compounds), (mechanisms, mechanisms))


def test_blind_neighbours_reach_the_chance_level() -> None:
    _, compounds, mechanisms, batches = labelled(3, 24)
    random = np.random.default_rng(0)
    for batch in (None, batches):
        pairs = ((compounds,) * 2, (mechanisms,) * 2, None if batch is None else (batch,) * 2)
        blind = [np.nanmean(mechanism_matches(r := random.normal(size=(24, 30)), r, *pairs)) for _ in range(600)]
        assert np.mean(blind) == pytest.approx(chance_of_mechanism(compounds, mechanisms, batch), abs=0.012)
    assert np.isnan(chance_of_mechanism(np.array(["a", "b"]), np.array(["one", "two"])))


def test_mean_profiles_weigh_rows() -> None:
    values, labels = np.arange(8.0).reshape(4, 2), np.array(["b", "a", "b", "c"])
    np.testing.assert_allclose(mean_profiles(values, labels), [[2, 3], [2, 3], [6, 7]])
    weighted = mean_profiles(values, labels, np.array([3.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(weighted, [[2, 3], [1, 2], [np.nan, np.nan]])


def test_discrimination_is_the_rank_of_the_true_compound() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(9, 5))
    generated = real + random.normal(size=(9, 5))
    distance = cdist(generated, real, "cosine")
    rank = np.array([(distance[row] < distance[row, row]).sum() for row in range(9)])
    found = discrimination(generated, real)
    np.testing.assert_allclose(found, 1 - rank / 8)
    assert 0.5 < found.mean() < 1
    assert (discrimination(0.01 * real, real) == 1).all(), "a weak effect in the right direction is told"
    assert (discrimination(-real, real) == 0).all()


def test_one_profile_for_all_is_discriminated_by_chance_exactly() -> None:
    random = np.random.default_rng(1)
    real = random.normal(size=(9, 5))
    for profile in (*random.normal(size=(5, 5)), np.zeros(5)):
        assert discrimination(np.tile(profile, (9, 1)), real).mean() == pytest.approx(0.5)
    real[2] = np.nan
    found = discrimination(np.tile(random.normal(size=5), (9, 1)), real)
    assert np.isnan(found[2])
    assert np.nanmean(found) == pytest.approx(0.5)
    assert np.isnan(discrimination(real[:1], real[:1])).all()
    with pytest.raises(ValueError, match="differ"):
        discrimination(real, real[1:])


def test_average_precision_is_copairs() -> None:
    random = np.random.default_rng(0)
    names = np.repeat(["a", "b", "c"], 5)
    effect = np.repeat(random.normal(size=(3, 8)), 5, axis=0)
    queries, real, vehicle = (random.normal(size=(n, 8)) + e for n, e in ((15, effect), (15, effect), (40, 0)))
    meta = pd.DataFrame(
        {
            "compound": [*names, *names, *["DMSO"] * 40],
            "side": ["generated"] * 15 + ["real"] * 55,
            "treated": [True] * 30 + [False] * 40,
            "asked": [True] * 15 + [False] * 55,
        }
    )
    expected = copairs_average_precision(
        meta, np.concatenate([queries, real, vehicle]), pos_sameby=["compound"], pos_diffby=["asked"],
        neg_sameby=[], neg_diffby=["treated", "asked"], progress_bar=False,
    )  # fmt: skip
    asked = expected[expected["asked"]]
    assert set(asked["n_pos_pairs"]) == {5}
    assert set(asked["n_total_pairs"]) == {45}
    found = average_precision(queries, names, real, names, vehicle)
    np.testing.assert_allclose(found, asked["average_precision"].to_numpy(), atol=1e-6)
    chance = chance_of_average_precision(5, 40)
    np.testing.assert_allclose((found - chance) / (1 - chance), asked["normalized_average_precision"], atol=1e-6)
    assert found.min() < found.max()


def test_average_precision_by_hand_and_by_chance() -> None:
    real, negatives = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[0.8, 0.6], [0.0, 1.0]])
    found = average_precision(
        np.array([[1.0, 0.0], [0.0, 1.0]]), np.array(["a", "b"]), real, np.array(["a", "a"]), negatives
    )
    assert found[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert np.isnan(found[1]), "no real profile of b"
    tied = average_precision(real[:1], np.array(["a"]), real[:1], np.array(["a"]), real[:1])
    assert tied == [0.5], "a negative as near comes first"
    orders = [sum((k + 1) / (1 + p) for k, p in enumerate(sorted(o[:2]))) / 2 for o in permutations(range(5))]
    assert chance_of_average_precision(2, 3) == pytest.approx(np.mean(orders))
    with pytest.raises(ValueError, match="negatives are missing"):
        average_precision(real, np.array(["a", "a"]), real, np.array(["a", "a"]), negatives[:0])


@pytest.fixture(scope="module")
def wells(shared_data: Path) -> ljosa.Wells:
    return ljosa.read_wells(shared_data / "bbbc021")


@pytest.mark.parametrize(
    ("scale", "tvn", "mean", "right", "right_other_batch"),
    [
        ("percentile", False, True, 84, 66),
        ("percentile", False, False, 81, 66),
        ("z-score", False, True, 85, 67),
        ("centre", False, True, 90, 64),
        ("centre", True, True, 93, 66),
    ],
)
def test_published_per_well_means_tell_their_mechanism(
    wells: ljosa.Wells, scale: str, tvn: bool, mean: bool, right: int, right_other_batch: int
) -> None:
    profiles, labels = ljosa.treatments(wells, wells.corrected(scale, tvn), mean)  # type: ignore[arg-type]
    assert ljosa.nsc(profiles, labels) == ljosa.Answer(right, 103)
    assert ljosa.nscb(profiles, labels) == ljosa.Answer(right_other_batch, 92)


def test_the_published_wells_are_those_of_the_paper(wells: ljosa.Wells) -> None:
    assert wells.features.shape == (632, 516)
    vehicle = wells.table["compound"] == ljosa.VEHICLE
    assert (wells.table[vehicle].groupby("plate").size() == 6).all()
    assert wells.table["mechanism"].notna().all()
    assert wells.table.loc[~vehicle, "compound"].nunique() == 38
