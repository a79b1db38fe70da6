"""MorphoGene's frozen splits, its tracks, and how far held-out compounds are from training."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.Scaffolds import MurckoScaffold
from test_manifest import script
from tiny_tier import tiny_tier
from typer.testing import CliRunner

from morphobench import evaluation
from morphobench.cli import app
from morphobench.datasets import Tier, Track, load_compounds, load_tier
from morphobench.datasets.morphogene import split_rules
from morphobench.datasets.morphogene.build import ALL_FIELDS, ALL_PLATES
from morphobench.datasets.morphogene.folder import load_frozen
from morphobench.errors import BadInput, Unavailable
from morphobench.ingest.submission import new_submission, open_submission
from morphobench.request import chosen_tracks
from morphobench.scoring.notes import training_note

NAMED = ("ood-impa", "ood-cellflux", "ood-morphodiff")
PAIRED_PLATES = {"Week7_34681", "Week8_38342"}
"""The second plates of the two layouts that have no third: their wells are dealt to test and replicates."""


@pytest.fixture(scope="module")
def fields() -> pd.DataFrame:
    return split_rules.frozen_fields()


@pytest.fixture(scope="module")
def tier() -> Tier:
    return load_frozen("morphogene")


def test_the_script_derives_the_same_table_from_the_real_image_table(fields, shared_data):
    derived = script("derive_splits").morphogene(shared_data / "bbbc021")
    pd.testing.assert_frame_equal(derived, fields, check_dtype=False)


def test_every_field_of_every_compound_is_there_once(fields):
    compounds = load_compounds().set_index("compound")
    treated = fields[fields["compound"] != "DMSO"]
    assert (len(fields), len(treated), fields["plate"].nunique()) == (ALL_FIELDS, 10_568, ALL_PLATES)
    assert treated["compound"].value_counts().to_dict() == compounds["n_images"].to_dict()
    assert not fields.duplicated(split_rules.FIELD).any()
    assert set(fields["split"]) == set(split_rules.SPLITS)
    assert (fields.loc[fields["split"] == "vehicle", "compound"] == "DMSO").all()


def test_no_well_and_no_training_plate_is_in_two_splits(fields):
    assert (fields.groupby(["plate", "well"])["split"].nunique() == 1).all()
    plates = fields.groupby("split")["plate"].agg(set)
    training = plates["train"] | plates["ood_train"]
    tested, replicates = plates["id"] | plates["ood"], plates["id_replicate"] | plates["ood_replicate"]
    assert not training & (tested | replicates)
    assert tested & replicates == PAIRED_PLATES
    assert (len(training), len(tested), len(replicates)) == (19, 19, 19)
    assert plates["vehicle"] == training | tested | replicates


def test_every_compound_has_its_three_roles(fields):
    cohorts = split_rules.cohorts()
    counts = fields.groupby(["compound", "split"]).size()
    for compound, cohort in cohorts.items():
        roles = ["train", "id", "id_replicate"] if cohort == "ID" else ["ood_train", "ood", "ood_replicate"]
        assert sorted(counts[compound].index) == sorted(roles)
        assert counts[compound].min() >= 16
    layouts = fields.groupby("layout")["plate"].nunique()
    assert layouts.value_counts().to_dict() == {3: 17, 2: 2}


def test_where_a_plate_is_shared_both_sides_have_doses_of_the_whole_series(fields):
    shared = fields[fields["plate"].isin(PAIRED_PLATES) & (fields["compound"] != "DMSO")].drop_duplicates("well")
    for (plate, compound), own in shared.groupby(["plate", "compound"]):
        replicate = own.sort_values("dose_um")["split"].str.endswith("_replicate").to_numpy()
        assert abs(int(replicate.sum()) - int((~replicate).sum())) <= 1, (plate, compound)
        # No two neighbours in the dose series are both on one side, but where a dose has several wells.
        if own["dose_um"].is_unique:
            assert (replicate[1:] != replicate[:-1]).all(), (plate, compound)


def test_the_rule_on_plates_made_by_hand():
    wells = [(f"C{number:02d}", dose) for number, dose in enumerate((8.0, 4.0, 2.0, 1.0), start=1)]
    plates = [("b", 1, 1), ("a", 2, 1), ("c", 3, 1), ("z", 1, 2), ("y", 2, 2)]  # name, replicate, layout
    rows = [
        {
            "plate": plate,
            "well": f"{row}{well}",
            "replicate": replicate,
            "layout": layout,
            "compound": name,
            "dose_um": dose,
        }
        for plate, replicate, layout in plates
        for row, name in (("R", "known"), ("S", "new"))
        for well, dose in wells
    ] + [{"plate": "b", "well": "A01", "replicate": 1, "layout": 1, "compound": "DMSO", "dose_um": 0.0}]
    table = pd.DataFrame(rows)
    dealt = split_rules.deal_splits(table, {"known": "ID", "new": "OOD"})
    by = {key: own.tolist() for key, own in dealt.groupby([table["plate"], table["compound"]])}
    assert by["b", "known"] == ["train"] * 4
    assert by["a", "known"] == ["id"] * 4
    assert by["c", "new"] == ["ood_replicate"] * 4
    assert by["z", "new"] == ["ood_train"] * 4
    assert by["y", "known"] == ["id_replicate", "id", "id_replicate", "id"]  # doses fall; the lowest is tested
    assert by["b", "DMSO"] == ["vehicle"]
    shuffled = table.sample(frac=1, random_state=0)
    again = split_rules.deal_splits(shuffled, {"known": "ID", "new": "OOD"})
    pd.testing.assert_series_equal(again.sort_index(), dealt)


def test_default_tracks_are_the_two_cohorts(tier):
    assert tier.default_tracks == ("id", "ood")
    assert tuple(tier.spec.tracks) == ("id", "ood", *NAMED)
    assert chosen_tracks(tier, ()) == ("id", "ood")
    assert tier.held_out("id") == ()
    assert len(tier.held_out("ood")) == 54
    pd.testing.assert_frame_equal(tier.training_rows("ood"), tier.rows("train"))
    pd.testing.assert_frame_equal(tier.test_rows("id"), tier.rows("id"))


@pytest.mark.parametrize("track", NAMED)
def test_a_named_track_tests_its_list_and_trains_on_all_others(tier, track):
    listed = set(tier.track(track).held_out)
    tested, replicates, trained = tier.test_rows(track), tier.replicate_rows(track), tier.training_rows(track)
    everything = set(load_compounds()["compound"])
    assert listed <= everything
    assert set(tested["compound"]) == set(replicates["compound"]) == listed == set(tier.held_out(track))
    assert set(trained["compound"]) == everything - listed
    assert set(trained["split"]) == {"train", "ood_train"}
    assert not set(trained["plate"]) & set(tested["plate"])
    assert not set(tested["sample_id"]) & set(replicates["sample_id"])
    for _, own in tested.groupby("compound"):
        assert own["index"].tolist() == list(range(len(own)))


def test_published_lists_share_at_most_one_compound(tier):
    lists = [set(tier.track(track).held_out) for track in NAMED]
    assert [len(names) for names in lists] == [10, 8, 5]
    assert [len(a & b) for a, b in ((lists[0], lists[1]), (lists[0], lists[2]), (lists[1], lists[2]))] == [1, 1, 0]


@pytest.mark.parametrize("track", ["ood", *NAMED])
def test_distances_are_rdkits(tier, track):
    smiles = tier.compounds.set_index("compound")["smiles"]
    trained = [name for name in sorted(set(tier.training_rows(track)["compound"])) if smiles[name]]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    prints = {name: generator.GetFingerprint(Chem.MolFromSmiles(smiles[name])) for name in smiles.index if smiles[name]}
    known = {MurckoScaffold.MurckoScaffoldSmiles(smiles[name]) for name in trained}
    table = tier.distances(track)
    assert tuple(table["compound"]) == tier.held_out(track)
    for row in table.itertuples():
        if not smiles[row.compound]:
            assert np.isnan(row.tanimoto)
            assert row.neighbour == ""
            assert row.scaffold_seen is pd.NA
            continue
        all_of_them = DataStructs.BulkTanimotoSimilarity(prints[row.compound], [prints[name] for name in trained])
        assert row.tanimoto == pytest.approx(max(all_of_them))
        assert row.neighbour == trained[int(np.argmax(all_of_them))]
        own = MurckoScaffold.MurckoScaffoldSmiles(smiles[row.compound])
        assert row.scaffold_seen is pd.NA if not own else row.scaffold_seen == (own in known)
    moa = tier.compounds.set_index("compound")["moa"]
    seen = set(moa[sorted(set(tier.training_rows(track)["compound"]))])
    assert [None if value is pd.NA else bool(value) for value in table["mechanism_seen"]] == [
        None if not moa[name] else moa[name] in seen for name in table["compound"]
    ]


def test_analogues_are_found(tier):
    table = tier.distances("ood").set_index("compound")
    assert table.loc["demecolcine", "neighbour"] == "colchicine"
    assert table.loc["mevinolin/lovastatin", "neighbour"] == "simvastatin"
    assert table.loc["taxol", "neighbour"] == "docetaxel"
    assert table["tanimoto"].isna().sum() == 10


def test_sim_tracks_are_what_they_were():
    sim = load_tier("sim")
    assert sim.default_tracks == tuple(sim.spec.tracks) == ("id", "ood")
    for track in ("id", "ood"):
        pd.testing.assert_frame_equal(sim.test_rows(track), sim.rows(track))
        pd.testing.assert_frame_equal(sim.replicate_rows(track), sim.rows(f"{track}_replicate"))
        pd.testing.assert_frame_equal(sim.training_rows(track), sim.rows("train"))
    assert len(sim.distances("ood")) == 54


def test_the_frozen_tier_has_no_pixels(tier):
    with pytest.raises(Unavailable, match=r"tier morphogene: not built at .*morphobench data build morphogene"):
        tier.images(tier.rows("id"))
    with pytest.raises(Unavailable, match="not built"):
        tier.conditions("id")


@pytest.fixture
def named(tmp_path: Path) -> Tier:
    """The tiny tier with training images of its OOD compounds and a track `ood-x` that holds out alpha and gamma."""
    tier = tiny_tier(tmp_path / "tier")
    more = tier.rows("train").assign(split="ood_train")
    more["compound"] = more["compound"].map({"alpha": "gamma", "beta/2": "delta"})
    more["sample_id"] = [f"ood_train-{row.compound}-{row.Index}" for row in more.itertuples()]
    track = Track(
        title="x", split=("id", "ood"), replicate_split=("id_replicate", "ood_replicate"),
        training_split=("train", "ood_train"), held_out=("alpha", "gamma"), default=False,
    )  # fmt: skip
    spec = tier.spec.model_copy(update={"tracks": {**tier.spec.tracks, "ood-x": track}})
    return dataclasses.replace(tier, spec=spec, samples=pd.concat([tier.samples, more], ignore_index=True))


@pytest.mark.parametrize(
    ("track", "declared", "note"),
    [
        ("ood", "", None),
        ("ood", "id", None),
        ("ood-x", "own", None),
        ("ood-x", "ood-x", None),
        ("ood-x", "", "no training_set; the train split holds 1 of the 2 compounds held out here: alpha"),
        ("ood-x", "ood", "training_set = 'ood', not this track's training set; that set holds 1 of the 2 .*: alpha"),
        (
            "ood",
            "ood-x",
            "training_set = 'ood-x', not this .*; that set holds 1 of the 2 compounds held out here: delta",
        ),
        ("id", "ood-x", "training_set = 'ood-x', not this track's training set; that set holds 0 of the 0 .*"),
    ],
)
def test_another_training_set_is_noted(named, track, declared, note):
    lines = training_note(named, track, declared)
    assert len(lines) == (note is not None)
    if note is not None:
        assert re.fullmatch(f"{track}: the submission declares {note}", lines[0]), lines


def test_controls_answer_a_named_track_from_its_own_training_set(named, tmp_path, monkeypatch):
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    result = evaluation.evaluate("copycat", tier=named, tracks=["ood-x"], folder=tmp_path / "run")
    assert {score.track for score in result.report.scores} == {"ood-x"}
    assert result.report.submission.training_set == "own"
    assert not [note for note in result.report.notes if "training_set" in note]
    (contents,) = result.tracks
    assert set(contents.train_mechanisms) == {"two", ""}, "of beta/2 and delta; alpha and gamma have another"
    assert set(contents.compounds) == {"alpha", "gamma"}
    with pytest.raises(BadInput, match=r"images/id/alpha/0000\.png is missing"):
        open_submission(tmp_path / "run" / "submission", named)


def test_a_submission_may_answer_a_named_track_and_must_name_a_known_training_set(named, tmp_path):
    new_submission(tmp_path / "all", named)
    assert set(pd.read_csv(tmp_path / "all" / "conditions.csv")["track"]) == {"id", "ood"}
    new_submission(tmp_path / "x", named, ["ood-x"])
    assert set(pd.read_csv(tmp_path / "x" / "conditions.csv")["track"]) == {"ood-x"}
    manifest = tmp_path / "x" / "submission.toml"
    manifest.write_text(manifest.read_text().replace('training_set = ""', 'training_set = "ood-y"'))
    with pytest.raises(
        BadInput, match=r"submission.toml: training_set: 'ood-y' is no track of tiny; name one of id, ood"
    ):
        open_submission(tmp_path / "x", named, ["ood-x"])


@pytest.mark.parametrize("name", ["morphogene", "morphogene-paper"])
def test_the_documented_description_is_what_data_info_prints(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    printed = CliRunner().invoke(app, ["data", "info", "--tier", name])
    assert printed.exit_code == 0
    page = (Path(__file__).parents[1] / "docs" / "splits.md").read_text(encoding="utf-8")
    assert f"$ morphobench data info --tier {name}\n{printed.stdout}```" in page


def test_data_info_lists_the_distances_of_a_track(tmp_path, monkeypatch):
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    arguments = ["data", "info", "--tier", "morphogene", "--track", "ood-morphodiff"]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0
    rows = [line.split() for line in printed.stdout.splitlines()[-5:]]
    assert {row[0] for row in rows} == {"vinblastine", "AG-1478", "bryostatin", "podophyllotoxin", "forskolin"}
    assert rows[-1][:3] == ["bryostatin", "NaN", "<NA>"]
    page = (Path(__file__).parents[1] / "docs" / "splits.md").read_text(encoding="utf-8")
    assert f"$ morphobench {' '.join(arguments)}\n" in page
    assert printed.stdout.split("morphodiff", 1)[1] in page
