"""Expression: does the predicted post-treatment profile change the right genes?

Profiles are log2 expression, so LFC = post - pre, with pre the matched vehicle profile. Raw profiles correlate above
0.9 whatever the drug; only changes are scored. Rows (wells, plates, doses) of a compound are averaged first: the
compound is the unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

CONSTANT = 5e-6
"""A spread below this share of the largest expression value is rounding, not a pattern: of float32 profiles, and of the
four decimals of `expression.csv`, averaged over a compound's rows."""


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
    value = _pooled_correlation(predicted, measured, np.ones(len(names)), _rounding(predicted_post, measured_post))
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
    return _row_correlation(predicted, measured, _rounding(predicted_post, measured_post))


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
    result = np.empty(len(weights))
    for replicate, row_weights in enumerate(weights):
        names, predicted, measured = _compound_means(changes, compounds, row_weights)
        counts = np.array([compound_counts[name][replicate] for name in names], dtype=float)
        result[replicate] = _pooled_correlation(predicted, measured, counts, rounding) if len(names) else np.nan
    return result


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
    changes = _changes(predicted_post, pre, measured_post, compounds)
    result = np.full(len(weights), np.nan)
    for replicate, row_weights in enumerate(weights):
        names, predicted, measured = _compound_means(changes, compounds, row_weights)
        counts = np.array([compound_counts[name][replicate] for name in names], dtype=float)
        if not counts.any():
            continue
        if centred:
            share = counts / counts.sum()
            predicted, measured = predicted - share @ predicted, measured - share @ measured
        r = _row_correlation(predicted, measured, rounding)
        counts[np.isnan(r)] = 0
        if counts.any():
            result[replicate] = np.average(r[counts > 0], weights=counts[counts > 0])
    return result


def _changes(
    predicted_post: np.ndarray, pre: np.ndarray, measured_post: np.ndarray, compounds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured LFC of every row (N, G) in float64, after the checks."""
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
    kept = np.flatnonzero(weights)
    names, member = np.unique(compounds[kept], return_inverse=True)
    total = np.bincount(member, weights[kept])
    # One entry per row: a dense (C, N) matrix would multiply each profile by C - 1 zeros in every replicate.
    mixing = csr_array((weights[kept] / total[member], (member, kept)), shape=(len(names), len(compounds)))
    predicted, measured = changes
    return names, mixing @ predicted, mixing @ measured


def _pooled_correlation(predicted: np.ndarray, measured: np.ndarray, counts: np.ndarray, rounding: Rounding) -> float:
    if np.count_nonzero(counts) < 2:
        return float("nan")
    share = counts / counts.sum()
    p, m = _standardised(predicted, share, rounding.predicted), _standardised(measured, share, rounding.measured)
    # z-scores have mean 0 in every gene, so the pooled means are 0 and the correlation is this ratio.
    spread = np.sqrt((share @ p**2).sum() * (share @ m**2).sum())
    return float((share @ (p * m)).sum() / spread) if spread > 0 else float("nan")


def _standardised(changes: np.ndarray, share: np.ndarray, tolerance: float) -> np.ndarray:
    centred = changes - share @ changes
    deviation = np.sqrt(share @ centred**2)
    varies = deviation > tolerance
    return np.where(varies, centred, 0.0) / np.where(varies, deviation, 1.0)


def _row_correlation(predicted: np.ndarray, measured: np.ndarray, rounding: Rounding) -> np.ndarray:
    """r of each row; 0 where the prediction is constant, NaN where the measurement is."""
    p = predicted - predicted.mean(axis=1, keepdims=True)
    m = measured - measured.mean(axis=1, keepdims=True)
    says, known = p.std(axis=1) > rounding.predicted, m.std(axis=1) > rounding.measured
    r = np.where(known, 0.0, np.nan)
    both = says & known
    p, m = p[both], m[both]
    r[both] = (p * m).sum(axis=1) / np.sqrt((p**2).sum(axis=1) * (m**2).sum(axis=1))
    return r


class Rounding(NamedTuple):
    """Spread under which each side is constant; each its own, as a huge prediction must not silence the truth."""

    predicted: float
    measured: float


def _rounding(predicted_post: np.ndarray, measured_post: np.ndarray) -> Rounding:
    return Rounding(CONSTANT * float(np.abs(predicted_post).max()), CONSTANT * float(np.abs(measured_post).max()))
