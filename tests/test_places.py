"""Where the package may find itself: installs and homes that nobody may write, disks without locks, odd outputs."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import synthetic_report
from hypothesis import given
from hypothesis import strategies as st

from morphobench import cli, run, storage
from morphobench.datasets import load_tier, sim
from morphobench.errors import BadInput, Unavailable
from morphobench.features.cache import cached_array
from morphobench.ingest.submission import Submission
from morphobench.request import Request

ROOT = Path(__file__).parents[1]
NAMES = (
    "plain", "with space", "новая папка", "測試用資料夾", "مجلد", "cafe\u0301", "[bold]", ":smile:", "%s{0}", "漢" * 80,
    os.fsdecode(b"caf\xe9"),
)  # fmt: skip
"""Folders of any script, names that a console could take for its own, and one in another encoding than the disk's."""


READ_ONLY = """
for place in "$3" "$4"; do mount --bind "$place" "$place"; mount -o remount,ro,bind "$place"; done
exec "$1" -B -c "$2"
"""


class Stranger:
    """Runs Python where neither the package nor the home may be written, but a folder of one's own.

    The superuser, who may write anywhere, gets both mounted read-only for the one process.
    """

    def __init__(self, folder: Path) -> None:
        self.own, self.others = folder / "own", folder / "others"
        for place in (self.own, self.others):
            place.mkdir()
        self.root = os.geteuid() == 0

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "HOME")}
        given |= {"HOME": str(self.others), "TMPDIR": str(self.own), "PYTHONPATH": str(ROOT)} | environment
        words = [sys.executable, code, str(ROOT), str(self.others)]
        command = ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", *words]
        if not self.root:
            command = [words[0], "-B", "-c", code]
            self.others.chmod(0o555)
        try:
            return subprocess.run(command, capture_output=True, text=True, env=given, cwd=self.own, timeout=120)
        finally:
            self.others.chmod(0o755)


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    found = Stranger(tmp_path)
    try:
        tried = found.run("")
    except FileNotFoundError:
        pytest.skip("no unshare on this system, without which the superuser may write everywhere")
    if tried.returncode:
        pytest.skip(f"nothing can be mounted read-only here: {tried.stderr.strip()}")
    return found


FLOOD = """
import os
import numpy as np
from morphobench.features.flood import watershed
image = np.ones((8, 8), np.float32)
seeds = np.zeros((8, 8), np.int32)
seeds[0, 0] = 3
assert (watershed(image, seeds, image > 0) == 3).all()
print(os.environ["NUMBA_CACHE_DIR"])
"""


def test_machine_code_lies_in_the_cache_where_install_and_home_may_not_be_written(stranger: Stranger) -> None:
    """Else importing umap, which compiles at once, ends the report after minutes of scoring."""
    cache = stranger.own / "cache"
    done = stranger.run(FLOOD, MORPHOBENCH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(cache / "machine-code")
    assert list((cache / "machine-code").rglob("flood.*.nbi"))


def test_machine_code_is_made_anew_where_the_cache_may_not_be_written_either(stranger: Stranger) -> None:
    done = stranger.run(FLOOD, MORPHOBENCH_CACHE=str(stranger.others / "cache"))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == stranger.own
    assert not list(stranger.own.iterdir())  # what lay in the temporary folder went with the process


def test_a_place_that_the_user_names_for_machine_code_is_kept(stranger: Stranger) -> None:
    done = stranger.run(FLOOD, MORPHOBENCH_CACHE=str(stranger.others), NUMBA_CACHE_DIR=str(stranger.own / "mine"))
    assert done.stdout.strip() == str(stranger.own / "mine")


ARRAYS = """
from pathlib import Path
from morphobench import storage
from morphobench.errors import MorphoBenchError
from morphobench.features.cache import cached_array
from morphobench.ingest.submission import Submission
from morphobench.request import Request
place = storage.cache_dir() / "features"
assert cached_array("known", place, lambda: 1 / 0)["x"].tolist() == [1, 2]
try:
    cached_array("new", place, dict)
except MorphoBenchError as error:
    print(type(error).__name__, error)
"""


def test_a_complete_cache_of_another_user_is_used_and_an_incomplete_one_named(stranger: Stranger) -> None:
    place = stranger.others / "features"
    cached_array("known", place, lambda: {"x": np.array([1, 2])})
    place.chmod(0o555)
    done = stranger.run(ARRAYS, MORPHOBENCH_CACHE=str(stranger.others))
    place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Unavailable {place}/")
    assert done.stdout.endswith("may not be written; set MORPHOBENCH_CACHE to a folder that you own\n")


def test_a_user_without_a_home_is_told_to_name_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(Unavailable, match=r"no home; set MORPHOBENCH_CACHE to a folder"):
        storage.cache_dir()
    monkeypatch.setenv("MORPHOBENCH_CACHE", "~/cache")
    assert storage.cache_dir() == Path.home() / "cache"


def without_locks(number: int) -> object:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("name", ["ENOLCK", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "ENOSYS"])
def test_where_a_file_system_has_no_locks_a_file_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks(getattr(errno, name)))
    with storage.lock(tmp_path / "x"):
        assert (tmp_path / ".x.held").is_file() or name == "ENOSYS"  # filelock's own way out: `.x.lock` is the one
    assert not (tmp_path / ".x.held").exists()
    assert cached_array("key", tmp_path, lambda: {"x": np.arange(3)})["x"].tolist() == [0, 1, 2]


HOLD = """
import errno, fcntl, sys, time
from pathlib import Path
from morphobench import storage
def refuse(*_): raise OSError(errno.ENOLCK, "no locks")
if sys.argv[2] == "none": fcntl.flock = refuse
with storage.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
    Path(sys.argv[1]).write_text("done")
"""


@pytest.mark.parametrize("locks", ["native", "none"])
def test_a_lock_is_waited_for_and_outlives_no_killed_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    if locks == "none":
        monkeypatch.setattr(fcntl, "flock", without_locks(errno.ENOLCK))

    def holder(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(tmp_path / "x"), locks, str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    first = holder(0.4)
    with storage.lock(tmp_path / "x"):
        assert (tmp_path / "x").read_text() == "done"
    assert first.wait() == 0
    second = holder(60)
    second.send_signal(signal.SIGKILL)
    second.wait()
    begun = time.monotonic()
    with storage.lock(tmp_path / "x"):
        assert time.monotonic() - begun < 20


@pytest.mark.parametrize("locks", ["native", "none"])
def test_a_lock_that_is_not_waited_for_says_what_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    if locks == "none":
        monkeypatch.setattr(fcntl, "flock", without_locks(errno.ENOLCK))
    ends = {"native": "or wait for its end", "none": r"remove .*\.x\.held"}
    with (
        storage.lock(tmp_path / "x"),
        pytest.raises(BadInput, match=f"x is being made.*choose another folder, .*{ends[locks]}$"),
        storage.lock(tmp_path / "x", taken="x is being made"),
    ):
        pass
    with storage.lock(tmp_path / "x", taken="x is being made"):
        pass


def test_what_fails_under_a_lock_is_not_blamed_on_its_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only file system") as caught, storage.lock(tmp_path / "x"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    assert not isinstance(caught.value, Unavailable)
    elsewhere = OSError(errno.EACCES, os.strerror(errno.EACCES), "/elsewhere/table.csv")
    with (
        pytest.raises(Unavailable, match=r"^/elsewhere/table.csv: may not be used"),
        storage.disk_errors(tmp_path / "x"),
    ):
        raise elsewhere


def test_images_are_rendered_where_processes_may_share_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only /dev/shm: said of it, not of the cache, and one process does the work."""
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    tier = load_tier("sim")
    rows = tier.rows("id")
    two = rows.groupby("compound").head(1).head(2)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(sim, "ProcessPoolExecutor", refuse)
    monkeypatch.setattr(sim.Shard, "write", one_black_image)
    with caplog.at_level(logging.WARNING):
        assert tier.images(two).take([0, 1]).shape[0] == 2
    assert "/dev/shm: [Errno 30] Read-only file system" in caplog.text or sys.platform != "linux"
    assert str(tmp_path) not in caplog.text


def test_a_folder_that_may_not_be_written_is_named_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = synthetic_report.manifest()
    submission = Submission(manifest, {}, None, "", {}, {})
    monkeypatch.setattr(run.evaluation, "answered", lambda plan, watch: submission)
    monkeypatch.setattr(run.evaluation, "score", lambda *_: pytest.fail("scored in vain"))
    monkeypatch.setattr(tempfile, "TemporaryFile", without_locks(errno.EROFS))
    with pytest.raises(Unavailable, match=r"out: may not be written; choose a folder that you own"):
        run.run(Request(model="mean-image", tracks=("id",), out=tmp_path / "out"))


def one_black_image(shard: sim.Shard) -> int:
    shard.path.parent.mkdir(parents=True, exist_ok=True)
    np.save(shard.path, np.zeros((len(shard.sample_ids), shard.size, shard.size, 3), np.uint8))
    return len(shard.sample_ids)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_whole_may_have_any_name(tmp_path: Path, name: str) -> None:
    for _ in range(2):  # new, and in the place of the old one
        with storage.atomic_dir(tmp_path / name) as place:
            storage.atomic_write_text(place / f"{name[:60]}.txt", name.encode("utf-8", "surrogateescape").hex())
        with storage.lock(tmp_path / name):
            pass
    assert [path.name for path in (tmp_path / name).iterdir()] == [f"{name[:60]}.txt"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == [name]


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command where both are of an encoding; its scores are made up."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(
            run,
            "run",
            lambda request: (synthetic_report.report(synthetic_report.manifest(method="модель β")), request.out),
        )
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        patch.setattr(sys, "argv", ["morphobench", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    for stream in streams:
        stream.flush()
    out, error = (stream.buffer.getvalue().decode(encoding) for stream in streams)  # type: ignore[attr-defined]
    return int(ended.value.code or 0), out, error


@pytest.mark.parametrize("name", [*NAMES[:-1], "x[/red]"])
def test_the_console_names_the_report_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """rich would take `[/red]` for the end of a colour that was never begun, and `:smile:` for a picture."""
    code, shown, error = printed(monkeypatch, "utf-8", "evaluate", "--model", "trident", "--out", str(tmp_path / name))
    assert (code, error) == (0, "")
    assert shown.splitlines()[-1] == f"report: {tmp_path / name}/report.html"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_output_that_lacks_a_letter_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    folder = tmp_path / os.fsdecode("папка é ".encode() + b"\xe9")
    words = ("evaluate", "--model", "trident", "--out", str(folder))
    code, shown, error = printed(monkeypatch, encoding, *words)
    assert (code, error) == (0, "")
    assert json.loads(f'"{shown.splitlines()[-1]}"') == f"report: {folder}/report.html"
    code, shown, error = printed(monkeypatch, encoding, *words, "--json")
    assert (code, error) == (0, "")
    assert json.loads(shown)["submission"]["method"] == "модель β"
    code, shown, error = printed(monkeypatch, encoding, "leaderboard", "add", str(folder), "--root", str(tmp_path))
    assert (code, shown) == (2, "")
    assert len(error.splitlines()) == 1
    code, shown, error = printed(monkeypatch, encoding, "compare", "--model", "a\u2009b", "--out", str(folder))
    assert (code, shown) == (2, "")


@given(st.text(st.characters(codec=None)))
def test_json_stays_json_in_any_encoding(text: str) -> None:
    import codecs

    codecs.register_error(cli.ESCAPED, cli._escape)
    plain = json.dumps({"name": text}, ensure_ascii=False)
    for encoding in ("ascii", "latin-1", "utf-8"):
        assert json.loads(plain.encode(encoding, cli.ESCAPED).decode(encoding)) == {"name": text}


def test_a_message_is_one_printable_line() -> None:
    said = str(
        BadInput("a\r\nb: \x1b[31mred\x00\u2028 <_io.BytesIO object at 0x7f00deadbeef> \udce9 " + "x" * 3000 + "; mend")
    )
    assert said.isprintable()
    assert len(said) <= 1000
    assert said.startswith(r"a b: \x1b[31mred\x00 _io.BytesIO \udce9 x")
    assert said.endswith("x; mend")
    assert str(BadInput(said)) == said  # raised again, or brought home from another process


def test_a_closed_output_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may have none: Python then has None for a stream."""
    monkeypatch.setattr(run, "run", lambda request: (synthetic_report.report(), request.out))
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["morphobench", "evaluate", "--model", "trident", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
