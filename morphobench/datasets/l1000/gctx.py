"""GCTX 1.0 and GCT 1.2/1.3: the two forms in which L1000 matrices are shared.

GCTX is HDF5: /0/DATA/0/matrix holds (samples, genes), /0/META/COL what is known of each sample and /0/META/ROW of each
gene. The full Level 3 matrix is over 100 GB, so only the wanted rows and genes are read, in pieces of at most
BLOCK_BYTES (or the wanted rows of one chunk). GCT is text and is read whole. Format: Enache et al., Bioinformatics
2019, 35:1427.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from morphobench.datasets import tables
from morphobench.datasets.l1000.hdf5 import open_hdf5
from morphobench.errors import BadInput

SUFFIXES = (".gctx", ".gct", ".gct.gz")
"""What `open_expression` takes. A gzipped GCTX cannot be read in slices and is refused."""
BLOCK_BYTES = 16 * 2**20  # of the matrix in memory at once
_GAP_BYTES = 32 * 2**10  # read and thrown away rather than read around: about what one more read costs
_ROWS = 512  # in one list of indices: HDF5 takes time that grows faster than its length
_DECODED = 100_000  # strings turned into text at once
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class ExpressionFile:
    """An opened GCTX or GCT file: what its columns and rows are, and a way to read some of them.

    samples: one row per profile, column `id` and whatever the file says of it (text), in file order.
    entrez: int64 (genes,), Entrez id of each row; 0 where the file gives none.
    read_block: (ascending sample positions, gene positions) -> float32 (samples, genes).
    """

    path: Path
    samples: pd.DataFrame
    entrez: np.ndarray
    read_block: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def read(self, rows: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """float32 (len(rows), len(landmarks)): expression of the samples at `rows` (ascending), in landmark order.

        Genes are joined on Entrez id: symbols differ between releases. Raises BadInput if a landmark is not in the file
        or stands there twice, or a value is not a number.
        """
        values = self.read_block(rows, self.positions(landmarks))
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            sample, gene = self.samples["id"].iloc[rows[bad[0, 0]]], int(landmarks[bad[0, 1]])
            raise BadInput(f"{self.path}: sample {sample}, Entrez {gene} is not a number; download the file again")
        return values

    def positions(self, landmarks: np.ndarray) -> np.ndarray:
        """Where each landmark stands in the file; BadInput if one does not, or more than once."""
        wanted = self.entrez[np.isin(self.entrez, landmarks)]
        genes, counts = np.unique(wanted, return_counts=True)
        if (counts > 1).any():
            raise BadInput(
                f"{self.path}: gene Entrez {genes[counts > 1][0]} stands in {counts.max()} rows; give a file with one "
                "row per gene"
            )
        absent = landmarks[~np.isin(landmarks, genes)]
        if len(absent):
            raise BadInput(
                f"{self.path}: {len(absent)} of the {len(landmarks)} landmark genes are not in it (first: Entrez "
                f"{absent[0]}); give a file with all of them"
            )
        order = np.argsort(self.entrez, kind="stable")
        return order[np.searchsorted(self.entrez, landmarks, sorter=order)]


def expression_files(folder: Path) -> list[Path]:
    """The GCTX and GCT files of a folder by name; BadInput for a gzipped GCTX that is not unpacked beside it."""
    for path in sorted(folder.glob("*")):
        if path.name.lower().endswith(".gctx.gz") and not path.with_suffix("").is_file():
            raise _gzipped(path)
    return sorted(path for path in folder.glob("*") if path.name.lower().endswith(SUFFIXES))


def open_expression(path: Path) -> ExpressionFile:
    """Open a `.gctx` (HDF5, read in slices) or `.gct[.gz]` (text) file.

    Raises BadInput that names the file for another format under that name, a file cut short, a transposed matrix, or a
    sample or row id that stands twice.
    """
    if path.is_dir():
        raise BadInput(f"{path}: a folder under a file's name; rename it, or move it away")
    if not path.is_file():
        raise BadInput(f"{path}: not there; give an existing .gctx or .gct file")
    with path.open("rb") as stream:
        start = stream.read(4)
    if path.name.lower().endswith((".gct", ".gct.gz")) and start[:4] != b"\x89HDF":
        return _read_gct(path)
    if start[:2] == _GZIP:
        raise _gzipped(path)
    if path.suffix.lower() == ".gctx":
        if start[:2] == b"#1":
            raise BadInput(f"{path}: GCT text under a .gctx name; rename it to .gct")
        return _open_gctx(path)
    if start == b"\x89HDF":
        raise BadInput(f"{path}: HDF5 under a .gct name; rename it to .gctx")
    return _read_gct(path)


def _gzipped(path: Path) -> BadInput:
    return BadInput(f"{path}: gzipped, which cannot be read in slices; unpack it (gunzip {path.name}) or move it away")


def _open_gctx(path: Path) -> ExpressionFile:
    try:
        with open_hdf5(path) as file:
            matrix = file["0/DATA/0/matrix"]
            if not isinstance(matrix, h5py.Dataset) or matrix.dtype.kind not in "fiu":
                raise BadInput(f"{path}: 0/DATA/0/matrix is no array of numbers; give a GCTX 1.0 file")
            shape = matrix.shape
            samples = _metadata(path, file, "0/META/COL")
            genes = _metadata(path, file, "0/META/ROW")
    except OSError as error:
        raise BadInput(f"{path}: cut short, or not HDF5 ({' '.join(str(error).split())}); download it again") from error
    except KeyError as error:
        raise BadInput(f"{path}: HDF5 but not GCTX 1.0 ({' '.join(str(error.args[0]).split())})") from error
    _check_shape(path, shape, samples, genes)

    def read_block(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        try:
            with open_hdf5(path) as file:
                return _read_slices(file["0/DATA/0/matrix"], rows, columns)
        except OSError as error:
            text = " ".join(str(error).split())
            raise BadInput(f"{path}: the matrix cannot be read ({text}); download the file again") from error

    return ExpressionFile(path, samples, _entrez(genes), read_block)


def _read_slices(matrix: h5py.Dataset, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float32 (rows, columns), read as few lists (or runs) of rows by runs of columns.

    Of a chunked matrix each chunk that holds something wanted is read (and decompressed) once; of a contiguous one the
    wanted rows, from the first to the last wanted column of each run.
    """
    size = matrix.dtype.itemsize
    row_unit, column_unit = matrix.chunks or (1, 1)
    order = np.argsort(columns, kind="stable")
    columns = columns[order]
    across = list(_runs(columns, column_unit, 0 if matrix.chunks else _GAP_BYTES // size))
    widest = max((columns[run][-1] - columns[run][0] + 1 for run in across), default=1)
    values = np.empty((len(rows), len(columns)), np.float32)
    for batch in _batches(rows, row_unit, min(_ROWS, max(BLOCK_BYTES // (widest * size), 1))):
        first, last = int(rows[batch][0]), int(rows[batch][-1])
        chosen = slice(first, last + 1) if last - first + 1 == len(rows[batch]) else rows[batch]
        for run in across:
            left = columns[run][0]
            block = matrix[chosen, left : columns[run][-1] + 1]
            values[batch, order[run]] = block[:, columns[run] - left]
    return values


def _runs(positions: np.ndarray, unit: int, gap: int) -> Iterator[slice]:
    """Cut ascending positions where the next lies more than `gap` past the last one's unit (chunk)."""
    units = positions // unit
    ends = np.flatnonzero((np.diff(units) - 1) * unit > gap) + 1
    for first, last in pairwise([0, *ends.tolist(), len(positions)]):
        if last > first:
            yield slice(first, last)


def _batches(positions: np.ndarray, unit: int, most: int) -> Iterator[slice]:
    """Cut ascending positions into batches of at most `most`, but never within a unit (chunk): it is read once."""
    units = np.flatnonzero(np.diff(positions // unit)) + 1
    first = 0
    for last, following in pairwise([*units.tolist(), len(positions), len(positions)]):
        if last > first and (following - first > most or last == following):
            yield slice(first, last)
            first = last


def _metadata(path: Path, file: h5py.File, name: str) -> pd.DataFrame:
    group = file[name]
    if not isinstance(group, h5py.Group):
        raise BadInput(f"{path}: {name} is no group of columns; give a GCTX 1.0 file")
    for column, values in group.items():
        if not isinstance(values, h5py.Dataset) or values.ndim != 1:
            raise BadInput(f"{path}: {name}/{column} is no column of values; give a GCTX 1.0 file")
    lengths = {column: len(values) for column, values in group.items()}
    if len(set(lengths.values())) > 1:
        raise BadInput(f"{path}: the columns of {name} differ in length ({lengths}); download the file again")
    return pd.DataFrame({column: _texts(values) for column, values in group.items()})


def _texts(column: h5py.Dataset) -> pd.Series:
    # in pieces: the ids alone of three million wells are 0.6 GB as fixed-width text
    pieces = [
        pd.Series([_text(value) for value in column[start : start + _DECODED]], dtype=str)
        for start in range(0, len(column), _DECODED)
    ]
    return pd.concat(pieces, ignore_index=True) if pieces else pd.Series([], dtype=str)


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value).strip()
    try:
        return value.decode().strip()
    except UnicodeDecodeError:  # upstream writes the sign of micromolar in Latin-1, whatever the column declares
        return value.decode("latin-1").strip()


def _check_shape(path: Path, shape: tuple[int, ...], samples: pd.DataFrame, genes: pd.DataFrame) -> None:
    for name, table in (("META/COL", samples), ("META/ROW", genes)):
        if "id" not in table:
            raise BadInput(f"{path}: {name}/id is missing; give a GCTX 1.0 file")
    expected = (len(samples), len(genes))
    if shape != expected and shape == expected[::-1]:
        raise BadInput(f"{path}: matrix {shape} is transposed; GCTX keeps (samples, genes) = {expected}")
    if shape != expected:
        raise BadInput(f"{path}: matrix {shape} does not fit {expected} (samples, genes); download the file again")
    _check_ids(path, samples, genes)


def _check_ids(path: Path, samples: pd.DataFrame, genes: pd.DataFrame) -> None:
    if not _entrez(genes).any() and samples["id"].str.fullmatch(r"\d+").all():
        raise BadInput(f"{path}: transposed: genes stand in META/COL; give the file with samples as columns")
    for what, table in (("sample", samples), ("row", genes)):
        doubled = table["id"].duplicated()
        if doubled.any():
            name = table.loc[doubled, "id"].iloc[0]
            raise BadInput(f"{path}: {what} id {name} stands twice; give a file in which every {what} has its own id")


def _check_names(path: Path, names: list[str], what: str) -> None:
    """BadInput where two annotations have one name: the second would take the place of the first, or of the ids."""
    doubled = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if doubled is not None:
        raise BadInput(f"{path}: annotation {what} {doubled!r} stands twice; rename or remove one of them")


def _entrez(genes: pd.DataFrame) -> np.ndarray:
    column = next((name for name in ("pr_gene_id", "gene_id") if name in genes), "id")
    return np.array([tables.whole(text) or 0 for text in genes[column]], dtype=np.int64)


def _read_gct(path: Path) -> ExpressionFile:
    try:
        data = path.read_bytes()
        text = tables.decoded(gzip.decompress(data) if data[:2] == _GZIP else data, str(path), "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: cannot be unpacked ({error}); download it again") from error
    # Excel fills short lines with tabs up to the longest.
    rows = text.split("\n")
    try:
        version, counts = rows[0].strip(), [int(part) for part in rows[1].rstrip().split("\t")]
        n_genes, n_samples, n_gene_columns, n_sample_rows = {"#1.3": counts, "#1.2": [*counts[:2], 1, 0]}[version][:4]
        if min(counts) < 0:
            raise ValueError(f"{counts=}")
    except (IndexError, ValueError, KeyError) as error:
        raise BadInput(
            f"{path}: not GCT 1.2 or 1.3 text (it begins with {text[:40]!r}); give a .gct or .gctx file"
        ) from error
    first, body = 1 + n_gene_columns, 3 + n_sample_rows
    width = first + n_samples
    lines = len(rows) - (not rows[-1])
    if lines < body + n_genes or any(map(str.strip, rows[body + n_genes :])):
        raise BadInput(f"{path}: {lines} lines, {body + n_genes} announced; download it again")

    def cells(number: int) -> list[str]:
        line = rows[number]
        # Millions of numbers need no cleaning.
        row = tables.cells(line) if number < body or '"' in line else line.split("\t")
        if len(row) < width or any(map(str.strip, row[width:])):
            raise BadInput(f"{path}: line {number + 1}: {len(row)} columns, {width} announced; download it again")
        return row[:width]

    header = cells(2)
    about = [cells(number) for number in range(3, body)]
    _check_names(path, ["id", *header[1:first]], "column")
    _check_names(path, ["id", *(row[0] for row in about)], "row")
    samples = pd.DataFrame({"id": header[first:]} | {row[0]: row[first:] for row in about}, dtype=str)
    matrix = np.empty((n_samples, n_genes), np.float32)
    genes = []
    for place in range(n_genes):
        row = cells(body + place)
        genes.append([tables.bare(text) for text in row[:first]])
        try:
            if (odd := next((text for text in row[first:] if "_" in text), None)) is not None:
                raise ValueError(f"could not convert string to float: {odd!r}")  # Python would read 1_5 as 15
            matrix[:, place] = np.array(row[first:], dtype=np.float32)
        except ValueError as error:
            mend = "write decimal points" if "," in str(error) else "download it again"
            raise BadInput(f"{path}: line {body + place + 1}: {error}; {mend}") from error
    table = pd.DataFrame(genes, columns=["id", *header[1:first]], dtype=str)
    _check_ids(path, samples, table)
    return ExpressionFile(path, samples, _entrez(table), lambda rows, columns: matrix[np.ix_(rows, columns)])
