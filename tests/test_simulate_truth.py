"""Truth and interventions of the sim tier, held to its images and profiles."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_tier import tiny_tier
from typer.testing import CliRunner

from morphobench.cli import app
from morphobench.datasets import Tier, load_tier
from morphobench.datasets.sim import simulate_image
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.cells import NO_CELL, Fate, sample_population
from morphobench.datasets.simulate.culture import Culture, plate_culture, well_culture
from morphobench.datasets.simulate.intervention import counterfactual
from morphobench.datasets.simulate.mechanisms import MECHANISMS, activities
from morphobench.datasets.simulate.phenotypes import PHENOTYPES, population_params
from morphobench.datasets.simulate.render import streams
from morphobench.datasets.simulate.seeds import seed
from morphobench.datasets.simulate.truth import sample_truth, write_truth
from morphobench.errors import BadInput


@pytest.fixture(scope="module")
def tier() -> Tier:
    return load_tier("sim")


@pytest.fixture(scope="module")
def treated(tier: Tier) -> pd.Series:
    return tier.rows("id").query("compound == 'docetaxel' and plate == 'E01'").iloc[0]


@pytest.fixture(scope="module")
def vehicle(tier: Tier) -> pd.Series:
    return tier.rows("vehicle").query("plate == 'E01'").iloc[3]


def moved(a: dict[str, float], b: dict[str, float]) -> set[str]:
    return {name for name in a if a[name] != b[name]}


def test_the_truth_is_what_image_and_profile_were_made_from(tier: Tier, treated: pd.Series) -> None:
    version = tier.spec.version
    truth = sample_truth(version, treated)
    assert truth.activities == activities("docetaxel", treated["dose_um"])
    assert truth.params == population_params(truth.activities, truth.culture)
    assert truth.expression == pytest.approx(
        expression.truth(version, "docetaxel", treated["dose_um"], truth.culture), abs=1e-12
    )
    effect = expression.plate_effect(version, "E01")
    assert truth.expression_on_plate == pytest.approx(effect.apply(truth.expression))
    _, g_post = tier.expression(treated.to_frame().T)
    noise = expression.well_noise(version, treated["sample_id"])
    assert g_post[0] == pytest.approx(truth.expression_on_plate + noise, abs=1e-5)


def test_the_cell_table_is_the_population_of_the_image(tier: Tier, treated: pd.Series) -> None:
    truth = sample_truth(tier.spec.version, treated, 256)
    own = streams(seed(tier.spec.version, "image", treated["sample_id"]))[0]
    _, cells = sample_population(truth.activities, own, 256, truth.culture)
    assert len(truth.cells) == len(cells)
    assert truth.cells["in_frame"].tolist() == cells.in_frame(256).tolist()
    assert truth.cells["fate"].tolist() == [Fate(fate).name.lower() for fate in cells.fate]
    assert truth.cells["chromatin_bodies"].sum() == (cells.chromatin.cell != NO_CELL).sum()  # debris is no cell's
    assert (truth.cells.loc[truth.cells["fate"] == "binucleate", "chromatin_bodies"] == 2).all()
    small = sample_truth(tier.spec.version, treated, 128).cells
    for name in ("x", "y", "radius", "nucleus_x", "nucleus_radius"):
        assert truth.cells[name].to_numpy() == pytest.approx(2 * small[name].to_numpy())


def test_the_planted_nuclei_are_bright_where_the_table_says(tier: Tier, vehicle: pd.Series) -> None:
    image = simulate_image(*(tier.spec.version, vehicle["sample_id"], "DMSO", 0.0, vehicle["plate"]))
    cells = sample_truth(tier.spec.version, vehicle).cells.query("in_frame and fate == 'interphase'")
    column, row = (cells[name].round().astype(int).clip(0, 127) for name in ("nucleus_x", "nucleus_y"))
    at_nuclei = image[row, column, 2].astype(float)
    assert len(cells) > 5
    assert np.median(at_nuclei) > 2 * np.median(image[..., 2])


@pytest.mark.parametrize("which", ["treated", "vehicle"])
def test_no_intervention_gives_the_sample_itself(tier: Tier, which: str, request: pytest.FixtureRequest) -> None:
    sample = request.getfixturevalue(which)
    g_pre, g_post = tier.expression(sample.to_frame().T)
    image = simulate_image(
        tier.spec.version, sample["sample_id"], sample["compound"], sample["dose_um"], sample["plate"]
    )
    own = plate_culture(tier.spec.version, sample["plate"])
    same = [
        counterfactual(tier, sample),
        counterfactual(tier, sample.to_dict(), drug=sample["compound"], dose_um=sample["dose_um"]),
        counterfactual(tier, sample, g_pre=own, plate=sample["plate"], pathway={}),
    ]
    for found in same:
        assert found.image.tobytes() == image.tobytes()
        assert found.profile.tobytes() == g_post[0].tobytes()
        assert found.g_pre.tobytes() == g_pre[0].tobytes()
        pd.testing.assert_frame_equal(found.truth.cells, sample_truth(tier.spec.version, sample).cells)


def test_dose_0_is_the_vehicle(tier: Tier, treated: pd.Series) -> None:
    none, dmso = counterfactual(tier, treated, dose_um=0.0), counterfactual(tier, treated, drug="DMSO")
    assert none.image.tobytes() == dmso.image.tobytes()
    assert none.profile.tobytes() == dmso.profile.tobytes()
    culture = well_culture(tier.spec.version, treated["sample_id"], plate_culture(tier.spec.version, "E01"))
    assert none.truth.params == population_params({}, culture)
    assert none.truth.expression == pytest.approx(expression.untreated(tier.spec.version, culture), abs=1e-12)
    assert not np.array_equal(none.image, counterfactual(tier, treated).image)


def test_another_drug_acts_as_it_would_in_its_own_wells(tier: Tier, treated: pd.Series) -> None:
    found = counterfactual(tier, treated, drug="emetine", dose_um=1.0)
    assert found.truth.activities == activities("emetine", 1.0)
    own = counterfactual(tier, treated)
    change = found.truth.expression - own.truth.expression
    version = tier.spec.version
    expected = expression.response(version, "emetine", 1.0) - expression.response(
        version, "docetaxel", treated["dose_um"]
    )
    assert change == pytest.approx(expected, abs=1e-12)
    # The noise of the well is the same one.
    effect = expression.plate_effect(version, "E01")
    assert found.profile - own.profile == pytest.approx(effect.gain * change, abs=1e-5)
    assert found.g_pre.tobytes() == own.g_pre.tobytes()


def test_another_plate_changes_the_picture_and_no_cell(tier: Tier, treated: pd.Series) -> None:
    own, found = counterfactual(tier, treated), counterfactual(tier, treated, plate="R02")
    assert not np.array_equal(own.image, found.image)
    assert found.truth.params == own.truth.params
    assert found.truth.culture == own.truth.culture
    pd.testing.assert_frame_equal(found.truth.cells, own.truth.cells)
    assert np.array_equal(found.truth.expression, own.truth.expression)
    effect = expression.plate_effect(tier.spec.version, "R02")
    assert found.truth.expression_on_plate == pytest.approx(effect.apply(own.truth.expression))
    # G_pre and G_post are shown by the same plate, so the fold change barely moves.
    assert not np.allclose(found.g_pre, own.g_pre, atol=0.1)
    a, b = (x.profile.astype(float) - x.g_pre for x in (own, found))
    assert np.corrcoef(a, b)[0, 1] > 0.98


def test_another_g_pre_moves_expression_along_the_loadings_and_the_count(tier: Tier, vehicle: pd.Series) -> None:
    sparse, dense = (counterfactual(tier, vehicle, g_pre=Culture(density=d)) for d in (-1.0, 1.0))
    density, _ = expression.culture_loadings(tier.spec.version)
    assert dense.truth.expression - sparse.truth.expression == pytest.approx(2 * density, abs=1e-12)
    gain = expression.plate_effect(tier.spec.version, "E01").gain
    assert dense.g_pre - sparse.g_pre == pytest.approx(gain * 2 * density, abs=1e-4)
    assert dense.truth.params.count / sparse.truth.params.count == pytest.approx(np.exp(0.24))
    assert len(dense.truth.cells) > len(sparse.truth.cells)
    assert dense.truth.cells["radius"].median() < sparse.truth.cells["radius"].median()
    assert dense.truth.activities == sparse.truth.activities


def test_a_plates_name_as_g_pre_is_its_culture(tier: Tier, treated: pd.Series) -> None:
    named = counterfactual(tier, treated, g_pre="T04")
    given = counterfactual(tier, treated, g_pre=plate_culture(tier.spec.version, "T04"))
    assert named.image.tobytes() == given.image.tobytes()
    assert named.g_pre.tobytes() == given.g_pre.tobytes()
    # With the plate as well, G_pre is T04's own but for the wells' noise: 64 wells of 0.26 at a gain near 1.
    both = counterfactual(tier, treated, g_pre="T04", plate="T04")
    real, _ = tier.expression(tier.rows("vehicle").query("plate == 'T04'").head(1))
    assert (both.g_pre - real[0]).std() < 0.08


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_pathway_changes_what_its_phenotype_names(tier: Tier, vehicle: pd.Series, mechanism: str) -> None:
    version = tier.spec.version
    own, found = sample_truth(version, vehicle), counterfactual(tier, vehicle, pathway={mechanism: 0.6}).truth
    before, after = dataclasses.asdict(own.params), dataclasses.asdict(found.params)
    assert moved(before, after) == set(PHENOTYPES[mechanism])
    assert found.activities == own.activities | {mechanism: 0.6}
    assert found.culture == own.culture
    change = found.expression - own.expression
    signature = expression.signatures(version)[MECHANISMS.index(mechanism)]
    shared = change - 0.6 * signature  # what all active compounds share
    other = counterfactual(tier, vehicle, pathway={MECHANISMS[0]: 0.6}).truth.expression - own.expression
    assert shared == pytest.approx(other - 0.6 * expression.signatures(version)[0], abs=1e-12)


def test_a_pathway_can_be_shut_in_a_treated_well(tier: Tier, treated: pd.Series) -> None:
    shut = counterfactual(tier, treated, pathway={"Microtubule stabilizers": 0.0}).truth
    assert shut.activities == dict.fromkeys(MECHANISMS, 0.0)
    assert shut.params == population_params({}, shut.culture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drug": "aspirin"}, "compound 'aspirin'"),
        ({"drug": ""}, "compound ''"),
        ({"dose_um": -1.0}, "dose_um -1.0: give micromolar"),
        ({"dose_um": float("nan")}, "dose_um nan"),
        ({"pathway": {"Magic": 0.5}}, "mechanism 'Magic'"),
        ({"pathway": {"Epithelial": 1.5}}, "activity of 'Epithelial' is 1.5"),
        ({"g_pre": "Z01"}, "plate 'Z01': not in tier sim, which has E01"),
        ({"dose_um": "ten"}, "dose_um 'ten': give a number, micromolar, 0 or more"),
        ({"g_pre": np.zeros(978)}, "g_pre of type ndarray: give the name of a plate or a Culture"),
        ({"plate": "t01"}, "plate 't01': not in tier sim"),
    ],
)
def test_a_wrong_intervention_is_named(tier: Tier, treated: pd.Series, change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        counterfactual(tier, treated, **change)


def test_a_drug_for_a_vehicle_well_needs_a_dose(tier: Tier, vehicle: pd.Series) -> None:
    with pytest.raises(BadInput, match="is a vehicle well; give dose_um"):
        counterfactual(tier, vehicle, drug="emetine")
    assert counterfactual(tier, vehicle, drug="emetine", dose_um=1.0).truth.activities["Protein synthesis"] > 0


def test_a_tier_of_real_images_has_no_truth(tmp_path: Path) -> None:
    tiny = tiny_tier(tmp_path / "tier")
    real = dataclasses.replace(tiny, spec=tiny.spec.model_copy(update={"kind": "built"}))
    with pytest.raises(BadInput, match="its truth is not known"):
        counterfactual(real, real.samples.iloc[0])
    with pytest.raises(BadInput, match="its truth is not known"):
        write_truth(real, tmp_path / "out")


def test_the_tables_on_disk_hold_every_samples_truth(
    tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dataclasses.replace(tier, samples=tier.samples.iloc[::512])
    monkeypatch.setattr("morphobench.datasets.load_tier", lambda name: few)
    out = tmp_path / "truth"
    result = CliRunner().invoke(app, ["data", "truth", "--out", str(out)])
    assert result.exit_code == 0, result.output
    tables = {path.stem: pd.read_parquet(path) for path in out.glob("*.parquet")}
    for row, (_, sample) in enumerate(few.samples.iterrows()):
        truth = sample_truth(tier.spec.version, sample)
        written = tables["samples"].iloc[row]
        assert written["sample_id"] == sample["sample_id"]
        assert {m: written[f"activity:{m}"] for m in MECHANISMS} == truth.activities
        assert written["param:count"] == truth.params.count
        assert Culture(written["density"], written["stress"]) == truth.culture
        cells = tables["cells"].query("sample_id == @sample.sample_id").drop(columns="sample_id")
        pd.testing.assert_frame_equal(cells.reset_index(drop=True), truth.cells, check_categorical=False)
        for name in ("expression", "expression_on_plate"):
            values = tables[name].set_index("sample_id").loc[sample["sample_id"], list(tier.genes)]
            assert values.to_numpy(float) == pytest.approx(getattr(truth, name), abs=1e-5)
    about = json.loads((out / "truth.json").read_text())
    assert about["simulated"] is True
    assert about["version"] == tier.spec.version
    before = (out / "truth.json").read_bytes()
    with pytest.raises(BadInput, match="not empty; name a new folder"):
        write_truth(few, out)
    assert (out / "truth.json").read_bytes() == before
    with pytest.raises(BadInput, match=r"truth\.json: is a file"):
        write_truth(few, out / "truth.json")
