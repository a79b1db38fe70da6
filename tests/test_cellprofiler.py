"""CellProfiler 4.2.8.1 against the built-in engine where it is installed; the rest of its engine without it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from oracles import OWN, SETS, SHARED, assert_same_masks, own, pixels
from test_profile import Arrays, field
from tiny_tier import tiny_tier

from morphobench import evaluation
from morphobench.datasets import load_tier
from morphobench.datasets.tier import read_spec
from morphobench.errors import BadInput, Unavailable
from morphobench.features import cellprofiler
from morphobench.features.cellprofiler import routes
from morphobench.features.objects import COMPARTMENTS, OBJECT_COLUMNS
from morphobench.features.profile import PROFILE_COLUMNS, area_occupied, measure_images
from morphobench.features.registry import ENGINES, load_engine
from morphobench.features.segment import REGULARIZATION, THRESHOLD_SIGMA, Segmentation, discard_border, segment
from morphobench.generation import generate
from morphobench.request import Request
from morphobench.scoring import notes

ROOT = Path(__file__).parents[1]
SIM_IMAGES = 50
DIAMETER = (7.0, 32.0)


@pytest.fixture(scope="session")
def installation():
    try:
        return cellprofiler.find()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sim_images():
    tier = load_tier("sim")
    rows = tier.rows("ood")
    rows = rows.iloc[:: len(rows) // SIM_IMAGES].head(SIM_IMAGES).reset_index(drop=True)
    assert len(rows) == SIM_IMAGES
    return tier.images(rows).take(range(SIM_IMAGES))


def by_name(whole: Segmentation) -> dict[str, np.ndarray]:
    """Our label images by CellProfiler's names."""
    inner = discard_border(whole)
    return {
        f"{kind.capitalize()}{suffix}": getattr(masks, kind)
        for suffix, masks in (("", whole), ("Inner", inner))
        for kind in COMPARTMENTS
    }


def compare(installation, images: np.ndarray, diameter: tuple[float, float], folder: Path) -> list[routes.Row]:
    """CellProfiler's masks, areas, perimeters and counts of uint8 or uint16 images are ours; returns its rows."""
    with routes.Memory(installation, cellprofiler.pipeline_text(diameter)) as runner:
        rows = runner.measure(images, folder / "labels.npz")
    with np.load(folder / "labels.npz") as labels:
        theirs = {name: labels[name] for name in labels.files}
    for number, (image, row) in enumerate(zip(images, rows, strict=True)):
        channels = (image / np.iinfo(image.dtype).max).astype(np.float32)
        found = by_name(segment(channels[..., 2], channels[..., 1], diameter))
        assert_same_masks(found, {name: labels[number] for name, labels in theirs.items()}, f"of image {number}")
        for name, ours in found.items():
            expected = {
                f"AreaOccupied_{key}_{name}": float(value)
                for key, value in zip(("AreaOccupied", "Perimeter", "TotalArea"), area_occupied(ours), strict=True)
            } | {f"Count_{name}": float(ours.max())}
            assert {key: row[key] for key in expected} == expected, f"image {number}"
    return rows


@pytest.mark.parametrize("group", ["human", "bbbc022", "syn"])
def test_oracle_images_are_segmented_alike(shared_data, installation, tmp_path, group):
    settings = json.loads((shared_data / "cellprofiler" / "settings.json").read_text())
    names = [name for name in SHARED if name.startswith(group)]
    images = []
    for name in names:
        dna, cell = (
            tifffile.imread(shared_data / "cellprofiler" / "inputs" / settings[name][key]) for key in ("dna", "cell")
        )
        images.append(np.stack([np.zeros_like(dna), cell, dna], axis=-1))
    diameter = (settings[names[0]]["diameter_min"], settings[names[0]]["diameter_max"])
    compare(installation, np.stack(images), diameter, tmp_path)


def test_sim_images_are_segmented_alike_by_both_routes(installation, sim_images, tmp_path):
    rows = compare(installation, sim_images, DIAMETER, tmp_path)
    assert sum(row["Count_Cells"] for row in rows) > SIM_IMAGES
    with routes.Command(installation, cellprofiler.pipeline_text(DIAMETER)) as runner:
        assert runner.measure(sim_images) == rows


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "builtin"])
def test_profiles_are_those_of_the_built_in_engine(installation, tmp_path, name):
    images = Arrays(np.stack([field(seed, seed % 4) for seed in range(7)]), "a" * 64)
    ours = measure_images(images, DIAMETER, tmp_path, workers=1)
    theirs = measure_images(images, DIAMETER, tmp_path, workers=2, engine=load_engine(name))
    for column in PROFILE_COLUMNS:
        expected = np.full(7, np.nan) if column in OBJECT_COLUMNS else ours[column]
        np.testing.assert_array_equal(theirs[column], expected, err_msg=column)
    assert ours["Count_Cells"].max() > 1


def test_a_report_names_the_engine_and_its_release(installation, tmp_path, monkeypatch):
    monkeypatch.setenv("MORPHOBENCH_CELLPROFILER", str(cellprofiler.home().absolute()))
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    tier = tiny_tier(tmp_path / "tier")
    report = evaluation.evaluate(
        "vehicle", tier=tier, tracks=["id"], folder=tmp_path / "run", embedding="efficientnet_lite0",
        engine="cellprofiler-memory",
    ).report  # fmt: skip
    assert report.protocol["segmentation[cellprofiler-memory]"].startswith("CellProfiler 4.2.8.1, area_occupied.cppipe")
    assert "segmentation" not in report.protocol
    keys = {score.key for score in report.scores if score.key.startswith("area_occupied_shift")}
    assert keys == {
        f"area_occupied_shift[{kind}{edge}][cellprofiler-memory]" for kind in COMPARTMENTS for edge in ("", "_no_edge")
    }


def set_up(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "setup-cellprofiler", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_the_finished_environment_is_only_checked(installation):
    shown = set_up()
    assert shown.stdout.strip() == f"{cellprofiler.home().absolute()}: CellProfiler 4.2.8.1", shown.stderr


def modules(text: str) -> dict[str, list[str]]:
    """Module name -> its settings, notes and numbers left out."""
    found = {}
    for block in text.split("\n\n")[1:]:
        head, *settings = block.strip().splitlines()
        found.setdefault(head.partition(":")[0], settings)
    return found


def test_the_stored_oracles_are_what_cellprofiler_makes_of_their_pixels(installation, tmp_path):
    """What `scripts/derive_oracles.py` keeps, for those of one size and one diameter."""
    names = [name for name in OWN if pixels(name).shape == (128, 128, 3) and pixels(name).dtype == np.uint8]
    with routes.Memory(installation, cellprofiler.pipeline_text(DIAMETER)) as runner:
        rows = runner.measure(np.stack([pixels(name) for name in names]), tmp_path / "labels.npz")
    with np.load(tmp_path / "labels.npz") as labels:
        for number, (name, row) in enumerate(zip(names, rows, strict=True)):
            stored = own(name)
            for kind in SETS:
                np.testing.assert_array_equal(labels[kind][number], stored.masks[kind], err_msg=f"{name} {kind}")
                assert row[f"Count_{kind}"] == stored.counts[kind]
                assert row[f"AreaOccupied_AreaOccupied_{kind}"] == stored.areas[kind][0]


def test_the_pipeline_has_the_oracles_settings(shared_data):
    theirs = modules((shared_data / "cellprofiler" / "area_occupied.cppipe").read_text())
    ours = modules(cellprofiler.pipeline_text((8, 40)).replace("Tubulin", "Cell").replace("_Cell", "_CELL"))
    for name in ours:
        if name != "ExportToSpreadsheet":
            assert ours[name] == theirs[name], name
    assert set(theirs) - set(ours) == {
        "MeasureObjectSizeShape", "MeasureObjectIntensity", "ConvertObjectsToImage", "SaveImages",
    }  # fmt: skip


def test_the_pipeline_has_the_engines_settings():
    text = cellprofiler.PIPELINE.read_text()
    assert f"Regularization factor:{REGULARIZATION}\n" in text
    scales = [float(value) for value in re.findall(r"Threshold smoothing scale:(\S+)", text)]
    # CellProfiler's scale is a full width; the Gaussian's sigma is half of it over 0.6744.
    assert [scale / 0.6744 / 2 for scale in scales] == pytest.approx([THRESHOLD_SIGMA] * 2, rel=1e-4)
    sim = read_spec(ROOT / "morphobench" / "datasets" / "tiers" / "sim.toml").nucleus_diameter
    assert cellprofiler.pipeline_text(sim) == text


@pytest.mark.parametrize("path", sorted((ROOT / "morphobench" / "datasets" / "tiers").glob("*.toml")))
def test_every_tiers_diameters_are_filled_in(path):
    low, high = read_spec(path).nucleus_diameter
    assert f"(Min,Max):{low:g},{high:g}\n" in cellprofiler.pipeline_text((low, high))


def test_a_diameter_that_is_not_whole_is_refused():
    with pytest.raises(BadInput, match="whole pixels"):
        cellprofiler.pipeline_text((7.5, 32))


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "builtin"])
def test_without_cellprofiler_the_mend_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MORPHOBENCH_CELLPROFILER", str(tmp_path / "none"))
    tier = tiny_tier(tmp_path / "tier")
    asked = Request(
        model="vehicle", tier=tier, tracks=("id",), out=tmp_path / "run", embedding="efficientnet_lite0", engine=name
    )
    with pytest.raises(Unavailable, match=r"^CellProfiler 4\.2\.8\.1 is not in .*none: run scripts/setup-cellprofiler"):
        generate(asked.resolve())
    assert not (tmp_path / "run").exists()


def test_another_release_is_refused(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("python", "cellprofiler"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 4.2.6 4.2.6\n")
        (tmp_path / "bin" / name).chmod(0o755)
    with pytest.raises(Unavailable, match=r"holds CellProfiler 4\.2\.6 and core 4\.2\.6, not 4\.2\.8\.1"):
        cellprofiler.find(tmp_path)


def test_an_unknown_engine_is_refused():
    with pytest.raises(BadInput, match="builtin, cellprofiler"):
        load_engine("ilastik")


class Runner:
    """Stands in for CellProfiler: every object set covers as many pixels as the image's first value says."""

    def __init__(self, fail_at: int | None = None):
        self.fail_at, self.seen = fail_at, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def measure(self, batch):
        self.seen.append(int(batch[0, 0, 0, 0]))
        if self.seen[-1] == self.fail_at:
            raise Unavailable("CellProfiler failed: stopped")
        return [dict.fromkeys(routes.MEASURED, float(image[0, 0, 0] + 1)) for image in batch]


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(cellprofiler, "BATCH", 2)
    pixels = np.zeros((9, 8, 8, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(9)
    images = Arrays(pixels, "b" * 64)

    def rows(runner):
        return list(cellprofiler._rows(lambda _: runner, "version", images, DIAMETER, 1, tmp_path))

    stopped = Runner(fail_at=6)
    with pytest.raises(Unavailable, match="stopped"):
        rows(stopped)
    resumed = Runner()
    found = rows(resumed)
    assert stopped.seen[:4] == [0, 2, 4, 6]
    assert set(resumed.seen) >= {6}
    assert not set(resumed.seen) & {0, 2, 4}
    counts = [row[PROFILE_COLUMNS.index("Count_Cells")] for row in found]
    assert counts == list(range(1, 10))
    again = Runner()
    np.testing.assert_array_equal(rows(again), found)
    assert again.seen == []


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    columns = ["FileName_DNA", "FileName_Tubulin", *routes.MEASURED]
    lines = [",".join(columns)] + [",".join(row.get(column, "1") for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def names(number: int, other: int | None = None) -> dict[str, str]:
    return {
        "FileName_DNA": routes.file_name(number, "DNA"),
        "FileName_Tubulin": routes.file_name(number if other is None else other, "Tubulin"),
    }


def test_a_table_is_read_by_file_name_not_by_row(tmp_path):
    write_table(tmp_path / "t.csv", [names(1) | {"Count_Cells": "5"}, names(0) | {"Count_Cells": "3"}])
    assert [row["Count_Cells"] for row in routes.read_table(tmp_path / "t.csv", 2)] == [3, 5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([names(0)], "measured 1 of 2 images: out of memory"),
        ([names(0, 1), names(1, 0)], "measured 2 of 2 images"),
        ([names(0), names(1) | {"Count_Cells": "nan"}], "no value for Count_Cells"),
        ([names(0), names(1) | {"AreaOccupied_TotalArea_Cells": ""}], "no value for AreaOccupied_TotalArea_Cells"),
    ],
)
def test_a_table_with_holes_is_refused(tmp_path, rows, message):
    write_table(tmp_path / "t.csv", rows)
    with pytest.raises(Unavailable, match=message):
        routes.read_table(tmp_path / "t.csv", 2, "java\nout of memory\n")


def test_the_setup_says_in_one_line_what_is_missing(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "setup-cellprofiler", tmp_path / "env", "--python", "no-such-python"]
    shown = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert shown.returncode == 1
    assert (
        shown.stderr
        == "setup-cellprofiler: no-such-python: no Python 3.9 there; install one and name it with --python\n"
    )
    assert not (tmp_path / "env").exists()


def test_the_setup_leaves_a_folder_of_other_files_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, ROOT / "scripts" / "setup-cellprofiler", tmp_path]
    shown = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert shown.returncode == 1
    assert "holds other files" in shown.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_floor_missing_for_the_engine_says_so():
    class Bare:
        key, engine, value, floor, scaled, controls, direction, track = "x[b]", "b", 1.0, None, None, {}, "max", "id"

    assert "extractors and --engine first" in notes.floor_note([Bare()], {})[0]
