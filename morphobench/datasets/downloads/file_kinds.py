"""Whether bytes are of the kind that a file's name promises: a server may send anything under status 200.

The first bytes tell a zip, an HDF5 and a gzip file; a CSV or text file cannot be known by them, but an error page, an
XML or a JSON message in its place can. A whole zip and a whole HDF5 file have more to show: their directory and their
end, by which one that was cut short on the server is found.
"""

from __future__ import annotations

import codecs
import zipfile
from pathlib import Path

import h5py

_MAGIC = {".zip": (b"PK", "a zip"), ".gctx": (b"\x89HDF", "HDF5"), ".gz": (b"\x1f\x8b", "gzip")}
_TEXT = (".csv", ".txt")
_LOOKED_AT = 4096  # bytes
SHORTEST = 4
"""Bytes by which every kind is told."""


def strange_start(name: str, start: bytes) -> str:
    """What a file of this name has come as, judged by its first bytes; "" where they may be its own."""
    if not start:
        return "nothing (0 bytes)"
    suffix = Path(name).suffix.lower()
    magic, kind = _MAGIC.get(suffix, (b"", ""))
    bare = start[:_LOOKED_AT].removeprefix(codecs.BOM_UTF8).lstrip()
    if magic:
        right = start.startswith(magic)
    else:
        right = not bare.startswith((b"<", b"{")) if suffix in _TEXT else not _is_html(bare)
    if right:
        return ""
    if _is_html(bare):
        return "a web page (HTML)"
    if bare.startswith(b"<"):
        return f"XML ({_shown(bare)})"
    if bare.startswith(b"{"):
        return f"JSON ({_shown(bare)})"
    return f"no {kind.removeprefix('a ')} but {_shown(start)}"


def strange_file(name: str, path: Path) -> str:
    """What a file of this name has come as, judged by all of `path` that is cheap to read; "" where it is sound."""
    with path.open("rb") as stream:
        strange = strange_start(name, stream.read(_LOOKED_AT))
    if strange:
        return strange
    suffix = Path(name).suffix.lower()
    try:
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return "" if archive.infolist() else "a zip without a file in it"
        if suffix == ".gctx":
            h5py.File(path, "r", locking=False).close()  # a file share may have no locks
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError) as error:
        return f"{_MAGIC[suffix][1]} cut short or damaged ({' '.join(str(error).split())[:160]})"
    return ""


def _is_html(bare: bytes) -> bool:
    text = bare.lower()
    return text.startswith(b"<") and (b"<html" in text or b"<!doctype html" in text)


def _shown(start: bytes) -> str:
    return repr(start[:40].decode("latin-1"))
