"""Kernel distance: unbiased squared maximum mean discrepancy with the cubic kernel k(x, y) = (x'y / d + 1)^3.

Binkowski et al. 2018, "Demystifying MMD GANs", eq. 4 and section 4. The published score averages the estimator over
random subsets; the same estimator over all pairs has the same expectation, a smaller variance and no seed, and is
what this benchmark reports. It can be slightly negative.
"""

from __future__ import annotations

import numpy as np

from morphobench.metrics.compounds import by_compound, resamples_by_compound
from morphobench.metrics.frechet import checked_pair


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """k(x, y) = (x'y / d + 1)^3 between the rows of a (n, d) and b (m, d): (n, m)."""
    product = a @ b.T
    product /= a.shape[1]
    product += 1
    # Two multiplications: a power of 3 goes through the general pow, ten times slower.
    return product * product * product


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD between a (n, d) and b (m, d) over all pairs of distinct rows, in float64.

    Raises ValueError when n or m < 2, when the numbers of features differ, or when a value is not finite.
    """
    scores_a, scores_b = _row_scores(*checked_pair(a, b))
    return float(scores_a.mean() + scores_b.mean())


def kernel_distance_subsets(
    a: np.ndarray, b: np.ndarray, subset_size: int = 1000, subsets: int = 100, seed: int = 2020
) -> tuple[float, float]:
    """Mean and standard deviation of the estimator over random subsets: the score as published.

    The subsets are those that torch-fidelity draws for the same seed. Raises ValueError when a set has fewer than
    `subset_size` rows, or as `kernel_distance`.
    """
    x, y = checked_pair(a, b)
    if not 2 <= subset_size <= min(len(x), len(y)):
        raise ValueError(f"{subset_size=} must lie between 2 and {min(len(x), len(y))=}")
    if subsets < 1:
        raise ValueError(f"{subsets=} must be at least 1")
    random = np.random.RandomState(seed)  # the published score's generator
    values = np.empty(subsets)
    for i in range(subsets):
        part_x = x[random.choice(len(x), subset_size, replace=False)]
        part_y = y[random.choice(len(y), subset_size, replace=False)]
        values[i] = kernel_distance(part_x, part_y)
    return float(values.mean()), float(values.std())


def kernel_resamples(a: np.ndarray, b: np.ndarray, weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
    """The estimator under R sets of row weights, weights_a (R, n) and weights_b (R, m), to first order: (R,).

    A row's influence is twice what it adds to the estimator (its Hoeffding projection), so that copies of a row are
    never paired with each other. NaN where all weights of a side are 0. Raises as `kernel_distance`.
    """
    scores_a, scores_b = _row_scores(*checked_pair(a, b))
    with np.errstate(invalid="ignore"):
        share_a = weights_a / weights_a.sum(axis=1, keepdims=True)
        share_b = weights_b / weights_b.sum(axis=1, keepdims=True)
    return 2 * (share_a @ scores_a + share_b @ scores_b) - scores_a.mean() - scores_b.mean()


def kernel_distance_by_compound(
    a: np.ndarray, a_compounds: np.ndarray, b: np.ndarray, b_compounds: np.ndarray
) -> np.ndarray:
    """The estimator between the rows of a and of b that share a compound, one per compound in sorted order: (C,).

    Raises ValueError when the two sides hold different compounds or one has fewer than two rows of a compound, or as
    `kernel_distance`.
    """
    return by_compound(kernel_distance, a, a_compounds, b, b_compounds)


def kernel_resamples_by_compound(
    a: np.ndarray,
    a_compounds: np.ndarray,
    b: np.ndarray,
    b_compounds: np.ndarray,
    weights_a: np.ndarray,
    weights_b: np.ndarray,
) -> dict[str, np.ndarray]:
    """`kernel_resamples` of each compound under R sets of row weights (R, n), (R, m): {name: (R,)}.

    Raises as `kernel_distance_by_compound`.
    """
    return resamples_by_compound(kernel_resamples, a, a_compounds, b, b_compounds, weights_a, weights_b)


def _row_scores(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each row adds: its mean kernel with the other rows of its side less that with the other side; (n,), (m,)."""
    cross = polynomial_kernel(x, y)
    return _mean_with_others(x) - cross.mean(axis=1), _mean_with_others(y) - cross.mean(axis=0)


def _mean_with_others(x: np.ndarray) -> np.ndarray:
    kernel = polynomial_kernel(x, x)
    return (kernel.sum(axis=1) - kernel.diagonal()) / (len(x) - 1)
