"""Predictions that learn nothing: each is what its name says, and scored as a submission would be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_tier import tiny_tier

from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.metrics import METRICS, ExpressionInputs, clustered_interval
from morphobench.scoring.trivial_predictions import (
    TrainingChanges,
    nearest_structures,
    training_changes,
    trivial_changes,
    trivial_predictions,
)
from morphobench.scoring.trivial_scores import trivial_scores

STRUCTURES = pd.DataFrame(
    {"compound": ["a", "b", "c", "d", "x", "y"], "smiles": ["CCO", "CCCO", "c1ccccc1", "", "CCCCO", ""]}
)
TRAINING = TrainingChanges(("a", "b", "c", "d"), np.diag([1.0, 2.0, 3.0, 4.0]))


def predictions(tier: Tier, track: str) -> dict[str, np.ndarray]:
    rows = tier.test_rows(track)
    return trivial_predictions(tier, track, rows["compound"].to_numpy(dtype=str), tier.expression(rows)[0])


def test_each_prediction_is_what_its_name_says() -> None:
    found = trivial_changes(TRAINING, STRUCTURES, ["a", "d", "x", "y"])
    mean = TRAINING.lfc.mean(axis=0)
    assert set(found) == {"no change", "training mean", "lookup", "nearest structure", "drugs shuffled"}
    assert (found["no change"] == 0).all()
    np.testing.assert_array_equal(found["training mean"], [mean] * 4)
    np.testing.assert_array_equal(found["lookup"][:2], TRAINING.lfc[[0, 3]])
    assert np.isnan(found["lookup"][2:]).all(), "nothing was trained on by these names"
    # ethanol is most like propanol, and so is butanol; what has no structure has no neighbour
    np.testing.assert_array_equal(found["nearest structure"], [TRAINING.lfc[1], mean, TRAINING.lfc[1], mean])
    rows = [row.tolist() for row in TRAINING.lfc]
    for own, row in zip([0, 3, None, None], found["drugs shuffled"].tolist(), strict=True):
        assert row in rows
        assert own is None or row != rows[own]


def test_nearest_structures_are_rdkits() -> None:
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    tier = load_tier("sim")
    trained = sorted(set(tier.training_rows("ood")["compound"]))
    asked = sorted(set(tier.test_rows("ood")["compound"]))
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    smiles = dict(zip(tier.compounds["compound"], tier.compounds["smiles"], strict=True))
    prints = {name: generator.GetFingerprint(Chem.MolFromSmiles(text)) for name, text in smiles.items() if text}
    for names in (asked, trained):
        for compound, neighbour in nearest_structures(trained, tier.compounds, names).items():
            assert neighbour != compound
            if not neighbour:
                assert not smiles[compound]
                continue
            likeness = {
                name: DataStructs.TanimotoSimilarity(prints[compound], prints[name])
                for name in trained
                if name in prints and name != compound
            }
            assert likeness[neighbour] == max(likeness.values())


def test_predictions_come_from_the_training_rows_of_the_track(tmp_path: Path) -> None:
    tier = tiny_tier(tmp_path)
    rows = tier.training_rows("id")
    g_pre, g_post = tier.expression(rows)
    alpha = (g_post - g_pre)[rows["compound"] == "alpha"].mean(axis=0)
    found = predictions(tier, "id")
    asked = tier.test_rows("id")
    before, _ = tier.expression(asked)
    own = (asked["compound"] == "alpha").to_numpy()
    np.testing.assert_allclose(found["lookup"][own], before[own] + alpha, rtol=1e-6)
    beta = (g_post - g_pre)[rows["compound"] == "beta/2"].mean(axis=0)
    for name in ("nearest structure", "drugs shuffled"):  # the only other one
        np.testing.assert_allclose(found[name][own], before[own] + beta, rtol=1e-6)
    assert np.isnan(predictions(tier, "ood")["lookup"]).all()
    # a track that holds alpha out: its lookup is gone, and the mean is that of the rest
    held = tier.spec.tracks["id"].model_copy(update={"held_out": ("alpha",)})
    spec = tier.spec.model_copy(update={"tracks": {"id": held}})
    cut = predictions(dataclasses.replace(tier, spec=spec), "id")
    assert np.isnan(cut["lookup"]).all()
    np.testing.assert_allclose(cut["training mean"], 8 + np.tile(beta, (len(cut["lookup"]), 1)), rtol=1e-6)


def test_compounds_without_measured_expression_train_nothing(tmp_path: Path) -> None:
    tier = tiny_tier(tmp_path)

    def without(rows: pd.DataFrame, missing: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        g_pre, g_post = tier.read_expression(rows)
        return g_pre, np.where(rows["compound"].isin(missing).to_numpy()[:, None], np.nan, g_post)

    some = dataclasses.replace(tier, read_expression=lambda rows: without(rows, ("alpha",)))
    assert training_changes(some, "id").compounds == ("beta/2",)
    none = dataclasses.replace(tier, read_expression=lambda rows: without(rows, ("alpha", "beta/2")))
    found = predictions(none, "id")
    assert all(np.isnan(post).all() == (name != "no change") for name, post in found.items())


@pytest.fixture
def inputs() -> ExpressionInputs:
    """Six compounds on three plates; the prediction is the truth with noise."""
    random = np.random.default_rng(0)
    compounds, plates = np.repeat([f"c{i}" for i in range(6)], 6), np.tile(np.repeat(["p", "q", "r"], 2), 6)
    pre = 8 + random.normal(size=(36, 40))
    post = pre + np.repeat(random.normal(size=(6, 40)), 6, axis=0) + 0.5 * random.normal(size=(36, 40))
    return ExpressionInputs(post + 2 * random.normal(size=post.shape), post, pre, compounds, plates)


def test_a_difference_is_taken_draw_by_draw(inputs: ExpressionInputs) -> None:
    metric = METRICS["lfc_pearson_vehicle"]
    value = metric.score(inputs)
    wrong = np.roll(inputs.predicted_post - inputs.pre, 6, axis=0) + inputs.pre
    nothing = np.full_like(wrong, np.nan)
    same, swapped, undefined = trivial_scores(
        metric, inputs, value, {"same": inputs.predicted_post, "swapped": wrong, "undefined": nothing}, 100, 0
    )
    assert (same.value, same.difference) == (value, None), "nothing is known of the spread of no difference"
    other = dataclasses.replace(inputs, predicted_post=wrong)
    assert swapped.value == metric.score(other)
    draws = metric.resample(inputs, 100, 0) - metric.resample(other, 100, 0)
    assert swapped.difference == clustered_interval(value - metric.score(other), draws, inputs.clusters)
    assert swapped.difference[0] > 0
    assert undefined.value is None
    assert "undefined for 6 of 6 compounds" in undefined.reason
    assert trivial_scores(metric, inputs, value, {"swapped": wrong}, 0, 0)[0].difference is None


def test_pairing_is_finer_than_two_intervals(inputs: ExpressionInputs) -> None:
    """What both owe to hard compounds cancels."""
    metric = METRICS["lfc_pearson_vehicle"]
    noise = 0.3 * np.random.default_rng(1).normal(size=inputs.pre.shape)
    worse = dataclasses.replace(inputs, predicted_post=inputs.predicted_post + noise)
    (near,) = trivial_scores(metric, inputs, metric.score(inputs), {"worse": worse.predicted_post}, 200, 0)
    assert near.difference is not None
    own = metric.interval(inputs, 200, 0)
    assert near.difference[1] - near.difference[0] < 0.5 * (own[1] - own[0])


def test_a_prediction_without_a_score_says_why(inputs: ExpressionInputs) -> None:
    metric = METRICS["lfc_pearson"]
    (found,) = trivial_scores(metric, inputs, metric.score(inputs), {"no change": inputs.pre}, 50, 0)
    assert found.value is None
    assert "the same for all 6 compounds" in found.reason
