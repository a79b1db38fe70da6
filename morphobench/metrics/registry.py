"""One row per score: METRICS is the only list of what the benchmark computes.

A row (`metric.Metric`) is a pure function of one bundle of arrays, its replicates under the cluster bootstrap, and what
a reader must know of it. A new row goes into the `ROWS` of its group's module in `rows`; a new group is a module there
and a line of METRICS here. The order is that in which a report lists its scores.
"""

from __future__ import annotations

from morphobench.metrics.metric import Metric, scaled
from morphobench.metrics.rows import expression, mechanism, memorisation, morphology, realism, reliance

__all__ = ["METRICS", "Metric", "key_for", "metric_of", "scaled"]

METRICS: dict[str, Metric] = {
    metric.printed_key(): metric
    for group in (realism, mechanism, morphology, expression, reliance, memorisation)
    for metric in group.ROWS
}
"""Rows by the key that they are printed under where no extractor and no engine names them."""


def key_for(row: str, features: str = "", engine: str = "") -> str:
    """The key that a score of a row of METRICS is printed under, see `Metric.printed_key`; KeyError for no row."""
    return METRICS[row].printed_key(features, engine)


def metric_of(key: str) -> Metric | None:
    """The row that a printed key is of, whatever stands in its brackets; None for a key of no row."""
    stem = key.partition("[")[0]
    genuine = (name for name, metric in METRICS.items() if metric.genuine is not None and metric.genuine.key == stem)
    return METRICS.get(key) or METRICS.get(next(genuine, stem)) or METRICS.get(key.rpartition("[")[0])
