"""Measurements -> tasks: every row of METRICS that they allow, with the bundle of arrays that it takes.

A new bundle of `metrics.inputs` is filled here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphobench.datasets.swaps import place
from morphobench.datasets.tier import Tier
from morphobench.features.objects import COMPARTMENTS, OBJECT_COLUMNS, OBJECTS
from morphobench.features.profile import AREA_COLUMNS
from morphobench.metrics.inputs import (
    ExpressionInputs,
    MorphologyInputs,
    ProbabilityInputs,
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
from morphobench.metrics.registry import METRICS, Metric, key_for
from morphobench.scoring.measurements import Measurements, SwapMeasurement

MIN_COMPOUNDS, MIN_PLATES = 5, 3
"""Fewest clusters for an interval. For two plates Student's t is 12.7: such an interval would exclude nothing."""
MISTRUSTED = ("Noise", "Saturated")
"""Quality flags of images in which the segmentation finds objects that are none. Empty images are not among them: a
drug may kill every cell."""
MOST_MISTRUSTED = 0.05
"""Share of the generated images that may bear them. Noise images in place of 5% of the real ones of `sim` take 0.15
from the AreaOccupied shift of cells and 0.8 from that of nuclei; above it a score says more of the segmentation."""
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
    yield Task(METRICS["nsc"], f"nsc{other}", *_mechanism(measured, MechanismInputs))
    yield Task(METRICS["nscb"], f"nscb{other}", *_mechanism(measured, BatchMechanismInputs))
    profiles = ProfileInputs(*_profiles(measured, np.full(len(measured.compounds), True)))
    yield Task(METRICS["replicate_map"], f"replicate_map{other}", profiles)
    yield Task(METRICS["discrimination_rank"], f"discrimination_rank{other}", profiles)
    for compartment in COMPARTMENTS:
        for edge, suffix in ((True, ""), (False, "_no_edge")):
            key = f"area_occupied_shift[{compartment}{suffix}]"
            yield Task(METRICS[key], key + measured.engine_suffix, *_morphology(measured, compartment, edge))
    correlated, reason = _morphology_profiles(measured)
    yield Task(METRICS["profile_correlation"], f"profile_correlation{measured.engine_suffix}", correlated, reason)
    yield from _expression(measured)
    for kind, swapped in measured.swaps.items():
        for row in ("gap", "error") if tier.spec.kind == "sim" else ("gap",):
            key = f"{kind}_swap_{row}"
            yield Task(METRICS[key], f"{key}{other}", *_swap_inputs(measured, swapped))
    # Pixels and thumbnails decide these two, and no embedding.
    yield Task(METRICS["duplicates"], "duplicates", measured.copy_inputs)
    if measured.thumbnails:
        yield Task(METRICS["train_copies"], "train_copies", measured.memorisation_inputs)
        for key in ("near_copies", "nearest_train_distance"):
            yield Task(METRICS[key], f"{key}{other}", measured.memorisation_inputs)


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


def _mechanism(measured: Measurements, kind: type[MechanismInputs]) -> tuple[MechanismInputs | None, str]:
    """Conditions whose compound has an annotated mechanism: others can neither be asked nor answer."""
    known = measured.mechanisms != ""
    labels = {"doses": measured.doses[known], "mechanisms": measured.mechanisms[known]}
    labels["batches"] = measured.batches[known]
    inputs = kind(*_profiles(measured, known), **labels)
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


def _morphology(measured: Measurements, compartment: str, edge: bool) -> tuple[MorphologyInputs | None, str]:
    if reason := mistrusted(measured):
        return None, reason
    generated, real, vehicle = (measured.area(name, edge)[compartment] for name in ("generated", "real", "vehicle"))
    # Images come in pairs that answer one condition, so an unmeasured one takes its partner with it.
    keep, known = np.isfinite(generated) & np.isfinite(real), np.isfinite(vehicle)
    # Where no plate of any compound has vehicle images the score itself says so.
    compared = ~np.isin(measured.compounds, bare(measured.compounds, measured.plates, measured.vehicle_plates[known]))
    keep &= compared | ~compared.any()
    compounds, plates = measured.compounds[keep], measured.plates[keep]
    inputs = MorphologyInputs(
        generated[keep], real[keep], vehicle[known], compounds, plates, compounds, plates,
        measured.vehicle_plates[known], dropped=int((~keep).sum()),
    )  # fmt: skip
    return inputs, ""


def _morphology_profiles(measured: Measurements) -> tuple[MorphologyProfileInputs | None, str]:
    """Areas, number and looks of objects; a real image without one takes its partner with it.

    A generated one stays, as no change: were it left out, a model would choose what it is scored on.
    """
    columns = (*AREA_COLUMNS[: len(OBJECTS)], "Count_Nuclei", *OBJECT_COLUMNS)
    sides = {
        name: np.stack([measured.profiles[name][column] for column in columns], axis=1)
        for name in ("generated", "real", "vehicle")
    }
    known = {name: np.isfinite(values).all(axis=1) for name, values in sides.items()}
    if measured.engine_suffix:
        return None, "the pipeline of this engine measures areas and counts only"
    if reason := mistrusted(measured):
        return None, reason
    keep = known["real"]
    if not keep.any():
        return None, "in no real image were objects of every set found"
    return (
        MorphologyProfileInputs(
            sides["generated"][keep],
            sides["real"][keep],
            sides["vehicle"][known["vehicle"]],
            measured.compounds[keep],
            measured.plates[keep],
            measured.vehicle_plates[known["vehicle"]],
            dropped=len(np.setdiff1d(measured.compounds, measured.compounds[keep])),
        ),
        "",
    )


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
