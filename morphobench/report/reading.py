"""How a score is read: its name in words, its family, better or worse than another value, and its numbers as text.

The page and the board both read scores through this file, so that they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from morphobench.metrics.metric import FAMILIES as ROW_FAMILIES
from morphobench.metrics.metric import INCEPTION
from morphobench.metrics.registry import row_of
from morphobench.schema import Score, Trivial
from morphobench.scoring.controls import VEHICLE

OTHER = "other"
"""What stands for the family of a score of no row."""
FAMILIES: tuple[str, ...] = (*ROW_FAMILIES, OTHER)
"""Order of the score table."""
ARROWS = {"min": "↓", "max": "↑", "target": "◎", "none": "–"}
READINGS = {
    "min": "lower is better",
    "max": "higher is better",
    "target": "closer to {target} is better",
    "none": "shown, not ranked",
}
Standing = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Reading:
    """A score's row in words: its family (one of FAMILIES), its title, its summary, and whether it is ranked."""

    family: str
    title: str
    summary: str
    ranked: bool


def read(score: Score) -> Reading:
    """The words for a score; one of no row is shown under its key, in the family OTHER."""
    row = row_of(score.metric, score.part)
    if row is None:
        return Reading(OTHER, score.key, "", False)
    return Reading(row.family, row.printed_title(score.features, score.engine), row.summary, row.ranked)


def foremost(scores: Iterable[Score], metric: str, part: str | None = None) -> Score | None:
    """The score that speaks for all of a row, None without one.

    That of the genuine Inception's features goes before others, and the built-in engine's before another engine's; then
    the first does. part: None for any.
    """
    mine = [score for score in scores if score.metric == metric and part in (None, score.part)]
    return min(mine, key=lambda score: (score.features != INCEPTION, score.engine != ""), default=None)


def reading_text(score: Score, ranked: bool) -> str:
    """How a score is read, and whether it only is shown."""
    text = READINGS[score.direction].format(target=number(score.target))
    return text + ("" if ranked or score.direction == "none" else "; not ranked")


def badness(score: Score, value: float) -> float | None:
    """A number that is smaller for better values, None where the metric has no direction."""
    if score.direction == "min":
        return value
    if score.direction == "max":
        return -value
    if score.direction == "target" and score.target is not None:
        return abs(value - score.target)
    return None


def badness_interval(score: Score) -> tuple[float, float] | None:
    """(best, worst) badness inside the 95% interval, the value twice without one; None for an unranked score."""
    if score.value is None or badness(score, score.value) is None:
        return None
    low, high = score.interval or (score.value, score.value)
    ends = [b for b in (badness(score, low), badness(score, high)) if b is not None]
    inside = score.direction == "target" and score.target is not None and low <= score.target <= high
    return (0.0 if inside else min(ends)), max(ends)


def standing(score: Score, other: float | None) -> Standing | None:
    """Is the score better than a fixed value, beyond its interval? None where either is missing or unranked."""
    span = badness_interval(score)
    bar = None if other is None else badness(score, other)
    if span is None or bar is None:
        return None
    if span[1] < bar:
        return "better"
    return "worse" if span[0] > bar else "unclear"


def standing_beside(score: Score, trivial: Trivial) -> Standing | None:
    """Does the score beat a trivial prediction, by the paired interval of their difference? None without a value.

    Unclear also where there is no interval: too few compounds or plates to tell.
    """
    if trivial.value is None or score.direction not in ("min", "max"):
        return None
    low, high = trivial.difference or (0.0, 0.0)
    if score.direction == "min":
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def scale(score: Score, value: float | None) -> float | None:
    """`value` on the scale 0 = vehicle control, 1 = real replicates, unclipped; None where the score is not scaled."""
    vehicle = score.controls.get(VEHICLE)
    if value is None or score.scaled is None or score.floor is None or vehicle in (None, score.floor):
        return None
    return (value - vehicle) / (score.floor - vehicle)


def number(value: float | None) -> str:
    """Three significant digits with thousands grouped, a true minus sign, and a dash where there is no value."""
    if value is None or math.isnan(value):
        return "–"
    magnitude = abs(value)
    if magnitude >= 100:
        text = f"{value:,.0f}"
    elif magnitude == 0:
        text = "0"
    else:
        text = f"{value:#.3g}".rstrip(".") if magnitude >= 1e-4 else f"{value:.1e}"
    return text.replace("-", "−")


def span_text(score: Score) -> str:
    """The 95% interval as text, '' where there is none."""
    return f"{number(score.interval[0])} to {number(score.interval[1])}" if score.interval else ""
