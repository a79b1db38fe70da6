"""Measurements -> scores: every row of METRICS whose inputs were measured, with interval, floor and controls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from morphobench.contents import COMPARTMENTS
from morphobench.datasets.swaps import place
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.measurements import Measurements, SwapMeasurement
from morphobench.metrics.duplicates import near_copies
from morphobench.metrics.inputs import (
    CopyInputs,
    ExpressionInputs,
    MechanismInputs,
    MemorisationInputs,
    MorphologyInputs,
    ProbabilityInputs,
    ProfileInputs,
    SeparabilityInputs,
    SwapInputs,
)
from morphobench.metrics.memorisation import nearest_view_distance
from morphobench.metrics.registry import METRICS, Metric, key_for, scaled
from morphobench.schema import Score
from morphobench.storage import atomic_write_text, cache_dir, verify_listed
from morphobench.trivial import beside

REPLICATES = 1000
"""Draws of the cluster bootstrap: the end points of an interval then move by about a twentieth of its width."""
BOOTSTRAP_SEED = 0
"""The same for everybody: every submission gets the same draws, and nobody gets to choose among intervals."""
MIN_COMPOUNDS, MIN_PLATES = 5, 3
"""Fewest clusters for an interval. For two plates Student's t is 12.7: such an interval would exclude nothing."""
FAMILIES = (
    "fd",
    "fd_infinity",
    "fd_per_compound",
    "kd",
    "kd_per_compound",
    "precision",
    "recall",
    "density",
    "coverage",
)
"""Rows of METRICS that each extractor's features are scored by."""
CHANCE: dict[str, Callable[[Any], float]] = {
    "nsc": lambda inputs: inputs.mechanism_chance(),
    "nscb": lambda inputs: inputs.mechanism_chance(batched=True),
    "replicate_map": lambda inputs: inputs.retrieval_chance,
}
"""Rows of METRICS whose chance level depends on the labels of the track."""
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
    controls = read_controls(tier, measured.protocol)
    known = np.isfinite(measured.expression["post"]).all(axis=1)
    trivial = {name: post[known] for name, post in measured.trivial.items()}
    return [
        _score(
            task,
            measured.track,
            {name: of.get(measured.track, {}).get(task.key) for name, of in controls.items()},
            trivial if task.metric.inputs is ExpressionInputs else {},
        )
        for task in tasks(measured, tier)
    ]


def shipped_controls_path(tier: Tier) -> Path:
    """Where the control scores that come with a tier lie."""
    return tier.folder / "controls" / f"{tier.spec.name}.json"


def own_controls_path(tier: Tier) -> Path:
    """Where `morphobench data controls` files what it scored on this machine, for this version and these splits."""
    return cache_dir() / "controls" / f"{tier.spec.name}-{tier.spec.version}-{tier.split_sha256[:12]}.json"


def write_controls(tier: Tier, scores: ControlScores, protocol: Mapping[str, str], path: Path) -> Path:
    """File the scores of the controls of a tier, whole or not at all."""
    content = {
        "simulated": tier.spec.simulated,
        "tier_version": tier.spec.version,
        "split_sha256": tier.split_sha256,
        "protocol": dict(protocol),
        "scores": scores,
    }
    atomic_write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def read_controls(tier: Tier, protocol: Mapping[str, str]) -> ControlScores:
    """Scores of the controls on a tier: the shipped ones, and under other keys those scored on this machine.

    protocol: extractor or engine -> hash or version now in use. Empty where no controls were scored. BadInput for one
    of another tier version, other splits or other weights.
    """
    scores: ControlScores = {}
    for path in (own_controls_path(tier), shipped_controls_path(tier)):
        if path.is_file():
            for control, tracks in read_controls_file(path, tier, protocol).items():
                for track, values in tracks.items():
                    scores.setdefault(control, {}).setdefault(track, {}).update(values)
    return scores


def read_controls_file(path: Path, tier: Tier, protocol: Mapping[str, str]) -> ControlScores:
    """Control scores of one file; BadInput where it is damaged, or of another version, other splits or weights."""
    try:
        content = json.loads(verify_listed(tier.folder, path).read_text(encoding="utf-8"))
        version, split, made, scores = (content[key] for key in ("tier_version", "split_sha256", "protocol", "scores"))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not a file of control scores ({error}); delete it and score them again") from error
    if (version, split) != (tier.spec.version, tier.split_sha256):
        raise BadInput(f"{path}: made for {tier.spec.name} {version}, split {split[:12]}; score the controls again")
    other = [name for name, value in protocol.items() if made.get(name, value) != value]
    if other:
        raise BadInput(f"{path}: scored with other weights of {other[0]}; delete it and score the controls again")
    return scores


def floor_note(scores: Iterable[Score]) -> tuple[str, ...]:
    """Lines for the reader where scores lack their floor, or their floor spans no scale from the vehicle."""
    valued = [score for score in scores if score.value is not None]
    found = []
    bare = [score for score in valued if score.floor is None]
    if bare:
        engine = " and --engine" if any("][" in score.key for score in bare) else ""
        found.append(
            "some scores have no floor: run `morphobench data controls` for this tier with the same "
            f"extractors{engine} first"
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


def track_notes(measured: Measurements, tier: Tier) -> tuple[str, ...]:
    """What a reader must know of a track beside the numbers.

    Scores with too few clusters for an interval, chance levels, copies of real images, images the
    segmentation mistrusts.
    """
    known = [task for task in tasks(measured, tier) if task.inputs is not None]
    few: dict[tuple[int, int], list[str]] = {}
    for task in known:
        if not task.clustered:
            few.setdefault(task.inputs.clusters, []).append(task.key)
    found = [
        f"{measured.track}: no intervals for {', '.join(keys)}: {compounds} compounds on {plates} plates; "
        f"{MIN_COMPOUNDS} on {MIN_PLATES} are needed"
        for (compounds, plates), keys in few.items()
    ]
    found += _chance_levels(measured.track, known)
    for task in known:
        if task.metric.key == "lda_separability":
            classes = len(np.unique(task.inputs.generated_y))
            found.append(
                f"{measured.track}: lda_separability asks for {classes} mechanisms; one answer for all scores at most "
                f"{1 / classes:.3f}"
            )
    found += _copies(measured)
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


def _chance_levels(track: str, known: Sequence[Task]) -> list[str]:
    """A line with what blind neighbours would score, for the rows whose level depends on the track."""
    levels = {
        task.key: CHANCE[task.metric.key](task.inputs)
        for task in known
        if task.metric.key in CHANCE and task.metric.count(task.inputs) >= task.metric.smallest_n
    }
    shown = [f"{key} {level:.3f}" for key, level in levels.items() if np.isfinite(level)]
    return [f"{track}: neighbours drawn blindly score {', '.join(shown)}"] if shown else []


def _copies(measured: Measurements) -> list[str]:
    """A line per set of real images that generated ones are copied from."""
    found = []
    for name, images in (("test", "real"), ("training", "train")):
        nearest = _nearest(measured.embedding["generated"], measured.embedding[images])
        copies = int(near_copies(nearest, _spacing(measured)).sum())
        if copies:
            found.append(
                f"{measured.track}: {copies} of {len(measured.compounds)} generated images copy real {name} images"
            )
    return found


def _spacing(measured: Measurements) -> float:
    """The distance that commonly separates a real test image from its nearest training image."""
    return float(np.median(_nearest(measured.embedding["real"], measured.embedding["train"])))


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each point (n, d) to the nearest of others (m, d): (n,)."""
    return cdist(points, others).min(axis=1)


def _score(task: Task, track: str, controls: dict[str, float | None], trivial: Mapping[str, np.ndarray]) -> Score:
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
        trivial=beside(metric, task.inputs, value, trivial, REPLICATES if task.clustered else 0, BOOTSTRAP_SEED)
        if trivial
        else (),
        scaled=None if vehicle is None or ceiling is None else scaled(value, vehicle, ceiling, metric.direction),
        **common,
    )


def tasks(measured: Measurements, tier: Tier) -> Iterator[Task]:
    """Every row of METRICS that these measurements allow, with its arrays."""
    for extractor, sides in measured.features.items():
        features = measured.feature_inputs[extractor]
        for family in FAMILIES:
            yield Task(METRICS[family], key_for(family, extractor), features)
        probabilities = sides["generated"].probabilities
        if probabilities is not None:
            inputs = ProbabilityInputs(probabilities, measured.compounds, measured.plates)
            yield Task(METRICS["is"], key_for("is", extractor), inputs)
    other = "" if measured.embedding_name == tier.spec.embedding else f"[{measured.embedding_name}]"
    yield Task(METRICS["lda_separability"], f"lda_separability{other}", *_separability(measured))
    mechanism, reason = _mechanism(measured)
    yield Task(METRICS["nsc"], f"nsc{other}", mechanism, reason)
    yield Task(METRICS["nscb"], f"nscb{other}", mechanism, reason)
    profiles = ProfileInputs(*_profiles(measured, np.full(len(measured.compounds), True)))
    yield Task(METRICS["replicate_map"], f"replicate_map{other}", profiles)
    yield Task(METRICS["discrimination_rank"], f"discrimination_rank{other}", profiles)
    for compartment in COMPARTMENTS:
        for edge, suffix in ((True, ""), (False, "_no_edge")):
            key = f"area_occupied_shift[{compartment}{suffix}]"
            yield Task(METRICS[key], key + measured.engine_suffix, _morphology(measured, compartment, edge))
    yield from _expression(measured)
    for kind, swapped in measured.swaps.items():
        for row in ("gap", "error") if tier.spec.kind == "sim" else ("gap",):
            key = f"{kind}_swap_{row}"
            yield Task(METRICS[key], f"{key}{other}", *_swap_inputs(measured, swapped))
    yield Task(METRICS["duplicates"], f"duplicates{other}", _copy_inputs(measured))
    if measured.thumbnails:
        memorised = _memorisation_inputs(measured)
        for key in ("train_copies", "near_copies", "nearest_train_distance"):
            yield Task(METRICS[key], f"{key}{other}", memorised)


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


def _mechanism(measured: Measurements) -> tuple[MechanismInputs | None, str]:
    """Conditions whose compound has an annotated mechanism: others can neither be asked nor answer."""
    known = measured.mechanisms != ""
    labels = {"doses": measured.doses[known], "mechanisms": measured.mechanisms[known]}
    inputs = MechanismInputs(*_profiles(measured, known), **labels)
    if not len(inputs.asked()):
        return None, "no mechanism of this track is that of two compounds, so that one could be found by the other"
    return inputs, ""


def _profiles(measured: Measurements, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """The fields of `ProfileInputs`, of some conditions and of all vehicle images."""
    return (
        measured.embedding["generated"][rows],
        measured.embedding["real"][rows],
        measured.embedding["vehicle"],
        measured.compounds[rows],
        measured.plates[rows],
        measured.vehicle_plates,
    )


def _swap_inputs(measured: Measurements, swapped: SwapMeasurement) -> tuple[SwapInputs | None, str]:
    swap = swapped.swap
    if swapped.images is None:
        folder = place(measured.track, swap.kind)
        return None, swap.reason or f"the submission answers no swapped conditions (images/{folder}/)"
    real, rows = measured.embedding["real"], swap.rows
    return (
        SwapInputs(
            swapped.images - measured.embedding["generated"][rows],
            measured.compounds[rows],
            measured.plates[rows],
            real[swap.compared],
            measured.compounds[swap.compared],
            measured.plates[swap.compared],
            "compounds" if swap.kind == "drug" else "plates",
            swap.toward,
            None if swapped.truth is None else swapped.truth - real[rows],
        ),
        "",
    )


def _copy_inputs(measured: Measurements) -> CopyInputs:
    nearest = _nearest(measured.embedding["generated"], measured.embedding["train"])
    return CopyInputs(measured.pixel_hashes, nearest, _spacing(measured), measured.compounds, measured.plates)


def _memorisation_inputs(measured: Measurements) -> MemorisationInputs:
    train, small = measured.embedding["train"], measured.thumbnails
    return MemorisationInputs(
        _nearest(measured.embedding["generated"], train),
        _nearest(measured.embedding["real"], train),
        nearest_view_distance(small["generated"], small["train"]),
        nearest_view_distance(small["real"], small["train"]),
        measured.compounds,
        measured.plates,
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
    keys = ["lfc_pearson_vehicle", "lfc_pearson_perturbed_mean", "centroid_accuracy"]
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
