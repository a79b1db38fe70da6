"""The TIFF files of one BBBC021 plate: found in its zip, which is read in place, or in its unpacked folder.

Nothing is unpacked to disk, and no more of a file is inflated than a field could hold, whatever its header claims.
"""

from __future__ import annotations

import contextlib
import io
import logging
import queue
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from morphobench import storage
from morphobench.datasets.bbbc021.tables import FILE_COLUMNS
from morphobench.errors import BadInput

FIELD_SHAPE = (1024, 1280)
LARGEST = 16 << 20
"""Bytes of a file that are looked at: six times a field, so that an RGB or multi-page TIFF is still named as such."""
AGAIN = "download the plate again"
_PACKINGS = (1, 5, 8, 32773, 32946)
"""TIFF's compressions none, LZW, deflate, PackBits and deflate by its older number."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def plates_on_disk(folder: Path, fields: pd.DataFrame) -> list[str]:
    """Plates of the image table whose zip or unpacked folder is in `folder`, sorted."""
    paths = dict(zip(fields["plate"], fields["path"], strict=True))
    return sorted(
        name for name, path in paths.items() if _zip_path(folder, name).is_file() or _unpacked(folder, name, path)
    )


def check_files(folder: Path, fields: pd.DataFrame) -> None:
    """Raise BadInput, naming the file and the table's line, unless every file that `fields` lists is there.

    Reads the directories of the zips, no pixel: absent plates and zips cut short are found, and files that are absent,
    empty, doubled, far too large, encrypted, or packed by a method that not every unpacker knows.
    """
    for plate, rows in fields.groupby("plate", sort=True):
        with open_plate(folder, str(plate), rows["path"].iloc[0]) as files:
            for names, line in zip(rows[list(FILE_COLUMNS)].itertuples(index=False), rows["line"], strict=True):
                for name in names:
                    files.find(name, line)


def plate_identity(folder: Path, fields: pd.DataFrame) -> str:
    """Hash by which the files that `fields` of one plate list are known, without reading them.

    Of a zip its directory's size and CRC-32 of each; of an unpacked folder size and time of change. Raises BadInput as
    `check_files` does.
    """
    stamps = []
    with open_plate(folder, str(fields["plate"].iloc[0]), fields["path"].iloc[0]) as files:
        for names, line in zip(fields[list(FILE_COLUMNS)].itertuples(index=False), fields["line"], strict=True):
            for name in names:
                entry = files.find(name, line)
                if isinstance(entry, Path):
                    stamps.append(f"{name} {entry.stat().st_size} {entry.stat().st_mtime_ns}")
                else:
                    stamps.append(f"{name} {entry.file_size} {entry.CRC:08x}")
    return storage.sha256_text(*stamps)


@dataclass(frozen=True)
class PlateFiles:
    """The files of one plate by name without regard to case (some unpackers and copiers change it).

    where: the zip or folder. Methods raise BadInput that names it, the file and the line of the image table. Threads
    may call them at the same time, as many as `open_plate` was told.
    """

    where: Path
    _entries: dict[str, list[zipfile.ZipInfo] | list[Path]]
    _archives: queue.SimpleQueue[zipfile.ZipFile]

    def bad(self, name: str, line: int, problem: str, mend: str = AGAIN) -> BadInput:
        """The error for a file that a line of the image table names."""
        return BadInput(f"{self.where}: {name} (image table line {line}) {problem}; {mend}")

    def find(self, name: str, line: int) -> zipfile.ZipInfo | Path:
        """Where a file lies, without reading it."""
        entries = self._entries.get(name.casefold(), [])
        if len(entries) != 1:
            raise self.bad(name, line, f"is there {len(entries)} times" if entries else "is not there")
        entry = entries[0]
        size = entry.stat().st_size if isinstance(entry, Path) else entry.file_size
        if not size:
            raise self.bad(name, line, "is empty")
        if size > LARGEST:
            raise self.bad(name, line, f"is {size:,} bytes; a field has {2 * FIELD_SHAPE[0] * FIELD_SHAPE[1]:,}")
        if isinstance(entry, zipfile.ZipInfo):
            if entry.flag_bits & 1:
                raise self.bad(name, line, "is encrypted", f"pack it without a password, or {AGAIN}")
            if entry.compress_type not in _METHODS:
                problem = f"is packed by zip method {entry.compress_type}, not deflate"
                raise self.bad(name, line, problem, f"unpack the zip, or {AGAIN}")
        return entry

    def place(self, name: str, line: int) -> tuple[int, str]:
        """Sorts files by where they lie on the disk, as far as is known."""
        entry = self.find(name, line)
        return (entry.header_offset, "") if isinstance(entry, zipfile.ZipInfo) else (0, entry.name)

    def read(self, name: str, line: int) -> np.ndarray:
        """uint16 (1024, 1280), read-only: one channel of one field."""
        entry = self.find(name, line)
        try:
            return _decode(self._bytes(entry))
        except _WrongTiffError as error:
            raise self.bad(name, line, str(error), "give the files as BBBC021 ships them") from error
        except PermissionError as error:
            raise self.bad(name, line, "may not be read", "give yourself the right to read it") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, _DamagedTiffError) as error:
            raise self.bad(name, line, f"is damaged ({error})") from error

    def _bytes(self, entry: zipfile.ZipInfo | Path) -> bytes:
        if isinstance(entry, Path):
            return entry.read_bytes()
        archive = self._archives.get()  # one handle per thread: a ZipFile counts its open members without a lock
        try:
            with archive.open(entry) as member:
                return member.read(entry.file_size + 1)  # a bound: without one, a deflated bomb is inflated whole
        finally:
            self._archives.put(archive)


@contextlib.contextmanager
def open_plate(folder: Path, plate: str, path: str, threads: int = 1) -> Iterator[PlateFiles]:
    """The files of a plate, from its zip in `folder`, else from the folder `plate` or `path` (of the table) in it.

    Raises BadInput for an absent plate, and for a zip that is damaged, holds another plate, or holds a path that leaves
    the folder it would be unpacked to.
    """
    archive = _zip_path(folder, plate)
    archives: queue.SimpleQueue[zipfile.ZipFile] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet_tifffile())
        if archive.is_file():
            for _ in range(threads):
                archives.put(stack.enter_context(_open_zip(archive)))
            first = archives.get()
            archives.put(first)
            yield PlateFiles(archive, _members(archive, first, plate), archives)
            return
        unpacked = _unpacked(folder, plate, path)
        if unpacked is None:
            raise BadInput(f"{archive}: not there; download it, or leave plate {plate} out with --plates")
        entries: dict[str, list[zipfile.ZipInfo] | list[Path]] = {}
        for file in sorted(unpacked.iterdir()):
            if file.is_file() and not storage.left_behind(PurePosixPath(file.name)):
                entries.setdefault(file.name.casefold(), []).append(file)  # type: ignore[arg-type]
        yield PlateFiles(unpacked, entries, archives)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise BadInput(f"{path}: not a zip, or cut short ({error}); {AGAIN}") from error


def _members(path: Path, archive: zipfile.ZipFile, plate: str) -> dict[str, list[zipfile.ZipInfo] | list[Path]]:
    members: dict[str, list[zipfile.ZipInfo] | list[Path]] = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))  # some packers on Windows write it
        if name.is_absolute() or ".." in name.parts:
            raise BadInput(f"{path}: {info.filename!r} leads out of the zip; {AGAIN}")
        if (
            not info.is_dir()
            and not storage.left_behind(name)
            and name.parent.as_posix().casefold() == plate.casefold()
        ):
            members.setdefault(name.name.casefold(), []).append(info)  # type: ignore[arg-type]
    if not members:
        raise BadInput(f"{path}: holds no file in a folder {plate}/, so it is not this plate's; {AGAIN}")
    return members


def _zip_path(folder: Path, plate: str) -> Path:
    return folder / f"BBBC021_v1_images_{plate}.zip"


def _unpacked(folder: Path, plate: str, path: str) -> Path | None:
    return next((place for place in (folder / plate, folder / path) if place.is_dir()), None)


class _DamagedTiffError(Exception):
    """tifffile could not make an array of a file."""


class _WrongTiffError(Exception):
    """A sound TIFF, but not one 16-bit field."""


def _decode(data: bytes) -> np.ndarray:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            pages = len(tiff.pages)
            page = tiff.pages.first
            dtype, shape, packing = page.dtype, page.shape, page.compression
            if pages == 1 and dtype == np.uint16 and shape == FIELD_SHAPE:
                if not page.is_final:
                    return _unpack(data, packing)
                # BBBC021's own are bare pixels after a header: no copy is needed
                pixels = np.frombuffer(
                    data, f"{tiff.byteorder}u2", FIELD_SHAPE[0] * FIELD_SHAPE[1], page.dataoffsets[0]
                )
                return pixels.reshape(FIELD_SHAPE).astype(np.uint16, copy=False)
    except _WrongTiffError:
        raise
    except Exception as error:  # a damaged TIFF makes tifffile raise ValueError, IndexError, struct.error, ...
        raise _DamagedTiffError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    if pages != 1:
        raise _WrongTiffError(f"holds {pages} images, not one")
    if not dtype or 0 in shape:
        raise _DamagedTiffError("no image in it")
    raise _WrongTiffError(f"holds {dtype} pixels {shape}, not uint16 {FIELD_SHAPE}")


def _unpack(data: bytes, packing: int) -> np.ndarray:
    """uint16 (1024, 1280) of a TIFF in strips, tiles or compressed, by libtiff, which Pillow brings.

    tifffile wants a further package for LZW and for a predictor, and inflates a strip to whatever it holds; libtiff
    stops at what the header says.
    """
    if packing not in _PACKINGS:
        name = getattr(packing, "name", packing)
        raise _WrongTiffError(f"is compressed by TIFF method {name}, which is not read: save it without compression")
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        if image.size != FIELD_SHAPE[::-1] or not image.mode.startswith("I;16"):
            raise _WrongTiffError(f"says of itself both {FIELD_SHAPE[::-1]} uint16 and {image.size} {image.mode}")
        return np.asarray(image).astype(np.uint16, copy=False)


@contextlib.contextmanager
def _quiet_tifffile() -> Iterator[None]:
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True  # it logs what is raised here anyway
    try:
        yield
    finally:
        logger.disabled = before
