"""The finished parts of a build, each kept as soon as it is made and found again by what it was made from.

A part is some files and a record of them, `parts/NAME.json`, which is written last: without it the files are remains of
an interrupted build. Parts lie in a work folder beside the tier (`.TIER.work`) until all are there. Then the tier is
laid out in it with links to their files, takes the place of the old one at once, and the work folder goes. The tier
keeps the records, so that a later build finds in it what did not change.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from morphobench import storage
from morphobench.schema import Record

Make = Callable[[dict[str, Any]], Iterator[tuple[str, bytes]]]
"""Gives (path below the tier's folder, content) one after the other; fills the dictionary with what it wants kept."""


class Part(Record):
    """The record of a part.

    key: hash of all that it was made from. files: path below the tier's folder -> SHA-256. about: what its maker wants
    to know of it later.
    """

    key: str
    files: dict[str, str]
    about: dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """A part, and the folder below which its files lie."""

    part: Part
    root: Path


@dataclass(frozen=True)
class Parts:
    """The parts of the tier at `folder`, and of a build of it that was interrupted."""

    folder: Path

    @property
    def work(self) -> Path:
        """Folder of the parts of a build that is not finished."""
        return storage.neighbour(self.folder, ".work")

    @property
    def _layout(self) -> Path:
        return self.work / "tier"

    def unfinished(self) -> int:
        """How many parts an interrupted build has finished."""
        return len(list((self.work / "parts").glob("*.json")))

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Hold the tier's lock, after what a process killed during the exchange left was put right."""
        with storage.lock(self.folder):
            if (self._layout / "SHA256SUMS").is_file() and not self.folder.exists():
                self._layout.replace(self.folder)
            for old in self.folder.parent.glob(f"{glob.escape(storage.neighbour(self.folder, '.old.').name)}*"):
                shutil.rmtree(old)
            yield

    def find(self, name: str, key: str) -> Kept | None:
        """The part of this name that was made from `key`, if its files are as recorded; each is read and hashed."""
        for root in (self.work, self.folder):
            part = _read(root / _record(name))
            if part and part.key == key and all(_is(root / file, digest) for file, digest in part.files.items()):
                return Kept(part, root)
        return None

    def make(self, name: str, key: str, make: Make) -> Kept:
        """Write the files that `make` gives, then the record of them; Unavailable where the disk is full."""
        files: dict[str, str] = {}
        about: dict[str, Any] = {}
        record = self.work / _record(name)
        with storage.disk_errors(self.work):
            record.unlink(missing_ok=True)  # its files are about to be overwritten
            for file, data in make(about):
                _write(self.work / file, data)
                files[file] = storage.sha256_bytes(data)
            part = Part(key=key, files=files, about=about)
            storage.atomic_write_text(record, _text(part))
        return Kept(part, self.work)

    def assemble(self, parts: dict[str, Kept], others: dict[str, bytes]) -> bool:
        """Make the tier from parts, by name, and further files; False if it is that already, to the byte."""
        linked = {file: kept.root for kept in parts.values() for file in kept.part.files}
        small = others | {_record(name).as_posix(): _text(kept.part).encode() for name, kept in parts.items()}
        sums = {file: storage.sha256_bytes(data) for file, data in small.items()}
        for kept in parts.values():
            sums |= kept.part.files
        table = "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items())).encode()
        small["SHA256SUMS"] = table  # the last to be written
        done = set(linked.values()) <= {self.folder} and all(
            _is(self.folder / file, storage.sha256_bytes(data)) for file, data in small.items()
        )
        with storage.disk_errors(self.folder):
            if not done:
                _remove(self._layout)
                for file, root in linked.items():
                    _link(root / file, self._layout / file)
                for file, data in small.items():
                    _write(self._layout / file, data)
                storage.replace_dir(self._layout, self.folder)
            _remove(self.work)
        return not done


def _record(name: str) -> Path:
    return Path("parts", f"{name}.json")


def _text(part: Part) -> str:
    return part.model_dump_json(indent=1) + "\n"


def _read(path: Path) -> Part | None:
    try:
        return Part.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None  # a damaged record is none: the part is made again


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and storage.sha256_file(path) == digest


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _link(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, path)
    except OSError:  # a file system without hard links: the tier is there twice for a moment
        shutil.copyfile(source, path)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
