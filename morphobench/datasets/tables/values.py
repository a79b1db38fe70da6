"""What the text of a cell means: flags, whole numbers, decimal commas."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from morphobench.errors import BadInput

FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "pass", "passed", "1"), "1"),
    **dict.fromkeys(("false", "f", "no", "n", "fail", "failed", "0"), "0"),
    "": "",
}
"""Spellings of a flag, in any case; 1.0 and 0.000 are read as well. "" is unknown."""
_UNKNOWN = "?"
_WHOLE = re.compile(r"([0-9]{1,15})(?:\.0*)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?(?:\s*[^\d\s,]+)?")
"""A number, and its unit if it has one."""
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\s*[^\d\s,]+)?")


def mapped(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """A text column with every value mapped; of categories each once, and they stay categories."""
    if column.dtype != "category":
        texts = [function(text) for text in column.tolist()]
        return pd.Series(texts, index=column.index, name=column.name, dtype=str)
    texts = [function(text) for text in column.cat.categories.tolist()]
    if texts == column.cat.categories.tolist():
        return column
    places, distinct = pd.factorize(np.array(texts, dtype=object))
    codes = places[column.cat.codes] if len(places) else places
    categories = pd.Categorical.from_codes(codes, pd.Index(distinct, dtype=str))
    return pd.Series(categories, index=column.index, name=column.name)


def flags(column: pd.Series, name: str, where: str, row: str = "line") -> pd.Series:
    """A column of flags as "1", "0" and "" (unknown), whatever they are spelt like; see FLAGS.

    Raises BadInput, which begins with `where` and names `row` and its index and the column by `name`, for others.
    """
    answers = mapped(column, _flag)
    if (answers == _UNKNOWN).any():
        at = int(np.argmax(answers == _UNKNOWN))
        raise BadInput(
            f"{where}: {row} {column.index[at]}: {name} is {str(column.iloc[at])!r}, no flag; write 1 or 0, true or "
            "false, yes or no, pass or fail"
        )
    return answers


def _flag(text: str) -> str:
    folded = text.casefold()
    return FLAGS.get(folded, FLAGS.get(str(whole(folded)), _UNKNOWN))


def whole(text: str) -> int | None:
    """The whole number from 0 up that a text plainly is: 7, 007, 7.0; None for any other (Inf, 1e3, 7.5)."""
    match = _WHOLE.fullmatch(text)
    return int(match[1]) if match else None


def with_points(column: pd.Series, where: str, tabs: bool) -> pd.Series:
    """Numbers as text with a decimal point in place of a comma, of a table whose separator is no comma.

    tabs: whether it is a tab; beside a semicolon a comma is always a decimal one. Raises BadInput, which begins with
    `where`, if a comma may mean thousands.
    """
    values = {str(value) for value in pd.unique(column)}
    commas = {value for value in values if "," in value}
    if not commas:
        return column
    strange = {value for value in commas if not _DECIMAL_COMMA.fullmatch(value)}
    points = any(re.search(r"\d\.\d", value) for value in values)
    if not strange and (points or (tabs and all(map(_THOUSANDS.fullmatch, commas)))):
        strange = commas
    if strange:
        at = int(np.argmax(column.isin(strange)))
        raise BadInput(
            f"{where}: line {column.index[at]}: {column.name} is {str(column.iloc[at])!r}: a decimal comma, or "
            "thousands? write decimal points"
        )
    return mapped(column, lambda text: text.replace(",", "."))
