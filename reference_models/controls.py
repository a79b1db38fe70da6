"""Controls: submissions made of real data, which anchor every scale.

Each answers the conditions of a track with images that exist, so that a metric's value for it says what the metric
sees: `real-replicates` is the ceiling, `vehicle` draws no drug, `wrong-compound` draws another drug perfectly,
`copycat` returns training images, `mean-image` returns one blurred image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from morphobench.datasets.frozen import morgan_fingerprint
from morphobench.datasets.morphogene.split_rules import plates_with
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.schema import OWN, Condition, Conditions

BATCH = 256
DRAW_SEED = 0
Draw = Callable[[Tier, Conditions, np.random.Generator], pd.DataFrame]
"""Picks one real sample per condition: the rows of `tier.samples` whose images and profiles answer the conditions."""


@dataclass(frozen=True)
class RealImages:
    """A control that answers each condition with one real image (a `Model`). The draw is frozen: no seed changes it."""

    tier: Tier
    draw: Draw
    manifest: Mapping[str, Any]

    def rows(self, conditions: Conditions) -> pd.DataFrame:
        """The chosen samples, one per condition."""
        return self.draw(self.tier, conditions, np.random.default_rng(DRAW_SEED))

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        """uint8 (N, H, W, 3)."""
        return np.concatenate(list(self.tier.images(self.rows(conditions)).batches(BATCH)))


@dataclass(frozen=True)
class RealSamples(RealImages):
    """Real images with the change of expression that was measured beside them."""

    def predict_expression(self, conditions: Conditions) -> np.ndarray:
        """Condition G_pre plus the LFC measured for the chosen sample, (N, 978) log2.

        Profiles are moved between plates as changes, because each plate has its own baseline. Where the chosen sample
        has no measured profile the prediction is no change.
        """
        g_pre, g_post = self.tier.expression(self.rows(conditions))
        return conditions.g_pre + np.nan_to_num(g_post - g_pre)


@dataclass(frozen=True)
class MeanImage:
    """The pixelwise mean of the training images, for every condition (a `Model`)."""

    tier: Tier
    manifest: Mapping[str, Any]

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        """uint8 (N, H, W, 3), N times one image; the seed changes nothing."""
        images = self.tier.images(_training_rows(self.tier, conditions))
        total = sum(batch.astype(np.float64).sum(0) for batch in images.batches(BATCH))
        mean = np.rint(total / len(images)).astype(np.uint8)
        return np.broadcast_to(mean, (len(conditions), *mean.shape))

    def predict_expression(self, conditions: Conditions) -> np.ndarray:
        """Condition G_pre plus the mean LFC of the training samples, (N, 978) log2: the perturbed mean."""
        g_pre, g_post = self.tier.expression(_training_rows(self.tier, conditions))
        return conditions.g_pre + np.nanmean(g_post - g_pre, axis=0)


def real_replicates(tier: Tier, device: str) -> RealImages:
    """Other real images of the same compound at the same (or the nearest) dose: the track's replicates.

    A built tier has one profile per compound: a replicate's would be the answer itself, so none is predicted there.
    """
    kind = RealSamples if tier.spec.kind == "sim" else RealImages
    return kind(tier, _replicates, _manifest("real images of the same compounds and doses, from other plates"))


def copycat(tier: Tier, device: str) -> RealSamples:
    """Training images: of the same compound where it was trained on, else of its nearest training compound."""
    method = "training images of the compound, or of its Tanimoto neighbour; their measured change as the prediction"
    return RealSamples(tier, _copies, _manifest(method, training_data="the train split, copied"))


def vehicle(tier: Tier, device: str) -> RealSamples:
    """Vehicle (DMSO) images: a model that draws healthy cells and no drug."""
    method = "vehicle images, of the condition's own plate first; the change between vehicle wells as the prediction"
    return RealSamples(tier, _vehicles, _manifest(method))


def wrong_compound(tier: Tier, device: str) -> RealSamples:
    """Real replicate images of another compound of the track: a model with the drugs mixed up."""
    return RealSamples(tier, _wrong, _manifest("real images and change of another compound of the same track"))


def mean_image(tier: Tier, device: str) -> MeanImage:
    """The mean training image."""
    method = "pixelwise mean of the training images; the mean change of the training samples as the prediction"
    return MeanImage(tier, _manifest(method, training_data="the train split, averaged", uses_measured_g_post=False))


def _manifest(method: str, training_data: str = "none", uses_measured_g_post: bool = True) -> dict[str, Any]:
    return {
        "group": "morphobench-controls",
        "method": f"control: {method}",
        "training_data": training_data,
        "licence": "as the tier",
        "training_set": OWN,
        "uses_measured_g_post": uses_measured_g_post,
    }


def _training_rows(tier: Tier, conditions: Conditions) -> pd.DataFrame:
    return tier.training_rows(conditions.records[0].track)


def _replicate_rows(tier: Tier, conditions: Conditions) -> pd.DataFrame:
    """The replicates of the conditions' track; BadInput where a part of a built tier has none of some compound."""
    track = conditions.records[0].track
    pool = tier.replicate_rows(track)
    missing = sorted({condition.compound for condition in conditions} - set(pool["compound"]))
    if missing:
        plates = plates_with(missing[:1], tier.track(track).replicate_split)
        raise BadInput(
            f"tier {tier.spec.name}: {track} has no replicate images of {missing[0]} ({len(missing)} such compounds); "
            f"build plate {' or '.join(plates)} too"
        )
    return pool


def _replicates(tier: Tier, conditions: Conditions, rng: np.random.Generator) -> pd.DataFrame:
    pool = _replicate_rows(tier, conditions)
    return _match(pool, [(condition.compound, condition.dose_um) for condition in conditions], rng)


def _copies(tier: Tier, conditions: Conditions, rng: np.random.Generator) -> pd.DataFrame:
    pool = _training_rows(tier, conditions)
    neighbour = _nearest_training_compound(tier, set(pool["compound"]), conditions)
    return _match(pool, [(neighbour[condition.compound], condition.dose_um) for condition in conditions], rng)


def _wrong(tier: Tier, conditions: Conditions, rng: np.random.Generator) -> pd.DataFrame:
    pool = _replicate_rows(tier, conditions)
    # A cyclic shift of a shuffled list pairs every compound with another one, and uses each once.
    shuffled = rng.permutation(sorted(set(pool["compound"])))
    other = dict(zip(shuffled, np.roll(shuffled, 1), strict=True))
    return _match(pool, [(other[condition.compound], None) for condition in conditions], rng)


def _vehicles(tier: Tier, conditions: Conditions, rng: np.random.Generator) -> pd.DataFrame:
    pool = tier.rows("vehicle")
    order = rng.permutation(len(pool))
    waiting = {plate: [row for row in order if pool["plate"][row] == plate] for plate in sorted(set(pool["plate"]))}
    chosen: list[int | None] = [
        waiting[condition.plate].pop() if waiting.get(condition.plate) else None for condition in conditions
    ]
    left = [row for rows in waiting.values() for row in rows]
    spare = iter(rng.permutation(left) if left else [])
    return pool.iloc[[next(spare, rng.integers(len(pool))) if row is None else row for row in chosen]]


def _match(pool: pd.DataFrame, wanted: list[tuple[str, float | None]], rng: np.random.Generator) -> pd.DataFrame:
    """One row of `pool` per (compound, dose): unused ones of that dose first, then of the nearest dose, then again."""
    doses = pool["dose_um"].to_numpy()
    by_compound = {compound: rng.permutation(rows) for compound, rows in pool.groupby("compound").indices.items()}
    uses = np.zeros(len(pool), dtype=int)
    chosen = []
    for compound, dose in wanted:
        rows = by_compound[compound]
        far = np.zeros(len(rows)) if dose is None else np.abs(np.log(doses[rows] / dose)).round(6)
        row = rows[np.lexsort((far, uses[rows]))[0]] if dose is None else rows[np.lexsort((uses[rows], far))[0]]
        uses[row] += 1
        chosen.append(row)
    return pool.iloc[chosen]


def _nearest_training_compound(tier: Tier, trained: set[str], conditions: Conditions) -> dict[str, str]:
    """Compound -> itself if trained on, else the training compound of highest Tanimoto similarity (Morgan r2, 1,024).

    A compound without a known structure takes the first training compound: it has no neighbour.
    """
    smiles: dict[str, str] = dict(zip(tier.compounds["compound"], tier.compounds["smiles"], strict=True))
    fingerprints = {
        compound: morgan_fingerprint(smiles[compound]).astype(bool) for compound in sorted(trained) if smiles[compound]
    }
    names, bits = list(fingerprints), np.stack(list(fingerprints.values()))

    def nearest(condition: Condition) -> str:
        if condition.compound in trained:
            return condition.compound
        if not condition.smiles:
            return min(trained)
        query = morgan_fingerprint(condition.smiles).astype(bool)
        return names[int(np.argmax((bits & query).sum(1) / (bits | query).sum(1)))]

    return {condition.compound: nearest(condition) for condition in conditions}
