"""Measurements -> scores: every row of METRICS whose inputs were measured, with interval, floor and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morphobench.metrics.inputs import ExpressionInputs
from morphobench.metrics.registry import scaled
from morphobench.schema import CompoundScore, Score
from morphobench.scoring.controls import FLOOR, VEHICLE, Controls, compound_key
from morphobench.scoring.measurements import Measurements
from morphobench.scoring.tasks import Task
from morphobench.scoring.trivial_scores import trivial_scores

REPLICATES = 1000
"""Draws of the cluster bootstrap: the end points of an interval then move by about a twentieth of its width."""
BOOTSTRAP_SEED = 0
"""The same for everybody: every submission gets the same draws, and nobody gets to choose among intervals."""


def score_track(measured: Measurements, track_tasks: Sequence[Task], controls: Controls) -> list[Score]:
    """Every score of a track. One that cannot be computed has no value but the reason, and the rest are computed.

    track_tasks: the track's `tasks`. controls: what stands beside its scores.
    """
    has_truth = np.isfinite(measured.expression["post"]).all(axis=1)
    trivial = {name: post[has_truth] for name, post in measured.trivial.items()}
    return [
        _score(
            task,
            measured.track,
            {name: of.get(measured.track, {}) for name, of in controls.scores.items()},
            controls.floor_intervals.get(measured.track, {}).get(task.key),
            trivial if task.metric.inputs is ExpressionInputs else {},
        )
        for task in track_tasks
    ]


def _score(
    task: Task,
    track: str,
    of_controls: Mapping[str, Mapping[str, float | None]],
    floor_interval: tuple[float, float] | None,
    trivial: Mapping[str, np.ndarray],
) -> Score:
    metric = task.metric
    controls = {name: values.get(task.key) for name, values in of_controls.items()}
    common: dict[str, Any] = {
        "key": task.key, "metric": metric.key, "part": metric.part, "features": task.features, "engine": task.engine,
        "version": metric.version, "track": track, "direction": metric.direction, "target": metric.target,
        "unit": metric.unit, "controls": controls, "floor": controls.get(FLOOR),
    }  # fmt: skip
    if task.inputs is None:
        return Score(value=None, reason=task.reason, n=0, **common)
    n = metric.count(task.inputs)
    try:
        value = metric.score(task.inputs)
    except ValueError as error:
        return Score(value=None, reason=str(error), n=n, **common)
    vehicle, ceiling = controls.get(VEHICLE), controls.get(FLOOR)
    return Score(
        value=value,
        n=n,
        nan=metric.undefined(task.inputs),
        interval=metric.interval(task.inputs, REPLICATES, BOOTSTRAP_SEED, value) if task.clustered else None,
        trivial=trivial_scores(metric, task.inputs, value, trivial, REPLICATES if task.clustered else 0, BOOTSTRAP_SEED)
        if trivial
        else (),
        by_compound=_by_compound(task, of_controls),
        scaled=None
        if vehicle is None or ceiling is None
        else scaled(value, vehicle, ceiling, floor_interval, metric.direction),
        **common,
    )


def _by_compound(task: Task, of_controls: Mapping[str, Mapping[str, float | None]]) -> tuple[CompoundScore, ...]:
    """The values that a mean over compounds is taken of, beside those of the controls; none for other scores."""
    metric = task.metric
    if metric.by_compound is None:
        return ()
    intervals: Mapping[str, tuple[float, float] | None] = {}
    if metric.compound_intervals is not None:
        intervals = metric.compound_intervals(task.inputs, REPLICATES, BOOTSTRAP_SEED)
    return tuple(
        CompoundScore(
            compound=compound,
            value=value if np.isfinite(value) else None,
            interval=intervals.get(compound),
            controls={name: of.get(compound_key(task.key, compound)) for name, of in of_controls.items()},
        )
        for compound, value in metric.by_compound(task.inputs).items()
    )
