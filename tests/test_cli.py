"""The command line: every bad input is one line that names the value and the mend, with the right exit code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from morphobench import evaluation
from morphobench.cli import main
from morphobench.datasets import load_tier
from morphobench.ingest.images import encode_png
from morphobench.ingest.submission import image_name

ROOT = Path(__file__).parents[1]


def run(*words: str, cache: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it."""
    environment = os.environ | {"MORPHOBENCH_CACHE": str(cache), "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "morphobench", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd or ROOT, timeout=300)


def inside(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> subprocess.CompletedProcess[str]:
    """The same entry without a process of its own, for one more case of what `run` shows."""
    monkeypatch.setattr(sys, "argv", ["morphobench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr()
    return subprocess.CompletedProcess(words, int(end.value.code or 0), shown.out, shown.err)


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sim submission in which every image is the same noise."""
    folder = tmp_path_factory.mktemp("made") / "noise"
    tier = load_tier("sim")
    data = encode_png(np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8))
    for track in tier.spec.tracks:
        for condition in tier.conditions(track):
            path = folder / image_name(condition)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    manifest = {
        "name": "noise", "group": "tests", "version": "1", "tier": "sim", "tier_version": tier.spec.version,
        "split_sha256": tier.split_sha256, "method": "one picture of noise",
    }  # fmt: skip
    (folder / "submission.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in manifest.items()))
    return folder


def test_version_and_help(tmp_path: Path) -> None:
    import morphobench

    assert run("--version", cache=tmp_path).stdout.strip() == morphobench.__version__
    shown = run("--help", cache=tmp_path)
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("evaluate", "submission", "data", "leaderboard"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["evaluate", "--model", "nosuch"], 2, ["'nosuch'", "trident", "copycat"]),
        (["evaluate", "--model", "vehicle", "--tier", "nosuch"], 2, ["'nosuch'", "sim", "morphogene"]),
        (["evaluate", "--model", "vehicle", "--track", "nosuch"], 2, ["'nosuch'", "id, ood"]),
        (["evaluate"], 2, ["--model NAME or --submission PATH"]),
        (["evaluate", "--model", "vehicle", "--submission", "x"], 2, ["one of the two"]),
        (["evaluate", "--submission", "x", "--checkpoint", "w"], 2, ["--checkpoint w", "give --model NAME"]),
        (["evaluate", "--model", "vehicle", "--engine", "ilastik"], 2, ["'ilastik'", "cellprofiler"]),
        (["evaluate", "--submission", "absent.zip"], 2, ["absent.zip", "no such folder or zip"]),
        (["evaluate", "--model", "vehicle", "--weights", "inception"], 2, ["NAME=FILE"]),
        (["evaluate", "--model", "vehicle", "--weights", "inception=absent.pth"], 2, ["absent.pth is not a file"]),
        (["evaluate", "--model", "vehicle", "--tier", "morphogene"], 1, ["morphobench data build morphogene"]),
        (["data", "build", "nosuch", "--images", ".", "--l1000", "."], 2, ["'nosuch'"]),
        (["leaderboard", "add", "absent.json"], 2, ["absent.json"]),
        (["leaderboard", "build", "--root", "absent"], 2, ["absent"]),
        (["submission", "validate", "absent"], 2, ["absent"]),
    ],
)
def test_bad_names_are_one_line(tmp_path: Path, words: list[str], code: int, says: list[str]) -> None:
    assert_one_line(run(*words, cache=tmp_path, cwd=tmp_path), code, *says)


def test_a_good_submission_validates_and_packs(submission: Path, tmp_path: Path) -> None:
    checked = run("submission", "validate", str(submission), cache=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "valid; 1,568 images in 2 tracks, without predicted expression" in checked.stdout
    assert run("submission", "pack", str(submission), str(tmp_path / "s.zip"), cache=tmp_path).returncode == 0
    assert "valid" in run("submission", "validate", str(tmp_path / "s.zip"), cache=tmp_path).stdout


def test_each_bad_file_is_named(
    submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(submission, tmp_path / "copy")
    victim = folder / "images/ood/taxol/0003.png"
    good = victim.read_bytes()
    cases = {
        "is missing (1 of 864 images are)": None,
        "truncated": good[:-100],
        "not a PNG": b"text",
        "64 x 64": encode_png(np.zeros((64, 64, 3), np.uint8)),
    }
    for words, data in cases.items():
        victim.unlink(missing_ok=True)
        if data is not None:
            victim.write_bytes(data)
        asked = ["evaluate", "--submission", str(folder), "--track", "ood", "--out", str(tmp_path / "out")]
        assert_one_line(inside(asked, monkeypatch, capsys), 2, "images/ood/taxol/0003.png", words)
        assert not (tmp_path / "out").exists()
    assert_one_line(run(*asked, cache=tmp_path, cwd=tmp_path), 2, "images/ood/taxol/0003.png", words)


def test_new_writes_every_condition(tmp_path: Path) -> None:
    done = run("submission", "new", str(tmp_path / "mine"), cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "mine/conditions.csv").read_text().splitlines()) == 1 + 704 + 864
    again = run("submission", "new", str(tmp_path / "mine"), cache=tmp_path)
    assert_one_line(again, 2, "not empty")


def test_data_commands_describe_and_verify_the_tier(tmp_path: Path) -> None:
    shown = run("data", "info", cache=tmp_path)
    assert "ood: 864 images, 54 compounds, plates E01, E02, E03, E04" in shown.stdout
    assert run("data", "verify", cache=tmp_path).returncode == 0


def test_a_changed_table_is_named(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "morphobench", tmp_path / "morphobench", ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "datasets/splits/sim.csv.gz"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from morphobench.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "data", "info"], capture_output=True, text=True, cwd=tmp_path
    )
    assert_one_line(done, 2, "splits/sim.csv.gz", "sha256")


def test_an_unwritable_cache_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")
    done = run("evaluate", "--model", "vehicle", "--track", "id", cache=blocked, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "blocked: is a file; set MORPHOBENCH_CACHE to a folder" in done.stderr


def test_a_model_that_returns_the_wrong_thing_is_named(tmp_path: Path) -> None:
    class Grey:
        def __init__(self) -> None:
            self.manifest = {"method": "grey"}

        def generate(self, conditions: object, seed: int) -> np.ndarray:
            return np.zeros((len(conditions), 128, 128), np.uint8)  # type: ignore[arg-type]

    from morphobench.errors import BadInput

    with pytest.raises(BadInput, match=r"model 'grey': generate gave uint8 \(704, 128, 128\)"):
        evaluation.evaluate(model=Grey(), tracks=["id"], folder=tmp_path)
    assert not (tmp_path / "submission").exists()


def test_a_file_where_a_folder_is_wanted_is_one_line(submission: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    given = str(submission)
    for words in (
        ["evaluate", "--submission", given, "--out", "file"],
        ["evaluate", "--model", "vehicle", "--embedding", "efficientnet_lite0", "--out", "file/below"],
        ["submission", "new", "file"],
        ["submission", "pack", given, "file/below.zip"],
    ):
        assert_one_line(run(*words, cache=tmp_path / "cache", cwd=tmp_path), 2, "file: is a file; name a folder")
    done = run("submission", "pack", given, ".", cache=tmp_path / "cache", cwd=tmp_path)
    assert_one_line(done, 2, "is a folder; name a file")
    assert (tmp_path / "file").read_text() == "mine"


def test_usage_errors_keep_their_exit_code(tmp_path: Path) -> None:
    done = run("evaluate", "--nosuch", cache=tmp_path)
    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_interrupting_is_one_line_and_leaves_whole_files(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    words = ["evaluate", "--model", "mean-image", "--embedding", "efficientnet_lite0", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "morphobench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=os.environ | {"MORPHOBENCH_CACHE": str(cache), "NO_COLOR": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not list(cache.rglob("*.npy")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert printed == ""
    assert said.strip().splitlines() == ["morphobench: interrupted; complete files are kept, nothing is half-written"]
    left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    assert left
    for path in left:
        assert np.load(path).shape == (8, 128, 128, 3)


def test_json_is_alone_on_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthetic_report import report
    from typer.testing import CliRunner

    from morphobench import cli
    from morphobench import run as scoring_run
    from morphobench.schema import Report

    made = report()
    monkeypatch.setattr(scoring_run, "run", lambda request: (made, tmp_path))
    shown = CliRunner().invoke(cli.app, ["evaluate", "--model", "trident", "--json"])
    assert shown.exit_code == 0
    assert Report.model_validate_json(shown.stdout) == made
    table = CliRunner().invoke(cli.app, ["evaluate", "--model", "trident"]).stdout
    assert all(score.key in table for score in made.scores), "keys are printed whole, brackets included"
