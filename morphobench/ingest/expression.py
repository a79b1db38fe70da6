"""`expression.csv`: a submission's predicted transcriptomes, one row per condition."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from morphobench.datasets.tables import (
    SEPARATORS,
    bare,
    before_header,
    cells,
    column_names,
    decoded,
    encoding_of,
    whole,
)
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest.archive import Source, named
from morphobench.schema import Conditions
from morphobench.storage import sha256_bytes

EXPRESSION = "expression.csv"
G_PRE = "g_pre.csv"
EXPRESSION_KEYS = ("track", "compound", "index")
EXPRESSION_BYTES = 1 << 30
"""Ten times the table of 10,000 conditions."""
_LOOKED_AT = 1 << 16  # bytes: more than the header
LARGEST_LOG2 = 64.0
"""Expression beyond this is no log2 of a count or an intensity."""


def read_expression(source: Source, tier: Tier, wanted: Mapping[str, Conditions]) -> tuple[dict[str, np.ndarray], str]:
    """Predicted log2 G_post of each wanted track, (N, genes) float32 in condition order, and the hash of the file.

    Raises BadInput that names the first row, gene or value that is wrong.
    """
    where = f"{source.path}: {EXPRESSION}"
    data = source.read(named(source.names(), EXPRESSION) or EXPRESSION, EXPRESSION_BYTES)
    genes = next(iter(wanted.values())).genes
    table = _table(data, where, genes)
    values = np.column_stack([table.column(gene).to_numpy(zero_copy_only=False) for gene in genes])
    keys = _keys(table, where)
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) != len(keys):
        twice = next(key for row, key in enumerate(keys) if rows[key] != row)
        raise BadInput(f"{where}: {twice} is there twice; one row per condition")
    asked = _keys_of(tier)
    stranger = next((key for key in keys if key not in asked), None)
    if stranger is not None:
        raise BadInput(f"{where}: {stranger} is no condition of {tier.spec.name}; remove the row")
    expression = {}
    for track, conditions in wanted.items():
        wanted_keys = [(condition.track, condition.compound, condition.index) for condition in conditions]
        absent = next((key for key in wanted_keys if key not in rows), None)
        if absent is not None:
            raise BadInput(f"{where}: no row for {absent}; one row per condition")
        ordered = values[[rows[key] for key in wanted_keys]]
        if (fault := not_log2(ordered)) is not None:
            row, gene, why = fault
            raise BadInput(f"{where}: {wanted_keys[row]}, gene {genes[gene]}: {why}")
        expression[track] = ordered.astype(np.float32)
    return expression, sha256_bytes(data)


def _table(data: bytes, where: str, genes: Sequence[str]) -> pa.Table:
    """Keys as text, values as float64; BadInput for another header or what is no number.

    What Excel adds is passed over: the line `sep=,`, empty columns and rows at the ends, and DOS's end of file.
    """
    if encoding_of(data[:_LOOKED_AT], where) != "utf-8":
        data = decoded(data, where).encode()
    data = data.rstrip(b"\r\n\x1a")
    lines = decoded(data[:_LOOKED_AT], where, "replace").split("\n")
    top = next((number for number, line in enumerate(lines) if not before_header(line)), 0)
    header, first = lines[top], "".join(lines[top + 1 : top + 2])
    expected = [*EXPRESSION_KEYS, *genes]
    read = ((mark, column_names(header, first, mark)) for mark in SEPARATORS)
    fits = ((mark, names) for mark, names in read if [*names[: len(expected)]] == expected)
    separator, names = next(((mark, names) for mark, names in fits if not any(names[len(expected) :])), ("", ()))
    if not separator:
        there = cells(header, max(SEPARATORS, key=header.count))
        strange = next((b for a, b in zip(expected, there, strict=False) if a != b), f"{len(there)} columns")
        columns = f"{', '.join(EXPRESSION_KEYS)} and the {len(genes)} genes of {G_PRE} in its order"
        raise BadInput(f"{where}: the header differs at {strange!r}; the columns are {columns}")
    empty = [f"column {number + 1}" for number in range(len(expected), len(names))]
    types = {**dict.fromkeys((*EXPRESSION_KEYS, *empty), pa.string()), **dict.fromkeys(genes, pa.float64())}
    fault = None
    for point in "." if separator == "," else ".,":  # a decimal comma has a plain meaning where no comma separates
        try:
            table = pa_csv.read_csv(
                io.BytesIO(data),
                read_options=pa_csv.ReadOptions(skip_rows=top + 1, column_names=[*expected, *empty]),
                parse_options=pa_csv.ParseOptions(delimiter=separator),
                convert_options=pa_csv.ConvertOptions(column_types=types, decimal_point=point),
            )
            return _without_empty(table, empty, genes, where)
        except pa.ArrowInvalid as error:
            fault = fault or error
    raise BadInput(
        f"{where}: {str(fault).partition(chr(10))[0]}; every value is a number, and text is UTF-8"
    ) from fault


def _without_empty(table: pa.Table, empty: Sequence[str], genes: Sequence[str], where: str) -> pa.Table:
    """The table without its empty columns and rows; BadInput for a text in a column that has no name."""
    for name in empty:
        text = next((text for text in table.column(name).unique().to_pylist() if bare(text)), None)
        if text is not None:
            raise BadInput(f"{where}: {text!r} stands in {name}, which has no name; remove it")
    table = table.drop_columns(list(empty))
    keys = zip(*(table.column(key).to_pylist() for key in EXPRESSION_KEYS), strict=True)
    nameless = pa.array([not any(texts) for texts in keys], pa.bool_())
    rows = table.filter(nameless)
    if sum(rows.column(gene).null_count for gene in genes) < len(rows) * len(genes):
        return table  # values without a condition: `_keys` says so
    return table.filter(pc.invert(nameless))


def _keys(table: pa.Table, where: str) -> list[tuple[str, str, int]]:
    """Track, compound and index of every row."""
    numbers: dict[str, int] = {}
    for text in table.column("index").unique().to_pylist():
        number = whole(text)
        if number is None:
            raise BadInput(f"{where}: index {text!r} is no whole number; write 0, 1, 2, ...")
        numbers[text] = number
    index = [numbers[text] for text in table.column("index").to_pylist()]
    return list(zip(table.column("track").to_pylist(), table.column("compound").to_pylist(), index, strict=True))


def not_log2(values: np.ndarray) -> tuple[int, int, str] | None:
    """Row, column and fault of the first of (N, genes) values that cannot be log2 expression; None if all can be."""
    wrong = np.argwhere(~(np.abs(values) <= LARGEST_LOG2))  # what is not a number is not <= either
    if len(wrong) == 0:
        return None
    row, gene = (int(place) for place in wrong[0])
    value = values[row, gene]
    why = f"{value:g} is beyond {LARGEST_LOG2:g}; write log2 values" if np.isfinite(value) else "not a finite number"
    return row, gene, why


def _keys_of(tier: Tier) -> set[tuple[str, str, int]]:
    keys = set()
    for name in tier.spec.tracks:
        rows = tier.test_rows(name)
        keys |= {(name, compound, int(index)) for compound, index in zip(rows["compound"], rows["index"], strict=True)}
    return keys


def write_expression(path: Path, tracks: Mapping[str, tuple[Conditions, np.ndarray]]) -> None:
    """Write the table of predictions: track -> (conditions, (N, genes) log2 G_post)."""
    columns: dict[str, pa.Array] = {
        key: pa.array([getattr(condition, key) for conditions, _ in tracks.values() for condition in conditions])
        for key in EXPRESSION_KEYS
    }
    genes = next(iter(tracks.values()))[0].genes
    # Four decimals of log2 expression: a hundredth of the assay's own noise, and half the bytes.
    values = np.concatenate([values for _, values in tracks.values()]).astype(np.float64).round(4)
    columns |= {gene: pa.array(values[:, number]) for number, gene in enumerate(genes)}
    pa_csv.write_csv(pa.table(columns), path)
