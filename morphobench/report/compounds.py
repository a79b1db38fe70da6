"""The table of compounds: what every mean over compounds is taken of, beside real replicates and the vehicle."""

from __future__ import annotations

from dataclasses import dataclass

from morphobench.report.reading import ARROWS, number, read
from morphobench.schema import CompoundScore, Score
from morphobench.scoring.controls import FLOOR, VEHICLE


@dataclass(frozen=True)
class CompoundRow:
    """One compound and, for each score, (value, what stands below it)."""

    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CompoundTable:
    """Scores by compound; titles with the arrow of the better side."""

    titles: tuple[str, ...]
    rows: tuple[CompoundRow, ...]


def compound_table(scores: list[Score]) -> CompoundTable | None:
    """The table of a track, compounds in alphabetical order; None where no score is a mean over compounds."""
    columns = [score for score in scores if score.by_compound]
    if not columns:
        return None
    parts = [{part.compound: part for part in score.by_compound} for score in columns]
    names = sorted({name for column in parts for name in column}, key=str.casefold)
    rows = (CompoundRow(name, tuple(_cell(column.get(name)) for column in parts)) for name in names)
    return CompoundTable(tuple(f"{ARROWS[score.direction]} {read(score).title}" for score in columns), tuple(rows))


def _cell(part: CompoundScore | None) -> tuple[str, str]:
    if part is None:
        return number(None), ""
    below = [f"{number(part.interval[0])} to {number(part.interval[1])}"] if part.interval else []
    for control, word in ((FLOOR, "replicates"), (VEHICLE, "vehicle")):
        value = part.controls.get(control)
        below += [f"{word} {number(value)}"] if value is not None else []
    return number(part.value), "; ".join(below)
