"""What a metric of profiles needs: embeddings beside those of vehicle images, corrected by them and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from morphobench.metrics.labels import OneLabelled, aligned, distinct
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
from morphobench.metrics.vehicle_correction import scale_by_vehicle, typical_variation_normalization


@dataclass(frozen=True)
class ProfileInputs(OneLabelled):
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
        aligned("generated", self.generated, self.real, self.compounds, self.plates)
        aligned("vehicle", self.vehicle, self.vehicle_plates)

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
        """Average precision of each generated profile of a compound and plate, (K,), and which one is a row's, (N,)."""
        joint, first = joint_labels(self.compounds, self.plates)
        compounds, plates = self.compounds[first], self.plates[first]
        generated, real = (mean_profiles(side, joint) for side in self.corrected)
        return average_precision(generated, real, (compounds, compounds), (plates, plates)), joint

    @property
    def retrieval_chance(self) -> float:
        """Mean of `retrieval` if profiles were ranked blindly; NaN where no compound lies on two plates."""
        _, first = joint_labels(self.compounds, self.plates)
        return chance_of_retrieval(self.compounds[first], self.plates[first])


@dataclass(frozen=True)
class MechanismInputs(ProfileInputs):
    """The same for compounds with a known mechanism, with dose, mechanism and batch of each condition, (N,).

    A batch is what was prepared together: a plate, or the plates of one week.
    """

    doses: np.ndarray
    mechanisms: np.ndarray
    batches: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        aligned("generated", self.generated, self.doses, self.mechanisms, self.batches)

    def matches(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """NSC verdicts on treatments (compound and dose), (T,), and a row of each; conditions weighted by (N,)."""
        joint, first = joint_labels(self.compounds, self.doses)
        return self._verdicts(joint, first, weights), first

    @cached_property
    def batch_matches(self) -> tuple[np.ndarray, np.ndarray]:
        """NSCB verdicts on treatments in single batches, (K,), and which of them a row is in, (N,)."""
        joint, first = joint_labels(self.compounds, self.doses, self.batches)
        return self._verdicts(joint, first, batches=self.batches[first]), joint

    def asked(self, batched: bool = False) -> np.ndarray:
        """The compounds whose mechanism another compound has; with `batched`, in another batch."""
        batches = self.batches if batched else None
        return np.unique(self.compounds[answerable(self.compounds, self.mechanisms, batches)])

    def mechanism_chance(self, batched: bool = False) -> float:
        """Mean of the verdicts, of NSC or NSCB, if neighbours were drawn blindly; NaN where nothing has an answer."""
        _, first = joint_labels(self.compounds, self.doses, *([self.batches] if batched else []))
        batches = self.batches[first] if batched else None
        return chance_of_mechanism(self.compounds[first], self.mechanisms[first], batches)

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds that have an answer and of plates."""
        return len(self.asked()), distinct(self.plates)

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
class BatchMechanismInputs(MechanismInputs):
    """The same for a score of profiles of single batches, which asks fewer compounds."""

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds that have an answer in another batch and of plates."""
        return len(self.asked(batched=True)), distinct(self.plates)


@dataclass(frozen=True)
class MorphologyProfileInputs(OneLabelled):
    """Measurements of generated and real images of the same N conditions, (N, F), and of vehicle images, (V, F).

    A generated measurement may be NaN (no object was found), a real one or the vehicle's may not. `dropped` is how many
    compounds are not among the N because none of their real images had all measurements.
    """

    generated: np.ndarray
    real: np.ndarray
    vehicle: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray
    vehicle_plates: np.ndarray
    dropped: int = 0

    def __post_init__(self) -> None:
        aligned("generated", self.generated, self.real, self.compounds, self.plates)
        aligned("vehicle", self.vehicle, self.vehicle_plates)

    @cached_property
    def changes(self) -> tuple[np.ndarray, np.ndarray]:
        """Generated and real measurements less the vehicle's mean, over its deviation, of their own plate: (N, F) each.

        A generated image of which a measurement is NaN shows no change: 0 in all of them. Left out, it would take its
        condition with it, and blank images would be the way to be asked of the best compounds only. Raises ValueError
        where a plate has no vehicle image, a real or vehicle measurement is not finite, or a generated one is infinite.
        """
        vehicle = (self.vehicle, self.vehicle_plates)
        blank = np.isnan(self.generated).any(axis=1)[:, None]
        generated, real = (
            scale_by_vehicle(side, self.plates, *vehicle, "z-score")
            for side in (np.where(blank, 0.0, self.generated), self.real)
        )
        return np.where(blank, 0.0, generated), real
