"""From bytes to text, lines and cells; and finding a file whose name a system wrote in other letters."""

from __future__ import annotations

import codecs
import csv
import string
import tomllib
from pathlib import Path
from typing import Any

from morphobench.errors import BadInput

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""UTF-32 first: its little-endian mark begins with that of UTF-16."""
_BLANK = string.whitespace + "\x1a\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
_BLANK += "".join(map(chr, range(0x2000, 0x2010))) + "\u2060\ufeff\xad"
"""White space and what shows as nothing: zero-width spaces, a stray byte order mark, DOS's end of file."""


def encoding_of(start: bytes, where: str) -> str:
    """The encoding that the first bytes of a file announce, UTF-8 where they announce none.

    Raises BadInput, which begins with `where`, for bytes that are no text.
    """
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return name
    if start.startswith(b"PK\x03\x04"):
        raise BadInput(f"{where}: a zip or an Excel workbook, no text; save it as CSV (UTF-8)")
    if b"\0" in start:
        raise BadInput(f"{where}: holds zero bytes: no text, or UTF-16 without a byte order mark; save it as UTF-8")
    return "utf-8"


def decoded(data: bytes, where: str, errors: str = "strict") -> str:
    """Text of a file, its lines ended by line feeds.

    errors: as of `bytes.decode`. Raises BadInput, which begins with `where`, for bytes that are not text of the
    encoding that they announce.
    """
    try:
        text = data.decode(encoding_of(data, where), errors)
    except UnicodeDecodeError as error:
        raise not_text(where, error) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def not_text(where: str, error: UnicodeDecodeError) -> BadInput:
    """What to say of bytes that could not be decoded."""
    byte = error.object[error.start : error.start + 1].hex()
    return BadInput(f"{where}: not {error.encoding} text (byte 0x{byte}: {error.reason}); save it as UTF-8")


def toml(data: bytes, where: str) -> dict[str, Any]:
    """The content of a TOML file; BadInput, which begins with `where`, for what is none."""
    try:
        return tomllib.loads(decoded(data, where))
    except (ValueError, RecursionError) as error:
        # Besides what is not TOML: numbers of thousands of digits, brackets in thousands of brackets.
        raise BadInput(f"{where}: not TOML that can be read ({error})") from error


def find_file(folder: Path, name: str) -> Path | None:
    """The file of this name in a folder, in whatever case (.CSV), plain before gzipped (.gz); None without one."""
    if not folder.is_dir():
        return None
    there = {path.name: path for path in sorted(folder.iterdir(), reverse=True) if path.is_file()}
    folded = {found.casefold(): path for found, path in there.items()}
    paths = (there.get(wanted) or folded.get(wanted.casefold()) for wanted in (name, f"{name}.gz"))
    return next((path for path in paths if path is not None), None)


def bare(text: str) -> str:
    """Text without white space and invisible characters at its ends."""
    return text.strip(_BLANK)


def cell(text: str) -> str:
    """A cell of a tab-separated table: `bare`, and without the quotation marks that Excel and R put around it."""
    text = bare(text)
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return bare(text[1:-1].replace('""', '"')) if quoted else text


def cells(line: str, separator: str = "\t") -> list[str]:
    """The cells of one line of a table."""
    if separator == "\t":
        return [cell(text) for text in line.split("\t")]
    try:
        return [bare(text) for text in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # a cell of more than 128 KiB
        return [bare(line)]
