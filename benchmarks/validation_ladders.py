"""Sets made of measured pools, scored as an evaluation scores, and the ladders that they form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import pandas as pd
from validation_sets import SPOIL, Design, Pool, disguised

from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.mechanisms import VEHICLE
from morphobench.leaderboard.version_1 import fields_of
from morphobench.metrics.bootstrap import ROUNDING
from morphobench.metrics.frechet import frechet_resamples
from morphobench.metrics.inputs import FeatureInputs
from morphobench.metrics.profile_inputs import MechanismInputs
from morphobench.metrics.registry import row_of
from morphobench.scoring.measurements import Measurements
from morphobench.scoring.tasks import Task, tasks

VEHICLE_WELLS = 16
"""Per plate, averaged to G_pre."""
EXPRESSION_NOISE = 1.0
"""Standard deviation, log2, of what spoils a predicted profile."""
CLEAR = 3.0
"""Standard errors from which a ladder's first and last step are told apart."""
STEP = 2.0
"""Standard errors from which a single step counts; a smaller one is flat."""
WRONG, DUPLICATED, DROPPED = "wrong compound", "duplicated", "dropped"
COPIED, DISGUISED = "copied", "copied, disguised"
CORRUPTIONS = (WRONG, *SPOIL, DUPLICATED, DROPPED, COPIED, DISGUISED)
STAY = ("train_x", "train_y", "vehicle", "vehicle_plates")
"""Fields of a bundle of arrays that keep all rows where a plate is left out."""


class Experiment:
    """The pools of a design, measured when they are first asked for, and the sets that are made of them."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self._pools: dict[str, Pool] = {}
        self._pixels: dict[str, np.ndarray] = {}

    def dose(self, share: float) -> Pool:
        """Generated images at a share of full activity."""
        return self._pool(f"dose {share}", lambda: self._clean(share), share)

    @property
    def real(self) -> Pool:
        """The reference: the same mechanisms at full activity, on the same plates, other seeds."""
        return self._pool("real", lambda: self.design.draw("real", 1.0), 1.0)

    @property
    def spare(self) -> Pool:
        """More generated images at full activity."""
        return self._pool("spare", lambda: self.design.draw("spare", 1.0), 1.0)

    @cached_property
    def vehicle(self) -> Pool:
        """Vehicle images on the same plates: as many as a mechanism has, twice."""
        design = replace(self.design, mechanisms=self.design.mechanisms[:2])
        return design.measure(design.draw("vehicle", 0.0), np.zeros((2 * design.slots, 978)))

    @cached_property
    def pre(self) -> np.ndarray:
        """G_pre (N, 978): mean of some vehicle wells of each row's plate."""
        version, means = self.design.tier.spec.version, {}
        for plate in np.unique(self.design.row_plates()):
            wells = pd.DataFrame({"sample_id": [f"vehicle-{plate}-{well}" for well in range(VEHICLE_WELLS)]})
            wells = wells.assign(compound=VEHICLE, dose_um=0.0, plate=plate)
            means[plate] = expression.measured(version, wells).mean(axis=0)
        return np.stack([means[plate] for plate in self.design.row_plates()])

    @property
    def train(self) -> Pool:
        """Training images of the same mechanisms, on other plates."""
        return self._pool("train", self._train_pixels, 1.0)

    @property
    def disguised(self) -> Pool:
        """The training images, turned and with a little noise; the profiles are theirs."""

        def pixels() -> np.ndarray:
            random = np.random.default_rng(0)
            return np.stack([disguised(image, random) for image in self._train_pixels()])

        return replace(self._pool("disguised", pixels, 1.0), profile=self.train.profile)

    def spoilt(self, name: str) -> Pool:
        """The generated images at full activity, every one spoilt: a key of SPOIL; noise spoils the profile too."""

        def pixels() -> np.ndarray:
            random = np.random.default_rng(0)
            return np.stack([SPOIL[name](image, random) for image in self._clean(1.0)])

        pool = self._pool(name, pixels, 1.0)
        profile = self.dose(1.0).profile
        if name == "noise":
            profile = profile + np.random.default_rng(0).normal(0, EXPRESSION_NOISE, profile.shape)
        return replace(pool, profile=profile)

    def measurements(self, generated: Pool, rows: np.ndarray) -> Measurements:
        """What an evaluation would know of these rows of a generated set."""
        design = self.design
        generated, real = generated.take(rows), self.real.take(rows)
        compounds, name = design.compounds[rows], design.tier.spec.embedding
        return Measurements(
            track="validation",
            genes=design.tier.genes,
            compounds=compounds,
            plates=design.row_plates()[rows],
            doses=np.ones(len(rows)),
            mechanisms=compounds,
            batches=design.row_plates()[rows],
            vehicle_plates=design.row_plates()[: 2 * design.slots],
            train_compounds=design.compounds,
            train_mechanisms=design.compounds,
            features={
                extractor: {"generated": generated.features[extractor], "real": real.features[extractor]}
                for extractor in design.extractors
            },
            embedding_name=name,
            embedding={
                "generated": generated.features[name].embedding,
                "real": real.features[name].embedding,
                "vehicle": self.vehicle.features[name].embedding,
                "train": self.train.features[name].embedding,
            },
            profiles={"generated": generated.profiles, "real": real.profiles, "vehicle": self.vehicle.profiles},
            pixel_hashes=generated.hashes,
            expression={"pre": self.pre[rows], "post": real.profile, "predicted": generated.profile},
            protocol={},
            thumbnails={
                "generated": generated.thumbnails,
                "real": real.thumbnails,
                "train": self.train.thumbnails,
            },
        )

    def _clean(self, share: float) -> np.ndarray:
        name = f"dose {share}"
        if name not in self._pixels:
            self._pixels[name] = self.design.draw(name, share)
        return self._pixels[name]

    def _train_pixels(self) -> np.ndarray:
        if "train" not in self._pixels:
            self._pixels["train"] = self.design.draw("train", 1.0, prefix="W")
        return self._pixels["train"]

    def _pool(self, name: str, pixels: Callable[[], np.ndarray], share: float) -> Pool:
        if name not in self._pools:
            self._pools[name] = self.design.measure(pixels(), self.design.profiles(name, share))
        return self._pools[name]


@dataclass(frozen=True)
class Scored:
    """A score of a set, the same without one plate (P,), and which way is better."""

    value: float
    left_out: np.ndarray
    direction: str
    target: float | None = None

    def worth(self, values: np.ndarray) -> np.ndarray:
        """Values turned so that more is better."""
        if self.target is not None:
            return -np.abs(values - self.target)
        return -values if self.direction == "min" else values

    def gain_over(self, other: Scored) -> float:
        """By how many standard errors this is better than the other; upwards for a score without a direction.

        The error is the jackknife's over plates, of the difference: both sets lie on the same plates. 0 where the
        scores are equal, infinite where they differ by the same whichever plate is left out.
        """
        change = float(self.worth(np.array(self.value)) - self.worth(np.array(other.value)))
        differences, plates = self.worth(self.left_out) - self.worth(other.left_out), len(self.left_out)
        error = float(np.std(differences) * np.sqrt(plates - 1))
        if abs(change) <= ROUNDING * max(abs(self.value), abs(other.value)):
            return 0.0
        return change / error if error > ROUNDING * abs(change) else float(np.copysign(np.inf, change))


def scores(
    experiment: Experiment, sets: Sequence[Pool], rows: np.ndarray, wanted: Callable[[str], bool] = lambda key: True
) -> list[dict[str, Scored]]:
    """The rows of the registry that some rows of sets allow, as an evaluation computes them, with a plate less too.

    Sets are shared among processes whose linear algebra has one thread each: two threads that wait for each other on
    a busy machine made the decompositions of `fd_infinity` fifty times slower.
    """
    plates = np.unique(experiment.design.row_plates()[rows])
    # All tasks are made before the first is handed on: what they measure uses the same processes.
    found = [[task for task in asked(experiment, generated, rows) if wanted(task.key)] for generated in sets]
    return list(joblib.Parallel(n_jobs=-1)(joblib.delayed(_scored)(each, plates) for each in found))


def _scored(found: Sequence[Task], plates: np.ndarray) -> dict[str, Scored]:
    values = {}
    for task in found:
        metric, inputs = task.metric, task.inputs
        if inputs is None or metric.count(inputs) < metric.smallest_n:
            continue
        if metric.key in FIRST_ORDER:
            parts = FIRST_ORDER[metric.key](inputs, plates)
        else:
            less = [without(inputs, plate) for plate in plates]
            if min(map(metric.count, less)) < metric.smallest_n:
                continue
            parts = np.array([metric.score(part) for part in less])
        values[task.key] = Scored(metric.score(inputs), parts, metric.direction, metric.target)
    return values


def asked(experiment: Experiment, generated: Pool, rows: np.ndarray) -> Iterator[Task]:
    """The tasks of an evaluation; NSC and NSCB, which need a mechanism's second compound, with twins for compounds."""
    measured = experiment.measurements(generated, rows)
    for task in tasks(measured, experiment.design.tier):
        if not issubclass(task.metric.inputs, MechanismInputs):
            yield task
    halved = replace(measured, compounds=experiment.design.twins[rows], features={}, thumbnails={})
    for task in tasks(halved, experiment.design.tier):
        if issubclass(task.metric.inputs, MechanismInputs):
            yield task


def without(inputs: Any, plate: str) -> Any:
    """A bundle of arrays without the conditions on a plate; training and vehicle images stay."""
    kept = {}
    for field in fields(inputs):
        values = getattr(inputs, field.name)
        if isinstance(values, np.ndarray) and field.name not in STAY:
            side = "real" if field.name.startswith("real") else "generated"
            kept[field.name] = values[getattr(inputs, f"{side}_plates", getattr(inputs, "plates", None)) != plate]
    return replace(inputs, **kept)


def _weights(inputs: FeatureInputs, plates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both sides' rows, 0 on the plate that is left out: (P, n), (P, m)."""
    return tuple(  # type: ignore[return-value]
        (labels[None] != plates[:, None]).astype(float) for labels in (inputs.generated_plates, inputs.real_plates)
    )


FIRST_ORDER: dict[str, Callable[[FeatureInputs, np.ndarray], np.ndarray]] = {
    "fd": lambda inputs, plates: frechet_resamples(inputs.generated, inputs.real, *_weights(inputs, plates)),
    "fd_infinity": lambda inputs, plates: inputs.extrapolation.resamples(*_weights(inputs, plates)),
}
"""Rows whose score with a plate less is taken from the influences of its images, as the replicates of an interval are.

One decomposition serves all plates. What bias fewer images add is not in it.
"""


def key_for_row(key: str) -> str:
    """The registry's row of a printed key."""
    fields = fields_of(key)
    row = row_of(fields["metric"], fields.get("part", ""))
    return key if row is None else row.printed_key()


@dataclass(frozen=True)
class Ladder:
    """One score along a ladder. Ladders of doses rise to better sets, those of corruptions fall to worse ones."""

    scores: tuple[Scored, ...]
    rising: bool

    @property
    def steps(self) -> tuple[float, ...]:
        """Standard errors by which each set is better (rising) or worse than the one before."""
        sign = 1 if self.rising else -1
        return tuple(
            sign * after.gain_over(before) for before, after in zip(self.scores, self.scores[1:], strict=False)
        )

    @property
    def whole(self) -> float:
        """The same from the first set to the last."""
        return (1 if self.rising else -1) * self.scores[-1].gain_over(self.scores[0])

    @property
    def monotone(self) -> bool:
        """Clear from end to end, and no step leads back beyond its error."""
        return self.whole >= CLEAR and min(self.steps) > -STEP

    @property
    def back(self) -> bool:
        """A step leads back beyond its error."""
        return min(self.steps) <= -STEP

    @property
    def signs(self) -> str:
        """A sign per step: ↑ in the expected direction, = flat, ↓ back."""
        return "".join("↑" if step >= STEP else "↓" if step <= -STEP else "=" for step in self.steps)

    @property
    def seen_from(self) -> int | None:
        """The first rung that is clearly worse than the bottom one, of a monotone ladder."""
        if not self.monotone:
            return None
        gains = [-later.gain_over(self.scores[0]) for later in self.scores[1:]]
        return 1 + next(rung for rung, gain in enumerate(gains) if gain >= CLEAR)

    @property
    def values(self) -> str:
        """The scores, first to last."""
        return " → ".join(f"{scored.value:.3g}" for scored in self.scores)


Ladders = dict[str, Ladder]


def ladders(sets: Sequence[dict[str, Scored]], rising: bool) -> Ladders:
    """A ladder per score that all sets have."""
    shared = [key for key in sets[0] if all(key in each for each in sets)]
    return {key: Ladder(tuple(each[key] for each in sets), rising) for key in shared}


def corrupted(experiment: Experiment, corruption: str, share: float) -> Pool:
    """The good generated set with a share of its images replaced; a larger share replaces the same ones and more.

    wrong compound: by those of another mechanism on the same plates, so that the mixture stays the same. duplicated: by
    one image of the same mechanism. dropped: a share of the mechanisms by further images of the others, none twice.
    copied: by training images of the same mechanism; disguised, they are turned and noisy.
    """
    design, good = experiment.design, experiment.dose(1.0)
    count, slots = len(design.mechanisms), design.slots
    random = np.random.default_rng(1)
    order = random.permutation(slots)
    mechanisms, chosen = np.arange(count)[:, None], order[: round(share * slots)][None]
    at = (mechanisms * slots + chosen).ravel()
    if corruption == WRONG:
        return good.replaced(at, good, ((mechanisms + count // 2) % count * slots + chosen).ravel())
    if corruption == DUPLICATED:
        return good.replaced(at, good, np.repeat(np.arange(count) * slots + order[-1], chosen.size))
    if corruption == DROPPED:
        mixed, dropped = random.permutation(count), round(share * count)
        lost, kept = mixed[:dropped], mixed[::-1][:dropped]
        images = np.arange(slots)[None]
        at, rows = ((side[:, None] * slots + images).ravel() for side in (lost, kept))
        return good.replaced(at, experiment.spare, rows)
    if corruption in (COPIED, DISGUISED):
        return good.replaced(at, experiment.train if corruption == COPIED else experiment.disguised, at)
    return good.replaced(at, experiment.spoilt(corruption), at)
