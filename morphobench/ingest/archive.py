"""A submission's files, from a folder or a zip, under limits that hold whoever packed it.

Nothing is unpacked to disk: members are read one at a time, so a hostile name cannot leave the folder and a hostile
size cannot fill the disk.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Protocol

from morphobench.errors import BadInput

MAX_FILES = 200_000
MAX_BYTES = 1 << 30
"""Largest single file, uncompressed: an expression table of 10,000 conditions is a tenth of this."""
IGNORED = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Left by file browsers; anything else that a submission does not name is an error."""


class Source(Protocol):
    """Files by relative POSIX name."""

    path: Path

    def names(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        ...


def open_source(path: Path) -> Source:
    """A folder or a `.zip`; BadInput where it is neither."""
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise BadInput(f"{path}: no such folder or zip")


class FolderSource:
    """The files under a folder. Links are refused: they could point anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        found = []
        for entry in sorted(self.path.rglob("*")):
            if entry.is_symlink():
                raise BadInput(f"{entry}: a link; put the file itself there")
            if entry.is_file() and entry.name not in IGNORED:
                found.append(entry.relative_to(self.path).as_posix())
                if len(found) > MAX_FILES:
                    raise BadInput(f"{self.path}: more than {MAX_FILES:,} files; one image per condition is wanted")
        return found

    def read(self, name: str) -> bytes:
        path = self.path / name
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadInput(f"{path}: {size:,} bytes; at most {MAX_BYTES:,} are read")
        return path.read_bytes()


class ZipSource:
    """The members of a zip. One top folder around everything is allowed and stripped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise BadInput(f"{path}: not a readable zip ({error}); use `morphobench submission pack`") from error
        self._members = self._index()

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > MAX_FILES:
            raise BadInput(f"{self.path}: more than {MAX_FILES:,} files; one image per condition is wanted")
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = PurePosixPath(info.filename)
            if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                raise BadInput(f"{self.path}: member {info.filename!r} leaves the archive; pack it again")
            if info.flag_bits & 1:
                raise BadInput(f"{self.path}: member {info.filename!r} is encrypted; pack it without a password")
            if name.name in IGNORED or name.parts[0] == "__MACOSX":
                continue
            if name.as_posix() in members:
                raise BadInput(f"{self.path}: member {info.filename!r} is there twice; pack it again")
            members[name.as_posix()] = info
        tops = {name.split("/")[0] for name in members}
        if "submission.toml" not in members and len(tops) == 1 and f"{(top := tops.pop())}/submission.toml" in members:
            members = {name[len(top) + 1 :]: info for name, info in members.items()}
        return members

    def names(self) -> list[str]:
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        info = self._members[name]
        try:
            with self._zip.open(info) as stream:
                data = stream.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
            raise BadInput(f"{self.path}: member {name!r} cannot be read ({error}); pack it again") from error
        if len(data) > MAX_BYTES:
            raise BadInput(f"{self.path}: member {name!r} unpacks to over {MAX_BYTES:,} bytes")
        return data
