"""Measurements -> tasks: every row of METRICS that they allow, with the bundle of arrays that it takes.

A row is found by METRICS and its arrays by the type of its bundle. A new bundle of `metrics.inputs` is filled here, by
a function and a line of BUNDLES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphobench.datasets.swaps import Kind, place
from morphobench.datasets.tier import Tier
from morphobench.features.objects import COMPARTMENTS, OBJECT_COLUMNS, OBJECTS
from morphobench.features.profile import AREA_COLUMNS
from morphobench.metrics.inputs import (
    CopyInputs,
    DrugSwapInputs,
    ExpressionInputs,
    FeatureInputs,
    MemorisationInputs,
    MorphologyInputs,
    ProbabilityInputs,
    RnaSwapInputs,
    SeparabilityInputs,
    SwapInputs,
)
from morphobench.metrics.morphology import bare
from morphobench.metrics.profile_inputs import (
    BatchMechanismInputs,
    MechanismInputs,
    MorphologyProfileInputs,
    ProfileInputs,
)
from morphobench.metrics.registry import METRICS, Metric
from morphobench.schema import NO_IMAGES
from morphobench.scoring.measurements import Measurements

MIN_COMPOUNDS, MIN_PLATES = 5, 3
"""Fewest clusters for an interval. For two plates Student's t is 12.7: such an interval would exclude nothing."""
MISTRUSTED = ("Noise", "Saturated")
"""Quality flags of images in which the segmentation finds objects that are none. Empty images are not among them: a
drug may kill every cell."""
MOST_MISTRUSTED = 0.05
"""Share of the generated images that may bear them. Noise images in place of 5% of the real ones of `sim` take 0.15
from the AreaOccupied shift of cells and 0.8 from that of nuclei; above it a score says more of the segmentation."""
AREAS = {
    f"{compartment}{suffix}": (compartment, edge)
    for compartment in COMPARTMENTS
    for suffix, edge in (("", True), ("_no_edge", False))
}
"""Part of a row of areas -> compartment, and whether objects that touch the border count."""
Bundle = tuple[Any, str] | None
"""The arrays of some rows; None and why there are none; None alone where nothing was measured that they could see."""


@dataclass(frozen=True)
class Task:
    """One score to compute: a row of METRICS and its arrays, or the reason for none.

    features, engine: the extractor and the engine that the score is named after, "" where it is after none.
    """

    metric: Metric
    inputs: Any
    reason: str = ""
    features: str = ""
    engine: str = ""

    @property
    def key(self) -> str:
        """What the score is printed under."""
        return self.metric.printed_key(self.features, self.engine)

    @property
    def clustered(self) -> bool:
        """Whether its own arrays, which may be fewer than the track's, hold clusters enough for an interval."""
        compounds, plates = self.inputs.clusters
        return bool(compounds >= MIN_COMPOUNDS and plates >= MIN_PLATES)


def tasks(measured: Measurements, tier: Tier) -> Iterator[Task]:
    """Every row of METRICS that these measurements allow, with its arrays; rows of each extractor come first."""
    embedding = "" if measured.embedding_name == tier.spec.embedding else measured.embedding_name
    asked = [metric for metric in METRICS.values() if _asked(metric, measured, tier)]
    named = [
        (metric, extractor) for extractor in measured.features for metric in asked if metric.named_after == "extractor"
    ]
    named += [
        (metric, embedding if metric.named_after == "embedding" else "")
        for metric in asked
        if metric.named_after != "extractor"
    ]
    bundles: dict[tuple[type, str], Bundle] = {}
    for metric, features in named:
        of = features if metric.named_after == "extractor" else metric.part
        if (metric.inputs, of) not in bundles:
            bundles[metric.inputs, of] = _bundle(metric.inputs, measured, of)
        bundle = bundles[metric.inputs, of]
        if bundle is not None:
            yield Task(metric, *bundle, features, measured.engine if metric.named_after == "engine" else "")


def _bundle(inputs: type, measured: Measurements, of: str) -> Bundle:
    seen = measured.drawn or inputs is ExpressionInputs
    return BUNDLES[inputs](measured, of) if seen else (None, NO_IMAGES)


def _asked(metric: Metric, measured: Measurements, tier: Tier) -> bool:
    """Whether the score is defined on this track."""
    if metric.asked_of == "trained compounds":
        return set(measured.compounds) <= set(measured.train_compounds)
    return metric.asked_of == "every track" or tier.spec.kind == "sim"


def _features(measured: Measurements, extractor: str) -> Bundle:
    return measured.feature_inputs[extractor], ""


def _probabilities(measured: Measurements, extractor: str) -> Bundle:
    probabilities = measured.features[extractor]["generated"].probabilities
    if probabilities is None:
        return None
    return ProbabilityInputs(probabilities, measured.compounds, measured.plates), ""


def _separability(measured: Measurements, part: str) -> Bundle:
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


def _mechanism(measured: Measurements, kind: type[MechanismInputs]) -> Bundle:
    """Conditions whose compound has an annotated mechanism: others can neither be asked nor answer."""
    annotated = measured.mechanisms != ""
    labels = {"doses": measured.doses[annotated], "mechanisms": measured.mechanisms[annotated]}
    labels["batches"] = measured.batches[annotated]
    inputs = kind(*_profiles(measured, annotated), **labels)
    if not len(inputs.asked()):
        return None, "no mechanism of this track is that of two compounds, so that one could be found by the other"
    return inputs, ""


def _all_profiles(measured: Measurements, part: str) -> Bundle:
    return ProfileInputs(*_profiles(measured, np.full(len(measured.compounds), True))), ""


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


def _swapped(measured: Measurements, kind: Kind, inputs: type[SwapInputs]) -> Bundle:
    """None where nobody was asked for swapped conditions."""
    if kind not in measured.swaps:
        return None
    swapped = measured.swaps[kind]
    swap = swapped.swap
    if swapped.images is None:
        folder = place(measured.track, kind)
        return None, swap.reason or f"the submission answers no swapped conditions (images/{folder}/)"
    real, rows = measured.embedding["real"], swap.rows
    return (
        inputs(
            swapped.images - measured.embedding["generated"][rows],
            measured.compounds[rows],
            measured.plates[rows],
            real[swap.compared],
            measured.compounds[swap.compared],
            measured.plates[swap.compared],
            swap.toward,
            None if swapped.truth is None else swapped.truth - real[rows],
        ),
        "",
    )


def _memorisation(measured: Measurements, part: str) -> Bundle:
    return (measured.memorisation_inputs, "") if measured.thumbnails else None


def mistrusted(measured: Measurements) -> str:
    """Why nothing that the segmentation measures is scored: too many generated images have a flag of MISTRUSTED.

    "" where they are few enough. What is drawn from `profiles` asks this first.
    """
    columns = {f"ImageQuality_Flag{flag}" for flag in MISTRUSTED}
    flags = [values > 0 for column, values in measured.profiles["generated"].items() if column in columns]
    count, n = int(np.any(flags, axis=0).sum()), len(measured.compounds)
    if count <= MOST_MISTRUSTED * n:
        return ""
    return (
        f"{count} of {n} generated images are flagged as {' or '.join(MISTRUSTED).lower()}, more than "
        f"{MOST_MISTRUSTED:.0%}: what the segmentation finds in them is no cells"
    )


def _morphology(measured: Measurements, part: str) -> Bundle:
    compartment, edge = AREAS[part]
    if reason := mistrusted(measured):
        return None, reason
    generated, real, vehicle = (measured.area(name, edge)[compartment] for name in ("generated", "real", "vehicle"))
    # Images come in pairs that answer one condition, so an unmeasured one takes its partner with it.
    keep, finite = np.isfinite(generated) & np.isfinite(real), np.isfinite(vehicle)
    # Where no plate of any compound has vehicle images the score itself says so.
    compared = ~np.isin(measured.compounds, bare(measured.compounds, measured.plates, measured.vehicle_plates[finite]))
    keep &= compared | ~compared.any()
    compounds, plates = measured.compounds[keep], measured.plates[keep]
    inputs = MorphologyInputs(
        generated[keep], real[keep], vehicle[finite], compounds, plates, compounds, plates,
        measured.vehicle_plates[finite], dropped=int((~keep).sum()),
    )  # fmt: skip
    return inputs, ""


def _morphology_profiles(measured: Measurements, part: str) -> Bundle:
    """Areas, number and looks of objects; a real image without one takes its partner with it.

    A generated one stays, as no change: were it left out, a model would choose what it is scored on.
    """
    columns = (*AREA_COLUMNS[: len(OBJECTS)], "Count_Nuclei", *OBJECT_COLUMNS)
    sides = {
        name: np.stack([measured.profiles[name][column] for column in columns], axis=1)
        for name in ("generated", "real", "vehicle")
    }
    complete = {name: np.isfinite(values).all(axis=1) for name, values in sides.items()}
    if measured.engine:
        return None, "the pipeline of this engine measures areas and counts only"
    if reason := mistrusted(measured):
        return None, reason
    keep = complete["real"]
    if not keep.any():
        return None, "in no real image were objects of every set found"
    return (
        MorphologyProfileInputs(
            sides["generated"][keep],
            sides["real"][keep],
            sides["vehicle"][complete["vehicle"]],
            measured.compounds[keep],
            measured.plates[keep],
            measured.vehicle_plates[complete["vehicle"]],
            dropped=len(np.setdiff1d(measured.compounds, measured.compounds[keep])),
        ),
        "",
    )


def _expression(measured: Measurements, part: str) -> Bundle:
    if "predicted" not in measured.expression:
        return None, "the submission predicts no expression"
    has_truth = np.isfinite(measured.expression["post"]).all(axis=1)
    if not has_truth.any():
        return None, "no compound of this track has measured expression"
    predicted, post, pre = (measured.expression[name][has_truth] for name in ("predicted", "post", "pre"))
    return ExpressionInputs(predicted, post, pre, measured.compounds[has_truth], measured.plates[has_truth]), ""


BUNDLES: dict[type, Callable[[Measurements, str], Bundle]] = {
    FeatureInputs: _features,
    ProbabilityInputs: _probabilities,
    SeparabilityInputs: _separability,
    MechanismInputs: lambda measured, part: _mechanism(measured, MechanismInputs),
    BatchMechanismInputs: lambda measured, part: _mechanism(measured, BatchMechanismInputs),
    ProfileInputs: _all_profiles,
    MorphologyInputs: _morphology,
    MorphologyProfileInputs: _morphology_profiles,
    ExpressionInputs: _expression,
    DrugSwapInputs: lambda measured, part: _swapped(measured, "drug", DrugSwapInputs),
    RnaSwapInputs: lambda measured, part: _swapped(measured, "rna", RnaSwapInputs),
    CopyInputs: lambda measured, part: (measured.copy_inputs, ""),
    MemorisationInputs: _memorisation,
}
"""How each bundle is filled, from the measurements and the extractor or part that a row asks for."""
