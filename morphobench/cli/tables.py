"""What the console shows of a report and of a comparison."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from morphobench.schema import Report, Score
from morphobench.scoring.controls import VEHICLE

if TYPE_CHECKING:
    from morphobench.comparison import Comparison

WIDTH = 132


def wide_console() -> Console:
    """A console for tables: a pipe has no width of its own, and 80 columns fold them."""
    shown = sys.stdout is not None and sys.stdout.isatty()  # None where a service closed it
    return Console(width=None if shown else WIDTH, emoji=False)


def score_table(report: Report, track: str) -> Table:
    """The scores of one track of a report."""
    simulated = "SIMULATED " if report.simulated else ""
    table = Table(title=f"{escape(report.submission.name)} on {simulated}{report.tier} / {track}", title_justify="left")
    for heading in ("score", "better", "value", "95% interval", "N", "real replicates", "vehicle", "scaled"):
        # A key that does not fit is folded: cut, it would name another score.
        table.add_column(heading, justify="left" if heading in ("score", "better") else "right", overflow="fold")
    for score in report.scores:
        if score.track == track:
            # Keys hold brackets, which rich would read as markup.
            table.add_row(*map(escape, _row(score)))
    return table


def difference_table(comparison: Comparison, track: str) -> Table:
    """The differences of one track of a comparison."""
    simulated = "SIMULATED " if comparison.simulated else ""
    a, b = (f"{side.name} {side.version}" for side in (comparison.a, comparison.b))
    title = f"A {a}, B {b} on {simulated}{comparison.tier} / {track}"
    table = Table(title=escape(title), title_justify="left")
    for heading in ("score", "A", "B", "A - B", "95% interval", "in words"):
        table.add_column(heading, justify="left" if heading in ("score", "in words") else "right", overflow="fold")
    for row in comparison.differences:
        if row.track == track:
            interval = f"{row.interval[0]:.4g} to {row.interval[1]:.4g}" if row.interval else "-"
            words = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
            numbers = (_number(row.a), _number(row.b), _number(row.difference))
            table.add_row(*map(escape, (row.key, *numbers, interval, words)))
    return table


def _row(score: Score) -> list[str]:
    better = {"min": "lower", "max": "higher", "target": f"{score.target}", "none": "-"}[score.direction]
    if score.value is None:
        return [score.key, better, "absent", score.reason, str(score.n), "", "", ""]
    interval = f"{score.interval[0]:.4g} to {score.interval[1]:.4g}" if score.interval else "-"
    return [
        score.key, better, f"{score.value:.4g}", interval, str(score.n), _number(score.floor),
        _number(score.controls.get(VEHICLE)), _number(score.scaled),
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
