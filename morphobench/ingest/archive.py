"""A submission's files, from a folder or a zip, under limits that hold whoever packed it.

Nothing is unpacked to disk: members are read one at a time, so a hostile name cannot leave the folder and a hostile
size cannot fill the disk.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Protocol

from morphobench.errors import BadInput
from morphobench.storage import left_behind

MAX_FILES = 200_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compressions that every unpacker knows; the others bring their own errors and far denser bombs."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, OSError, ValueError)
"""What zipfile raises for a damaged archive, or one of a version that it does not know."""
TOP = "submission.toml"
"""Of a folder that holds one folder and nothing else, that one is the submission where this file lies in it."""
READABLE = "give yourself the right to read it"


class Source(Protocol):
    """Files by relative POSIX name; what is `storage.left_behind` is not among them."""

    path: Path

    def names(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of one file; BadInput if there are more than `limit`, before they take memory."""
        ...


def open_source(path: Path) -> Source:
    """A folder or a `.zip`; BadInput where it is neither. One top folder around everything is allowed and stripped."""
    if path.is_dir():
        return FolderSource(_top(path))
    if path.is_file():
        return ZipSource(path)
    raise BadInput(f"{path}: no such folder or zip")


def _top(folder: Path) -> Path:
    """Where the submission in a folder begins: unpackers put what they unpack into a folder of the zip's name."""
    entries = [entry for entry in folder.iterdir() if not left_behind(PurePosixPath(entry.name))]
    if len(entries) != 1 or entries[0].is_symlink() or not entries[0].is_dir():
        return folder
    return entries[0] if named([entry.name for entry in entries[0].iterdir()], TOP) else folder


class FolderSource:
    """The files under a folder. Links are refused: they could point anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        names: list[str] = []
        for folder, folders, files in os.walk(self.path, onerror=_refuse):
            below = PurePosixPath(*Path(folder).relative_to(self.path).parts)
            folders[:] = [name for name in folders if not left_behind(PurePosixPath(name))]
            for name in (*folders, *files):
                entry = Path(folder, name)
                if left_behind(PurePosixPath(name)):
                    continue
                if entry.is_symlink():
                    raise BadInput(f"{entry}: a link; put the file itself there")
                if name in files and entry.is_file():
                    names.append((below / name).as_posix())
            if len(names) > MAX_FILES:
                raise BadInput(f"{self.path}: more than {MAX_FILES:,} files; one image per condition is wanted")
        return sorted(names)

    def read(self, name: str, limit: int) -> bytes:
        path = self.path / name
        try:
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError as error:
            raise BadInput(f"{path}: removed while it was read; put it back and run again") from error
        except PermissionError as error:
            raise BadInput(f"{path}: may not be read; {READABLE}") from error
        if len(data) > limit:
            raise _too_large(str(path), path.stat().st_size, limit)
        return data


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be listed ({error.strerror}); {READABLE}") from error


class ZipSource:
    """The members of a zip. One top folder around everything is allowed and stripped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except PermissionError as error:
            raise BadInput(f"{path}: may not be read; {READABLE}") from error
        except UNREADABLE as error:
            raise BadInput(f"{path}: not a readable zip ({error}); use `morphobench submission pack`") from error
        self._members = self._index()

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = self._name(info)
            if name is None or left_behind(name):
                continue
            if name.as_posix() in members:
                raise BadInput(f"{self.path}: member {info.filename!r} is there twice; pack it again")
            self._check(info)
            members[name.as_posix()] = info
            if len(members) > MAX_FILES:
                raise BadInput(f"{self.path}: more than {MAX_FILES:,} files; one image per condition is wanted")
        tops = {name.split("/")[0] for name in members}
        if len(tops) == 1 and named(members, f"{(top := tops.pop())}/{TOP}"):
            members = {name[len(top) + 1 :]: info for name, info in members.items()}
        return members

    def _name(self, info: zipfile.ZipInfo) -> PurePosixPath | None:
        """Where a member lies, None for a folder; BadInput where that is no place in the archive."""
        given = info.filename.replace("\\", "/")  # some packers on Windows write it
        name = PurePosixPath(given)
        if name.is_absolute() or ".." in name.parts:
            raise BadInput(f"{self.path}: member {info.filename!r} leaves the archive; pack it again")
        if not given.endswith("/") and not name.parts:
            raise BadInput(f"{self.path}: a member has the name {info.filename!r}, which is no file's; pack it again")
        return None if given.endswith("/") else name

    def _check(self, info: zipfile.ZipInfo) -> None:
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BadInput(f"{self.path}: member {info.filename!r} is a link; pack the file itself")
        if info.flag_bits & 1:
            raise BadInput(f"{self.path}: member {info.filename!r} is encrypted; pack it without a password")
        if info.compress_type not in METHODS:
            raise BadInput(
                f"{self.path}: member {info.filename!r} is compressed by method {info.compress_type}; "
                "use `morphobench submission pack`"
            )

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
    return (
        name
        if name in names
        else next((spelling for spelling in names if spelling.casefold() == name.casefold()), None)
    )


def _too_large(name: str, size: int, limit: int) -> BadInput:
    return BadInput(f"{name}: {size:,} bytes; at most {limit:,} are read of a file of its kind")
