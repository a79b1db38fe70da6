"""Frechet distance between two feature sets, and how it changes with the weight of each row, for resampling.

d^2 = |mu_a - mu_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2))        (Heusel et al. 2017, eq. 6; Dowson & Landau
1982)

With any factors F_a' F_a = S_a and F_b' F_b = S_b the last trace is the sum of the singular values of F_a F_b'. No
matrix square root is taken, so nothing is lost when a covariance is singular, as it is whenever there are fewer
images than features.

numpy's LAPACK throughout: scipy brings a BLAS of its own, whose threads and numpy's wait for work on the same cores
and take half of the speed from each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from morphobench.metrics.checks import table

LARGE = 512
"""From here on eigenvalues of the smaller Gram matrix are tried before singular values, in a quarter of their time."""
TOLERANCE = 1e-7
"""Share of the distance that the eigenvalues may be wrong by; beyond it singular values are taken."""


@dataclass(frozen=True)
class FrechetReference:
    """Mean, trace of the covariance and a factor of it, for comparing many feature sets with one.

    mean (d,); factor (r, d) with factor' factor = covariance (n - 1 in the denominator), r = min(n, d) or fewer; rank
    is the most that the covariance can have, min(n - 1, d).
    """

    mean: np.ndarray
    trace: float
    factor: np.ndarray
    rank: int

    @classmethod
    def of(cls, features: np.ndarray) -> FrechetReference:
        """The statistics of features (n, d); ValueError for n < 2 or values that are not finite."""
        mean, trace, rows = _moments(features)
        n, d = rows.shape
        return cls(mean, trace, rows if n <= d else _semidefinite_factor(rows.T @ rows), min(n - 1, d))

    def distance(self, features: np.ndarray) -> float:
        """Frechet distance from features (n, d) to this reference, >= 0."""
        mean, trace, rows = _moments(features)
        if mean.shape != self.mean.shape:
            raise ValueError(f"features.shape={rows.shape} but the reference has {self.mean.size} features")
        n, d = rows.shape
        shift = mean - self.mean
        spread = float(shift @ shift + trace + self.trace)
        # A covariance is smaller than its rows, and only the eigenvalues can do without a factor of it.
        other = rows if n <= d else rows.T @ rows
        if min(n, d, len(self.factor)) >= LARGE:
            product = other @ self.factor.T
            if n > d:
                gram = self.factor @ product
            elif n <= len(self.factor):
                gram = product @ product.T
            else:
                gram = product.T @ product
            overlap, error = _root_trace(gram, min(n - 1, self.rank))
            if 2 * error <= TOLERANCE * (spread - 2 * overlap):
                return spread - 2 * overlap
        factor = other if n <= d else _semidefinite_factor(other)
        return max(0.0, spread - 2 * float(np.linalg.svd(factor @ self.factor.T, compute_uv=False).sum()))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to a (n, d) and b (m, d); in squared feature units, 0 for equal sets.

    Computed in float64, for singular covariances too, to 1e-7 of the value, at the cost of min(n, d) x min(m, d)
    singular values or fewer.
    Raises ValueError when n or m < 2, when the numbers of features differ, or when a value is not finite.
    """
    checked_pair(a, b)
    return FrechetReference.of(b).distance(a)


def frechet_resamples(a: np.ndarray, b: np.ndarray, weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
    """Frechet distance under R sets of row weights, weights_a (R, n) and weights_b (R, m), to first order: (R,).

    The distance plus, for every row, its influence times the change of its share of the weight. Taken in full, a
    replicate holds fewer distinct rows than the sample and is biased further up, by several times the true spread;
    the first order has no such bias and needs one singular value decomposition for all replicates. NaN where all
    weights of a side are 0. Raises as `frechet_distance`.
    """
    value, influence_a, influence_b = frechet_influence(a, b)
    return value + shares(weights_a) @ influence_a + shares(weights_b) @ influence_b


def shares(weights: np.ndarray) -> np.ndarray:
    """Weights (R, n) as shares of each replicate's whole, NaN where that is 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def frechet_influence(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The Frechet distance of a (n, d) and b (m, d) and its derivative by the weight share of each row: (n,), (m,).

    The derivative by S_a is I - T, with T the optimal transport map from a to b (Bhatia et al. 2019, "On the
    Bures-Wasserstein distance", section 2). For rows Q_a F_a and Q_b F_b with orthonormal columns in Q, and F_a F_b'
    = U S V', the rows' quadratic forms in T are the diagonal of Q_a U S U' Q_a', so T itself is never formed.
    Influences of a side average 0.
    """
    x, y = checked_pair(a, b)
    shift = x.mean(axis=0) - y.mean(axis=0)
    (basis_x, factor_x), (basis_y, factor_y) = _row_factor(x), _row_factor(y)
    left, values, right = np.linalg.svd(factor_x @ factor_y.T, full_matrices=False)
    sides = []
    for rows, basis, vectors, sign in ((x, basis_x, left, 1.0), (y, basis_y, right.T, -1.0)):
        centred = rows - rows.mean(axis=0)
        turned = vectors if basis is None else basis @ vectors
        n = len(rows)
        own, mapped = (centred**2).sum(axis=1) * n / (n - 1), n * (turned**2 @ values)
        influence = own - mapped + 2 * sign * centred @ shift
        sides.append(influence - influence.mean())
    spread = np.vdot(factor_x, factor_x) + np.vdot(factor_y, factor_y)
    return max(0.0, float(shift @ shift + spread - 2 * values.sum())), sides[0], sides[1]


def checked_features(features: np.ndarray) -> np.ndarray:
    """Features (n, d) as float64; ValueError for another number of axes, n < 2, d < 1, or as `table`."""
    x = table(features)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(f"features.shape={x.shape}: two rows or more of one feature or more are needed")
    return x


def checked_pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two feature sets as float64, with the same number of features."""
    x, y = checked_features(a), checked_features(b)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"a.shape={x.shape} and b.shape={y.shape}: the numbers of features differ")
    return x, y


def _moments(features: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Mean (d,), trace of the covariance, and centred rows / sqrt(n - 1): their product is the covariance."""
    x = checked_features(features)
    mean = x.mean(axis=0)
    rows = x - mean
    rows *= 1 / np.sqrt(len(x) - 1)
    return mean, float(np.vdot(rows, rows)), rows


def _root_trace(gram: np.ndarray, rank: int) -> tuple[float, float]:
    """Sum of the roots of the eigenvalues of a semidefinite matrix of a known rank, and how wrong it may be.

    An eigenvalue is known to a few units in the last place of the greatest one, so that the root of a small one keeps
    half the digits: it is off by that unit over twice the root, or by the root of the unit, whichever is less.
    """
    values = np.maximum(np.linalg.eigvalsh(gram)[-rank:], 0)
    unit = 16 * np.finfo(float).eps * values[-1]
    roots = np.sqrt(values)
    return float(roots.sum()), float((unit / np.maximum(2 * roots, np.sqrt(unit))).sum()) if unit else 0.0


def _semidefinite_factor(covariance: np.ndarray) -> np.ndarray:
    """R (r, d) with R' R = covariance (d, d), by Cholesky; where that is singular, by Cholesky with pivoting."""
    try:
        return np.linalg.cholesky(covariance, upper=True)
    except np.linalg.LinAlgError:  # fewer rows than features, or features that depend on each other
        return _pivoted_factor(covariance)


def _pivoted_factor(covariance: np.ndarray) -> np.ndarray:
    """The same with pivoting, which stops at the rank r."""
    upper, pivots, rank, _ = lapack.dpstrf(covariance, lower=0)
    factor = np.zeros((max(rank, 1), len(covariance)))
    factor[:, pivots - 1] = np.triu(upper)[: max(rank, 1)] if rank else 0.0
    return factor


def _row_factor(x: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Q (n, r) with orthonormal columns and F (r, d) with Q F = centred x / sqrt(n - 1); Q is None for the identity."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return None, centred
    basis, factor = np.linalg.qr(centred)
    return basis, factor
