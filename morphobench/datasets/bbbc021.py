"""BBBC021 as its authors ship it: image and mechanism tables, one zip (or unpacked folder) of TIFF files per plate.

Pixels go from 16-bit fields to 8-bit crops in one pass over the files:

1. illumination: the mean field of a plate and channel, smoothed by a wide median filter and scaled to mean 1, divides
   every field (after Singh et al., J. Microsc. 2014, 256:231, who smooth the plate's average image);
2. contrast: per plate and channel, the 0.1 and 99.9 percentiles of its *vehicle* fields become 0 and 255, so that a
   drug that dims a stain still looks dim;
3. crop: the central 512 x 512 of each 1024 x 1280 field, one per field, so that two images never share a pixel.

Source: Caie et al., Mol. Cancer Ther. 2010, 9:1913; Ljosa et al., Nat. Methods 2012, 9:637 (image set BBBC021v1).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy.ndimage import median_filter, zoom

from morphobench.errors import BadInput

VEHICLE = "DMSO"
ADDRESS = "https://data.broadinstitute.org/bbbc/BBBC021/"
CHANNELS = (
    ("actin", "Image_FileName_Actin", "_w4"),
    ("tubulin", "Image_FileName_Tubulin", "_w2"),
    ("dna", "Image_FileName_DAPI", "_w1"),
)
"""Red, green, blue: our name, the image table's column, and the mark that upstream file names of that stain carry."""
COLUMNS = {
    "Image_PathName_DAPI": "path",
    "Image_Metadata_Plate_DAPI": "plate",
    "Image_Metadata_Well_DAPI": "well",
    "Replicate": "replicate",
    "Image_Metadata_Compound": "compound",
    "Image_Metadata_Concentration": "dose_um",
} | {column: name for name, column, _ in CHANNELS}
FIELD_SHAPE = (1024, 1280)
CROP = 512
PERCENTILES = (0.1, 99.9)
SMOOTHING_BLOCK = 32  # pixels averaged into one before the median
SMOOTHING_WINDOW = 15  # blocks: 480 pixels
_SITE = re.compile(r"_s(\d+)_w")


def read_image_table(folder: Path) -> pd.DataFrame:
    """The image table of `folder` (`BBBC021_v1_image.csv` or its `.gz`), one row per field.

    Columns: line (of the file, whose header is line 1), path, plate, well, site, replicate, compound, dose_um, and the
    file names actin, tubulin, dna. Raises BadInput for an absent or damaged table, a missing column, an empty cell, a
    doubled row, or a file name under the wrong stain.
    """
    path = image_table_path(folder)
    raw = _read_csv(path)
    missing = [column for column in COLUMNS if column not in raw]
    if missing:
        raise BadInput(f"{path}: column {missing[0]} is missing; give the table as BBBC021 ships it")
    table = raw[list(COLUMNS)].rename(columns=COLUMNS)
    table.insert(0, "line", np.arange(len(table)) + 2)
    empty = table.isna().any(axis=1)
    if empty.any():
        row = table[empty].iloc[0]
        raise _bad_row(path, row, f"{table.columns[row.isna()][0]} is empty")
    table["dose_um"] = _numbers(path, table, "dose_um").astype(float)
    table["replicate"] = _numbers(path, table, "replicate").astype(int)
    for name, column, mark in CHANNELS:
        _check_file_names(path, table, name, column, mark)
    table["site"] = table["dna"].str.extract(_SITE, expand=False).astype(float)
    if table["site"].isna().any():
        row = table[table["site"].isna()].iloc[0]
        raise _bad_row(path, row, f"{row['dna']} names no site (_s1_, _s2_, ...)")
    table["site"] = table["site"].astype(int)
    doubled = table.duplicated(["plate", "well", "site"])
    if doubled.any():
        row = table[doubled].iloc[0]
        raise _bad_row(path, row, f"plate {row['plate']} well {row['well']} site {row['site']} stands twice")
    return table


def image_table_path(folder: Path) -> Path:
    """The image table of `folder`, plain or gzipped; BadInput if neither is there."""
    return _find_table(folder, "BBBC021_v1_image.csv")


def read_mechanisms(folder: Path) -> pd.DataFrame:
    """The mechanism table of `folder` (`BBBC021_v1_moa.csv`): compound, concentration (micromolar), moa.

    Raises BadInput for an absent or damaged table or a treatment that stands twice.
    """
    path = _find_table(folder, "BBBC021_v1_moa.csv")
    table = _read_csv(path)
    for column in ("compound", "concentration", "moa"):
        if column not in table:
            raise BadInput(f"{path}: column {column} is missing; give the table as BBBC021 ships it")
    table.insert(0, "line", np.arange(len(table)) + 2)
    table["concentration"] = _numbers(path, table, "concentration").astype(float)
    doubled = table.duplicated(["compound", "concentration"])
    if doubled.any():
        row = table[doubled].iloc[0]
        raise _bad_row(path, row, f"{row['compound']} at {row['concentration']} uM stands twice")
    return table[["compound", "concentration", "moa"]]


def mechanism_of(fields: pd.DataFrame, mechanisms: pd.DataFrame) -> pd.Series:
    """Mechanism of each field, joined on compound *and* concentration; "" where BBBC021 gives that treatment none."""
    known = {(row.compound, f"{row.concentration:.6g}"): row.moa for row in mechanisms.itertuples()}
    treatments = zip(fields["compound"], fields["dose_um"], strict=True)
    found = [known.get((compound, f"{dose:.6g}"), "") for compound, dose in treatments]
    return pd.Series(found, index=fields.index, dtype=str)


def plates_on_disk(folder: Path, fields: pd.DataFrame) -> list[str]:
    """Plates of the image table whose zip or unpacked folder is in `folder`, sorted."""
    paths = dict(zip(fields["plate"], fields["path"], strict=True))
    return sorted(
        name for name, path in paths.items() if _zip_path(folder, name).is_file() or _unpacked(folder, name, path)
    )


@dataclass(frozen=True)
class Plate:
    """The fields of one plate, ready to be turned into 8-bit crops.

    crops: uint16 (N, 512, 512, 3), red, green, blue = actin, tubulin, DNA, in the order of the fields.
    illumination: float32 (512, 512, 3), what each crop is divided by.
    low, high: float32 (3,), the corrected intensities that become 0 and 255.
    """

    crops: np.ndarray
    illumination: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def image(self, row: int) -> np.ndarray:
        """uint8 (512, 512, 3): one corrected field."""
        scaled = (self.crops[row] / self.illumination - self.low) / (self.high - self.low)
        return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def check_files(folder: Path, fields: pd.DataFrame) -> None:
    """Raise BadInput, naming the file and the table's line, unless every file that `fields` lists is there."""
    for plate, rows in fields.groupby("plate", sort=True):
        with _open_plate(folder, str(plate), rows["path"].iloc[0]) as source:
            for row in rows.itertuples():
                for name in (row.actin, row.tubulin, row.dna):
                    if not source.has(name):
                        raise source.bad(name, row.line, "is not there")


def read_plate(folder: Path, fields: pd.DataFrame) -> Plate:
    """Read the fields of one plate, each file once; 1.5 MB per field of this one plate stay in memory.

    Raises BadInput that names the file and the table's line for a missing, damaged, 8-bit or wrong-sized TIFF, for a
    plate without vehicle fields and for a channel without contrast.
    """
    plate = str(fields["plate"].iloc[0])
    vehicle = (fields["compound"] == VEHICLE).to_numpy()
    if not vehicle.any():
        raise BadInput(
            f"plate {plate}: no {VEHICLE} field in the image table to set its contrast by; leave the plate out"
        )
    crops = np.empty((len(fields), CROP, CROP, 3), np.uint16)
    total = np.zeros((*FIELD_SHAPE, 3))
    with _open_plate(folder, plate, fields["path"].iloc[0]) as source:
        for position, row in enumerate(fields.itertuples()):
            for channel, name in enumerate((row.actin, row.tubulin, row.dna)):
                field = source.read(name, row.line)
                total[..., channel] += field
                crops[position, ..., channel] = _central(field)
        where = source.where
    illumination = np.empty((CROP, CROP, 3), np.float32)
    for channel, (name, _, _) in enumerate(CHANNELS):
        if not total[..., channel].any():
            raise BadInput(f"{where}: the {name} channel is black in every field; download the plate again")
        illumination[..., channel] = _central(illumination_function(total[..., channel] / len(fields)))
    low, high = np.percentile(crops[vehicle] / illumination, PERCENTILES, axis=(0, 1, 2)).astype(np.float32)
    for channel, (name, _, _) in enumerate(CHANNELS):
        if not high[channel] > low[channel]:
            raise BadInput(f"{where}: the {name} channel of the {VEHICLE} fields is flat; download the plate again")
    return Plate(crops, illumination, low, high)


def illumination_function(mean: np.ndarray) -> np.ndarray:
    """Smooth multiplicative shading of a mean field: float32 (H, W) with mean 1, never under 0.05.

    mean: float (H, W), not all zero; H and W multiples of 32.
    """
    height, width = (size // SMOOTHING_BLOCK for size in mean.shape)
    blocks = mean.reshape(height, SMOOTHING_BLOCK, width, SMOOTHING_BLOCK).mean(axis=(1, 3))
    smooth = median_filter(blocks, SMOOTHING_WINDOW, mode="nearest")
    shading = zoom(smooth, SMOOTHING_BLOCK, order=1, mode="nearest", grid_mode=True)
    return np.maximum(shading / shading.mean(), 0.05).astype(np.float32)


@dataclass(frozen=True)
class _Source:
    """Where the files of one plate come from: a zip read in place, or an unpacked folder."""

    where: Path
    has: Callable[[str], bool]
    bytes_of: Callable[[str], bytes]

    def bad(self, name: str, line: int, problem: str, mend: str = "download the plate again") -> BadInput:
        return BadInput(f"{self.where}: {name} (image table line {line}) {problem}; {mend}")

    def read(self, name: str, line: int) -> np.ndarray:
        """uint16 (1024, 1280): one channel of one field."""
        try:
            field = _decode(self.bytes_of(name))
        except (KeyError, FileNotFoundError) as error:
            raise self.bad(name, line, "is not there") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, _DamagedTiffError) as error:
            raise self.bad(name, line, f"is damaged ({error})") from error
        if field.dtype != np.uint16 or field.shape != FIELD_SHAPE:
            problem = f"holds {field.dtype} pixels {field.shape}, not uint16 {FIELD_SHAPE}"
            raise self.bad(name, line, problem, "give the files as BBBC021 ships them")
        return field


class _DamagedTiffError(Exception):
    """tifffile could not make an array of a file."""


def _decode(data: bytes) -> np.ndarray:
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True  # it logs what is raised here anyway
    try:
        pixels = tifffile.imread(io.BytesIO(data))
    except Exception as error:  # a damaged TIFF makes tifffile raise ValueError, IndexError, struct.error, ...
        raise _DamagedTiffError(" ".join(str(error).split()) or type(error).__name__) from error
    finally:
        logger.disabled = before
    if not pixels.size:
        raise _DamagedTiffError("no image in it")
    return pixels


@contextlib.contextmanager
def _open_plate(folder: Path, plate: str, path: str) -> Iterator[_Source]:
    archive = _zip_path(folder, plate)
    if archive.is_file():
        try:
            opened = zipfile.ZipFile(archive)
        except zipfile.BadZipFile as error:
            raise BadInput(f"{archive}: not a zip, or cut short; download the plate again") from error
        with opened as members:
            names = frozenset(members.namelist())
            yield _Source(
                archive, lambda name: f"{plate}/{name}" in names, lambda name: members.read(f"{plate}/{name}")
            )
        return
    unpacked = _unpacked(folder, plate, path)
    if unpacked is None:
        raise BadInput(f"{archive}: not there; download it, or leave plate {plate} out with --plates")
    yield _Source(unpacked, lambda name: (unpacked / name).is_file(), lambda name: (unpacked / name).read_bytes())


def _zip_path(folder: Path, plate: str) -> Path:
    return folder / f"BBBC021_v1_images_{plate}.zip"


def _unpacked(folder: Path, plate: str, path: str) -> Path | None:
    return next((place for place in (folder / plate, folder / path) if place.is_dir()), None)


def _central(field: np.ndarray) -> np.ndarray:
    top, left = ((size - CROP) // 2 for size in FIELD_SHAPE)
    return field[top : top + CROP, left : left + CROP]


def _find_table(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise BadInput(f"{folder / name}: not there (nor {name}.gz); download it from {ADDRESS}")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (ValueError, gzip.BadGzipFile, EOFError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise BadInput(f"{path}: not a CSV table ({' '.join(str(error).split())}); download it again") from error
    if table.empty:
        raise BadInput(f"{path}: holds no rows; download it again")
    return table


def _numbers(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    numbers = pd.to_numeric(table[column], errors="coerce")
    bad = ~np.isfinite(numbers) | (numbers < 0)
    if bad.any():
        row = table[bad].iloc[0]
        raise _bad_row(path, row, f"{column} is {row[column]!r}, not a number from 0 up")
    return numbers


def _check_file_names(path: Path, table: pd.DataFrame, name: str, column: str, mark: str) -> None:
    wrong = ~table[name].astype(str).str.contains(mark, regex=False)
    if wrong.any():
        row = table[wrong].iloc[0]
        raise _bad_row(path, row, f"{column} is {row[name]}, without {mark}: another channel")
    doubled = table.duplicated(["plate", name])
    if doubled.any():
        row = table[doubled].iloc[0]
        raise _bad_row(path, row, f"{row[name]} stands twice")


def _bad_row(path: Path, row: pd.Series, problem: str) -> BadInput:
    return BadInput(f"{path}: line {row['line']}: {problem}; give the table as BBBC021 ships it")
