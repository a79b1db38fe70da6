"""Correlation of profiles of cells against numpy's correlation of hand-made z-scores, and its meaning on known data."""

import dataclasses

import numpy as np
import pytest

from morphobench.metrics import METRICS, MorphologyProfileInputs, profile_correlation

METRIC = METRICS["profile_correlation"]


@pytest.fixture
def inputs() -> MorphologyProfileInputs:
    """Five compounds on three plates that differ in every measurement's level and scale."""
    random, f = np.random.default_rng(0), 20
    compounds, plates = np.repeat(list("abcde"), 12), np.tile(np.repeat(["p", "q", "r"], 4), 5)
    effect = 2 * random.normal(size=(5, f))
    levels = dict(zip("pqr", 5 * random.normal(size=(3, f)), strict=True))
    vehicle_plates = np.repeat(["p", "q", "r"], 30)

    def images(changes: np.ndarray, on: np.ndarray) -> np.ndarray:
        scales = np.array([{"p": 1.0, "q": 3.0, "r": 10.0}[plate] for plate in on])[:, None]
        return np.array([levels[plate] for plate in on]) + scales * (changes + random.normal(size=changes.shape))

    changes = np.repeat(effect, 12, axis=0)
    sides = images(changes, plates), images(changes, plates), images(np.zeros((90, f)), vehicle_plates)
    return MorphologyProfileInputs(*sides, compounds, plates, vehicle_plates)


def test_it_is_the_correlation_of_mean_z_scores(inputs: MorphologyProfileInputs) -> None:
    z = {}
    for name in ("generated", "real"):
        values = getattr(inputs, name).copy()
        for plate in "pqr":
            wells, rows = inputs.vehicle[inputs.vehicle_plates == plate], inputs.plates == plate
            values[rows] = (values[rows] - wells.mean(axis=0)) / wells.std(axis=0)
        z[name] = np.stack([values[inputs.compounds == compound].mean(axis=0) for compound in "abcde"])
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(z["generated"], z["real"], strict=True)]
    np.testing.assert_allclose(profile_correlation(*inputs.changes, inputs.compounds), expected)
    assert METRIC.score(inputs) == pytest.approx(np.mean(expected))
    assert METRIC.by_compound(inputs) == pytest.approx(dict(zip("abcde", expected, strict=True)))


def test_replicates_beat_the_wrong_drug_and_the_vehicle(inputs: MorphologyProfileInputs) -> None:
    wrong = dataclasses.replace(inputs, generated=np.roll(inputs.generated, 12, axis=0))
    untreated = np.concatenate([inputs.vehicle[inputs.vehicle_plates == plate][:4] for plate in "pqr"] * 5)
    nothing = dataclasses.replace(inputs, generated=untreated)
    assert METRIC.score(inputs) > 0.9
    assert abs(METRIC.score(nothing)) < 0.4
    assert METRIC.score(wrong) < 0.4


def test_level_and_scale_of_a_plate_do_not_matter(inputs: MorphologyProfileInputs) -> None:
    moved = {
        name: np.where(
            (getattr(inputs, plates) == "q")[:, None], 7 + 100 * getattr(inputs, name), getattr(inputs, name)
        )
        for name, plates in (("generated", "plates"), ("real", "plates"), ("vehicle", "vehicle_plates"))
    }
    assert METRIC.score(dataclasses.replace(inputs, **moved)) == pytest.approx(METRIC.score(inputs))


def test_what_cannot_be_correlated_is_said(inputs: MorphologyProfileInputs) -> None:
    with pytest.raises(ValueError, match="1 plates have no vehicle wells, the first is 'r'"):
        kept = inputs.vehicle_plates != "r"
        METRIC.score(
            dataclasses.replace(inputs, vehicle=inputs.vehicle[kept], vehicle_plates=inputs.vehicle_plates[kept])
        )
    broken = inputs.generated.copy()
    broken[3, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        METRIC.score(dataclasses.replace(inputs, generated=broken))
    assert METRIC.undefined(dataclasses.replace(inputs, dropped=4)) == 4
