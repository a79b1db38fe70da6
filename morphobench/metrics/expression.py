"""Expression: does the predicted post-treatment profile change the right genes?

Profiles are log2 expression, so LFC = post - pre, with pre the matched vehicle profile. Raw profiles correlate above
0.9 whatever the drug; only changes are scored. Rows (wells, plates, doses) of a compound are averaged first: the
compound is the unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from morphobench.metrics.checks import array

CONSTANT = 5e-6
"""A spread below this share of the largest expression value is rounding, not a pattern: of float32 profiles, and of the
four decimals of `expression.csv`, averaged over a compound's rows."""
RUN = 4
"""Replicates that are computed at a time: what they hold stays in a core's own cache."""
TIE = 1e-9
"""Correlations that differ by less are equal."""


def lfc_pearson(predicted_post: np.ndarray, pre: np.ndarray, measured_post: np.ndarray, compounds: np.ndarray) -> float:
    """The seed paper's correlation: LFC per compound, z-scored per gene over compounds, all (compound, gene) pooled.

    Profiles (N, G) log2; compounds (N,). The paper (section 4.3, figure 5a) takes the training compounds and states
    neither axis nor pooling; this is the usual heat map's z-score. A gene that is constant over compounds gets z = 0.
    A lookup table of the training compounds scores high (1 on the very wells it holds), so the value says what was
    memorised. Raises ValueError for shapes that differ, NaN, fewer than two compounds, or a prediction (or
    measurement) that is the same for all compounds.
    """
    changes = _changes(predicted_post, pre, measured_post, compounds)
    names, predicted, measured = _compound_means(changes, compounds, np.ones(len(compounds)))
    rounding = _rounding(predicted_post, measured_post)
    value = float(_pooled_correlation(predicted, measured, np.ones(len(names)), rounding))
    if np.isnan(value):
        raise ValueError(f"the predicted or the measured change is the same for all {len(names)} compounds")
    return value


def lfc_pearson_per_compound(
    predicted_post: np.ndarray,
    pre: np.ndarray,
    measured_post: np.ndarray,
    compounds: np.ndarray,
    centred: bool = False,
) -> np.ndarray:
    """Pearson r over genes between predicted and measured LFC, one per compound in sorted order: (C,).

    With `centred`, each side is taken relative to its own mean over these compounds (equal weight): what is left is
    what sets a compound apart, and a prediction that is the same for every compound leaves nothing. A reference from
    elsewhere, the training compounds' mean for one, would leave the difference of the two means in every measured
    compound, and a drug-free prediction could point along it. A prediction that is constant over genes scores 0, so
    that a flat answer cannot drop a hard compound; NaN only where the measurement is constant. Raises ValueError for
    shapes that differ or NaN.
    """
    changes = _changes(predicted_post, pre, measured_post, compounds)
    _, predicted, measured = _compound_means(changes, compounds, np.ones(len(compounds)))
    if centred:
        predicted, measured = predicted - predicted.mean(axis=0), measured - measured.mean(axis=0)
    sides = _gene_centred(predicted), _gene_centred(measured)
    return _row_correlation(*sides, _rounding(predicted_post, measured_post))


def centroid_accuracy(
    predicted_post: np.ndarray, pre: np.ndarray, measured_post: np.ndarray, compounds: np.ndarray
) -> np.ndarray:
    """Share of the other compounds whose measured LFC a prediction is less like than that of its own: (C,), sorted.

    Likeness is Pearson's r over genes of compound means; a tie counts half. So a prediction that is the same for every
    compound averages 0.5, whatever it is, and a prediction that is constant over genes has 0.5. NaN where the
    measurement is constant; such a compound is no rival either. Raises ValueError for shapes that differ or NaN.

    Source: the centroid accuracy of Viñas Torné et al. 2025, Nature Biotechnology, with r in place of the Euclidean
    distance, as the other expression rows do not judge size.
    """
    changes = _changes(predicted_post, pre, measured_post, compounds)
    names, predicted, measured = _compound_means(changes, compounds, np.ones(len(compounds)))
    sides = _gene_centred(predicted), _gene_centred(measured)
    return _centroid_accuracy(*sides, np.ones(len(names)), _rounding(predicted_post, measured_post))


def pooled_resamples(
    predicted_post: np.ndarray,
    pre: np.ndarray,
    measured_post: np.ndarray,
    compounds: np.ndarray,
    weights: np.ndarray,
    compound_counts: dict[str, np.ndarray],
) -> np.ndarray:
    """`lfc_pearson` under R sets of row weights (R, N) and compound counts {name: (R,)}: (R,), or NaN."""
    rounding = _rounding(predicted_post, measured_post)
    changes = _changes(predicted_post, pre, measured_post, compounds)
    return np.concatenate(
        [
            _pooled_correlation(predicted, measured, counts, rounding)
            for predicted, measured, counts in _resampled_means(changes, compounds, weights, compound_counts)
        ]
    )


def per_compound_resamples(
    predicted_post: np.ndarray,
    pre: np.ndarray,
    measured_post: np.ndarray,
    compounds: np.ndarray,
    centred: bool,
    weights: np.ndarray,
    compound_counts: dict[str, np.ndarray],
) -> np.ndarray:
    """Mean of `lfc_pearson_per_compound` under R sets of row weights (R, N) and counts of compounds: (R,).

    The means of `centred` are those of the drawn compounds, as often as they were drawn.
    """
    rounding = _rounding(predicted_post, measured_post)
    # Taking the mean over genes off before the means over wells is the same, and done once.
    predicted, measured = _changes(predicted_post, pre, measured_post, compounds)
    changes = _gene_centred(predicted), _gene_centred(measured)
    correlations = []
    for predicted, measured, counts in _resampled_means(changes, compounds, weights, compound_counts):
        if centred:
            predicted, measured = predicted - _mean(predicted, counts), measured - _mean(measured, counts)
        correlations.append(_drawn_mean(_row_correlation(predicted, measured, rounding), counts))
    return np.concatenate(correlations)


def centroid_resamples(
    predicted_post: np.ndarray,
    pre: np.ndarray,
    measured_post: np.ndarray,
    compounds: np.ndarray,
    weights: np.ndarray,
    compound_counts: dict[str, np.ndarray],
) -> np.ndarray:
    """Mean of `centroid_accuracy` under R sets of row weights (R, N) and counts of compounds: (R,), or NaN.

    A compound that was drawn twice is twice a rival of the others and never one of itself.
    """
    rounding = _rounding(predicted_post, measured_post)
    predicted, measured = _changes(predicted_post, pre, measured_post, compounds)
    changes = _gene_centred(predicted), _gene_centred(measured)
    return np.concatenate(
        [
            _drawn_mean(_centroid_accuracy(predicted, measured, counts, rounding), counts)
            for predicted, measured, counts in _resampled_means(changes, compounds, weights, compound_counts)
        ]
    )


def _changes(
    predicted_post: np.ndarray, pre: np.ndarray, measured_post: np.ndarray, compounds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured LFC of every row (N, G) in float64, after the checks."""
    predicted_post, pre, measured_post, compounds = map(array, (predicted_post, pre, measured_post, compounds))
    if not (predicted_post.shape == pre.shape == measured_post.shape == (len(compounds), *pre.shape[1:])):
        raise ValueError(f"{predicted_post.shape=}, {pre.shape=}, {measured_post.shape=}, {compounds.shape=} differ")
    if pre.ndim != 2 or pre.size == 0:
        raise ValueError(f"{pre.shape=}: (profiles, genes) is needed")
    for name, values in (("predicted_post", predicted_post), ("pre", pre), ("measured_post", measured_post)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} values are not finite")
    base = pre.astype(np.float64)
    return predicted_post - base, measured_post - base


def _compound_means(
    changes: tuple[np.ndarray, np.ndarray], compounds: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compounds in sorted order (C,), their weighted mean predicted and measured LFC (C, G); weight 0 leaves out."""
    compounds, kept = array(compounds), np.flatnonzero(weights)
    names, member = np.unique(compounds[kept], return_inverse=True)
    total = np.bincount(member, weights[kept])
    # One entry per row: a dense (C, N) matrix would multiply each profile by C - 1 zeros in every replicate.
    mixing = csr_array((weights[kept] / total[member], (member, kept)), shape=(len(names), len(compounds)))
    predicted, measured = changes
    return names, mixing @ predicted, mixing @ measured


def _resampled_means(
    changes: tuple[np.ndarray, np.ndarray],
    compounds: np.ndarray,
    weights: np.ndarray,
    compound_counts: dict[str, np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Compound means (r, C, G) of both sides and how often each compound counts (r, C), in runs of replicates.

    A compound without any weight in a replicate counts 0 there, and its means are 0.
    """
    names, member = np.unique(compounds, return_inverse=True)
    # Rows of one compound that always weigh the same (one plate's) are one row: their sum.
    patterns, pattern = np.unique(weights, axis=1, return_inverse=True)
    cells, cell, sizes = np.unique(
        member * patterns.shape[1] + pattern.ravel(), return_inverse=True, return_counts=True
    )
    gather = csr_array((np.ones(len(cell)), (cell, np.arange(len(cell)))), shape=(len(cells), len(cell)))
    sums = [gather @ side for side in changes]
    owner = cells // patterns.shape[1]
    cell_weights = patterns[:, cells % patterns.shape[1]].astype(float)
    counts = np.stack([compound_counts[str(name)] for name in names], axis=1).astype(float)
    wells = csr_array((sizes.astype(float), (np.arange(len(cells)), owner)), shape=(len(cells), len(names)))
    for start in range(0, len(weights), RUN):
        own = cell_weights[start : start + RUN]
        total = np.asarray(own @ wells)
        share = own / np.where(total > 0, total, 1.0)[:, owner]
        rows = (np.arange(len(own))[:, None] * len(names) + owner).ravel()
        columns = np.tile(np.arange(len(cells)), len(own))
        mixing = csr_array((share.ravel(), (rows, columns)), shape=(len(own) * len(names), len(cells)))
        predicted, measured = ((mixing @ side).reshape(len(own), len(names), -1) for side in sums)
        yield predicted, measured, counts[start : start + RUN] * (total > 0)


def _mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over compounds of (..., C, G), each counted (..., C) times: (..., 1, G); 0 where nothing counts."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray((counts / np.where(total > 0, total, 1.0))[..., None, :] @ values)


def _drawn_mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over compounds of (r, C), each counted (r, C) times: (r,); NaN is left out, and what has nothing left."""
    counts = np.where(np.isnan(values), 0.0, counts)
    total = counts.sum(axis=1)
    sums = (np.nan_to_num(values) * counts).sum(axis=1)
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)


def _pooled_correlation(
    predicted: np.ndarray, measured: np.ndarray, counts: np.ndarray, rounding: Rounding
) -> np.ndarray:
    """Of (..., C, G) sides and counts (..., C): (...); NaN for fewer than two compounds, or a side that is constant."""
    total = counts.sum(axis=-1, keepdims=True)
    share = counts / np.where(total > 0, total, 1.0)
    p, m = _standardised(predicted, share, rounding.predicted), _standardised(measured, share, rounding.measured)

    def pooled(product: np.ndarray) -> np.ndarray:
        return np.asarray((share * product.sum(axis=-1)).sum(axis=-1))

    # z-scores have mean 0 in every gene, so the pooled means are 0 and the correlation is this ratio.
    spread = np.sqrt(pooled(p**2) * pooled(m**2))
    defined = (spread > 0) & (np.count_nonzero(counts, axis=-1) >= 2)
    return np.where(defined, pooled(p * m) / np.where(defined, spread, 1.0), np.nan)


def _standardised(changes: np.ndarray, share: np.ndarray, tolerance: float) -> np.ndarray:
    centred = changes - share[..., None, :] @ changes
    deviation = np.sqrt(share[..., None, :] @ centred**2)
    varies = deviation > tolerance
    return np.where(varies, centred, 0.0) / np.where(varies, deviation, 1.0)


def _gene_centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def _length(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...g,...g->...", values, values))


def _row_correlation(predicted: np.ndarray, measured: np.ndarray, rounding: Rounding) -> np.ndarray:
    """r of gene-centred rows (..., G): (...); 0 where the prediction is constant, NaN where the measurement is."""
    p, m = _length(predicted), _length(measured)
    genes = np.sqrt(predicted.shape[-1])
    says, moved = p > rounding.predicted * genes, m > rounding.measured * genes
    both = says & moved
    r = np.einsum("...g,...g->...", predicted, measured) / np.where(both, p * m, 1.0)
    return np.where(moved, np.where(says, r, 0.0), np.nan)


def _centroid_accuracy(
    predicted: np.ndarray, measured: np.ndarray, counts: np.ndarray, rounding: Rounding
) -> np.ndarray:
    """Of gene-centred (..., C, G) sides, each compound a rival as often as it counts (..., C): (..., C), or NaN."""
    p, m = _length(predicted), _length(measured)
    genes = np.sqrt(predicted.shape[-1])
    says, moved = p > rounding.predicted * genes, m > rounding.measured * genes
    # A prediction's length is the same for every rival; a constant one is as like one as another.
    likeness = predicted @ np.swapaxes(measured, -1, -2) / np.where(moved, m, 1.0)[..., None, :]
    likeness = np.where(says[..., None], likeness / np.where(says, p, 1.0)[..., None], 0.0)
    own = np.diagonal(likeness, axis1=-2, axis2=-1)[..., None]
    won = np.where(np.abs(own - likeness) <= TIE, 0.5, own > likeness)
    rivals = (counts * moved)[..., None, :] * (1 - np.eye(counts.shape[-1]))
    total = rivals.sum(axis=-1)
    share = (won * rivals).sum(axis=-1) / np.where(total > 0, total, 1.0)
    return np.where(moved & (total > 0), share, np.nan)


class Rounding(NamedTuple):
    """Spread under which each side is constant; each its own, as a huge prediction must not silence the truth."""

    predicted: float
    measured: float


def _rounding(predicted_post: np.ndarray, measured_post: np.ndarray) -> Rounding:
    predicted, measured = (CONSTANT * float(np.abs(array(side)).max()) for side in (predicted_post, measured_post))
    return Rounding(predicted, measured)
