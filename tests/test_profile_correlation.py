"""Correlation of profiles of cells against numpy's correlation of hand-made z-scores, and its meaning on known data."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file

from morphobench.datasets import load_tier
from morphobench.features.objects import OBJECT_COLUMNS, OBJECTS
from morphobench.features.profile import AREA_COLUMNS
from morphobench.features.segment import ENGINE
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
    for name, value in (("real", np.nan), ("vehicle", np.nan), ("generated", np.inf)):
        broken = getattr(inputs, name).copy()
        broken[3, 4] = value
        with pytest.raises(ValueError, match="not finite"):
            METRIC.score(dataclasses.replace(inputs, **{name: broken}))
    assert METRIC.undefined(dataclasses.replace(inputs, dropped=4)) == 4


def test_an_image_without_a_measurement_shows_no_change_in_any(inputs: MorphologyProfileInputs) -> None:
    broken = inputs.generated.copy()
    broken[[3, 20], [4, 5]] = np.nan
    generated, real = dataclasses.replace(inputs, generated=broken).changes
    assert (generated[[3, 20]] == 0).all()
    others = np.setdiff1d(np.arange(60), [3, 20])
    np.testing.assert_array_equal(generated[others], inputs.changes[0][others])
    np.testing.assert_array_equal(real, inputs.changes[1])


def test_blank_images_of_all_but_the_best_compounds_win_nothing(inputs: MorphologyProfileInputs) -> None:
    random = np.random.default_rng(1)
    noisy = inputs.generated + 20 * random.normal(size=inputs.generated.shape) * (inputs.compounds >= "c")[:, None]
    model = dataclasses.replace(inputs, generated=noisy)
    values = METRIC.by_compound(model)
    assert min(values[name] for name in "ab") > 0.9 > 0.75 > max(values[name] for name in "cde")
    assert min(values.values()) > 0
    blank = dataclasses.replace(model, generated=np.where((inputs.compounds >= "c")[:, None], np.nan, noisy))
    assert METRIC.by_compound(blank) == pytest.approx({**values, **dict.fromkeys("cde", 0.0)})
    assert METRIC.count(blank) == 5
    assert METRIC.undefined(blank) == 0
    assert METRIC.score(blank) == pytest.approx((values["a"] + values["b"]) / 5)
    assert METRIC.score(blank) < METRIC.score(model)
    low, high = METRIC.interval(blank, 100, 0)
    assert low < METRIC.score(blank) < high
    black = dataclasses.replace(model, generated=np.full_like(noisy, np.nan))
    assert METRIC.score(black) == 0


def test_a_mean_drug_that_knows_no_compound_scores_well_above_the_vehicle_on_sim() -> None:
    """Why the row is shown and not ranked: real images of all other compounds, averaged, stand in for each compound."""
    tier = load_tier("sim")
    folder = tier.folder / "features" / "sim"
    columns = (*AREA_COLUMNS[: len(OBJECTS)], "Count_Nuclei", *OBJECT_COLUMNS)
    real, vehicle = (
        np.stack([load_file(folder / f"{ENGINE}__{name}.safetensors")[column] for column in columns], axis=1)
        for name in ("id", "vehicle")
    )
    rows, beside = tier.rows("id"), tier.rows("vehicle")["plate"].to_numpy(str)
    compounds, plates = (rows[name].to_numpy(str) for name in ("compound", "plate"))
    mean_drug, undrugged, random = np.empty_like(real), np.empty_like(real), np.random.default_rng(0)
    for plate in np.unique(plates):
        here = plates == plate
        undrugged[here] = random.permutation(np.resize(vehicle[beside == plate], (here.sum(), len(columns))))
        for compound in np.unique(compounds[here]):
            mean_drug[here & (compounds == compound)] = real[here & (compounds != compound)].mean(axis=0)
    kept = np.isin(beside, plates)
    labels = vehicle[kept], compounds, plates, beside[kept]
    knows_nothing = MorphologyProfileInputs(mean_drug, real, *labels)
    none = METRIC.score(MorphologyProfileInputs(undrugged, real, *labels))
    assert 0.3 < METRIC.score(knows_nothing) < 0.42
    assert abs(none) < 0.15
    assert METRIC.interval(knows_nothing, 200, 0)[0] > none + 0.1
    assert not METRIC.ranked
