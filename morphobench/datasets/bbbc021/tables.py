"""BBBC021's image and mechanism tables, read whole and checked line by line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.datasets.tables import find_file, read_table
from morphobench.errors import BadInput

VEHICLE = "DMSO"
MEND = "give the table as BBBC021 ships it"
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
FILE_COLUMNS = tuple(name for name, _, _ in CHANNELS)
_FIELD = re.compile(r"^(.*?([A-Z]\d\d)_s(\d+))_w")
"""What the file names of a field have in common: anything, the well, the site."""


def read_image_table(folder: Path) -> pd.DataFrame:
    """The image table of `folder` (`BBBC021_v1_image.csv` or its `.gz`), one row per field.

    Columns: line (of the file, whose header is line 1), path, plate, well, site, replicate, compound, dose_um, and the
    file names actin, tubulin, dna. Raises BadInput for an absent or damaged table, a missing column, an empty cell, a
    doubled row, a file name under the wrong stain or of another field, or a name that leads out of the folder.
    """
    path = image_table_path(folder)
    table = _read(path, COLUMNS, numbers=("dose_um", "replicate"))
    empty = (table == "").any(axis=1)
    if empty.any():
        row = table[empty].iloc[0]
        raise _bad_row(path, row, f"{table.columns[(row == '').to_numpy()][0]} is empty")
    table["dose_um"] = _numbers(path, table, "dose_um").astype(float)
    table["replicate"] = _whole(path, table, "replicate")
    _check_plain(path, table)
    for name, column, mark in CHANNELS:
        _check_file_names(path, table, name, column, mark)
    table["site"] = _sites(path, table)
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
    table = _read(path, {name: name for name in ("compound", "concentration", "moa")}, numbers=("concentration",))
    table["concentration"] = _numbers(path, table, "concentration").astype(float)
    doubled = table.duplicated(["compound", "concentration"])
    if doubled.any():
        row = table[doubled].iloc[0]
        raise _bad_row(path, row, f"{row['compound']} at {row['concentration']} uM stands twice")
    return table[["compound", "concentration", "moa"]]


def mechanism_of(fields: pd.DataFrame, mechanisms: pd.DataFrame) -> pd.Series:
    """Mechanism of each field, joined on compound *and* concentration; "" where BBBC021 gives that treatment none."""
    by_treatment = {(row.compound, f"{row.concentration:.6g}"): row.moa for row in mechanisms.itertuples()}
    treatments = zip(fields["compound"], fields["dose_um"], strict=True)
    labels = [by_treatment.get((compound, f"{dose:.6g}"), "") for compound, dose in treatments]
    return pd.Series(labels, index=fields.index, dtype=str)


def _find_table(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise BadInput(f"{folder / name}: not there (nor {name}.gz); download it from {ADDRESS}")
    return path


def _read(path: Path, columns: dict[str, str], numbers: tuple[str, ...]) -> pd.DataFrame:
    """The columns (theirs -> ours) as text, and the line of each row."""
    theirs = {ours: (name,) for name, ours in columns.items()}
    table = read_table(path, theirs, list(theirs), MEND, numbers=numbers)
    if table.empty:
        raise BadInput(f"{path}: holds no rows; download it again")
    return table.reset_index(names="line")


def _numbers(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    numbers = pd.to_numeric(table[column], errors="coerce")
    bad = ~np.isfinite(numbers) | (numbers < 0)
    if bad.any():
        row = table[bad].iloc[0]
        raise _bad_row(path, row, f"{column} is {str(row[column])!r}, not a number from 0 up")
    return numbers


def _whole(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    numbers = _numbers(path, table, column)
    broken = numbers != numbers.round()
    if broken.any():
        row = table[broken].iloc[0]
        raise _bad_row(path, row, f"{column} is {str(row[column])!r}, not a whole number")
    return numbers.astype(int)


def _check_plain(path: Path, table: pd.DataFrame) -> None:
    """Nothing outside the folder of images is ever opened, whatever a table says."""
    for column in ("plate", *FILE_COLUMNS, "path"):
        names = table[column].astype(str)
        leads_out = names.str.startswith("/") | names.str.contains(r"(?:^|/)\.{1,2}(?:/|$)|\\", regex=True)
        if column != "path":
            leads_out |= names.str.contains("/", regex=False)
        if leads_out.any():
            row = table[leads_out].iloc[0]
            raise _bad_row(path, row, f"{column} is {row[column]!r}, not a plain name")


def _check_file_names(path: Path, table: pd.DataFrame, name: str, column: str, mark: str) -> None:
    wrong = ~table[name].astype(str).str.contains(mark, regex=False)
    if wrong.any():
        row = table[wrong].iloc[0]
        raise _bad_row(path, row, f"{column} is {row[name]}, without {mark}: another channel")
    doubled = table.duplicated(["plate", name])
    if doubled.any():
        row = table[doubled].iloc[0]
        raise _bad_row(path, row, f"{row[name]} stands twice")


def _sites(path: Path, table: pd.DataFrame) -> pd.Series:
    """The site that the three file names of each row agree on, with one another and with the row's well."""
    parts = table["dna"].str.extract(_FIELD)
    if parts[2].isna().any():
        row = table[parts[2].isna()].iloc[0]
        raise _bad_row(path, row, f"{row['dna']} names no well and site (B02_s1_, B02_s2_, ...)")
    for name, column, _ in CHANNELS:
        strange = table[name].str.extract(_FIELD)[0] != parts[0]
        if strange.any():
            row = table[strange].iloc[0]
            raise _bad_row(path, row, f"{column} is {row[name]}, of another field than {row['dna']}")
    strange = parts[1] != table["well"]
    if strange.any():
        row = table[strange].iloc[0]
        raise _bad_row(path, row, f"{row['dna']} is not of well {row['well']}")
    return parts[2].astype(int)


def _bad_row(path: Path, row: pd.Series, problem: str) -> BadInput:
    return BadInput(f"{path}: line {row['line']}: {problem}; {MEND}")
