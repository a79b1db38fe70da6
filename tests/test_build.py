"""Building the morphogene tier: from real tables, pixels and profiles where at hand, and from small made ones."""

import gzip
import json
import shutil
import zipfile
from pathlib import Path

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
from made_build import PLATES, made_folder, made_rows, write_level3
from typer.testing import CliRunner

from morphobench import storage
from morphobench.cli import app
from morphobench.datasets import SPLITS, bbbc021, load_tier
from morphobench.datasets.frozen import load_compounds
from morphobench.datasets.morphogene.build import build, built_path, load_built, verify
from morphobench.errors import BadInput, Unavailable
from morphobench.evaluation import evaluate

COMPOUNDS = {"DMSO": 4, "emetine": 2, "PD-98059": 2, "demecolcine": 2}  # wells; two ID with profiles, one OOD without


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_folder(tmp_path_factory.mktemp("made"))


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
