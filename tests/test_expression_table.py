"""`expression.csv`: read whatever wrote it, and the line that names what is wrong in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tiny_submission import good_submission
from tiny_tier import tiny_tier

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest.submission import (
    open_submission,
)


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def folder(tmp_path: Path, tier: Tier) -> Path:
    return good_submission(tmp_path / "good", tier)


def _edit_expression(folder: Path, old: str, new: str) -> None:
    path = folder / "expression.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_expression_problems_name_the_row(folder: Path, tier: Tier) -> None:
    good = (folder / "expression.csv").read_text().splitlines()
    path = folder / "expression.csv"
    key = '"id","alpha",0,'
    assert good[1].startswith(key)
    cases = {
        "there is twice": [*good, good[1]],
        "no row for": good[:1] + good[2:],
        "not a finite number": [good[0], key + "nan," + good[1].removeprefix(key).split(",", 1)[1], *good[2:]],
        "every value is a number": [good[0], key + "red," + good[1].removeprefix(key).split(",", 1)[1], *good[2:]],
        "header differs at 'H0'": [good[0].replace('"G0"', '"H0"'), *good[1:]],
        "Expected 981 columns": [good[0], good[1].rsplit(",", 1)[0], *good[2:]],
    }
    for words, lines in cases.items():
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(BadInput, match=words.replace("there is twice", "twice")) as caught:
            open_submission(folder, tier)
        assert "\n" not in str(caught.value)


def test_expression_answers_conditions_only_and_in_log2(folder: Path, tier: Tier) -> None:
    path = folder / "expression.csv"
    good = path.read_text().splitlines()
    path.write_text("\n".join([*good, good[1].replace('"alpha",0', '"alpha",99')]) + "\n")
    with pytest.raises(BadInput, match=r"\('id', 'alpha', 99\) is no condition of tiny; remove the row"):
        open_submission(folder, tier)
    key = '"id","alpha",0,'
    for value, words in (("4096", "4096 is beyond 64; write log2"), ("1e300", r"1e\+300 is beyond")):
        path.write_text("\n".join([good[0], key + value + "," + good[1].removeprefix(key).split(",", 1)[1], *good[2:]]))
        with pytest.raises(BadInput, match=rf"gene G0: {words}"):
            open_submission(folder, tier)
    # Rows of a track that is not scored now are still answers to conditions of the tier.
    path.write_text("\n".join(good) + "\n")
    assert set(open_submission(folder, tier, ["id"]).expression or ()) == {"id"}


def _floats(text: str) -> str:
    """As pandas writes an index column that once held a hole."""
    return re.sub(r'^("[a-z]+","[a-z]+",\d+),', r"\1.0,", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", ";").replace(".", ",").encode(),
        lambda text: text.replace('"', "").encode(),
        lambda text: _floats(text).encode(),
        lambda text: b"sep=,\n" + text.encode() + b"\x1a",
        lambda text: b"\nsep=;\r\n" + text.replace(",", ";").replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", ",,\n").encode() + b"," * 982 + b"\n",
        lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1).encode() + b"\r\n\x1a",
    ],
    ids=[
        "byte order mark",
        "UTF-16",
        "CR",
        "tabs",
        "semicolons and decimal commas",
        "unquoted",
        "index 0.0",
        "separator noted, end of a DOS file",
        "semicolon noted",
        "empty columns and row",
        "separators that end rows",
    ],
)
def test_an_expression_table_is_the_same_whatever_wrote_it(folder: Path, tier: Tier, form) -> None:
    expected = open_submission(folder, tier).expression or {}
    path = folder / "expression.csv"
    path.write_bytes(form(path.read_text()))
    found = open_submission(folder, tier).expression or {}
    assert set(found) == set(expected) != set()
    for track, values in expected.items():
        np.testing.assert_array_equal(found[track], values)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda text: text.encode("utf-16-le"), "holds zero bytes: .*save it as UTF-8"),
        (lambda text: text.replace('alpha",0', 'alpha",0.5', 1).encode(), "index '0.5' is no whole number; write 0, 1"),
        (lambda text: text.replace('alpha",0', 'alpha",Inf', 1).encode(), "index 'Inf' is no whole number"),
        (lambda text: text.replace("alpha", "alph\xe4", 2).encode("latin-1"), "UTF-?8"),
        (lambda text: text.replace(",", "|").encode(), "the header differs at"),
        (lambda text: text.replace("\n", ",7\n", 1).encode(), "the header differs at '982 columns'"),
        (
            lambda text: text.replace("\n", ",\n").replace(",\n", ",7\n", 2).replace(",7", ",", 1).encode(),
            "'7' stands in column 982",
        ),
        (lambda text: (text + "," * 980 + "7\n").encode(), "index '' is no whole number"),
    ],
)
def test_an_expression_table_that_is_none_is_named(folder: Path, tier: Tier, form, message: str) -> None:
    path = folder / "expression.csv"
    path.write_bytes(form(path.read_text()))
    with pytest.raises(BadInput, match=f"expression.csv: .*{message}") as caught:
        open_submission(folder, tier)
    assert str(caught.value).isprintable()
