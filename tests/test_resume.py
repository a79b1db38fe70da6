"""A build that is stopped, repeated, damaged or fed from a network ends as the tier that one clean build makes."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from bbbc021_layout import MECHANISMS, PIXELS, lay_out, real_rows, tiff_bytes
from file_server import Served, Server, serving
from test_build import PLATES, made_rows, write_level3
from typer.testing import CliRunner

from morphobench import storage
from morphobench.cli import app
from morphobench.datasets import bbbc021, l1000
from morphobench.datasets.downloads import sources
from morphobench.datasets.downloads.sources import Catalogue, Fetcher
from morphobench.datasets.downloads.transfer import Source
from morphobench.datasets.morphogene import ingredients, parts
from morphobench.datasets.morphogene.build import build, load_built, verify
from morphobench.errors import BadInput, Unavailable


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images` (three plates of three fields), `l1000`, and `tier`, the build of both without any incident."""
    folder = tmp_path_factory.mktemp("made")
    moa = folder / "moa.csv"
    moa.write_text("compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n")
    source = np.random.default_rng(0).integers(200, 4000, (3, 101, 103), dtype=np.uint16)
    lay_out(folder / "images", made_rows(), source, moa)
    (folder / "images" / "BBBC021_v1_compound.csv").write_text("compound,smiles\n")
    write_level3(folder / "l1000", ["emetine"])
    build("morphogene", folder / "images", folder / "l1000", folder / "tier")
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the inputs and of the tier, with every time of change, that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read to make something: names of plates, and "expression"."""
    done: list[str] = []
    read_plate, read_profiles = bbbc021.read_plate, l1000.read_profiles

    def plate(folder: Path, fields: pd.DataFrame, beside: pd.DataFrame) -> bbbc021.Plate:
        done.append(fields["plate"].iloc[0])
        return read_plate(folder, fields, beside)

    def profiles(*arguments: object) -> l1000.Profiles:
        done.append("expression")
        return read_profiles(*arguments)

    monkeypatch.setattr(ingredients.bbbc021, "read_plate", plate)
    monkeypatch.setattr(ingredients.l1000, "read_profiles", profiles)
    return done


def again(folder: Path, **more: object) -> list[str]:
    """Build `folder`/tier from its inputs; returns the lines of progress."""
    lines: list[str] = []
    build("morphogene", folder / "images", folder / "l1000", folder / "tier", progress=lines.append, **more)
    return lines


def assert_same(tier: Path, wanted: Path) -> None:
    assert storage.read_sums(tier) == storage.read_sums(wanted)
    assert verify("morphogene", tier) == 9 + 6 + 4
    assert not list(tier.parent.glob(f".{tier.name}.[!l]*"))  # only the lock


def test_a_second_build_with_nothing_changed_changes_nothing(copy: Path, work: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copy / "tier").rglob("*")}
    lines = again(copy)
    assert work == []
    assert f"{copy / 'tier'}: nothing has changed since it was built, and every file is as recorded" in lines
    assert {path: path.stat().st_mtime_ns for path in (copy / "tier").rglob("*")} == before
    assert sum("kept from before" in line for line in lines) == 4


STOPPED = """
import itertools, sys, time
from pathlib import Path
from morphobench.datasets import bbbc021
from morphobench.datasets.morphogene import ingredients
from morphobench.datasets.morphogene.build import build

def stop(line):
    print(line, flush=True)
    if line.startswith(sys.argv[2]):
        time.sleep(600)

encode, counts = bbbc021.encode, itertools.count(1)
def held(plate):
    pngs, number = encode(plate), next(counts)
    yield next(pngs)
    if sys.argv[2] == f"inside {number}":
        stop(sys.argv[2])
    yield from pngs

ingredients.bbbc021.encode = held
folder = Path(sys.argv[1])
build("morphogene", folder / "images", folder / "l1000", folder / "tier", progress=stop)
"""


@pytest.mark.parametrize(
    ("number", "moment", "finished"),
    [(signal.SIGINT, "inside 2", PLATES[:1]), (signal.SIGKILL, "plate 2", PLATES[:2])],
    ids=["interrupted inside a plate", "killed between plates"],
)
def test_a_killed_build_loses_at_most_the_plate_at_work(
    made: Path, copy: Path, work: list[str], number: signal.Signals, moment: str, finished: list[str]
) -> None:
    shutil.rmtree(copy / "tier")
    process = subprocess.Popen([sys.executable, "-c", STOPPED, str(copy), moment], stdout=-1, stderr=-1, text=True)
    assert any(line.startswith(moment) for line in process.stdout), process.stderr.read()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (copy / "tier").exists()
    lines = again(copy)
    assert work == [plate for plate in PLATES if plate not in finished]
    assert sum("images, kept from before" in line for line in lines) == len(finished)
    assert_same(copy / "tier", made / "tier")


def test_a_full_disk_keeps_what_was_built(
    made: Path, copy: Path, work: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "tier").rename(copy / "old")
    write = parts._write

    def full(path: Path, data: bytes) -> None:
        if PLATES[1] in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "_write", full)
        with pytest.raises(Unavailable, match=r"\.tier\.work: the disk is full; free some space") as caught:
            again(copy)
    assert "\n" not in str(caught.value)
    assert not (copy / "tier").exists()
    work.clear()
    again(copy)
    assert work == PLATES[1:]
    assert_same(copy / "tier", made / "tier")


def test_a_failed_build_leaves_the_old_tier(copy: Path) -> None:
    before = (copy / "tier" / "SHA256SUMS").read_text()
    archive = copy / "images" / f"BBBC021_v1_images_{PLATES[2]}.zip"
    data = bytearray(archive.read_bytes())
    data[100_000] ^= 0xFF
    archive.write_bytes(bytes(data))
    # damaged after its images were made: they are still those of the sound file
    assert sum("kept from before" in line for line in again(copy)) == 4
    with pytest.raises(BadInput, match=f"{PLATES[2]}.zip: .* is damaged"):
        again(copy, compounds=["emetine"])
    assert (copy / "tier" / "SHA256SUMS").read_text() == before
    assert verify("morphogene", copy / "tier") == 9 + 6 + 4


def test_a_changed_input_makes_again_what_depends_on_it(made: Path, copy: Path, work: list[str]) -> None:
    os.utime(copy / "l1000" / "level3.gctx", ns=(0, 0))
    again(copy)
    assert work == ["expression"]
    work.clear()
    source = np.random.default_rng(9).integers(200, 4000, (3, 101, 103), dtype=np.uint16)
    rows = made_rows()
    lay_out(copy / "other", rows[rows["Image_Metadata_Plate_DAPI"] == PLATES[1]], source, copy / "moa.csv")
    name = f"BBBC021_v1_images_{PLATES[1]}.zip"
    shutil.copy(copy / "other" / name, copy / "images" / name)
    again(copy)
    assert work == [PLATES[1]]
    ours, theirs = storage.read_sums(copy / "tier"), storage.read_sums(made / "tier")
    changed = {file for file in ours if ours[file] != theirs[file] and file.startswith("images/")}
    assert {Path(file).parent.name for file in changed} == {PLATES[1]}
    assert verify("morphogene", copy / "tier") == 9 + 6 + 4
    work.clear()
    again(copy, hours=24.0, plates=PLATES[:2])
    assert work == []
    assert "PARTIAL BUILD: 2 of 55 plates" in load_built("morphogene", copy / "tier").spec.title


def test_an_unpacked_plate_is_known_by_its_files(copy: Path, work: list[str]) -> None:
    archive = copy / "images" / f"BBBC021_v1_images_{PLATES[0]}.zip"
    shutil.unpack_archive(archive, copy / "images")
    archive.unlink()
    again(copy)
    assert work == [PLATES[0]]
    work.clear()
    again(copy)
    assert work == []
    victim = next((copy / "images" / PLATES[0]).iterdir())
    victim.write_bytes(tiff_bytes(np.random.default_rng(3).integers(200, 4000, (1024, 1280), dtype=np.uint16)))
    again(copy)
    assert work == [PLATES[0]]


def test_a_damaged_tier_is_mended_by_building_again(made: Path, copy: Path, work: list[str]) -> None:
    image = next((copy / "tier" / "images" / PLATES[1]).iterdir())
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    (copy / "tier" / "samples.csv").write_text("nothing")
    with pytest.raises(BadInput, match="run `morphobench data build morphogene` again"):
        verify("morphogene", copy / "tier")
    again(copy)
    assert work == [PLATES[1]]
    assert_same(copy / "tier", made / "tier")
    (copy / "tier" / "parts" / "expression.json").write_text("{")
    work.clear()
    again(copy)
    assert work == ["expression"]
    assert_same(copy / "tier", made / "tier")


def test_a_build_killed_while_the_tiers_change_places_is_finished(made: Path, copy: Path, work: list[str]) -> None:
    (copy / ".tier.work").mkdir()
    (copy / "tier").rename(copy / ".tier.work" / "tier")
    (copy / ".tier.old.abc" / "tier").mkdir(parents=True)
    again(copy)
    assert work == []
    assert_same(copy / "tier", made / "tier")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        yield running


def catalogue(server: Server, images: Path, l1000_files: list[Path], packed: list[Path]) -> Catalogue:
    """Serve these files and list them as the shipped catalogue lists upstream's; `packed` are served gzipped."""

    def served(folder: str, path: Path, data: bytes, name: str) -> Source:
        server.files[f"/{name}"] = Served(data)
        return Source(f"{folder}/{name}", f"{server.address}/{name}")

    tables = [path for path in sorted(images.iterdir()) if path.suffix == ".csv"]
    zips = {path.stem.removeprefix("BBBC021_v1_images_"): path for path in sorted(images.glob("*.zip"))}
    plain = [served("l1000/lincs2020", path, path.read_bytes(), path.name) for path in l1000_files]
    unpacked = [
        served("l1000/gse92742", path, gzip.compress(path.read_bytes(), 1), f"{path.name}.gz") for path in packed
    ]
    return Catalogue(
        tables=tuple(served("bbbc021", path, path.read_bytes(), path.name) for path in tables),
        plates={plate: served("bbbc021", path, path.read_bytes(), path.name) for plate, path in zips.items()},
        l1000={"lincs2020": tuple(plain), "gse92742": tuple(unpacked)},
    )


def test_the_tier_from_the_network_is_the_one_from_disk(
    made: Path, server: Server, tmp_path: Path, work: list[str]
) -> None:
    listed = catalogue(server, made / "images", [made / "l1000" / "level3.gctx"], [])
    for file in server.files.values():
        file.drops = [len(file.data) // 2]
    fetcher = Fetcher(tmp_path / "down", listed, jobs=3, wait_s=0.001)
    out = build("morphogene", out=tmp_path / "tier", plates=PLATES, fetcher=fetcher)
    images = {name: digest for name, digest in storage.read_sums(out).items() if not name.startswith("parts/")}
    assert images.items() <= storage.read_sums(made / "tier").items()
    work.clear()
    server.log.clear()
    lines: list[str] = []
    build("morphogene", out=tmp_path / "tier", plates=PLATES, fetcher=fetcher, progress=lines.append)
    assert server.log == []
    assert work == []
    assert "nothing has changed" in lines[-1]


def test_only_the_plates_that_are_needed_are_fetched(made: Path, server: Server, tmp_path: Path) -> None:
    listed = catalogue(server, made / "images", [], [])
    fetcher = Fetcher(tmp_path / "down", listed, wait_s=0.001)
    with pytest.raises(BadInput, match="give only the splits"):  # known from the tables alone
        build("morphogene", None, made / "l1000", tmp_path / "tier", plates=PLATES[2:], fetcher=fetcher)
    assert not any(".zip" in path for path, _ in server.asked("GET"))
    build("morphogene", None, made / "l1000", tmp_path / "tier", PLATES[:2], fetcher=fetcher)
    zips = [path for path, _ in server.asked("GET") if ".zip" in path]
    assert sorted(zips) == [f"/BBBC021_v1_images_{plate}.zip" for plate in PLATES[:2]]
    server.files.clear()
    build("morphogene", None, made / "l1000", tmp_path / "tier", PLATES[:2], fetcher=fetcher)


def test_a_web_page_in_place_of_a_plate_leaves_the_old_tier(made: Path, copy: Path, server: Server) -> None:
    listed = catalogue(server, made / "images", [made / "l1000" / "level3.gctx"], [])
    server.files[f"/BBBC021_v1_images_{PLATES[1]}.zip"] = Served(b"<!doctype html>Sign in", content_type="text/html")
    before = (copy / "tier" / "SHA256SUMS").read_text()
    fetcher = Fetcher(copy / "down", listed, wait_s=0.001)
    with pytest.raises(Unavailable, match=rf"{PLATES[1]}.zip: the server sends a web page \(HTML\)"):
        build("morphogene", out=copy / "tier", plates=PLATES, fetcher=fetcher)
    assert (copy / "tier" / "SHA256SUMS").read_text() == before


def test_one_command_builds_real_tables_and_profiles_from_the_network(
    server: Server, tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = tifffile.imread(shared_data / PIXELS)  # CC0
    rows = real_rows(shared_data, PLATES[:2], ["DMSO", "emetine"], wells=1, sites=1)
    images = lay_out(tmp_path / "images", rows, pixels, shared_data / MECHANISMS)
    profiles = shared_data / "l1000" / "prnet_level3_HT115_6h_bbbc021.gctx"
    listed = catalogue(server, images, [], [profiles])
    monkeypatch.setattr(sources, "load_catalogue", lambda: listed)
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    words = ["data", "build", "morphogene", "--download", str(tmp_path / "down"), "--l1000-source", "gse92742"]
    words += ["--cell", "HT115", "--hours", "6", "--jobs", "2"]
    words += [word for name in PLATES[:2] for word in ("--plates", name)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.strip() == str(tmp_path / "cache" / "tiers" / "morphogene")
    tier = load_built("morphogene")
    assert tier.spec.counts == {"train": 1, "id": 1, "vehicle": 2}
    assert np.isfinite(tier.expression(tier.rows("id"))[1]).all()
    assert (tmp_path / "down" / "l1000" / "gse92742" / profiles.name).read_bytes() == profiles.read_bytes()
    shown = CliRunner().invoke(app, ["data", "info", "--tier", "morphogene"], catch_exceptions=False).stdout
    assert "built: a part, 4 of 11,888 images, 2 of 55 plates, 1 of 98 compounds, and vehicle" in shown
    assert f"{profiles.name}; HT115 at 6 h, matched by structure, all doses; 14 of 98 compounds have profiles" in shown
    checked = CliRunner().invoke(app, ["data", "verify", "--tier", "morphogene", "--download", str(tmp_path / "down")])
    assert checked.stdout.splitlines() == [
        "morphogene: 13 files as recorded",  # 4 images, 6 tables, 3 records
        f"{tmp_path / 'down'}: 5 files as they first arrived",
    ]


@pytest.mark.parametrize("state", ["not built", "interrupted", "damaged"])
def test_the_data_commands_say_what_state_a_tier_is_in(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    folder = tmp_path / "tiers" / "morphogene"

    def failure(command: str) -> str:
        done = CliRunner().invoke(app, ["data", command, "--tier", "morphogene"])
        assert done.exception is not None
        return str(done.exception)

    if state == "damaged":
        shutil.copytree(made / "tier", folder)
        (folder / "build.json").write_text("{}")
        for command in ("info", "verify"):
            assert "build.json: sha256" in failure(command)
            assert "run `morphobench data build morphogene` again" in failure(command)
        found = CliRunner().invoke(app, ["data", "path", "--tier", "morphogene"], catch_exceptions=False)
        assert found.stdout.strip() == str(folder)
        return
    if state == "interrupted":
        shutil.copytree(made / "tier", folder.with_name(".morphogene.work"))
    said = " (a build that was interrupted has finished 4 of its parts)" if state == "interrupted" else ""
    for command in ("path", "verify"):
        assert (
            failure(command) == f"tier morphogene: not built at {folder}{said}; run `morphobench data build morphogene`"
        )
