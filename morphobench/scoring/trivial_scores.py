"""An expression score beside those of predictions that learn nothing, on the same wells, compared pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from morphobench.metrics.bootstrap import clustered_interval
from morphobench.metrics.inputs import ExpressionInputs
from morphobench.metrics.registry import Metric
from morphobench.schema import Trivial


def trivial_scores(
    metric: Metric,
    inputs: ExpressionInputs,
    value: float,
    predictions: Mapping[str, np.ndarray],
    replicates: int,
    seed: int,
) -> tuple[Trivial, ...]:
    """The same row of METRICS for each trivial prediction, and the 95% interval of `value` minus it.

    predictions: name -> log2 G_post (N, G) for the rows of `inputs`, NaN where undefined. replicates: 0 for no
    intervals. The submission and the prediction are scored on the same draws of compounds and plates, so that what
    both owe to a draw cancels.
    """
    mine = metric.resample(inputs, replicates, seed) if replicates else None
    scored = []
    for name, post in predictions.items():
        undefined = np.unique(inputs.compounds[~np.isfinite(post).all(axis=1)])
        if len(undefined):
            compounds = len(np.unique(inputs.compounds))
            why = f"undefined for {len(undefined)} of {compounds} compounds, which were not trained on"
            scored.append(Trivial(name=name, value=None, reason=why))
            continue
        other = replace(inputs, predicted_post=post)
        try:
            score = metric.score(other)
        except ValueError as error:
            scored.append(Trivial(name=name, value=None, reason=str(error)))
            continue
        spread = None
        if mine is not None:
            differences = mine - metric.resample(other, replicates, seed)
            spread = clustered_interval(value - score, differences, inputs.clusters, scale=1.0)  # of correlations
        scored.append(Trivial(name=name, value=score, difference=spread))
    return tuple(scored)
