"""Sets made of measured pools, scored as an evaluation scores, and the ladders that they form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from validation_sets import SPOIL, ArrayImages, Design, Pool

from morphobench import storage
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.mechanisms import VEHICLE
from morphobench.features.cache import extract
from morphobench.features.extractor import load_extractor
from morphobench.measurements import Measurements
from morphobench.metrics.bootstrap import ROUNDING
from morphobench.metrics.registry import METRICS
from morphobench.tasks import tasks

VEHICLE_WELLS = 16
"""Per plate, averaged to G_pre."""
EXPRESSION_NOISE = 1.0
"""Standard deviation, log2, of what spoils a predicted profile."""
CLEAR = 3.0
"""Standard errors from which a ladder's first and last step are told apart."""
STEP = 2.0
"""Standard errors from which a single step counts; a smaller one is flat."""
WRONG, DUPLICATED, DROPPED = "wrong compound", "duplicated", "dropped"
CORRUPTIONS = (WRONG, *SPOIL, DUPLICATED, DROPPED)


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

    @cached_property
    def train(self) -> np.ndarray:
        """Embeddings of training images on other plates, (N, D)."""
        images = ArrayImages(self.design.draw("train", 1.0, prefix="W"))
        return extract(images, load_extractor(self.design.tier.spec.embedding), storage.cache_dir()).embedding

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
                "train": self.train,
            },
            profiles={"generated": generated.profiles, "real": real.profiles, "vehicle": self.vehicle.profiles},
            pixel_hashes=generated.hashes,
            expression={"pre": self.pre[rows], "post": real.profile, "predicted": generated.profile},
            protocol={},
        )

    def _clean(self, share: float) -> np.ndarray:
        name = f"dose {share}"
        if name not in self._pixels:
            self._pixels[name] = self.design.draw(name, share)
        return self._pixels[name]

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

    def gain_over(self, other: Scored) -> float:
        """By how many standard errors this is better than the other; upwards for a score without a direction.

        The error is the jackknife's over plates, of the difference: both sets lie on the same plates. 0 where the
        scores are equal, infinite where they differ by the same whichever plate is left out.
        """
        change = (-1.0 if self.direction == "min" else 1.0) * (self.value - other.value)
        differences, plates = self.left_out - other.left_out, len(self.left_out)
        error = float(np.std(differences) * np.sqrt(plates - 1))
        if abs(change) <= ROUNDING * max(abs(self.value), abs(other.value)):
            return 0.0
        return change / error if error > ROUNDING * abs(change) else float(np.copysign(np.inf, change))


def score(
    experiment: Experiment, generated: Pool, rows: np.ndarray, wanted: Callable[[str], bool] = lambda key: True
) -> dict[str, Scored]:
    """The rows of the registry that some rows of a set allow, as an evaluation computes them, with a plate less too."""

    def values(rows: np.ndarray) -> dict[str, float]:
        found = tasks(experiment.measurements(generated, rows), experiment.design.tier)
        asked = [task for task in found if task.inputs is not None and wanted(task.key)]
        enough = [task for task in asked if task.metric.count(task.inputs) >= task.metric.smallest_n]
        return {task.key: task.metric.score(task.inputs) for task in enough}

    plates = experiment.design.row_plates()[rows]
    whole, parts = values(rows), [values(rows[plates != plate]) for plate in np.unique(plates)]
    return {
        key: Scored(value, np.array([part[key] for part in parts]), METRICS[key_for_row(key)].direction)
        for key, value in whole.items()
        if all(key in part for part in parts)
    }


def key_for_row(key: str) -> str:
    """The registry's row of a printed key."""
    return key if key in METRICS else key.partition("[")[0]


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
    return {key: Ladder(tuple(each[key] for each in sets), rising) for key in sets[0]}


def corrupted(experiment: Experiment, corruption: str, share: float) -> Pool:
    """The good generated set with a share of its images replaced; a larger share replaces the same ones and more.

    wrong compound: by those of another mechanism on the same plates, so that the mixture stays the same. duplicated: by
    one image of the same mechanism. dropped: a share of the mechanisms by further images of the others, none twice.
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
    return good.replaced(at, experiment.spoilt(corruption), at)
