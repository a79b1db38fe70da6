"""Rows on copies: of other generated images, and of training images."""

from __future__ import annotations

import numpy as np

from morphobench.metrics.inputs import CopyInputs, MemorisationInputs
from morphobench.metrics.memorisation import NEAR
from morphobench.metrics.metric import Metric
from morphobench.metrics.neighbours import weighted_means
from morphobench.metrics.replicates import row_weights


def _duplicate_replicates(inputs: CopyInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of repeated images: which are repeated stays, and the images are drawn."""
    return weighted_means(inputs.repeated, row_weights(inputs, replicates, seed))


def _train_copy_replicates(inputs: MemorisationInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of copies of training images; here and in the next row the verdicts stay, and the images are drawn."""
    return weighted_means(inputs.copied, row_weights(inputs, replicates, seed))


def _near_copy_replicates(inputs: MemorisationInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of near copies of training images."""
    return weighted_means(inputs.near, row_weights(inputs, replicates, seed))


def _train_distance_replicates(inputs: MemorisationInputs, replicates: int, seed: int) -> np.ndarray:
    """Ratio of mean distances to the nearest training image; generated and real images are drawn together."""
    weights = row_weights(inputs, replicates, seed)
    return weighted_means(inputs.distance, weights) / weighted_means(inputs.real_distance, weights)


ROWS = (
    Metric(
        key="duplicates",
        title="Duplicates",
        family="memorisation",
        version=2,
        inputs=CopyInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=2,
        summary="Share of generated images that are another one again, in any of eight views.",
        ranked=False,
        sees=("duplicated",),
        compute=lambda inputs: inputs.repeated.mean(),
        resample=_duplicate_replicates,
        count=lambda inputs: len(inputs.hashes),
    ),
    Metric(
        key="train_copies",
        title="Copies of training images",
        family="memorisation",
        version=2,
        inputs=MemorisationInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=2,
        summary="Share of generated images that are training images, turned or mirrored ones included.",
        ranked=False,
        sees=("copied", "copied, disguised"),
        compute=lambda inputs: inputs.copied.mean(),
        resample=_train_copy_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    Metric(
        key="near_copies",
        title="Near copies",
        family="memorisation",
        named_after="embedding",
        version=2,
        inputs=MemorisationInputs,
        # An honest model is as near as other real images are. Less is no better: artefacts lead away as well.
        direction="target",
        target=NEAR,
        unit="share of generated images",
        smallest_n=16,
        summary="Share of generated images nearer to a training image than 95% of held-out real ones; 0.05 is honest.",
        ranked=False,
        sees=("copied", "copied, disguised"),
        compute=lambda inputs: inputs.near.mean(),
        resample=_near_copy_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    Metric(
        key="nearest_train_distance",
        title="Nearest training image",
        family="memorisation",
        named_after="embedding",
        version=1,
        inputs=MemorisationInputs,
        direction="none",
        unit="ratio to held-out real images",
        smallest_n=8,
        summary="Mean distance to the nearest training image over that of held-out real images; 0 for copies.",
        ranked=False,
        sees=("copied",),
        compute=lambda inputs: inputs.ratio,
        resample=_train_distance_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
)
