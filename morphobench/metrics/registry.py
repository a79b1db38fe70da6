"""One row per score: METRICS is the only list of what the benchmark computes.

A row (`metric.Metric`) is a pure function of one bundle of arrays, its replicates under the cluster bootstrap, and what
a reader must know of it. A new row goes into the `ROWS` of its group's module in `rows`; a new group is a module there
and a line of METRICS here. Rows whose key is a family (a key of GENUINE) are printed under the name of the features
they saw: `key_for`.
"""

from __future__ import annotations

from morphobench.metrics.metric import Metric, scaled
from morphobench.metrics.rows import expression, mechanism, memorisation, morphology, realism, reliance

__all__ = ["GENUINE", "METRICS", "Metric", "key_for", "metric_of", "scaled"]

GENUINE = {
    "fd": "fid",
    "fd_infinity": "fid_infinity",
    "fd_per_compound": "fid_per_compound",
    "kd": "kid",
    "kd_per_compound": "kid_per_compound",
    "is": "inception_score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
"""Families, and their names when the features are the genuine Inception's."""

METRICS: dict[str, Metric] = {
    metric.key: metric
    for group in (realism, mechanism, morphology, expression, memorisation, reliance)
    for metric in group.ROWS
}


def key_for(family: str, extractor: str) -> str:
    """The key a family's score is printed under: `fid`, `kid`, ... for genuine Inception features, else `fd[name]`, ...

    Raises KeyError for a row that is not a family.
    """
    genuine = GENUINE[family]
    return genuine if extractor == "inception" else f"{family}[{extractor}]"


def metric_of(key: str) -> Metric | None:
    """The row that a printed key is of, whatever stands in its brackets; None for a key of no row."""
    stem = key.partition("[")[0]
    row = next((family for family, genuine in GENUINE.items() if genuine == stem), stem)
    return METRICS.get(key) or METRICS.get(row) or METRICS.get(key.rpartition("[")[0])
