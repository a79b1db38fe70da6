"""A submission as a zip or a folder: what may be in one, what is passed over, and what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_submission import good_submission
from tiny_tier import SIZE, tiny_tier

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest.submission import (
    open_submission,
    pack_submission,
)


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def folder(tmp_path: Path, tier: Tier) -> Path:
    return good_submission(tmp_path / "good", tier)


def test_zip_and_folder_are_the_same_submission(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "a.zip", tier)
    again = pack_submission(folder, tmp_path / "b.zip", tier)
    assert packed.read_bytes() == again.read_bytes()
    assert open_submission(packed, tier).images_sha256 == open_submission(folder, tier).images_sha256


def test_a_zip_of_the_folder_itself_is_understood(folder: Path, tier: Tier, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "outer"), "zip", folder.parent, folder.name)
    assert open_submission(tmp_path / "outer.zip", tier).manifest.name == "m"


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.png", "..\\outside.png", "images\\..\\..\\x", "\\x"])
def test_a_zip_member_cannot_leave_the_archive(tmp_path: Path, tier: Tier, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(BadInput, match="leaves the archive"):
        open_submission(tmp_path / "bad.zip", tier)


def repack(packed: Path, out: Path, rename: Callable[[str], str]) -> Path:
    """A zip with the same members under other names."""
    with zipfile.ZipFile(packed) as good, zipfile.ZipFile(out, "w") as other:
        for member in good.namelist():
            info = zipfile.ZipInfo()
            info.filename = rename(member)  # as it is: the constructor would put this system's separators right
            other.writestr(info, good.read(member))
    return out


def test_a_zip_with_backslashes_is_the_same_submission(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "s.zip", tier)
    windows = repack(packed, tmp_path / "w.zip", lambda name: "mine/" + name.replace("/", "\\"))
    with zipfile.ZipFile(windows, "a") as archive:
        archive.writestr("mine\\images\\", b"")
    assert open_submission(windows, tier).images_sha256 == open_submission(packed, tier).images_sha256


def test_two_spellings_of_one_name_are_there_twice(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "s.zip", tier)
    for name in ("images\\id\\alpha\\0001.png", "./images/id//alpha/0001.png"):
        twice = tmp_path / "twice.zip"
        shutil.copy(packed, twice)
        with zipfile.ZipFile(twice, "a") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(BadInput, match="is there twice"):
            open_submission(twice, tier)


@pytest.mark.parametrize("name", [".", "", "./."])
def test_a_zip_member_without_a_name_is_named(tmp_path: Path, tier: Tier, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(BadInput, match=r"bad.zip: a member has the name '.*', which is no file's; pack it again"):
        open_submission(tmp_path / "bad.zip", tier)


def test_a_link_in_a_zip_is_refused(tmp_path: Path, tier: Tier) -> None:
    info = zipfile.ZipInfo("images/id/alpha/0000.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc/hostname")
    with pytest.raises(BadInput, match=r"0000.png' is a link; pack the file itself"):
        open_submission(tmp_path / "bad.zip", tier)


def test_a_name_that_a_terminal_would_obey_is_escaped(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "s.zip", tier)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("a\x1b[2J\u202e\n" + "x" * 5000, b"x")
    with pytest.raises(BadInput, match=r"a\\x1b\[2J\\u202e x+ \.\.\. x+ answers no condition") as caught:
        open_submission(packed, tier)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 1000


REMAINS = (
    "._submission.toml", "images/id/alpha/._0000.png", ".DS_Store", "images/.DS_Store", "__MACOSX/._images",
    "images/id/__MACOSX/x", ".ipynb_checkpoints/a.ipynb", "images/id/alpha/.ipynb_checkpoints/0000-checkpoint.png",
    "images/@eaDir/0000.png@SynoEAStream", "Thumbs.db", "images/id/Thumbs.db", "images/id/alpha/thumbs.db",
    "desktop.ini", "Desktop.ini", ".git/HEAD", ".git/objects/ab/cdef", ".gitignore", ".nfs000000000123",
    "images/id/alpha/.fuse_hidden0000001",
)  # fmt: skip


def test_what_operating_systems_leave_behind_is_passed_over(folder: Path, tier: Tier, tmp_path: Path) -> None:
    """In a folder, in a zip, and in a zip with a folder around everything; none of it is packed."""
    clean = pack_submission(folder, tmp_path / "clean.zip", tier)
    before = open_submission(folder, tier).images_sha256
    for name in REMAINS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07")
    (folder / ".git" / "link").symlink_to("/etc/hostname")
    assert open_submission(folder, tier).images_sha256 == before
    assert pack_submission(folder, tmp_path / "again.zip", tier).read_bytes() == clean.read_bytes()
    for top in ("", "mine/"):
        littered = repack(clean, tmp_path / "littered.zip", lambda name, top=top: top + name)
        with zipfile.ZipFile(littered, "a") as archive:
            for name in (*REMAINS, *(f"__MACOSX/{top}._{number}" for number in range(3))):
                archive.writestr(name if name.startswith("__MACOSX") else top + name, b"\0\x05\x16\x07")
        assert open_submission(littered, tier).images_sha256 == before


@pytest.mark.parametrize(
    "name", ["images/id/alpha/_0000.png", "images/git/x.png", "Thumbs.db.png", "images/id/.hidden"]
)
def test_what_is_only_like_what_systems_leave_is_named(folder: Path, tier: Tier, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=f"{name} answers no condition"):
        open_submission(folder, tier)


def test_a_folder_within_a_folder_is_understood_as_in_a_zip(folder: Path, tier: Tier, tmp_path: Path) -> None:
    before = open_submission(folder, tier).images_sha256
    outer = tmp_path / "unpacked"
    outer.mkdir()
    shutil.move(folder, outer / "unpacked")
    (outer / ".DS_Store").write_bytes(b"x")
    assert open_submission(outer, tier).images_sha256 == before


def test_what_may_not_be_read_is_said_to_be_so(
    folder: Path, tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the zip is broken or the disk full. Root may read everything, so that the refusal is put in by hand."""
    packed = pack_submission(folder, tmp_path / "s.zip", tier)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", refuse)
        with pytest.raises(BadInput, match=r"s.zip: may not be read; give yourself the right to read it"):
            open_submission(packed, tier)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(BadInput, match=r"submission.toml: may not be read; give yourself the right"):
            open_submission(folder, tier)


def test_zip_problems_are_named(tmp_path: Path, folder: Path, tier: Tier) -> None:
    path = pack_submission(folder, tmp_path / "s.zip", tier)
    data = bytearray(path.read_bytes())
    (tmp_path / "short.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="not a readable zip"):
        open_submission(tmp_path / "short.zip", tier)
    at = data.index(b"IDAT") + 20
    data[at : at + 40] = bytes(40)
    (tmp_path / "rotten.zip").write_bytes(data)
    with pytest.raises(BadInput, match="cannot be read"):
        open_submission(tmp_path / "rotten.zip", tier)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("submission.toml", b"x")
    with pytest.raises(BadInput, match="there twice"):
        open_submission(path, tier)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("images/id/alpha/0001.png", (2 * 3 * SIZE**2) + (64 << 10) + 1, "0001.png: 71,681 bytes; at most 71,680"),
        ("submission.toml", (64 << 10) + 1, "submission.toml: 65,537 bytes; at most 65,536"),
    ],
)
def test_a_file_too_large_for_its_kind_is_not_read(
    folder: Path, tier: Tier, tmp_path: Path, name: str, size: int, words: str
) -> None:
    packed = pack_submission(folder, tmp_path / "good.zip", tier)
    with zipfile.ZipFile(packed) as good, zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as large:
        for member in good.namelist():
            large.writestr(member, bytes(size) if member == name else good.read(member))
    (folder / name).write_bytes(bytes(size))
    for path in (folder, tmp_path / "large.zip"):
        with pytest.raises(BadInput, match=words):
            open_submission(path, tier)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_rare_compression_is_refused(tmp_path: Path, tier: Tier, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "rare.zip", "w", method) as archive:
        archive.writestr("submission.toml", b"x" * 100)
    with pytest.raises(BadInput, match=rf"rare.zip: member 'submission.toml' is compressed by method {method}"):
        open_submission(tmp_path / "rare.zip", tier)


def test_a_zip_of_a_later_version_is_refused(folder: Path, tier: Tier, tmp_path: Path) -> None:
    data = bytearray(pack_submission(folder, tmp_path / "s.zip", tier).read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99  # version needed to extract: 9.9
    (tmp_path / "later.zip").write_bytes(data)
    with pytest.raises(BadInput, match=r"later.zip: not a readable zip"):
        open_submission(tmp_path / "later.zip", tier)


def test_a_submission_is_not_packed_into_itself(folder: Path, tier: Tier) -> None:
    before = sorted(folder.rglob("*"))
    for out in (folder / "s.zip", folder / "images" / "s.zip"):
        with pytest.raises(BadInput, match="in the submission's own folder"):
            pack_submission(folder, out, tier)
    with pytest.raises(BadInput, match="is a folder; name a file"):
        pack_submission(folder, folder, tier)
    assert sorted(folder.rglob("*")) == before
