"""What is noted of downloaded files, so that the same file stays the same file: `downloads.json` of their folder."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from morphobench import storage
from morphobench.errors import BadInput
from morphobench.schema import Record

NOTES = "downloads.json"


class Kept(Record):
    """What is noted of a file once it has arrived: its hash, and by what an untouched copy is known."""

    sha256: str
    size: int
    modified_ns: int
    address: str


_NOTES = TypeAdapter(dict[str, Kept])


@dataclass
class Notes:
    """`downloads.json` of a folder: {file: Kept}; written whole at each change."""

    folder: Path
    _kept: dict[str, Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        path = self.folder / NOTES
        if path.is_file():
            try:
                self._kept = _NOTES.validate_json(path.read_bytes())
            except ValidationError as error:
                raise BadInput(f"{path}: damaged; remove it, and every file is hashed again") from error

    def names(self) -> tuple[str, ...]:
        """Every file that arrived."""
        return tuple(self._kept)

    def untouched(self, name: str) -> bool:
        """Whether the file is there with the size and time of change that were noted."""
        path, kept = self.folder / name, self._kept.get(name)
        if kept is None or not path.is_file():
            return False
        now = path.stat()
        return (now.st_size, now.st_mtime_ns) == (kept.size, kept.modified_ns)

    def expected(self, name: str) -> str:
        """The hash of the file's first arrival; "" where it never arrived."""
        kept = self._kept.get(name)
        return kept.sha256 if kept else ""

    def compare(self, name: str, digest: str) -> None:
        """Raise BadInput unless `digest` is that of the file's first arrival, or the file never arrived."""
        expected = self.expected(name)
        if expected and digest != expected:
            raise BadInput(changed(self.folder / name, digest, expected))

    def add(self, name: str, sha256: str, address: str) -> None:
        """Note a file that is in its place."""
        now = (self.folder / name).stat()
        with self._lock:
            self._kept[name] = Kept(sha256=sha256, size=now.st_size, modified_ns=now.st_mtime_ns, address=address)
            storage.atomic_write_text(self.folder / NOTES, _NOTES.dump_json(self._kept, indent=1).decode() + "\n")


def verify(folder: Path) -> int:
    """Hash every noted file of a download folder again and return how many; BadInput names the first that changed.

    A file that was removed since is none that changed. BadInput too where nothing was ever downloaded.
    """
    notes = Notes(folder)
    if not notes.names():
        raise BadInput(f"{folder / NOTES}: not there, or empty: nothing was downloaded to this folder")
    there = [name for name in notes.names() if (folder / name).is_file()]
    for name in there:
        notes.compare(name, storage.sha256_file(folder / name))
    return len(there)


def changed(path: Path, actual: str, expected: str) -> str:
    """What to say of a file on disk that is not the known one."""
    return f"{path}: sha256 {actual[:12]}... where {expected[:12]}... is known; remove it, and it is downloaded again"
