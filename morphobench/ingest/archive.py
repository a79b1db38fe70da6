"""A submission's files, from a folder or a zip, under limits that hold whoever packed it.

Nothing is unpacked to disk: members are read one at a time, so a hostile name cannot leave the folder and a hostile
size cannot fill the disk.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Protocol

from morphobench.errors import BadInput

MAX_FILES = 200_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compressions that every unpacker knows; the others bring their own errors and far denser bombs."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, OSError, ValueError)
"""What zipfile raises for a damaged archive, or one of a version that it does not know."""
IGNORED = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Left by file browsers; anything else that a submission does not name is an error."""


class Source(Protocol):
    """Files by relative POSIX name."""

    path: Path

    def names(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of one file; BadInput if there are more than `limit`, before they take memory."""
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

    def read(self, name: str, limit: int) -> bytes:
        path = self.path / name
        try:
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError as error:
            raise BadInput(f"{path}: removed while it was read; put it back and run again") from error
        if len(data) > limit:
            raise _too_large(str(path), path.stat().st_size, limit)
        return data


class ZipSource:
    """The members of a zip. One top folder around everything is allowed and stripped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except UNREADABLE as error:
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
            if info.compress_type not in METHODS:
                raise BadInput(
                    f"{self.path}: member {info.filename!r} is compressed by method {info.compress_type}; "
                    "use `morphobench submission pack`"
                )
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

    def read(self, name: str, limit: int) -> bytes:
        info = self._members[name]
        if info.file_size > limit:
            raise _too_large(f"{self.path}: {name}", info.file_size, limit)
        try:
            with self._zip.open(info) as stream:
                data = stream.read(limit + 1)
        except UNREADABLE as error:
            raise BadInput(f"{self.path}: member {name!r} cannot be read ({error}); pack it again") from error
        if len(data) > limit:
            # Its header said less.
            raise BadInput(f"{self.path}: member {name!r} is longer than it says; pack it again")
        return data


def named(names: Collection[str], name: str) -> str | None:
    """A file's name as a source's `names` have it, in whatever case (submission.TOML); None where it is not there."""
    return name if name in names else next((found for found in names if found.casefold() == name.casefold()), None)


def _too_large(name: str, size: int, limit: int) -> BadInput:
    return BadInput(f"{name}: {size:,} bytes; at most {limit:,} are read of a file of its kind")
