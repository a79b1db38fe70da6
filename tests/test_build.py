"""Building the morphogene tier: from real tables, pixels and profiles where at hand, and from small made ones."""

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from bbbc021_layout import (
    MECHANISMS,
    PIXELS,
    frozen_rows,
    lay_out,
    real_rows,
    rendered_source,
    tiff_bytes,
    window,
    write_mechanisms,
)
from typer.testing import CliRunner

from morphobench import storage
from morphobench.cli import app
from morphobench.datasets import SPLITS, bbbc021, load_tier
from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.datasets.morphogene import split_rules
from morphobench.datasets.morphogene.build import _choose_plates, build, built_path, load_built, verify
from morphobench.errors import BadInput, Unavailable
from morphobench.evaluation import evaluate
from morphobench.models import load_model

PLATES = ["Week3_25681", "Week3_25701", "Week3_25721"]
COMPOUNDS = {"DMSO": 4, "emetine": 2, "PD-98059": 2, "demecolcine": 2}  # wells; two ID with profiles, one OOD without


def write_level3(folder: Path, compounds: list[str]) -> Path:
    """A GCTX of 978 genes: per plate two vehicle wells, and one well of each compound, MCF7 at 24 h."""
    table = load_compounds().set_index("compound")
    treated = [("trt_cp", table.loc[name, "l1000_pert_ids"].split("|")[0], name) for name in compounds]
    wells = [(plate, *well) for plate in ("P1", "P2") for well in [("ctl_vehicle", "DMSO", "DMSO")] * 2 + treated]
    columns = {
        "id": [f"{plate}:{number}" for number, (plate, *_) in enumerate(wells)],
        "rna_plate": [plate for plate, *_ in wells],
        "pert_type": [kind for _, kind, *_ in wells],
        "pert_id": [ids for *_, ids, _ in wells],
        "pert_iname": [name for *_, name in wells],
        "cell_id": ["MCF7"] * len(wells),
        "pert_itime": ["24 h"] * len(wells),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "level3.gctx", "w") as file:
        file["0/DATA/0/matrix"] = np.random.default_rng(1).uniform(4, 14, (len(wells), 978)).astype(np.float32)
        file["0/META/ROW/id"] = load_landmarks()["entrez_id"].to_numpy().astype("S")
        for name, values in columns.items():
            file[f"0/META/COL/{name}"] = np.array(values, "S")
    return folder


def made_rows() -> pd.DataFrame:
    """Image-table rows of one layout of three plates: on each a vehicle, an ID and an OOD well, one field each."""
    fields = split_rules.frozen_fields()
    fields = fields[fields["plate"].isin(PLATES) & fields["compound"].isin(["DMSO", "emetine", "taxol"])]
    fields = fields.drop_duplicates(["plate", "compound"])
    return pd.DataFrame(
        [
            {
                **{f"Image_FileName_{stain}": f"{field.well}_s{field.site}_{mark}X.tif" for stain, mark in marks},
                "Image_PathName_DAPI": f"Week3/{field.plate}",
                "Image_Metadata_Plate_DAPI": field.plate,
                "Image_Metadata_Well_DAPI": field.well,
                "Replicate": field.replicate,
                "Image_Metadata_Compound": field.compound,
                "Image_Metadata_Concentration": field.dose_um,
            }
            for field in fields.itertuples()
            for marks in [(("DAPI", "w1"), ("Tubulin", "w2"), ("Actin", "w4"))]
        ]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `images` and `l1000`, made of noise."""
    folder = tmp_path_factory.mktemp("made")
    moa = folder / "moa.csv"
    moa.write_text("compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n")
    source = np.random.default_rng(0).integers(200, 4000, (3, 101, 103), dtype=np.uint16)
    lay_out(folder / "images", made_rows(), source, moa)
    write_level3(folder / "l1000", ["emetine"])
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module", params=["simulated", "real"])
def real(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, np.ndarray, str]:
    """(laid-out images, built tier, source of the pixels, what the title says of the cells: nothing of the usual ones).

    Wells of the frozen split table, simulated pixels and made profiles; or, where they are at hand, rows of the real
    image table, CC0 microscope pixels and real Level 3 profiles.
    """
    folder = tmp_path_factory.mktemp("real")
    if request.param == "simulated":
        source, rows, moa = rendered_source(), frozen_rows(PLATES, COMPOUNDS), write_mechanisms(folder / "tables")
        profiles, cell, hours = write_level3(folder / "l1000", ["emetine", "PD-98059"]), "MCF7", 24.0
    else:
        shared = request.getfixturevalue("shared_data")
        source, moa, profiles, cell, hours = (
            tifffile.imread(shared / PIXELS),
            shared / MECHANISMS,
            shared / "l1000",
            "HT115",
            6.0,
        )
        rows = pd.concat(real_rows(shared, PLATES, [name], wells, sites=1) for name, wells in COMPOUNDS.items())
    images = lay_out(folder / "images", rows, source, moa)
    out = build("morphogene", images, profiles, out=folder / "tier", cell=cell, hours=hours)
    return images, out, source, "" if cell == "MCF7" else f"{cell} at {hours:g} h"


def test_real_build_holds_what_was_laid_out(real):
    tier = load_built("morphogene", real[1])
    counts = {"train": 4, "id": 4, "ood": 2, "id_replicate": 4, "ood_replicate": 2, "ood_train": 2, "vehicle": 12}
    assert tier.spec.counts == counts
    assert "PARTIAL BUILD: 3 of 55 plates, 3 of 98 compounds, 30 of 11,888 fields" in tier.spec.title
    assert real[3] in tier.spec.title
    assert tier.samples["sample_id"].is_unique
    assert set(tier.rows("train")["plate"]) == {PLATES[0]}
    assert set(tier.rows("ood")["mechanism"]) == {"Microtubule destabilizers"}
    # images, tables, the records of three plates and of the expression
    assert verify("morphogene", real[1]) == 30 + 6 + 4
    condition = next(iter(tier.conditions("id")))
    assert (condition.compound, condition.plate, condition.index) == ("emetine", PLATES[1], 0)


def test_real_build_puts_the_right_pixels_under_the_right_name(real):
    source = real[2]
    fields = bbbc021.read_image_table(real[0]).set_index(["plate", "well", "site"])
    tier = load_built("morphogene", real[1])
    contrast = json.loads((real[1] / "build.json").read_text())["contrast"]
    rows = tier.samples.iloc[[0, 7, 12, 21]]
    for row, image in zip(rows.itertuples(), tier.images(rows).take(range(4)), strict=True):
        name = fields.loc[(row.plate, row.well, row.site), "dna"]
        laid_out = window(source, f"{row.plate}/{name}")[::-1, 256:768, 384:896]  # actin, tubulin, DNA
        for channel in range(3):  # what the illumination correction changes is smooth and small
            low, high = contrast[row.plate]["low"][channel], contrast[row.plate]["high"][channel]
            expected = np.clip(laid_out[channel], low, high)
            assert np.corrcoef(expected.ravel(), image[..., channel].ravel())[0, 1] > 0.98


def test_real_build_has_real_profiles_and_says_where_there_are_none(real):
    tier = load_built("morphogene", real[1])
    before, after = tier.expression(tier.rows("id"))
    assert before.shape == after.shape == (4, 978)
    assert np.isfinite(after).all()
    assert 0.05 < np.abs(after - before).mean() < 5
    before, after = tier.expression(tier.rows("ood"))
    assert np.isfinite(before).all()
    assert np.isnan(after).all()
    before, after = tier.expression(tier.rows("vehicle"))
    np.testing.assert_array_equal(before, after)


def test_a_control_is_scored_on_the_real_build(real, cache):
    tier = load_built("morphogene", real[1])
    lite = "efficientnet_lite0"
    result = evaluate(
        "real-replicates", tier=tier, tracks=["id"], folder=cache / "run", extractors=[lite], embedding=lite
    )
    scores = {score.key: score for score in result.report.scores}
    assert not result.report.simulated
    assert result.report.split_sha256 == tier.split_sha256
    # one profile per compound: a replicate's would be the answer itself
    assert scores["lfc_pearson_vehicle"].value is None
    assert "predicts no expression" in scores["lfc_pearson_vehicle"].reason
    assert scores[f"kd[{lite}]"].value is None
    assert (
        "too few" in scores[f"kd[{lite}]"].reason
    )  # four images say nothing of a distribution, and the report says so
    area = result.tracks[0].real_area["nuclei"]
    assert 0.01 < area.mean() < 0.3


def test_build_loads_by_name_and_is_the_same_twice(made, cache):
    folder = build("morphogene", made / "images", made / "l1000")
    assert folder == built_path("morphogene") == cache / "tiers" / "morphogene"
    again = build("morphogene", made / "images", made / "l1000", out=cache / "again")
    assert storage.read_sums(folder) == storage.read_sums(again)
    tier = load_tier("morphogene")
    assert tier.spec.counts == dict.fromkeys((*SPLITS, "ood_train"), 1) | {"vehicle": 3}
    images = tier.images(tier.samples)
    assert len(images) == 9
    np.testing.assert_array_equal(np.concatenate(list(images.batches(3))), images.take(range(9)))
    assert images.digest() != tier.images(tier.samples.iloc[::-1]).digest()


def test_a_build_keeps_its_matches_and_the_structures_it_filled(made, tmp_path, monkeypatch):
    images = tmp_path / "images"
    shutil.copytree(made / "images", images)
    smiles = load_compounds().set_index("compound")["smiles"]
    without = load_compounds().assign(smiles=lambda table: table["smiles"].where(table["compound"] != "emetine", ""))
    monkeypatch.setattr("morphobench.datasets.morphogene.build.load_compounds", lambda: without)
    lines: list[str] = []
    out = build("morphogene", images, made / "l1000", tmp_path / "tier", progress=lines.append)
    assert load_built("morphogene", out).compounds.set_index("compound").loc["emetine", "smiles"] == ""
    assert any("compounds.csv alone: no BBBC021_v1_compound.csv in" in line for line in lines)
    (images / "BBBC021_v1_compound.csv").write_text(f"compound,smiles\nemetine,{smiles['emetine']}\n")
    out = build("morphogene", images, made / "l1000", out, matching="name", dose=None, progress=lines.append)
    assert "structures from BBBC021_v1_compound.csv: 1 filled, 14 compounds without" in lines
    (images / "BBBC021_v1_compound.csv").unlink()
    (images / "BBBC021_v1_compound.csv.gz").write_bytes(
        gzip.compress(f"compound,smiles\nemetine,{smiles['emetine']}\n".encode())
    )
    build("morphogene", images, made / "l1000", out, matching="name", progress=lines.append)
    assert "structures from BBBC021_v1_compound.csv.gz: 1 filled, 14 compounds without" in lines
    tier = load_built("morphogene", out)
    assert tier.compounds.set_index("compound").loc["emetine", "smiles"] == smiles["emetine"]
    assert {condition.smiles for condition in tier.conditions("id")} == {smiles["emetine"]}
    assert tier.spec.title.endswith(", expression matched by name")
    matches = pd.read_csv(out / "matches.csv", keep_default_na=False)
    (row,) = matches[matches["treated_wells"] > 0].itertuples()
    assert (row.compound, row.how, row.treated_wells, row.cohort) == ("emetine", "name", 2, "ID")
    about = json.loads((out / "build.json").read_text())
    assert (about["matching"], about["dose_um"]) == ("name", None)
    (images / "BBBC021_v1_compound.csv").write_text("compound,smiles\nemetine,CCO\n")
    with pytest.raises(BadInput, match=r"BBBC021_v1_compound.csv: line 2: compound 'emetine': SMILES CCO"):
        build("morphogene", images, made / "l1000", out)
    (out / "compounds.csv").write_text("changed")
    with pytest.raises(BadInput, match=r"compounds.csv: sha256 .* run `morphobench data build morphogene` again"):
        load_built("morphogene", out)


def test_the_command_line_hands_matching_and_dose_on(made, cache):
    command = ["data", "build", "morphogene", "--images", str(made / "images"), "--l1000", str(made / "l1000")]
    result = CliRunner().invoke(app, [*command, "--matching", "name", "--dose", "10"])
    assert "--dose 10: no treated well has a dose" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--matching", "sound"])
    assert result.exit_code == 2
    result = CliRunner().invoke(app, [*command, "--matching", "name"])
    assert result.exit_code == 0
    assert load_tier("morphogene").spec.title.endswith(", expression matched by name")


def test_plates_and_compounds_choose_a_part(made, tmp_path):
    out = build("morphogene", made / "images", made / "l1000", tmp_path / "t", compounds=["emetine"], plates=PLATES)
    tier = load_built("morphogene", out)
    assert tier.compounds["compound"].tolist() == ["emetine"]
    assert list(tier.spec.tracks) == ["id"]
    assert tier.default_tracks == ("id",)
    whole = build("morphogene", made / "images", made / "l1000", tmp_path / "whole", plates=PLATES)
    pictures, all_pictures = (
        {name: digest for name, digest in storage.read_sums(folder).items() if name.startswith("images/")}
        for folder in (out, whole)
    )
    assert len(pictures) < len(all_pictures)
    assert pictures.items() <= all_pictures.items()  # fields that are not wanted still light the plate
    out = build("morphogene", made / "images", made / "l1000", tmp_path / "t", plates=PLATES[:2])
    assert set(load_built("morphogene", out).samples["plate"]) == set(PLATES[:2])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"compounds": ["asprin"]}, "--compounds 'asprin': not one of the 98"),
        ({"plates": ["Week99_1"]}, "--plates 'Week99_1': not in the image table"),
        (
            {"compounds": ["taxol"]},
            "give only the splits ood, ood_replicate, ood_train, vehicle; for train add compounds of the ID cohort",
        ),
        ({"cell": "HT29"}, "no Level 3 well of HT29 at 24 h.*--cell MCF7 --hours 24"),
        ({"l1000_folder": Path("nowhere")}, "nowhere: not a folder; .* --l1000"),
        ({"l1000_folder": None, "l1000_source": "lincs2030"}, "'lincs2030': choose one of lincs2020, gse92742"),
        ({"l1000_source": "lincs2020"}, "--l1000-source lincs2020 and --l1000 .*: one is downloaded.*; give one"),
        ({"name": "sim"}, "tier 'sim': not one that is built; there is morphogene-paper, morphogene"),
    ],
)
def test_bad_choices_are_one_line(made, tmp_path, chosen, message):
    arguments = {"name": "morphogene", "images": made / "images", "l1000_folder": made / "l1000", "out": tmp_path / "t"}
    with pytest.raises(BadInput, match=message) as caught:
        build(**{**arguments, **chosen})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_a_build_replaces_nothing_but_its_own_tier(made, tmp_path):
    def refused(out: Path, name: str = "morphogene") -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(BadInput) as caught:
            build(name, made / "images", made / "l1000", out)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return str(caught.value)

    (tmp_path / "file").write_text("precious")
    assert "file: is a file; name a folder" in refused(tmp_path / "file")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "thesis.txt").write_text("precious")
    assert "others: holds thesis.txt and is no tier, and a build would replace it" in refused(tmp_path / "others")
    (tmp_path / "others" / "SHA256SUMS").write_text(f"{'0' * 64}  thesis.txt\n")
    assert "and is no tier" in refused(tmp_path / "others")
    (tmp_path / "empty").mkdir()
    out = build("morphogene", made / "images", made / "l1000", tmp_path / "empty")
    assert "is the tier morphogene, and a build of morphogene-paper would replace it" in refused(
        out, "morphogene-paper"
    )
    (out / "images" / "notes.txt").write_text("precious")
    assert "notes.txt: not of the tier in that folder, and a build would remove it; move it away" in refused(out)
    (out / "images" / "notes.txt").unlink()
    (out / "tier.toml").unlink()
    build("morphogene", made / "images", made / "l1000", out)
    load_built("morphogene", out)


def test_a_part_without_training_or_test_images_names_the_plates_that_hold_them(made, tmp_path):
    for plate, message in (
        (PLATES[1], rf"give only the splits id, ood, vehicle; for train add one of the plates {PLATES[0]}$"),
        (PLATES[0], rf"only the splits train, ood_train, vehicle; for id or ood add one of the plates .*{PLATES[1]}"),
    ):
        with pytest.raises(BadInput, match=message):
            build("morphogene", made / "images", made / "l1000", tmp_path / "t", plates=[plate])
    assert not (tmp_path / "t").exists()


def test_a_part_without_replicates_says_so_and_controls_name_the_plates(made, tmp_path):
    lines: list[str] = []
    out = build("morphogene", made / "images", made / "l1000", tmp_path / "t", plates=PLATES[:2], progress=lines.append)
    assert f"emetine: no replicates for the controls; add plate {PLATES[2]}" in lines
    tier = load_built("morphogene", out)
    with pytest.raises(BadInput, match=f"id has no replicate images of emetine .*; build plate {PLATES[2]} too"):
        load_model("real-replicates", tier, "cpu").generate(tier.conditions("id"), 0)


def test_a_field_that_the_frozen_splits_have_otherwise_names_its_line(made, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(made / "images", images)
    table = pd.read_csv(images / "BBBC021_v1_image.csv")
    for column, value in (
        ("Image_Metadata_Concentration", 99.0),
        ("Image_Metadata_Well_DAPI", "P24"),
        ("Replicate", 7),
        ("Image_Metadata_Compound", "UNKNOWN"),
        ("Image_Metadata_Compound", "TAXOL"),
        ("Image_Metadata_Compound", "emetine"),
    ):
        changed = table.copy()
        assert table.loc[1, "Image_Metadata_Compound"] == "taxol"
        changed.loc[1, column] = value
        if value == "P24":  # a well that the plate has not, under a name that fits it
            files = [name for name in changed if name.startswith("Image_FileName")]
            changed.loc[1, files] = changed.loc[1, files].str.replace(r"^[A-Z]\d\d_", "P24_", regex=True)
        changed.to_csv(images / "BBBC021_v1_image.csv", index=False)
        with pytest.raises(
            BadInput, match=r"BBBC021_v1_image.csv: line 3: .*the frozen splits have .*as BBBC021 ships"
        ):
            build("morphogene", images, made / "l1000", tmp_path / "tier")
    assert not (tmp_path / "tier").exists()


@pytest.mark.parametrize("chosen", [None, ["taxol"]])
def test_a_renamed_compound_is_found_whatever_compounds_are_chosen(made, tmp_path, chosen):
    images = Path(shutil.copytree(made / "images", tmp_path / "images"))
    text = (images / "BBBC021_v1_image.csv").read_text()
    (images / "BBBC021_v1_image.csv").write_text(text.replace(",emetine,", ",UNKNOWN,"))
    with pytest.raises(BadInput, match=r"line \d+: plate .* is UNKNOWN at .*; the frozen splits have emetine at"):
        build("morphogene", images, made / "l1000", tmp_path / "tier", compounds=chosen)


def test_rows_that_the_image_table_lacks_are_counted_and_said(made, tmp_path):
    frozen = split_rules.frozen_fields()
    whole = int(frozen["plate"].isin(PLATES).sum())
    lines: list[str] = []
    out = build("morphogene", made / "images", made / "l1000", tmp_path / "t", progress=lines.append)
    said = f"9 of {whole:,} fields of these plates are in the image table"
    assert f"of 11,888 fields; {said})" in load_built("morphogene", out).spec.title
    (line,) = [line for line in lines if line.startswith("PARTIAL")]
    assert said in line
    plate, well, site = line.partition("absent is plate ")[2].replace(" well", "").replace("site ", "").split()[:3]
    assert ((frozen["plate"] == plate) & (frozen["well"] == well) & (frozen["site"] == int(site))).any()
    rows = bbbc021.read_image_table(made / "images")
    assert not ((rows["plate"] == plate) & (rows["well"] == well) & (rows["site"] == int(site))).any()


def test_compounds_choose_the_same_plates_on_disk_as_from_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(bbbc021, "plates_on_disk", lambda folder, fields: sorted(set(fields["plate"])))
    images, fields = tmp_path, split_rules.frozen_fields()
    every = dict.fromkeys(fields["compound"].unique(), len(fields))
    frozen_rows(list(fields["plate"].unique()), every, sites=4).to_csv(images / "BBBC021_v1_image.csv", index=False)
    write_mechanisms(images).rename(images / "BBBC021_v1_moa.csv")
    table = bbbc021.read_image_table(images)
    chosen = [_choose_plates(images, table, None, ["emetine", "simvastatin"], on_disk) for on_disk in (True, False)]
    pd.testing.assert_frame_equal(*chosen)
    holding = set(table.loc[table["compound"].isin(["emetine", "simvastatin"]), "plate"])
    assert set(chosen[0]["plate"]) == holding
    assert len(holding) < table["plate"].nunique()
    assert split_rules.absent_fields(chosen[0])[0].empty
    assert set(_choose_plates(images, table, ["Week1_22123"], ["emetine"], True)["plate"]) == {"Week1_22123"}


def test_a_tier_that_is_not_built_says_how(cache):
    with pytest.raises(Unavailable, match=r"tier morphogene: not built at .*morphobench data build morphogene"):
        load_tier("morphogene")


def test_the_same_pixels_in_two_splits_are_refused(made, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("BBBC021_v1_image.csv", "BBBC021_v1_moa.csv"):
        shutil.copy(made / "images" / name, images)
    pixels = np.random.default_rng(2).integers(200, 4000, (3, 1024, 1280), dtype=np.uint16)
    for row in made_rows().itertuples():
        plate = images / row.Image_Metadata_Plate_DAPI
        plate.mkdir(exist_ok=True)
        for channel, stain in enumerate(("DAPI", "Tubulin", "Actin")):
            (plate / getattr(row, f"Image_FileName_{stain}")).write_bytes(tiff_bytes(pixels[channel]))
    with pytest.raises(BadInput, match=r"\(image table line \d+\) has the pixels of .* of another split"):
        build("morphogene", images, made / "l1000", tmp_path / "tier")


def test_the_same_pixels_within_a_split_are_kept_and_reported(made, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(made / "images", images)
    vehicle = made_rows().query("Image_Metadata_Compound == 'DMSO'")
    pixels = np.random.default_rng(2).integers(200, 4000, (3, 1024, 1280), dtype=np.uint16)
    for row in vehicle.itertuples():
        plate = row.Image_Metadata_Plate_DAPI
        archive = images / f"BBBC021_v1_images_{plate}.zip"
        with zipfile.ZipFile(archive) as members:
            members.extractall(images)
        archive.unlink()
        for channel, stain in enumerate(("DAPI", "Tubulin", "Actin")):
            (images / plate / getattr(row, f"Image_FileName_{stain}")).write_bytes(tiff_bytes(pixels[channel]))
    lines: list[str] = []
    out = build("morphogene", images, made / "l1000", tmp_path / "tier", progress=lines.append)
    names = [
        f"morphogene-{row.Image_Metadata_Plate_DAPI}-{row.Image_Metadata_Well_DAPI}-s1" for row in vehicle.itertuples()
    ]
    assert json.loads((out / "build.json").read_text())["duplicates"] == [[names[0], name] for name in names[1:]]
    assert f"{names[1]} has the pixels of {names[0]}, of the same split; both are kept" in lines
    assert len(load_built("morphogene", out).rows("vehicle")) == 3


def test_a_changed_file_of_a_built_tier_is_named(made, tmp_path):
    out = build("morphogene", made / "images", made / "l1000", tmp_path / "tier")
    tier = load_built("morphogene", out)
    image = next((out / "images" / PLATES[0]).iterdir())
    image.write_bytes(image.read_bytes()[:-1])
    rows = tier.samples[tier.samples["sample_id"] == image.stem]
    with pytest.raises(BadInput, match=f"{image.name}: changed or removed"):
        tier.images(rows).take([0])
    with pytest.raises(BadInput, match=rf"{image.name}: sha256 .* run `morphobench data build morphogene` again"):
        verify("morphogene", out)
    (out / "samples.csv").write_text((out / "samples.csv").read_text().replace("emetine", "taxol"))
    with pytest.raises(BadInput, match=r"samples.csv: sha256 .* run `morphobench data build morphogene` again"):
        load_built("morphogene", out)
