"""Parts of the morphogene tier: which plates and compounds are built, and what stands in their way."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from bbbc021_layout import (
    frozen_rows,
    write_mechanisms,
)
from made_build import PLATES, made_folder

from morphobench import storage
from morphobench.datasets import bbbc021
from morphobench.datasets.morphogene import split_rules
from morphobench.datasets.morphogene.build import _choose_plates, build, load_built
from morphobench.errors import BadInput
from morphobench.models import load_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_folder(tmp_path_factory.mktemp("made"))


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
