"""Two submissions on the same samples: per score the difference, its paired 95% interval, and what it says in words.

Both are scored on the same draws of compounds and plates, so that what a draw does to both cancels in the difference:
finer than to look whether two intervals overlap.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from morphobench import evaluation
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.metrics.bootstrap import arms_defined, clustered_interval
from morphobench.models import Model
from morphobench.request import Request, model_name
from morphobench.schema import Manifest
from morphobench.scoring.measurements import Measurements, measure_track
from morphobench.scoring.scores import BOOTSTRAP_SEED, REPLICATES
from morphobench.scoring.tasks import Task, tasks
from morphobench.storage import cache_dir

Direction = Literal["min", "max", "target", "none"]


@dataclass(frozen=True)
class Difference:
    """One score of two submissions A and B. `difference` is A - B; values are None where `reason` says why.

    `interval` holds 95%, and is None where `reason` says why there is none.
    """

    key: str
    track: str
    direction: Direction
    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    verdict: str
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Every score that both submissions could have."""

    a: Manifest
    b: Manifest
    tier: str
    simulated: bool
    replicates: int
    differences: tuple[Difference, ...]

    def as_json(self) -> str:
        """Everything, as JSON text."""
        sides = {name: getattr(self, name).model_dump(mode="json") for name in ("a", "b")}
        return json.dumps(dataclasses.asdict(self) | sides, indent=1)


def compare(
    a: str | Model | Path,
    b: str | Model | Path,
    tier: str | Tier = Request.tier,
    tracks: Sequence[str] = Request.tracks,
    folder: Path | None = Request.out,
    seed: int = Request.seed,
    device: str = Request.device,
    extractors: Sequence[str] = Request.extractors,
    embedding: str | None = Request.embedding,
    weights: Mapping[str, Path] | None = None,
    engine: str = Request.engine,
) -> Comparison:
    """Compare two submissions, or what two models generate, score by score on the same samples.

    a, b: a submission's folder or zip as a Path, an installed model's name, or a model. Models generate into
    `folder`/NAME, runs/TIER/NAME if none is given, as `morphobench evaluate` does. The others are those of `Request`.
    Raises BadInput or Unavailable in one line, BadInput also for two models that are called the same.
    """
    names = [model_name(side) for side in (a, b) if not isinstance(side, Path)]
    if len(names) == 2 and names[0] == names[1] and a is not b and not isinstance(a, str):
        # The second would take the place of the first while that is still read.
        raise BadInput(f"A and B are both called {names[0]!r} and share a folder; `evaluate` each, compare submissions")
    model, submission = (None, a) if isinstance(a, Path) else (a, None)
    plan = Request(
        model=model, submission=submission, tier=tier, tracks=tracks, out=folder, seed=seed, device=device,
        extractors=extractors, embedding=embedding, weights=weights or {}, engine=engine,
    ).resolve()  # fmt: skip
    watch = evaluation.Stopwatch()
    sides = [evaluation.answered(plan.each(side), watch) for side in (a, b)]
    differences: list[Difference] = []
    for track in plan.tracks:
        first, second = (
            measure_track(side, plan.tier, track, plan.protocol, cache_dir(), watch.stage) for side in sides
        )
        differences += compare_track(first, second, plan.tier)
    spec = plan.tier.spec
    return Comparison(sides[0].manifest, sides[1].manifest, spec.name, spec.simulated, REPLICATES, tuple(differences))


def compare_track(a: Measurements, b: Measurements, tier: Tier) -> list[Difference]:
    """The differences of one track, in the order of its scores; BadInput for measurements of two tracks."""
    if a.track != b.track:
        raise BadInput(f"tracks {a.track!r} and {b.track!r} hold other samples; compare two submissions on one")
    others = {task.key: task for task in tasks(b, tier)}
    return [_difference(a.track, task, others[task.key]) for task in tasks(a, tier) if task.key in others]


def _difference(track: str, a: Task, b: Task) -> Difference:
    values: list[float | None] = []
    reasons = []
    for name, task in (("A", a), ("B", b)):
        value, reason = _value(task)
        values.append(value)
        reasons += [f"{name}: {reason}"] if reason else []
    first, second = values
    if first is None or second is None:
        said = "; ".join(reasons)
        return Difference(a.key, track, a.metric.direction, first, second, None, None, "not compared", said)
    interval, reason = _interval(a, b, first - second)
    verdict = _verdict(a.metric.direction, interval)
    if (target := a.metric.target) is not None:
        # Who is nearer to the target the interval of A - B does not say: that of the two distances from it does.
        nearer, reason = _interval(a, b, abs(first - target) - abs(second - target), target)
        verdict = _verdict("min", nearer)
    return Difference(a.key, track, a.metric.direction, first, second, first - second, interval, verdict, reason)


def _value(task: Task) -> tuple[float | None, str]:
    if task.inputs is None:
        return None, task.reason
    try:
        return task.metric.score(task.inputs), ""
    except ValueError as error:
        return None, str(error)


def _interval(
    a: Task, b: Task, difference: float, target: float | None = None
) -> tuple[tuple[float, float] | None, str]:
    """The interval of A - B, or of their distances from a target, by draws that both share, or why there is none."""
    if _labels(a.inputs) != _labels(b.inputs):
        return None, "measured on other compounds or plates, so that no draw is the same"
    if not (a.clustered and b.clustered):
        return None, "too few compounds or plates"
    sides = [task.metric.resample(task.inputs, REPLICATES, BOOTSTRAP_SEED) for task in (a, b)]
    if target is not None:
        sides = [np.abs(side - target) for side in sides]
    clusters = min(a.inputs.clusters[0], b.inputs.clusters[0]), min(a.inputs.clusters[1], b.inputs.clusters[1])
    differences = sides[0] - sides[1]
    finite = np.isfinite(sides)
    scale = float(np.abs(sides).max(where=finite, initial=0))
    interval = clustered_interval(difference, differences, clusters, scale)
    if interval is not None:
        return interval, ""
    if not arms_defined(differences):
        return None, "fewer than half of the draws of compounds, of plates or of both have a value"
    # Nothing is known of the spread of a constant difference, unless it is that of two equal submissions.
    return ((0.0, 0.0), "") if difference == 0 else (None, "all replicates differ by the same")


def _labels(inputs: Any) -> dict[str, tuple[str, ...]]:
    """What the draws of a bundle are made from: its distinct compounds and plates, on every side."""
    names = [field.name for field in dataclasses.fields(inputs) if field.name.endswith(("compounds", "plates"))]
    return {name: tuple(np.unique(getattr(inputs, name)).tolist()) for name in names}


def _verdict(direction: Direction, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "not judged"
    if interval == (0.0, 0.0):
        return "the same"
    if interval[0] <= 0 <= interval[1]:
        return "no difference seen"
    higher, lower = ("A", "B") if interval[0] > 0 else ("B", "A")
    if direction in ("min", "max"):
        return f"{higher if direction == 'max' else lower} better"
    return f"{higher} higher"
