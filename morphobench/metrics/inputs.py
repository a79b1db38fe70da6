"""What a metric needs, as bundles of arrays: rows are images or profiles, labels are arrays of str beside them.

Bundles of profiles, which correct their embeddings as well, are in `profile_inputs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from morphobench.metrics.duplicates import repeated
from morphobench.metrics.frechet_infinity import Extrapolation, fd_infinity
from morphobench.metrics.labels import OneLabelled, aligned, distinct
from morphobench.metrics.memorisation import copies, near
from morphobench.metrics.morphology import matched
from morphobench.metrics.neighbours import Neighbourhoods, neighbourhoods
from morphobench.metrics.reliance import UnitChange, unit_changes


@dataclass(frozen=True)
class FeatureInputs:
    """Features of generated (N, D) and real (M, D) images."""

    generated: np.ndarray
    real: np.ndarray
    generated_compounds: np.ndarray
    generated_plates: np.ndarray
    real_compounds: np.ndarray
    real_plates: np.ndarray

    def __post_init__(self) -> None:
        aligned("generated", self.generated, self.generated_compounds, self.generated_plates)
        aligned("real", self.real, self.real_compounds, self.real_plates)

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """Which images lie among those of the other side: four scores and their replicates are means of it."""
        return neighbourhoods(self.generated, self.real)

    @cached_property
    def extrapolation(self) -> Extrapolation:
        """The Frechet distance at several N: the score, its replicates and the report's figure read it."""
        return fd_infinity(self.generated, self.real)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates, on the side that has fewer."""
        return (
            min(distinct(self.generated_compounds), distinct(self.real_compounds)),
            min(distinct(self.generated_plates), distinct(self.real_plates)),
        )


@dataclass(frozen=True)
class CopyInputs(OneLabelled):
    """Pixel hashes of generated images (N,)."""

    hashes: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        aligned("hashes", self.hashes, self.compounds, self.plates)

    @cached_property
    def repeated(self) -> np.ndarray:
        """Whether an image is a copy of another generated one, bool (N,)."""
        return repeated(self.hashes)


@dataclass(frozen=True)
class MemorisationInputs(OneLabelled):
    """Distance to the nearest training image of each generated image (N,) and of the real one of its condition (N,).

    `distance`, `real_distance`: in the embedding; `view_distance`, `real_view_distance`: between thumbnails, in any of
    eight views. `copied`, `near` and `ratio` raise ValueError, which names the side, for distances that are not
    numbers: no comparison would tell them from large ones.
    """

    distance: np.ndarray
    real_distance: np.ndarray
    view_distance: np.ndarray
    real_view_distance: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        aligned("distance", self.distance, self.real_distance, self.view_distance, self.real_view_distance)
        aligned("distance", self.distance, self.compounds, self.plates)

    @cached_property
    def copied(self) -> np.ndarray:
        """Whether an image is a training image in one of its views, bool (N,); ValueError also as `copies`."""
        _known(self.view_distance, self.real_view_distance, "thumbnails")
        return copies(self.view_distance, self.real_view_distance)

    @cached_property
    def near(self) -> np.ndarray:
        """Whether an image lies nearer to a training image than almost all real ones do, or is one, bool (N,).

        ValueError also as `memorisation.near` and `copied`.
        """
        _known(self.distance, self.real_distance, "features")
        return near(self.distance, self.real_distance) | self.copied

    @property
    def ratio(self) -> float:
        """Mean distance of generated images over that of real ones; ValueError also where the latter is 0."""
        _known(self.distance, self.real_distance, "features")
        common = self.real_distance.mean()
        if common == 0:
            raise ValueError("the real test images are training images themselves")
        return float(self.distance.mean() / common)


@dataclass(frozen=True)
class ProbabilityInputs(OneLabelled):
    """Class probabilities of generated images (N, K)."""

    probabilities: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        aligned("probabilities", self.probabilities, self.compounds, self.plates)


@dataclass(frozen=True)
class SeparabilityInputs(OneLabelled):
    """Embeddings and classes of real training images (M, D), (M,) and of generated ones (N, D), (N,)."""

    train_x: np.ndarray
    train_y: np.ndarray
    generated_x: np.ndarray
    generated_y: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        aligned("train_x", self.train_x, self.train_y)
        aligned("generated_x", self.generated_x, self.generated_y, self.compounds, self.plates)


@dataclass(frozen=True)
class MorphologyInputs:
    """One measurement per generated (N,), real (M,) and vehicle (V,) image, as a share 0..1; images without it are out.

    `dropped` is how many pairs of a generated and a real image were left out: of images whose measurement was not a
    number, and of compounds none of whose plates has vehicle images.
    """

    generated: np.ndarray
    real: np.ndarray
    vehicle: np.ndarray
    generated_compounds: np.ndarray
    generated_plates: np.ndarray
    real_compounds: np.ndarray
    real_plates: np.ndarray
    vehicle_plates: np.ndarray
    dropped: int = 0

    def __post_init__(self) -> None:
        aligned("generated", self.generated, self.generated_compounds, self.generated_plates)
        aligned("real", self.real, self.real_compounds, self.real_plates)
        aligned("vehicle", self.vehicle, self.vehicle_plates)

    @property
    def unmatched(self) -> int:
        """Number of compounds of whose plates one has fewer vehicle images than the compound's own."""
        mine = (self.generated_plates[self.generated_compounds == name] for name in np.unique(self.generated_compounds))
        return sum(not matched(plates, self.vehicle_plates) for plates in mine)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates, on the side that has fewest."""
        return (
            min(distinct(self.generated_compounds), distinct(self.real_compounds)),
            min(distinct(self.generated_plates), distinct(self.real_plates), distinct(self.vehicle_plates)),
        )


@dataclass(frozen=True)
class ExpressionInputs(OneLabelled):
    """Profiles (N, G) in log2: predicted, measured, matched vehicle."""

    predicted_post: np.ndarray
    measured_post: np.ndarray
    pre: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        aligned("predicted_post", self.predicted_post, self.measured_post, self.pre, self.compounds, self.plates)


@dataclass(frozen=True)
class SwapInputs(OneLabelled):
    """Change of the embedding of generated images (N, D) when their condition is swapped, and real embeddings (M, D).

    by: "compounds" or "plates", whichever was swapped: see DrugSwapInputs and RnaSwapInputs. toward: label -> the label
    it was swapped for. truth: the change (N, D) that the swap truly makes, where it is known.
    """

    by: ClassVar[Literal["compounds", "plates"]]

    moved: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray
    real: np.ndarray
    real_compounds: np.ndarray
    real_plates: np.ndarray
    toward: Mapping[str, str]
    truth: np.ndarray | None = None

    def __post_init__(self) -> None:
        aligned("moved", self.moved, self.compounds, self.plates)
        aligned("real", self.real, self.real_compounds, self.real_plates)
        if self.truth is not None:
            aligned("moved", self.moved, self.truth)

    @property
    def units(self) -> np.ndarray:
        """What was swapped of each image: its compound or its plate."""
        return self.compounds if self.by == "compounds" else self.plates

    @property
    def levels(self) -> np.ndarray:
        """The other label: its plate or its compound."""
        return self.plates if self.by == "compounds" else self.compounds

    @cached_property
    def changes(self) -> dict[str, UnitChange]:
        """Generated and real change by unit; ValueError, with the reason, where there is none."""
        real = (self.real_compounds, self.real_plates)
        real_units, real_levels = real if self.by == "compounds" else real[::-1]
        return unit_changes(self.moved, self.units, self.levels, self.real, real_units, real_levels, self.toward)


@dataclass(frozen=True)
class DrugSwapInputs(SwapInputs):
    """The same where each compound took another one's drug."""

    by = "compounds"


@dataclass(frozen=True)
class RnaSwapInputs(SwapInputs):
    """The same where each plate took another one's G_pre."""

    by = "plates"


def _known(distance: np.ndarray, real_distance: np.ndarray, what: str) -> None:
    """ValueError for distances to the nearest training image that are not numbers; it names the side at fault.

    One training image without a number takes the distances of all images.
    """
    generated, real = (~np.isfinite(side) for side in (distance, real_distance))
    if generated.all() and real.all():
        raise ValueError(f"no image has a distance to the training images: {what} of training images are not finite")
    for name, unknown in (("generated", generated), ("real test", real)):
        if unknown.any():
            raise ValueError(
                f"{int(unknown.sum())} of {len(unknown)} {name} images have no distance to a training image: "
                f"their {what} are not finite"
            )
