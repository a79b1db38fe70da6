"""Reading the wanted columns of a table as text."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from morphobench.datasets.downloads.file_kinds import strange_start
from morphobench.datasets.tables.text import bare, cell, cells, decoded, encoding_of, not_text
from morphobench.datasets.tables.values import mapped, with_points
from morphobench.errors import BadInput

SEPARATORS = (",", ";", "\t")
IDENTIFIERS = (
    "sample_id", "compound", "plate", "well", "smiles", "moa", "mechanism", "cohort", "l1000_pert_ids", "l1000_names",
    "doses_um", "symbol", "term", "genes",
)  # fmt: skip
"""Columns of our own tables that stay text whatever is in them."""
_LOOKED_AT = 1 << 18  # bytes: the header and the first row
_ROWS = 200_000  # read at once: as text, three million wells take many times the memory of their categories
_BROKEN_INTO = 100  # lines that one cell may have
_TOO_MANY = re.compile(r"Expected \d+ fields in line (\d+), saw (\d+)")


def read_own(path: Path) -> pd.DataFrame:
    """A table that the project wrote itself: empty fields stay "", IDENTIFIERS stay text."""
    return pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(IDENTIFIERS, str))


def choose(names: Sequence[str], columns: Mapping[str, Sequence[str]], where: str) -> dict[str, int]:
    """Ours -> position of the first of its names that a file has, or where it has none, that it has in other letters.

    columns: ours -> names in files, the best first. Raises BadInput, which begins with `where`, for a wanted name that
    stands twice.
    """
    folded = [name.casefold() for name in names]
    chosen = {}
    for ours, theirs in columns.items():
        exactly = ((wanted, names, wanted) for wanted in theirs)
        for wanted, row, text in (*exactly, *((wanted, folded, wanted.casefold()) for wanted in theirs)):
            if row.count(text) > 1:
                raise BadInput(f"{where}: column {wanted} stands twice; leave one of them")
            if text in row:
                chosen[ours] = row.index(text)
                break
    return chosen


def read_table(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    needed: Iterable[str],
    mend: str,
    *,
    numbers: Collection[str] = (),
    few: Collection[str] = (),
    errors: str = "strict",
) -> pd.DataFrame:
    """The wanted columns of a table under our names, all text; the index is the line that a row stands in.

    path: text separated by commas, semicolons or tabs, plain or gzipped whatever its name. columns: ours -> names in
    files, see `choose`; only these are read. needed: those that must be there. mend: what to do about another file.
    numbers: columns whose decimal comma becomes a point. few: columns of few distinct values, kept as categories.
    errors: what to do with bytes that are no text, as `bytes.decode`.
    Rows without any text are left out. Raises BadInput that names file, line and value for a damaged file, or one whose
    columns or rows do not fit.
    """
    form = _form(path, columns, tuple(needed), mend)
    places = sorted(form.chosen.values())
    ours = sorted(form.chosen, key=lambda name: form.chosen[name])
    try:
        text = _unbroken(path, form, errors, mend) if form.tabs else None
        with pd.read_csv(
            path if text is None else text, sep=form.separator,
            quoting=csv.QUOTE_NONE if form.tabs else csv.QUOTE_MINIMAL, header=0,
            names=list(map(str, range(len(form.names)))) if form.filled else None,
            # pandas says nothing of cells past the last one if it is told which columns to read.
            usecols=places if form.tabs else None,
            index_col=False, skiprows=form.top, skip_blank_lines=False, dtype=object, keep_default_na=False,
            na_filter=False, compression="gzip" if form.packed and text is None else None, encoding=form.encoding,
            encoding_errors=errors, chunksize=_ROWS,
        ) as reader:  # fmt: skip
            chosen = (piece if form.tabs else piece.iloc[:, places] for piece in reader)
            pieces = [_cleaned(piece.set_axis(ours, axis=1), form, few) for piece in chosen]
    except UnicodeDecodeError as error:
        raise not_text(str(path), error) from error
    except pd.errors.ParserError as error:
        match = _TOO_MANY.search(str(error))
        raise (_too_long(path, match[1], int(match[2]), form, mend) if match else _unreadable(path, error)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    table = pd.DataFrame({ours: _joined([piece[ours] for piece in pieces]) for ours in form.chosen})
    for name in (name for name in numbers if name in table and form.separator != ","):
        table[name] = with_points(table[name], str(path), form.tabs)
    return table


@dataclass(frozen=True)
class _Form:
    """How a table is written: lines before its header, column names, ours -> position of the wanted ones.

    filled: whether the names are more than the header has, see `column_names`.
    """

    packed: bool
    encoding: str
    separator: str
    top: int
    names: tuple[str, ...]
    chosen: dict[str, int]

    filled: bool

    @property
    def tabs(self) -> bool:
        """Tables of LINCS, which hold lone quotation marks: quoted cells are told apart afterwards."""
        return self.separator == "\t"


def _form(path: Path, columns: Mapping[str, Sequence[str]], needed: tuple[str, ...], mend: str) -> _Form:
    packed, start = _start(path)
    lines = decoded(start, str(path), "replace").split("\n")
    top = next((number for number, line in enumerate(lines) if not before_header(line)), 0)
    first = next((line for line in lines[top + 1 :] if bare(line)), "")
    forms = []
    for separator in SEPARATORS:
        names = column_names(lines[top], first, separator)
        chosen = choose(names, columns, str(path))
        filled = len(names) > len(cells(lines[top], separator))
        forms.append(_Form(packed, encoding_of(start, str(path)), separator, top, names, chosen, filled))
    best = max(forms, key=lambda form: len(form.chosen))
    missing = next((ours for ours in needed if ours not in best.chosen), None)
    if missing is not None:
        header = bare(lines[top])
        raise BadInput(
            f"{path}: column {' or '.join(columns[missing])} is missing; {mend} (its header is {header[:120]!r}; cells "
            "are separated by commas, semicolons or tabs)"
        )
    if len(cells(first, best.separator)) > len(best.names):
        raise _too_long(path, str(top + 2), len(cells(first, best.separator)), best, mend)
    return best


def _start(path: Path) -> tuple[bool, bytes]:
    """Whether a file is gzipped, whatever its name: browsers unpack on the way. And its first bytes, unpacked."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            start = stream.read(_LOOKED_AT)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    strange = strange_start("table.csv", start)
    if strange:
        raise BadInput(f"{path}: cannot be read ({strange}); download it again")
    return packed, start


def before_header(line: str) -> bool:
    """Whether a line stands before a table's header: a blank one, or the separator that Excel notes."""
    return not bare(line) or bare(line).lower().startswith("sep=")


def column_names(header: str, first: str, separator: str) -> tuple[str, ...]:
    """Column names; "" for those that have none: R's row names, and separators that only fill up the rows."""
    names, row = cells(header, separator), cells(first, separator)
    past = row[len(names) :]
    # Where commas separate, one cell too many may be a decimal comma; there R writes the empty name.
    unnamed = separator != "," and len(past) == 1 and any(past)
    return ("", *names) if unnamed else (*names, *(text for text in past if not any(past)))


def _unbroken(path: Path, form: _Form, errors: str, mend: str) -> io.StringIO | None:
    """The text of a tab-separated table, each row in one line, where quoted cells hold line breaks; None where none do.

    A break becomes a space, and the further lines of a row stay, empty: rows keep their numbers. Raises BadInput for a
    row of more cells than the header's.
    """
    most, number, begun, whole = len(form.names) - 1, 0, "", {}
    with _opened(path, form, errors) as stream:
        for number, line in enumerate(stream, 1):
            if line.count("\t") > most and number > form.top + 1 and any(cells(line)[most + 1 :]):
                raise _too_long(path, str(number), line.count("\t") + 1, form, mend)
            if begun:
                begun += line
                closes = _closes(line)
                ends = closes and not ("\t" in line and _opens(line))
                if ends and begun.count("\t") <= most:
                    whole[number - begun.count("\n", 0, -1)] = begun
                if ends or ("\t" in line and not closes) or begun.count("\n") > _BROKEN_INTO:
                    begun = ""  # that of a lone quotation mark, which is text, if it did not end
            if not begun and number > form.top + 1 and line.count("\t") <= most and _opens(line):
                begun = line
    if not whole:
        return None
    with _opened(path, form, errors) as stream:
        lines = stream.read().split("\n")
    for number, row in whole.items():
        pieces = row.removesuffix("\n").split("\n")
        lines[number - 1 : number - 1 + len(pieces)] = [" ".join(pieces), *[""] * (len(pieces) - 1)]
    return io.StringIO("\n".join(lines))


def _opened(path: Path, form: _Form, errors: str) -> TextIO:
    if form.packed:
        return gzip.open(path, "rt", encoding=form.encoding, errors=errors)
    return path.open(encoding=form.encoding, errors=errors)


def _opens(line: str) -> bool:
    """Whether the last cell of a line begins a quotation and does not end it."""
    last = line.rpartition("\t")[2].strip()
    return last.startswith('"') and last.count('"') % 2 == 1


def _closes(line: str) -> bool:
    """Whether the first cell of a line ends a quotation that it did not begin."""
    first = line.partition("\t")[0].strip()
    return first.endswith('"') and first.count('"') % 2 == 1


def _cleaned(piece: pd.DataFrame, form: _Form, few: Collection[str]) -> pd.DataFrame:
    """A piece of a table as it is kept: clean cells, no blank rows, rows named by their lines."""
    piece.index = piece.index + form.top + 2
    clean = cell if form.tabs else bare
    piece = pd.DataFrame(
        {name: mapped(piece[name].astype("category") if name in few else piece[name], clean) for name in piece}
    )
    return piece[~(piece == "").all(axis=1)]


def _joined(pieces: list[pd.Series]) -> pd.Series:
    if pieces[0].dtype != "category":
        return pd.concat(pieces)
    index = pieces[0].index.append([piece.index for piece in pieces[1:]])
    return pd.Series(pd.api.types.union_categoricals(pieces), index=index)


def _too_long(path: Path, line: str, count: int, form: _Form, mend: str) -> BadInput:
    return BadInput(
        f"{path}: line {line}: {count} cells, {len(form.names)} columns; quote cells that hold a {form.separator!r}, "
        f"or {mend}"
    )


def _unreadable(path: Path, error: Exception) -> BadInput:
    return BadInput(f"{path}: cannot be read ({' '.join(str(error).split())}); download it again")
