"""Rows on copies: of other generated images, and of training images."""

from __future__ import annotations

from morphobench.metrics import replicates as resample
from morphobench.metrics.inputs import CopyInputs, MemorisationInputs
from morphobench.metrics.memorisation import NEAR
from morphobench.metrics.metric import Metric

ROWS = (
    Metric(
        key="duplicates",
        version=2,
        inputs=CopyInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=2,
        summary="Share of generated images that are another one again, in any of eight views.",
        ranked=False,
        compute=lambda inputs: inputs.repeated.mean(),
        resample=resample.duplicate_replicates,
        count=lambda inputs: len(inputs.hashes),
    ),
    Metric(
        key="train_copies",
        version=2,
        inputs=MemorisationInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=2,
        summary="Share of generated images that are training images, turned or mirrored ones included.",
        ranked=False,
        compute=lambda inputs: inputs.copied.mean(),
        resample=resample.train_copy_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    Metric(
        key="near_copies",
        version=2,
        inputs=MemorisationInputs,
        # An honest model is as near as other real images are. Less is no better: artefacts lead away as well.
        direction="target",
        target=NEAR,
        unit="share of generated images",
        smallest_n=16,
        summary="Share of generated images nearer to a training image than 95% of held-out real ones; 0.05 is honest.",
        ranked=False,
        compute=lambda inputs: inputs.near.mean(),
        resample=resample.near_copy_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    Metric(
        key="nearest_train_distance",
        version=1,
        inputs=MemorisationInputs,
        direction="none",
        unit="ratio to held-out real images",
        smallest_n=8,
        summary="Mean distance to the nearest training image over that of held-out real images; 0 for copies.",
        ranked=False,
        compute=lambda inputs: inputs.ratio,
        resample=resample.train_distance_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
)
