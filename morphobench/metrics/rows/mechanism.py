"""Rows on what an image says of its compound: separability, mechanism, replicates, discrimination."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from morphobench.metrics.inputs import SeparabilityInputs
from morphobench.metrics.metric import Metric, Seen
from morphobench.metrics.neighbours import weighted_means
from morphobench.metrics.profile_inputs import BatchMechanismInputs, MechanismInputs, ProfileInputs
from morphobench.metrics.replicates import drawn_means, of_plate_draws, own_draws, row_weights
from morphobench.metrics.rows.counts import compounds, named, undefined_of
from morphobench.metrics.separability import balanced_resamples, lda_correct, lda_separability

_SEES: tuple[Seen, ...] = ("dose", "wrong compound", "dropped")
"""The same for all rows of this module."""


def _retrieved(inputs: ProfileInputs) -> float:
    precision = inputs.retrieval[0]
    if np.isnan(precision).all():
        raise ValueError("no compound has real images on two plates: there is nothing to find on another one")
    return float(np.nanmean(precision))


def _separability_replicates(inputs: SeparabilityInputs, replicates: int, seed: int) -> np.ndarray:
    """Balanced accuracy of the LDA; the classifier stays as fitted, only the generated images are drawn."""
    correct = lda_correct(inputs.train_x, inputs.train_y, inputs.generated_x, inputs.generated_y)
    return balanced_resamples(correct, inputs.generated_y, row_weights(inputs, replicates, seed))


def _nsc_replicates(inputs: MechanismInputs, replicates: int, seed: int) -> np.ndarray:
    """NSC; profiles are averaged anew over the drawn plates, verdicts count as often as their compound is drawn."""
    draws = own_draws(inputs, replicates, seed)
    _, first = inputs.matches()
    verdicts = of_plate_draws(lambda weights: inputs.matches(weights)[0], draws, inputs.plates)
    return drawn_means(verdicts, draws, inputs.compounds[first])


def _nscb_replicates(inputs: BatchMechanismInputs, replicates: int, seed: int) -> np.ndarray:
    """NSCB; here and in the next the neighbours stay, and the verdicts are drawn by compound and plate."""
    return _verdict_replicates(*inputs.batch_matches, inputs, replicates, seed)


def _replicate_map_replicates(inputs: ProfileInputs, replicates: int, seed: int) -> np.ndarray:
    """Mean average precision."""
    return _verdict_replicates(*inputs.retrieval, inputs, replicates, seed)


def _discrimination_replicates(inputs: ProfileInputs, replicates: int, seed: int) -> np.ndarray:
    """Discrimination rank; profiles are averaged anew over the drawn plates, the rivals stay."""
    draws = own_draws(inputs, replicates, seed)
    ranks = of_plate_draws(inputs.discrimination, draws, inputs.plates)
    return drawn_means(ranks, draws, np.unique(inputs.compounds))


def _verdict_replicates(
    verdicts: np.ndarray, joint: np.ndarray, inputs: ProfileInputs, replicates: int, seed: int
) -> np.ndarray:
    """Mean of the verdicts (K,) that are defined, each drawn as often as its rows are on average; joint (N,): whose."""
    weights = row_weights(inputs, replicates, seed)
    rows = csr_array((np.ones(len(joint)), (np.arange(len(joint)), joint)), shape=(len(joint), len(verdicts)))
    defined = np.isfinite(verdicts)
    return weighted_means(verdicts[defined], ((weights @ rows) / np.bincount(joint))[:, defined])


ROWS = (
    Metric(
        key="lda_separability",
        title="LDA separability",
        family="separability",
        named_after="embedding",
        version=1,
        inputs=SeparabilityInputs,
        direction="max",
        unit="balanced accuracy",
        smallest_n=10,
        summary="Share of a mechanism's images that an LDA of real ones names, averaged; chance is 1 / mechanisms.",
        sees=_SEES,
        compute=lambda inputs: lda_separability(inputs.train_x, inputs.train_y, inputs.generated_x, inputs.generated_y),
        resample=_separability_replicates,
        count=lambda inputs: len(inputs.generated_x),
        answers=lambda inputs: len(np.unique(inputs.generated_y)),
    ),
    Metric(
        key="nsc",
        title="NSC, mechanism of the nearest compound",
        family="separability",
        named_after="embedding",
        version=1,
        inputs=MechanismInputs,
        direction="max",
        unit="share of treatments",
        smallest_n=4,
        summary="Share of generated treatments whose nearest real profile of another compound has their mechanism.",
        sees=_SEES,
        compute=lambda inputs: np.nanmean(inputs.matches()[0]),
        resample=_nsc_replicates,
        count=lambda inputs: len(inputs.asked()),
        undefined=lambda inputs: undefined_of(inputs.matches()[0]),
        chance=lambda inputs: inputs.mechanism_chance(),
    ),
    Metric(
        key="nscb",
        title="NSCB, the same across batches",
        family="separability",
        named_after="embedding",
        version=2,
        inputs=BatchMechanismInputs,
        direction="max",
        unit="share of treatments in batches",
        smallest_n=4,
        summary="The same for profiles of single batches, with neighbours of other compounds in other batches only.",
        sees=_SEES,
        compute=lambda inputs: np.nanmean(inputs.batch_matches[0]),
        resample=_nscb_replicates,
        count=lambda inputs: len(inputs.asked(batched=True)),
        undefined=lambda inputs: undefined_of(inputs.batch_matches[0]),
        chance=lambda inputs: inputs.mechanism_chance(batched=True),
    ),
    Metric(
        key="replicate_map",
        title="Replicate mAP",
        family="per compound",
        named_after="embedding",
        version=1,
        inputs=ProfileInputs,
        direction="max",
        unit="mean average precision",
        smallest_n=2,
        summary="How early generated profiles find real ones of their compound on other plates among all compounds'.",
        sees=_SEES,
        compute=_retrieved,
        resample=_replicate_map_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(inputs.retrieval[0]),
        chance=lambda inputs: inputs.retrieval_chance,
    ),
    Metric(
        key="discrimination_rank",
        title="Discrimination rank",
        family="per compound",
        named_after="embedding",
        version=1,
        inputs=ProfileInputs,
        direction="max",
        unit="share of other compounds",
        smallest_n=2,
        summary="Share of other compounds whose real profile is farther than the true one's, averaged; chance is 0.5.",
        sees=_SEES,
        compute=lambda inputs: inputs.discrimination().mean(),
        resample=_discrimination_replicates,
        count=compounds,
        by_compound=lambda inputs: named(inputs.compounds, inputs.discrimination()),
    ),
)
