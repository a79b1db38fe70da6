"""Exports, read back by the tools that they are for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from bbbc021_layout import lay_out
from copairs.map import average_precision
from PIL import Image
from pycytominer import normalize
from test_build import made_rows, write_level3
from tiny_tier import SIZE, tiny_tier
from typer.testing import CliRunner

from morphobench import export as formats
from morphobench.cli import app
from morphobench.datasets import Tier, load_tier
from morphobench.datasets.frozen import load_landmarks
from morphobench.datasets.morphogene.build import build, load_built
from morphobench.errors import BadInput, Unavailable
from morphobench.export import FORMATS, export, select
from morphobench.export.metadata import metadata
from morphobench.export.profiles import PREFIX
from morphobench.features.cell_profile import cell_profile
from morphobench.features.profile import PROFILE_COLUMNS, measure

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tier:
    return tiny_tier(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Tier:
    """A morphogene tier of three plates of noise; taxol has no profile."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "moa.csv").write_text("compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n")
    source = np.random.default_rng(0).integers(200, 4000, (3, 101, 103), dtype=np.uint16)
    images = lay_out(folder / "images", made_rows(), source, folder / "moa.csv")
    out = build("morphogene", images, write_level3(folder / "l1000", ["emetine"]), out=folder / "tier")
    return load_built("morphogene", out)


def test_png_files_and_their_index(tiny: Tier, tmp_path: Path) -> None:
    assert export(tiny, "png", tmp_path / "out", ["id", "vehicle"], limit=3) == 6
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    rows = pd.concat([tiny.rows("id").head(3), tiny.rows("vehicle").head(3)])
    assert index["Metadata_sample_id"].tolist() == rows["sample_id"].tolist()
    pixels = tiny.images(rows).take(range(6))
    for position, row in index.iterrows():
        data = (tmp_path / "out" / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        with Image.open(tmp_path / "out" / row["file"]) as image:
            assert image.mode == "RGB"
            assert np.array_equal(np.asarray(image), pixels[position])
    assert index["Metadata_smiles"].tolist() == ["CCO"] * 3 + [""] * 3
    assert index["Metadata_moa"].tolist() == ["one"] * 3 + [""] * 3
    assert index["Metadata_pert_type"].tolist() == ["trt"] * 3 + ["control"] * 3
    assert {"Metadata_Plate", "Metadata_Well", "Metadata_dose_um", "Metadata_split"} <= set(index)


def test_cell_profiles_are_a_row_per_image_with_its_metadata(tmp_path: Path) -> None:
    sim = load_tier("sim")
    assert export(sim, "cell-profiles", tmp_path / "out", ["vehicle"], limit=1) == 1
    table = pd.read_parquet(tmp_path / "out" / "cell_profiles.parquet")
    rows = sim.rows("vehicle").head(1)
    assert table["Metadata_sample_id"].tolist() == rows["sample_id"].tolist()
    expected = cell_profile(sim.images(rows).take([0])[0], sim.spec.nucleus_diameter)
    assert table[list(expected)].iloc[0].to_dict() == pytest.approx(expected, nan_ok=True)


def test_a_name_with_a_slash_stays_one_file(tiny: Tier, tmp_path: Path) -> None:
    export(tiny, "png", tmp_path / "out", ["train"])
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    (file,) = index.loc[index["Metadata_sample_id"] == "train-beta/2-0", "file"]
    assert file == "images/T01/train-beta%2F2-0.png"
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == len(index) == 12


def test_zarr_holds_the_pixels_in_the_order_of_the_index(
    tiny: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.images, "CHUNK_BYTES", 3 * SIZE**2 * 4)  # 4 images, of 66
    monkeypatch.setattr(formats.images, "BATCH_BYTES", 3 * SIZE**2 * 8)
    assert export(tiny, "zarr", tmp_path / "out") == 66
    array = zarr.open_array(tmp_path / "out" / "images.zarr", mode="r")
    pixels = tiny.images(tiny.samples).take(range(66))
    assert array.metadata.zarr_format == 3
    assert array.chunks == (4, SIZE, SIZE, 3)
    assert np.array_equal(array[:], pixels)
    assert [channel["label"] for channel in array.attrs["omero"]["channels"]] == ["actin", "tubulin", "DNA"]
    assert array.attrs["um_per_pixel"] == 1.0
    assert array.attrs["simulated"] is True
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    assert index["row"].tolist() == list(range(66))
    assert index["Metadata_sample_id"].tolist() == tiny.samples["sample_id"].tolist()
    assert index["sha256"].tolist() == [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]


@pytest.fixture(scope="module")
def sim_profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles of the whole `id` and `vehicle` splits of sim: they ship, so that nothing is segmented."""
    out = tmp_path_factory.mktemp("sim") / "profiles"
    export(load_tier("sim"), "profiles", out, ["id", "vehicle"])
    return out


def test_profiles_are_the_measurements_of_each_image(tiny: Tier, tmp_path: Path) -> None:
    assert export(tiny, "profiles", tmp_path / "out", ["vehicle", "id"], limit=2) == 4
    table = pd.read_parquet(tmp_path / "out" / "profiles.parquet")
    rows = select(tiny, ["id", "vehicle"], 2)
    assert table["Metadata_sample_id"].tolist() == rows["sample_id"].tolist()
    for image, (_, row) in zip(tiny.images(rows).take(range(4)), table.iterrows(), strict=True):
        own = measure(image, tiny.spec.nucleus_diameter)
        assert [row[PREFIX + column] for column in PROFILE_COLUMNS] == [own[column] for column in PROFILE_COLUMNS]
    written = pd.read_csv(tmp_path / "out" / "profiles.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(written, table, check_dtype=False)


def test_metadata_of_a_built_tier(built: Tier) -> None:
    rows = built.samples
    table = metadata(built, rows)
    assert table["Metadata_Site"].tolist() == rows["site"].tolist()
    assert table["Metadata_moa"].tolist() == rows["mechanism"].tolist()
    assert "Microtubule stabilizers" in set(table["Metadata_moa"])
    assert "Metadata_mechanism" not in table


def test_pycytominer_normalizes_the_profiles_as_they_are(sim_profiles: Path) -> None:
    table = pd.read_parquet(sim_profiles / "profiles.parquet")
    scaled = normalize(
        profiles=str(sim_profiles / "profiles.parquet"),
        image_features=True,
        samples="Metadata_pert_type == 'control'",
        method="standardize",
    )
    column = "Image_AreaOccupied_AreaOccupied_Cells"
    vehicle = table.loc[table["Metadata_split"] == "vehicle", column]
    expected = (table[column] - vehicle.mean()) / vehicle.std(ddof=0)
    assert np.allclose(scaled[column], expected)
    assert {name for name in scaled if not name.startswith("Metadata_")} == {PREFIX + name for name in PROFILE_COLUMNS}
    assert scaled["Metadata_compound"].tolist() == table["Metadata_compound"].tolist()


def test_copairs_finds_replicates_better_than_shuffled_ones(sim_profiles: Path) -> None:
    table = pd.read_parquet(sim_profiles / "profiles.parquet")
    table = table[table["Metadata_split"] == "id"].reset_index(drop=True)
    features = [name for name in table if name.startswith(("Image_AreaOccupied", "Image_Count"))]
    values = table[features].to_numpy()
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    meta = table[[name for name in table if name.startswith("Metadata_")]]

    def mean_precision(meta: pd.DataFrame) -> float:
        found = average_precision(
            meta, values, pos_sameby=["Metadata_compound"], pos_diffby=[], neg_sameby=[],
            neg_diffby=["Metadata_compound"], progress_bar=False,
        )  # fmt: skip
        return float(found["average_precision"].mean())

    shuffled = meta.assign(Metadata_compound=np.random.default_rng(0).permutation(meta["Metadata_compound"]))
    assert mean_precision(meta) > 2 * mean_precision(shuffled)


@pytest.mark.parametrize("name", ["sim", "built"])
def test_anndata_round_trip(name: str, built: Tier, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    tier = built if name == "built" else load_tier("sim")
    export(tier, "anndata", tmp_path / "out", ["train", "ood", "vehicle"], limit=5)
    rows = select(tier, ["train", "ood", "vehicle"], 5)
    read = anndata.read_h5ad(tmp_path / "out" / "expression.h5ad")
    pre, post = tier.expression(rows)
    assert read.X.dtype == np.float32
    assert np.array_equal(read.X, post, equal_nan=True)
    assert np.isnan(read.X).any() == (name == "built")  # taxol has no profile there
    assert np.array_equal(read.layers["G_pre"], pre)
    assert np.array_equal(read.layers["LFC"], post - pre, equal_nan=True)
    assert read.obs_names.tolist() == rows["sample_id"].tolist()
    assert read.obs["compound"].dtype == "category"
    assert read.obs["compound"].tolist() == rows["compound"].tolist()
    assert read.obs["dose_um"].tolist() == rows["dose_um"].tolist()
    landmarks = load_landmarks().set_index("symbol")["entrez_id"]
    assert read.var["entrez_id"].to_dict() == landmarks.to_dict()
    assert read.uns["tier"] == tier.spec.name
    assert bool(read.uns["simulated"]) is tier.spec.simulated
    assert read.uns["split_sha256"] == tier.split_sha256
    assert read.uns["licence"] == tier.spec.licence


def test_anndata_is_what_the_symbols_say(tmp_path: Path) -> None:
    """The change of a compound's profile, looked up by gene, is the tier's."""
    anndata = pytest.importorskip("anndata")
    tier = load_tier("sim")
    export(tier, "anndata", tmp_path / "out", ["id"], limit=2)
    read = anndata.read_h5ad(tmp_path / "out" / "expression.h5ad")
    pre, post = tier.expression(tier.rows("id").head(2))
    gene = tier.genes.index("TP53")
    assert read[:, "TP53"].layers["LFC"].ravel().tolist() == (post - pre)[:, gene].tolist()


def croissant(folder: Path):
    """The description, validated by mlcroissant; the one thing it lacks is a date of publication."""
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert all("datePublished" in warning for warning in issues.warnings)
    return dataset


def test_croissant_of_sim_lists_its_files_and_reads_its_samples(tmp_path: Path) -> None:
    tier = load_tier("sim")
    export(tier, "croissant", tmp_path / "out")
    described = json.loads((tmp_path / "out" / "croissant.json").read_text())
    sums = {item["@id"]: item["sha256"] for item in described["distribution"]}
    for name, digest in sums.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert sums["splits/sim.csv.gz"] == tier.split_sha256
    assert not any("morphogene" in name for name in sums)
    assert described["license"] == "https://spdx.org/licenses/Apache-2.0"
    assert any("real cells" in line for line in described["rai:dataLimitations"])
    dataset = croissant(tmp_path / "out")
    samples = pd.DataFrame(dataset.records("samples"))
    assert [name.decode() for name in samples["samples/sample_id"]] == tier.samples["sample_id"].tolist()
    splits = {row["splits/name"]: row["splits/samples"] for row in dataset.records("splits")}
    assert splits == dict(tier.spec.counts)


def test_croissant_of_a_built_tier_says_whose_the_images_are(built: Tier, tmp_path: Path) -> None:
    export(built, "croissant", tmp_path / "out")
    described = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert "AstraZeneca" in described["license"]
    files = {item["@id"]: item for item in described["distribution"]}
    assert files["images"]["includes"] == "images/**/*.png"
    assert "samples.csv" in files
    assert "expression.npz" in files
    dataset = croissant(tmp_path / "out")
    assert len(list(dataset.records("samples"))) == len(built.samples)
    # what was copied is a tier
    assert len(load_built("morphogene", tmp_path / "out").samples) == len(built.samples)


@pytest.mark.parametrize("name", ["png", "zarr", "profiles", "anndata"])
def test_every_export_is_described(name: str, tiny: Tier, tmp_path: Path) -> None:
    export(tiny, name, tmp_path / "out", ["id"], limit=2)
    dataset = croissant(tmp_path / "out")
    assert [row["splits/samples"] for row in dataset.records("splits")] == [2]
    if name != "anndata":
        found = [row["samples/Metadata_sample_id"].decode() for row in dataset.records("samples")]
        assert found == tiny.rows("id").head(2)["sample_id"].tolist()


def test_a_changed_file_of_the_tier_is_named_and_nothing_is_left(built: Tier, tmp_path: Path) -> None:
    changed = tmp_path / "tier"
    export(built, "croissant", changed)
    tier = load_built("morphogene", changed)
    picture = next((changed / "images").rglob("*.png"))
    picture.write_bytes(picture.read_bytes()[:-1])
    for name in ("png", "croissant"):
        with pytest.raises(BadInput, match=picture.name):
            export(tier, name, tmp_path / "out" / name)
    assert not any((tmp_path / "out").iterdir())


def test_an_export_that_fails_leaves_the_earlier_one(tiny: Tier, tmp_path: Path) -> None:
    export(tiny, "png", tmp_path / "out", ["id"], limit=1)
    before = sorted(tmp_path.rglob("*"))

    def fail(rows: pd.DataFrame):
        raise BadInput("a plate is gone")

    with pytest.raises(BadInput, match="a plate is gone"):
        export(replace(tiny, read_images=fail), "png", tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
    export(tiny, "profiles", tmp_path / "out", ["id"], limit=1)
    assert not (tmp_path / "out" / "images").exists()


def test_bad_choices_are_one_line(tiny: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = "png, zarr, profiles, cell-profiles, anndata, croissant"
    with pytest.raises(BadInput, match=f"--format 'tif': choose one of {formats}"):
        export(tiny, "tif", tmp_path / "out")
    with pytest.raises(BadInput, match="--split 'test': tier tiny has train, id"):
        export(tiny, "png", tmp_path / "out", ["test"])
    with pytest.raises(BadInput, match="--limit 0: give 1 or more"):
        export(tiny, "png", tmp_path / "out", limit=0)
    with pytest.raises(BadInput, match="describes a whole tier"):
        export(tiny, "croissant", tmp_path / "out", ["id"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match=r"holds other files and no export\.json"):
        export(tiny, "png", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    monkeypatch.setitem(FORMATS, "zarr", replace(FORMATS["zarr"], packages=("no_such_package",)))
    with pytest.raises(Unavailable, match=r"no_such_package; run `pip install 'morphobench\[formats\]'`"):
        export(tiny, "zarr", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    words = ["data", "export", "--format", "png", "--out", str(tmp_path / "out"), "--split", "id", "--limit", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'out'}: 2 samples as png" in done.output
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 2


def test_formats_load_nothing_before_they_are_asked_for() -> None:
    code = "import sys, morphobench.export; print([m for m in ('zarr', 'anndata', 'mlcroissant') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"
