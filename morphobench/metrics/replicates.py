"""Replicates of every score: a bundle's clusters are drawn, its rows weighted, and the score taken again, R times.

All functions take (inputs, replicates, seed) and return the three arms of `ClusterDraws.each_way`, (3 R,): draws of
compounds and plates, of compounds alone, of plates alone; NaN where a replicate has no value. Compounds and plates that
generated and real images share are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array

from morphobench.metrics.bootstrap import ClusterDraws, draw_clusters
from morphobench.metrics.compounds import counted_mean
from morphobench.metrics.expression import centroid_resamples, per_compound_resamples, pooled_resamples
from morphobench.metrics.frechet import frechet_resamples
from morphobench.metrics.frechet_compounds import frechet_resamples_by_compound
from morphobench.metrics.inception_score import inception_resamples
from morphobench.metrics.inputs import (
    CopyInputs,
    ExpressionInputs,
    FeatureInputs,
    MemorisationInputs,
    MorphologyInputs,
    ProbabilityInputs,
    SeparabilityInputs,
    SwapInputs,
)
from morphobench.metrics.kernel import kernel_resamples, kernel_resamples_by_compound
from morphobench.metrics.labels import OneLabelled
from morphobench.metrics.morphology import profile_resamples, shift_resamples
from morphobench.metrics.neighbours import weighted_means
from morphobench.metrics.profile_inputs import (
    BatchMechanismInputs,
    MechanismInputs,
    MorphologyProfileInputs,
    ProfileInputs,
)
from morphobench.metrics.reliance import error_resamples, gap_resamples
from morphobench.metrics.separability import balanced_resamples, lda_correct


def frechet_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Frechet distance."""
    return frechet_resamples(inputs.generated, inputs.real, *_image_weights(inputs, replicates, seed))


def frechet_infinity_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Frechet distance extrapolated to infinitely many images; the parts stay as cut."""
    return inputs.extrapolation.resamples(*_image_weights(inputs, replicates, seed))


def frechet_by_compound_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Frechet distance per compound, averaged."""
    return _averaged_by_compound(frechet_resamples_by_compound, inputs, replicates, seed)


def kernel_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Kernel distance over all images."""
    return kernel_resamples(inputs.generated, inputs.real, *_image_weights(inputs, replicates, seed))


def kernel_by_compound_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Kernel distance per compound, averaged."""
    return _averaged_by_compound(kernel_resamples_by_compound, inputs, replicates, seed)


def precision_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Precision; here, for recall and for coverage the verdicts on single images stay, and the images are drawn."""
    return weighted_means(inputs.neighbourhoods.precise, _image_weights(inputs, replicates, seed)[0])


def density_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Density, to first order: as a mean over generated images and as one over real ones, whose balls they lie in."""
    near, (generated, real) = inputs.neighbourhoods, _image_weights(inputs, replicates, seed)
    return weighted_means(near.dense, generated) + weighted_means(near.holding, real) - near.dense.mean()


def recall_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Recall."""
    return weighted_means(inputs.neighbourhoods.recalled, _image_weights(inputs, replicates, seed)[1])


def coverage_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Coverage."""
    return weighted_means(inputs.neighbourhoods.covered, _image_weights(inputs, replicates, seed)[1])


def duplicate_replicates(inputs: CopyInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of repeated images: which are repeated stays, and the images are drawn."""
    return weighted_means(inputs.repeated, _row_weights(inputs, replicates, seed))


def train_copy_replicates(inputs: MemorisationInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of copies of training images; here and in the next row the verdicts stay, and the images are drawn."""
    return weighted_means(inputs.copied, _row_weights(inputs, replicates, seed))


def near_copy_replicates(inputs: MemorisationInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of near copies of training images."""
    return weighted_means(inputs.near, _row_weights(inputs, replicates, seed))


def train_distance_replicates(inputs: MemorisationInputs, replicates: int, seed: int) -> np.ndarray:
    """Ratio of mean distances to the nearest training image; generated and real images are drawn together."""
    weights = _row_weights(inputs, replicates, seed)
    return weighted_means(inputs.distance, weights) / weighted_means(inputs.real_distance, weights)


def inception_replicates(inputs: ProbabilityInputs, replicates: int, seed: int) -> np.ndarray:
    """Inception score of all images in one chunk: its spread stands for that of the chunked score."""
    return inception_resamples(inputs.probabilities, _row_weights(inputs, replicates, seed))


def separability_replicates(inputs: SeparabilityInputs, replicates: int, seed: int) -> np.ndarray:
    """Balanced accuracy of the LDA; the classifier stays as fitted, only the generated images are drawn."""
    correct = lda_correct(inputs.train_x, inputs.train_y, inputs.generated_x, inputs.generated_y)
    return balanced_resamples(correct, inputs.generated_y, _row_weights(inputs, replicates, seed))


def nsc_replicates(inputs: MechanismInputs, replicates: int, seed: int) -> np.ndarray:
    """NSC; profiles are averaged anew over the drawn plates, verdicts count as often as their compound is drawn."""
    draws = _own_draws(inputs, replicates, seed)
    _, first = inputs.matches()
    verdicts = _of_plate_draws(lambda weights: inputs.matches(weights)[0], draws, inputs.plates)
    return _drawn_means(verdicts, draws, inputs.compounds[first])


def nscb_replicates(inputs: BatchMechanismInputs, replicates: int, seed: int) -> np.ndarray:
    """NSCB; here and in the next the neighbours stay, and the verdicts are drawn by compound and plate."""
    return _verdict_replicates(*inputs.batch_matches, inputs, replicates, seed)


def replicate_map_replicates(inputs: ProfileInputs, replicates: int, seed: int) -> np.ndarray:
    """Mean average precision."""
    return _verdict_replicates(*inputs.retrieval, inputs, replicates, seed)


def discrimination_replicates(inputs: ProfileInputs, replicates: int, seed: int) -> np.ndarray:
    """Discrimination rank; profiles are averaged anew over the drawn plates, the rivals stay."""
    draws = _own_draws(inputs, replicates, seed)
    ranks = _of_plate_draws(inputs.discrimination, draws, inputs.plates)
    return _drawn_means(ranks, draws, np.unique(inputs.compounds))


def shift_replicates(inputs: MorphologyInputs, replicates: int, seed: int) -> np.ndarray:
    """AreaOccupied shift; vehicle images are drawn by plate, the samples stay."""
    draws = _draws(
        [inputs.generated_compounds, inputs.real_compounds],
        [inputs.generated_plates, inputs.real_plates, inputs.vehicle_plates],
        replicates,
        seed,
    )
    counts, which = np.unique(np.stack(list(draws.plate_counts.values())), axis=1, return_inverse=True)
    distinct = ClusterDraws(counts.shape[1], {}, dict(zip(draws.plate_counts, counts, strict=True)))
    return shift_resamples(
        inputs.generated,
        inputs.generated_compounds,
        inputs.generated_plates,
        inputs.real,
        inputs.real_compounds,
        inputs.vehicle,
        inputs.vehicle_plates,
        distinct.plate_weights(inputs.generated_plates),
        distinct.plate_weights(inputs.real_plates),
        distinct.plate_weights(inputs.vehicle_plates),
        which.reshape(-1),
        draws.compound_counts,
    )


def profile_correlation_replicates(inputs: MorphologyProfileInputs, replicates: int, seed: int) -> np.ndarray:
    """Correlation of profiles, averaged; the vehicle images stay."""
    draws = _own_draws(inputs, replicates, seed)
    weights = draws.plate_weights(inputs.plates)
    return profile_resamples(*inputs.changes, inputs.compounds, weights, draws.compound_counts)


def pooled_lfc_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """The paper's pooled LFC correlation."""
    draws = _own_draws(inputs, replicates, seed)
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return pooled_resamples(*profiles, draws.plate_weights(inputs.plates), draws.compound_counts)


def lfc_vehicle_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """LFC correlation per compound against the vehicle, averaged."""
    return _per_compound_replicates(inputs, False, replicates, seed)


def lfc_perturbed_mean_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """LFC correlation per compound, each side centred by its mean over compounds, averaged."""
    return _per_compound_replicates(inputs, True, replicates, seed)


def centroid_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """Centroid accuracy, averaged over compounds."""
    draws = _own_draws(inputs, replicates, seed)
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return centroid_resamples(*profiles, draws.plate_weights(inputs.plates), draws.compound_counts)


def swap_gap_replicates(inputs: SwapInputs, replicates: int, seed: int) -> np.ndarray:
    """Swap gap; generated and real images are drawn together, by compound and plate."""
    return gap_resamples(inputs.changes, *_swap_counts(inputs, replicates, seed))


def swap_error_replicates(inputs: SwapInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of the true change that is missed."""
    assert inputs.truth is not None
    counts = _swap_counts(inputs, replicates, seed)
    return error_resamples(inputs.moved, inputs.truth, inputs.units, inputs.levels, *counts)


def _swap_counts(inputs: SwapInputs, replicates: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws of what was swapped, and of the other label."""
    compounds, plates = [inputs.compounds, inputs.real_compounds], [inputs.plates, inputs.real_plates]
    draws = _draws(compounds, plates, replicates, seed)
    counts = draws.compound_counts, draws.plate_counts
    return counts if inputs.by == "compounds" else counts[::-1]


def _per_compound_replicates(inputs: ExpressionInputs, centred: bool, replicates: int, seed: int) -> np.ndarray:
    draws = _own_draws(inputs, replicates, seed)
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return per_compound_resamples(*profiles, centred, draws.plate_weights(inputs.plates), draws.compound_counts)


def _of_plate_draws(values: Callable[[np.ndarray], np.ndarray], draws: ClusterDraws, plates: np.ndarray) -> np.ndarray:
    """`values` (K,) of the weights (N,) that each replicate gives to plates, (R, K).

    Draws that are equal are computed once: there are only 35 different ones of four plates.
    """
    distinct, which = np.unique(draws.plate_weights(plates), axis=0, return_inverse=True)
    return np.stack([values(weights) for weights in distinct])[which.reshape(-1)]


def _drawn_means(values: np.ndarray, draws: ClusterDraws, compounds: np.ndarray) -> np.ndarray:
    """Mean of values (R, K), one set per replicate, each counted as often as its compound (K,) is drawn: (R,)."""
    counts = np.stack([draws.compound_counts[str(name)] for name in compounds], axis=1)
    counts = np.where(np.isnan(values), 0, counts)
    total = counts.sum(axis=1)
    return np.divide(
        (counts * np.nan_to_num(values)).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0
    )


def _verdict_replicates(
    verdicts: np.ndarray, joint: np.ndarray, inputs: ProfileInputs, replicates: int, seed: int
) -> np.ndarray:
    """Mean of the verdicts (K,) that are defined, each drawn as often as its rows are on average; joint (N,): whose."""
    weights = _row_weights(inputs, replicates, seed)
    rows = csr_array((np.ones(len(joint)), (np.arange(len(joint)), joint)), shape=(len(joint), len(verdicts)))
    known = np.isfinite(verdicts)
    return weighted_means(verdicts[known], ((weights @ rows) / np.bincount(joint))[:, known])


def _row_weights(inputs: OneLabelled, replicates: int, seed: int) -> np.ndarray:
    """How often each row of a bundle is drawn, (3 R, N)."""
    return _own_draws(inputs, replicates, seed).weights(inputs.compounds, inputs.plates)


def _own_draws(inputs: OneLabelled, replicates: int, seed: int) -> ClusterDraws:
    return _draws([inputs.compounds], [inputs.plates], replicates, seed)


def _draws(compounds: Sequence[np.ndarray], plates: Sequence[np.ndarray], replicates: int, seed: int) -> ClusterDraws:
    return draw_clusters(compounds, plates, replicates, seed).each_way()


def _image_weights(inputs: FeatureInputs, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draws = _feature_draws(inputs, replicates, seed)
    return (
        draws.weights(inputs.generated_compounds, inputs.generated_plates),
        draws.weights(inputs.real_compounds, inputs.real_plates),
    )


def _averaged_by_compound(
    resample: Callable[..., dict[str, np.ndarray]], inputs: FeatureInputs, replicates: int, seed: int
) -> np.ndarray:
    draws = _feature_draws(inputs, replicates, seed)
    values = resample(
        inputs.generated,
        inputs.generated_compounds,
        inputs.real,
        inputs.real_compounds,
        draws.plate_weights(inputs.generated_plates),
        draws.plate_weights(inputs.real_plates),
    )
    return counted_mean(values, draws.compound_counts)


def _feature_draws(inputs: FeatureInputs, replicates: int, seed: int) -> ClusterDraws:
    compounds = [inputs.generated_compounds, inputs.real_compounds]
    return _draws(compounds, [inputs.generated_plates, inputs.real_plates], replicates, seed)
