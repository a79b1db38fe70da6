"""What a metric needs, as bundles of arrays: rows are images or profiles, labels are arrays of str beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from morphobench.metrics.duplicates import near_copies, repeated
from morphobench.metrics.frechet_infinity import Extrapolation, fd_infinity
from morphobench.metrics.mechanism import (
    answerable,
    average_precision,
    chance_of_mechanism,
    chance_of_retrieval,
    discrimination_by_compound,
    joint_labels,
    mean_profiles,
    mechanism_matches,
)
from morphobench.metrics.memorisation import copies, near
from morphobench.metrics.morphology import matched
from morphobench.metrics.neighbours import Neighbourhoods, neighbourhoods
from morphobench.metrics.reliance import UnitChange, unit_changes
from morphobench.metrics.vehicle_correction import scale_by_vehicle, typical_variation_normalization


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
        _aligned("generated", self.generated, self.generated_compounds, self.generated_plates)
        _aligned("real", self.real, self.real_compounds, self.real_plates)

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
            min(_distinct(self.generated_compounds), _distinct(self.real_compounds)),
            min(_distinct(self.generated_plates), _distinct(self.real_plates)),
        )


@dataclass(frozen=True)
class CopyInputs:
    """Pixel hashes of generated images (N,) and the distance of each to the nearest training image (N,).

    `spacing` is the distance that commonly separates a real test image from its nearest training image.
    """

    hashes: np.ndarray
    train_distance: np.ndarray
    spacing: float
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        _aligned("hashes", self.hashes, self.train_distance, self.compounds, self.plates)

    @property
    def copied(self) -> np.ndarray:
        """Whether an image is a copy of another generated one or of a training image, bool (N,).

        Raises ValueError for distances that are not numbers, which no comparison would tell from large ones.
        """
        unknown = int((~np.isfinite(self.train_distance)).sum())
        if unknown or not np.isfinite(self.spacing):
            raise ValueError(
                f"{unknown} of {len(self.hashes)} images have no distance to a training image; "
                "their features are not finite"
            )
        return repeated(self.hashes) | near_copies(self.train_distance, self.spacing)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class MemorisationInputs:
    """Distance to the nearest training image of each generated image (N,) and of the real one of its condition (N,).

    `distance`, `real_distance`: in the embedding; `view_distance`, `real_view_distance`: between thumbnails, in any of
    eight views.
    """

    distance: np.ndarray
    real_distance: np.ndarray
    view_distance: np.ndarray
    real_view_distance: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        _aligned("distance", self.distance, self.real_distance, self.view_distance, self.real_view_distance)
        _aligned("distance", self.distance, self.compounds, self.plates)

    @property
    def copied(self) -> np.ndarray:
        """Whether an image is a training image in one of its views, bool (N,)."""
        return copies(self.view_distance, self.real_view_distance)

    @property
    def near(self) -> np.ndarray:
        """Whether an image lies nearer to a training image than almost all real ones do, or is one, bool (N,)."""
        return near(self.distance, self.real_distance) | self.copied

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class ProbabilityInputs:
    """Class probabilities of generated images (N, K)."""

    probabilities: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        _aligned("probabilities", self.probabilities, self.compounds, self.plates)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class SeparabilityInputs:
    """Embeddings and classes of real training images (M, D), (M,) and of generated ones (N, D), (N,)."""

    train_x: np.ndarray
    train_y: np.ndarray
    generated_x: np.ndarray
    generated_y: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        _aligned("train_x", self.train_x, self.train_y)
        _aligned("generated_x", self.generated_x, self.generated_y, self.compounds, self.plates)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class ProfileInputs:
    """Embeddings of generated and real images of the same N conditions, (N, D), and of vehicle images, (V, D).

    Profiles are means of corrected embeddings: less the mean of the real vehicle images of the condition's plate, then
    turned and scaled so that vehicle images vary by 1 in every direction (TVN).
    """

    generated: np.ndarray
    real: np.ndarray
    vehicle: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray
    vehicle_plates: np.ndarray

    def __post_init__(self) -> None:
        _aligned("generated", self.generated, self.real, self.compounds, self.plates)
        _aligned("vehicle", self.vehicle, self.vehicle_plates)

    @cached_property
    def corrected(self) -> tuple[np.ndarray, np.ndarray]:
        """Generated and real embeddings, corrected; ValueError where a plate has no vehicle images, or as TVN."""
        vehicle = (self.vehicle, self.vehicle_plates)
        both, plates = np.concatenate([self.generated, self.real]), np.concatenate([self.plates, self.plates])
        centred = scale_by_vehicle(both, plates, *vehicle, "centre")
        white = typical_variation_normalization(centred, scale_by_vehicle(*vehicle, *vehicle, "centre"))
        generated, real = np.split(white, 2)
        return generated, real

    def discrimination(self, weights: np.ndarray | None = None) -> np.ndarray:
        """How well each compound is told from the others, (C,), with conditions weighted (N,)."""
        return discrimination_by_compound(*self.corrected, self.compounds, weights)

    @cached_property
    def retrieval(self) -> tuple[np.ndarray, np.ndarray]:
        """Average precision of each generated profile of a compound and plate, (K,), and a row of each, (K,)."""
        joint, first = joint_labels(self.compounds, self.plates)
        compounds, plates = self.compounds[first], self.plates[first]
        generated, real = (mean_profiles(side, joint) for side in self.corrected)
        return average_precision(generated, real, (compounds, compounds), (plates, plates)), first

    @property
    def retrieval_chance(self) -> float:
        """Mean of `retrieval` if profiles were ranked blindly; NaN where no compound lies on two plates."""
        _, first = joint_labels(self.compounds, self.plates)
        return chance_of_retrieval(self.compounds[first], self.plates[first])

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class MechanismInputs(ProfileInputs):
    """The same for compounds with a known mechanism, with the dose and the mechanism of each condition (N,)."""

    doses: np.ndarray
    mechanisms: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        _aligned("generated", self.generated, self.doses, self.mechanisms)

    def matches(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """NSC verdicts on treatments (compound and dose), (T,), and a row of each; conditions weighted by (N,)."""
        joint, first = joint_labels(self.compounds, self.doses)
        return self._verdicts(joint, first, weights), first

    @cached_property
    def batch_matches(self) -> tuple[np.ndarray, np.ndarray]:
        """NSCB verdicts on treatments on single plates, (K,), and a row of each."""
        joint, first = joint_labels(self.compounds, self.doses, self.plates)
        return self._verdicts(joint, first, batches=self.plates[first]), first

    def asked(self, batched: bool = False) -> np.ndarray:
        """The compounds whose mechanism another compound has; with `batched`, on another plate."""
        plates = self.plates if batched else None
        return np.unique(self.compounds[answerable(self.compounds, self.mechanisms, plates)])

    def mechanism_chance(self, batched: bool = False) -> float:
        """Mean of the verdicts, of NSC or NSCB, if neighbours were drawn blindly; NaN where nothing has an answer."""
        _, first = joint_labels(self.compounds, self.doses, *([self.plates] if batched else []))
        batches = self.plates[first] if batched else None
        return chance_of_mechanism(self.compounds[first], self.mechanisms[first], batches)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds that have an answer and of plates."""
        return len(self.asked()), _distinct(self.plates)

    def _verdicts(
        self,
        joint: np.ndarray,
        first: np.ndarray,
        weights: np.ndarray | None = None,
        batches: np.ndarray | None = None,
    ) -> np.ndarray:
        compounds, mechanisms = self.compounds[first], self.mechanisms[first]
        generated, real = (mean_profiles(side, joint, weights) for side in self.corrected)
        pair = None if batches is None else (batches, batches)
        return mechanism_matches(generated, real, (compounds, compounds), (mechanisms, mechanisms), pair)


@dataclass(frozen=True)
class MorphologyInputs:
    """One measurement per generated (N,), real (M,) and vehicle (V,) image, as a share 0..1; images without it are out.

    `dropped` is how many generated and real images were left out because the measurement was not a number.
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
        _aligned("generated", self.generated, self.generated_compounds, self.generated_plates)
        _aligned("real", self.real, self.real_compounds, self.real_plates)
        _aligned("vehicle", self.vehicle, self.vehicle_plates)

    @property
    def unmatched(self) -> int:
        """Number of compounds whose plates have too few vehicle images for a sample composed as theirs."""
        mine = (self.generated_plates[self.generated_compounds == name] for name in np.unique(self.generated_compounds))
        return sum(not matched(plates, self.vehicle_plates) for plates in mine)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates, on the side that has fewest."""
        return (
            min(_distinct(self.generated_compounds), _distinct(self.real_compounds)),
            min(_distinct(self.generated_plates), _distinct(self.real_plates), _distinct(self.vehicle_plates)),
        )


@dataclass(frozen=True)
class MorphologyProfileInputs:
    """Measurements of generated and real images of the same N conditions, (N, F), and of vehicle images, (V, F).

    `dropped` is how many conditions were left out because an image of theirs had a measurement that was not a number.
    """

    generated: np.ndarray
    real: np.ndarray
    vehicle: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray
    vehicle_plates: np.ndarray
    dropped: int = 0

    def __post_init__(self) -> None:
        _aligned("generated", self.generated, self.real, self.compounds, self.plates)
        _aligned("vehicle", self.vehicle, self.vehicle_plates)

    @cached_property
    def changes(self) -> tuple[np.ndarray, np.ndarray]:
        """Generated and real measurements less the vehicle's mean, over its deviation, of their own plate: (N, F) each.

        Raises ValueError where a plate has no vehicle image.
        """
        vehicle = (self.vehicle, self.vehicle_plates)
        generated, real = (
            scale_by_vehicle(side, self.plates, *vehicle, "z-score") for side in (self.generated, self.real)
        )
        return generated, real

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class ExpressionInputs:
    """Profiles (N, G) in log2: predicted, measured, matched vehicle."""

    predicted_post: np.ndarray
    measured_post: np.ndarray
    pre: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    def __post_init__(self) -> None:
        _aligned("predicted_post", self.predicted_post, self.measured_post, self.pre, self.compounds, self.plates)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


@dataclass(frozen=True)
class SwapInputs:
    """Change of the embedding of generated images (N, D) when their condition is swapped, and real embeddings (M, D).

    by: "compounds" or "plates", whichever was swapped; toward: label -> the label it was swapped for. truth: the change
    (N, D) that the swap truly makes, where it is known.
    """

    moved: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray
    real: np.ndarray
    real_compounds: np.ndarray
    real_plates: np.ndarray
    by: Literal["compounds", "plates"]
    toward: Mapping[str, str]
    truth: np.ndarray | None = None

    def __post_init__(self) -> None:
        _aligned("moved", self.moved, self.compounds, self.plates)
        _aligned("real", self.real, self.real_compounds, self.real_plates)
        if self.truth is not None:
            _aligned("moved", self.moved, self.truth)

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

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return _distinct(self.compounds), _distinct(self.plates)


def _distinct(labels: np.ndarray) -> int:
    return len(np.unique(labels))


def _aligned(name: str, values: np.ndarray, *others: np.ndarray) -> None:
    for other in others:
        if len(other) != len(values):
            raise ValueError(f"{name}: {values.shape=} has labels or values of {other.shape=}; one per row is needed")
