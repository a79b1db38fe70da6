"""Measurements -> scores: every row of METRICS whose inputs were measured, with interval, floor and controls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morphobench.contents import COMPARTMENTS
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.measurements import Measurements
from morphobench.metrics.inputs import (
    ExpressionInputs,
    FeatureInputs,
    MorphologyInputs,
    ProbabilityInputs,
    SeparabilityInputs,
)
from morphobench.metrics.registry import METRICS, Metric, key_for, scaled
from morphobench.schema import Score
from morphobench.storage import atomic_write_text, verify_listed

REPLICATES = 200
"""Draws of the cluster bootstrap: the end points of an interval then move by about a tenth of its width."""
BOOTSTRAP_SEED = 0
"""The same for everybody: every submission gets the same draws, and nobody gets to choose among intervals."""
MIN_COMPOUNDS, MIN_PLATES = 5, 3
"""Fewest clusters for an interval. For two plates Student's t is 12.7: such an interval would exclude nothing."""
FLOOR = "real-replicates"
VEHICLE = "vehicle"
ControlScores = dict[str, dict[str, dict[str, float | None]]]
"""control -> track -> score key -> value."""


@dataclass(frozen=True)
class Task:
    """One score to compute: a row of METRICS, the key it is printed under, and its arrays or the reason for none."""

    metric: Metric
    key: str
    inputs: Any
    reason: str = ""

    @property
    def clustered(self) -> bool:
        """Whether its own arrays, which may be fewer than the track's, hold clusters enough for an interval."""
        compounds, plates = self.inputs.clusters
        return bool(compounds >= MIN_COMPOUNDS and plates >= MIN_PLATES)


def score_track(measured: Measurements, tier: Tier) -> list[Score]:
    """Every score of a track. One that cannot be computed has no value but the reason, and the rest are computed."""
    controls = read_controls(tier)
    return [
        _score(
            task,
            measured.track,
            {name: of.get(measured.track, {}).get(task.key) for name, of in controls.items()},
        )
        for task in _tasks(measured)
    ]


def controls_path(tier: Tier) -> Path:
    """Where the control scores of a tier lie."""
    return tier.folder / "controls" / f"{tier.spec.name}.json"


def write_controls(tier: Tier, scores: ControlScores) -> Path:
    """File the scores of the controls of a tier, whole or not at all."""
    content = {
        "simulated": tier.spec.simulated,
        "tier_version": tier.spec.version,
        "split_sha256": tier.split_sha256,
        "scores": scores,
    }
    atomic_write_text(controls_path(tier), json.dumps(content, indent=1, sort_keys=True) + "\n")
    return controls_path(tier)


def read_controls(tier: Tier) -> ControlScores:
    """Scores of the controls on a tier; empty where none were computed. BadInput for those of another version."""
    path = controls_path(tier)
    if not path.is_file():
        return {}
    try:
        content = json.loads(verify_listed(tier.folder, path).read_text(encoding="utf-8"))
        version, split, scores = content["tier_version"], content["split_sha256"], content["scores"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not a file of control scores ({error}); score the controls again") from error
    if (version, split) != (tier.spec.version, tier.split_sha256):
        raise BadInput(f"{path}: made for {tier.spec.name} {version}, split {split[:12]}; score the controls again")
    return scores


def floor_note(scores: Iterable[Score]) -> tuple[str, ...]:
    """Lines for the reader where scores lack their floor, or their floor spans no scale from the vehicle."""
    valued = [score for score in scores if score.value is not None]
    found = []
    if any(score.floor is None for score in valued):
        found.append(
            "some scores have no floor: run `morphobench data controls` for this tier with the same extractors first"
        )
    flat = [
        f"{score.key} ({score.track})"
        for score in valued
        if score.direction in ("min", "max") and score.scaled is None
        and score.floor is not None and score.controls.get(VEHICLE) is not None
    ]  # fmt: skip
    if flat:
        found.append(f"not scaled, as real replicates do no better than the vehicle there: {', '.join(flat)}")
    return tuple(found)


def track_notes(measured: Measurements) -> tuple[str, ...]:
    """What a reader must know of a track beside the numbers.

    Scores with too few clusters for an interval, the chance level of separability, images the segmentation mistrusts.
    """
    tasks = [task for task in _tasks(measured) if task.inputs is not None]
    few: dict[tuple[int, int], list[str]] = {}
    for task in tasks:
        if not task.clustered:
            few.setdefault(task.inputs.clusters, []).append(task.key)
    found = [
        f"{measured.track}: no intervals for {', '.join(keys)}: {compounds} compounds on {plates} plates; "
        f"{MIN_COMPOUNDS} on {MIN_PLATES} are needed"
        for (compounds, plates), keys in few.items()
    ]
    for task in tasks:
        if task.key == "lda_separability":
            classes = len(np.unique(task.inputs.generated_y))
            found.append(
                f"{measured.track}: lda_separability asks for {classes} mechanisms; one answer for all scores at most "
                f"{1 / classes:.3f}"
            )
    n = len(measured.compounds)
    flags = {
        column.removeprefix("ImageQuality_Flag").lower(): values.sum()
        for column, values in measured.profiles["generated"].items()
        if column.startswith("ImageQuality_Flag")
    }
    found += [
        f"{measured.track}: {int(count)} of {n} generated images are flagged as {flag} by the segmentation; "
        "their areas are not to be read as biology"
        for flag, count in flags.items()
        if count
    ]
    return tuple(found)


def _score(task: Task, track: str, controls: dict[str, float | None]) -> Score:
    metric = task.metric
    common: dict[str, Any] = {
        "key": task.key, "version": metric.version, "track": track, "direction": metric.direction,
        "target": metric.target, "unit": metric.unit, "controls": controls, "floor": controls.get(FLOOR),
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
        interval=metric.interval(task.inputs, REPLICATES, BOOTSTRAP_SEED) if task.clustered else None,
        scaled=None if vehicle is None or ceiling is None else scaled(value, vehicle, ceiling, metric.direction),
        **common,
    )


def _tasks(measured: Measurements) -> Iterator[Task]:
    for extractor, sides in measured.features.items():
        features = FeatureInputs(
            sides["generated"].embedding, sides["real"].embedding, measured.compounds, measured.plates,
            measured.compounds, measured.plates,
        )  # fmt: skip
        for family in ("fd", "kd", "kd_per_compound"):
            yield Task(METRICS[family], key_for(family, extractor), features)
        probabilities = sides["generated"].probabilities
        if probabilities is not None:
            inputs = ProbabilityInputs(probabilities, measured.compounds, measured.plates)
            yield Task(METRICS["is"], key_for("is", extractor), inputs)
    yield Task(METRICS["lda_separability"], "lda_separability", *_separability(measured))
    for compartment in COMPARTMENTS:
        for edge, suffix in ((True, ""), (False, "_no_edge")):
            key = f"area_occupied_shift[{compartment}{suffix}]"
            yield Task(METRICS[key], key, _morphology(measured, compartment, edge))
    yield from _expression(measured)


def _separability(measured: Measurements) -> tuple[SeparabilityInputs | None, str]:
    """Classes are mechanisms that the training images hold; images of other compounds are not asked for."""
    fitted = measured.train_mechanisms != ""
    asked = np.isin(measured.mechanisms, measured.train_mechanisms[fitted])
    if not asked.any() or len(np.unique(measured.train_mechanisms[fitted])) < 2:
        return None, "no compound of this track has a mechanism that two or more training classes could tell"
    return (
        SeparabilityInputs(
            measured.embedding["train"][fitted],
            measured.train_mechanisms[fitted],
            measured.embedding["generated"][asked],
            measured.mechanisms[asked],
            measured.compounds[asked],
            measured.plates[asked],
        ),
        "",
    )


def _morphology(measured: Measurements, compartment: str, edge: bool) -> MorphologyInputs:
    generated, real, vehicle = (measured.area(name, edge)[compartment] for name in ("generated", "real", "vehicle"))
    # Images come in pairs that answer one condition, so an unmeasured one takes its partner with it.
    keep = np.isfinite(generated) & np.isfinite(real)
    compounds, plates = measured.compounds[keep], measured.plates[keep]
    known = np.isfinite(vehicle)
    return MorphologyInputs(
        generated[keep], real[keep], vehicle[known], compounds, plates, compounds, plates,
        measured.vehicle_plates[known], dropped=int((~keep).sum()),
    )  # fmt: skip


def _expression(measured: Measurements) -> Iterator[Task]:
    keys = ["lfc_pearson_vehicle", "lfc_pearson_perturbed_mean"]
    if set(measured.compounds) <= set(measured.train_compounds):
        # The paper's score is defined on the compounds that were trained on.
        keys.insert(0, "lfc_pearson")
    if "predicted" not in measured.expression:
        for key in keys:
            yield Task(METRICS[key], key, None, "the submission predicts no expression")
        return
    known = np.isfinite(measured.expression["post"]).all(axis=1)
    if not known.any():
        for key in keys:
            yield Task(METRICS[key], key, None, "no compound of this track has measured expression")
        return
    inputs = ExpressionInputs(
        measured.expression["predicted"][known], measured.expression["post"][known], measured.expression["pre"][known],
        measured.compounds[known], measured.plates[known],
    )  # fmt: skip
    for key in keys:
        yield Task(METRICS[key], key, inputs)
