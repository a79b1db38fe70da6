"""Tables and other text that users give, read whatever wrote them: Excel, R, pandas, a Mac, Windows.

What has a plain meaning is read; anything else is refused in one line that says what is there. Text is UTF-8 with or
without a byte order mark, or UTF-16 with one. Lines end in LF, CRLF or CR and nowhere else. The separator is the
comma, semicolon or tab that gives the wanted columns. Every cell is text: plate 01 is not plate 1, nor 1e2 100.
"""

from morphobench.datasets.tables.reading import SEPARATORS, before_header, choose, column_names, read_own, read_table
from morphobench.datasets.tables.text import bare, cells, decoded, encoding_of, find_file, toml
from morphobench.datasets.tables.values import flags, mapped, whole, with_points

__all__ = [
    "SEPARATORS",
    "bare",
    "before_header",
    "cells",
    "choose",
    "column_names",
    "decoded",
    "encoding_of",
    "find_file",
    "flags",
    "mapped",
    "read_own",
    "read_table",
    "toml",
    "whole",
    "with_points",
]
