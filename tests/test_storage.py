"""Files are whole or absent, whatever interrupts; a changed byte is named."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from morphobench import storage
from morphobench.errors import BadInput, Unavailable


def test_hashes_are_those_of_hashlib(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(data)
    assert storage.sha256_file(tmp_path / "a") == storage.sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_text_hashes_keep_their_parts_apart() -> None:
    assert storage.sha256_text("ab", "c") != storage.sha256_text("a", "bc")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    storage.atomic_write_text(path, "old")
    with pytest.raises(error), storage.atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


def test_an_interrupted_folder_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "tier"
    with storage.atomic_dir(path) as place:
        (place / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), storage.atomic_dir(path) as place:
        (place / "a").write_text("new")
        raise KeyboardInterrupt
    assert (path / "a").read_text() == "old"
    with storage.atomic_dir(path) as place:
        (place / "b").write_text("new")
    assert [item.name for item in path.iterdir()] == ["b"]
    assert [item.name for item in tmp_path.iterdir()] == ["tier"]


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    storage.atomic_write_text(path, "old")
    with pytest.raises(Unavailable, match="the disk is full"), storage.atomic_path(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"


def test_verify_names_the_file_that_changed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    digest = storage.sha256_file(tmp_path / "a.csv")
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  a.csv\n")
    assert storage.verify_sums(tmp_path) == {"a.csv": digest}
    (tmp_path / "a.csv").write_text("1,3\n")
    with pytest.raises(BadInput, match=r"a\.csv: sha256"):
        storage.verify_sums(tmp_path)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(BadInput, match=r"a\.csv: listed in SHA256SUMS but not there"):
        storage.verify_sums(tmp_path)


def test_a_name_in_a_table_of_hashes_ends_where_its_line_does(tmp_path: Path) -> None:
    names = {"a\x0bb": "1", "c\x0cd": "2", "e\x85f": "3", "g\u2028h": "4", "i\x1cj": "5"}
    for end in ("\n", "\r\n"):
        lines = "".join(f"{digest}  {name}{end}" for name, digest in names.items())
        (tmp_path / "SHA256SUMS").write_bytes(lines.encode())
        assert storage.read_sums(tmp_path) == names


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_failed_exchange_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    path = tmp_path / "tier"
    with storage.atomic_dir(path) as place:
        (place / "a").write_text("old")
    rename = Path.replace

    def fail_on_the_new_one(source: Path, target: Path) -> Path:
        if target == path and not (source / "a").exists():
            raise stop
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_new_one)
    with pytest.raises(stop), storage.atomic_dir(path) as place:
        (place / "b").write_text("new")
    assert (path / "a").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["tier"]


def test_a_file_is_never_replaced_by_a_folder_nor_a_folder_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=r"file: is a file; name a folder"), storage.atomic_dir(path):
            pass
    with pytest.raises(BadInput, match=r"folder: is a folder; name a file"):
        storage.atomic_write_text(tmp_path / "folder", "")
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(Unavailable, match="cache: is a file; set MORPHOBENCH_CACHE"):
        storage.atomic_write_text(tmp_path / "cache" / "x.npz", "")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_spoilt_table_of_hashes_is_named(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("what is this\n")
    with pytest.raises(BadInput, match=r"SHA256SUMS: 'what is this' .*; build it again"):
        storage.read_sums(tmp_path, "build it again")
