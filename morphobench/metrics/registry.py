"""One row per score: METRICS is the only list of what the benchmark computes.

A row (`metric.Metric`) is a pure function of one bundle of arrays, its replicates under the cluster bootstrap, and what
a reader must know of it. A new row goes into the `ROWS` of its group's module in `rows`; a new group is a module there
and a line of METRICS here. The order is that in which a report lists its scores.
"""

from __future__ import annotations

from morphobench.metrics.metric import Metric, scaled
from morphobench.metrics.rows import expression, mechanism, memorisation, morphology, realism, reliance

__all__ = ["METRICS", "Metric", "key_for", "row_of", "scaled"]

METRICS: dict[str, Metric] = {
    metric.printed_key(): metric
    for group in (realism, mechanism, morphology, expression, reliance, memorisation)
    for metric in group.ROWS
}
"""Rows by the key that they are printed under where no extractor and no engine names them."""


def key_for(row: str, features: str = "", engine: str = "") -> str:
    """The key that a score of a row of METRICS is printed under, see `Metric.printed_key`; KeyError for no row."""
    return METRICS[row].printed_key(features, engine)


def row_of(metric: str, part: str = "") -> Metric | None:
    """The row of METRICS with this key and part, as a score carries them; None for a score of no row."""
    return next((row for row in METRICS.values() if (row.key, row.part) == (metric, part)), None)
