"""Rows on what an image says of its compound: separability, mechanism, replicates, discrimination."""

from __future__ import annotations

import numpy as np

from morphobench.metrics import replicates as resample
from morphobench.metrics.inputs import SeparabilityInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.profile_inputs import BatchMechanismInputs, MechanismInputs, ProfileInputs
from morphobench.metrics.rows.counts import compounds, named, undefined_of
from morphobench.metrics.separability import lda_separability


def _retrieved(inputs: ProfileInputs) -> float:
    precision = inputs.retrieval[0]
    if np.isnan(precision).all():
        raise ValueError("no compound has real images on two plates: there is nothing to find on another one")
    return float(np.nanmean(precision))


ROWS = (
    Metric(
        key="lda_separability",
        version=1,
        inputs=SeparabilityInputs,
        direction="max",
        unit="balanced accuracy",
        smallest_n=10,
        summary="Share of a mechanism's images that an LDA of real ones names, averaged; chance is 1 / mechanisms.",
        compute=lambda inputs: lda_separability(inputs.train_x, inputs.train_y, inputs.generated_x, inputs.generated_y),
        resample=resample.separability_replicates,
        count=lambda inputs: len(inputs.generated_x),
    ),
    Metric(
        key="nsc",
        version=1,
        inputs=MechanismInputs,
        direction="max",
        unit="share of treatments",
        smallest_n=4,
        summary="Share of generated treatments whose nearest real profile of another compound has their mechanism.",
        compute=lambda inputs: np.nanmean(inputs.matches()[0]),
        resample=resample.nsc_replicates,
        count=lambda inputs: len(inputs.asked()),
        undefined=lambda inputs: undefined_of(inputs.matches()[0]),
    ),
    Metric(
        key="nscb",
        version=2,
        inputs=BatchMechanismInputs,
        direction="max",
        unit="share of treatments in batches",
        smallest_n=4,
        summary="The same for profiles of single batches, with neighbours of other compounds in other batches only.",
        compute=lambda inputs: np.nanmean(inputs.batch_matches[0]),
        resample=resample.nscb_replicates,
        count=lambda inputs: len(inputs.asked(batched=True)),
        undefined=lambda inputs: undefined_of(inputs.batch_matches[0]),
    ),
    Metric(
        key="replicate_map",
        version=1,
        inputs=ProfileInputs,
        direction="max",
        unit="mean average precision",
        smallest_n=2,
        summary="How early generated profiles find real ones of their compound on other plates among all compounds'.",
        compute=_retrieved,
        resample=resample.replicate_map_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(inputs.retrieval[0]),
    ),
    Metric(
        key="discrimination_rank",
        version=1,
        inputs=ProfileInputs,
        direction="max",
        unit="share of other compounds",
        smallest_n=2,
        summary="Share of other compounds whose real profile is farther than the true one's, averaged; chance is 0.5.",
        compute=lambda inputs: inputs.discrimination().mean(),
        resample=resample.discrimination_replicates,
        count=compounds,
        by_compound=lambda inputs: named(inputs.compounds, inputs.discrimination()),
    ),
)
