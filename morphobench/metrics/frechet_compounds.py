"""Frechet distances per compound, and of resamples of a compound's images, from inner products alone.

A weighted sample of n rows has mean A'p and covariance A'(D - pp')A c, with p the weight shares, D their diagonal and c
= W / (W - 1) for W rows in all. Its factor, the root of the weights times the centred rows, makes every term of the
Frechet distance one of the inner products of the rows: the (n + m) x (n + m) Gram matrix is formed once, and no
replicate touches the d features again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphobench.metrics.bootstrap import draw_clusters, few_clusters_widening, recentred_interval
from morphobench.metrics.checks import array
from morphobench.metrics.compounds import by_compound, paired_compounds, resamples_by_compound
from morphobench.metrics.frechet import checked_pair, frechet_distance, frechet_resamples

FEWEST_UNITS = 3
FARTHEST = 1000.0
"""Times a distance that its interval may reach up or down; first-order replicates say nothing of so large a change."""
BLOCK = 2**22
"""Numbers of the cross products of replicates that are held at a time: 32 MiB."""


@dataclass(frozen=True)
class FrechetGram:
    """Inner products of the rows of a (n, d) and b (m, d) about their common mean: aa (n, n), ab (n, m), bb (m, m)."""

    aa: np.ndarray
    ab: np.ndarray
    bb: np.ndarray

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray) -> FrechetGram:
        """From features; ValueError as `frechet_distance`."""
        x, y = checked_pair(a, b)
        middle = (x.mean(axis=0) + y.mean(axis=0)) / 2  # distances do not see it, and small numbers keep their digits
        x, y = x - middle, y - middle
        return cls(x @ x.T, x @ y.T, y @ y.T)

    def resamples(self, weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
        """Frechet distance under R sets of row weights (R, n), (R, m): (R,).

        A weight of k counts a row k times: a replicate is `frechet_distance(np.repeat(a, k, axis=0), ...)`. NaN where a
        side's weights add up to less than 2. Costs the singular values of n x m per replicate, fewer where weights
        are 0.
        """
        (mean_a, share_a, spread_a), (mean_b, share_b, spread_b) = (
            _moments(gram, weights) for gram, weights in ((self.aa, weights_a), (self.bb, weights_b))
        )
        across = share_a @ self.ab
        shift = mean_a + mean_b - 2 * (across * share_b).sum(axis=1)
        roots = _roots(weights_a, share_a), _roots(weights_b, share_b)
        overlap = np.empty(len(weights_a))
        step = max(1, BLOCK // self.ab.size)
        for start in range(0, len(overlap), step):
            block = slice(start, start + step)
            overlap[block] = self._overlaps(share_a[block], share_b[block], roots[0][block], roots[1][block])
        values = shift + spread_a + spread_b - 2 * overlap
        defined = (weights_a.sum(axis=1) > 1) & (weights_b.sum(axis=1) > 1)
        return np.where(defined, np.maximum(values, 0), np.nan)

    def _overlaps(self, share_a: np.ndarray, share_b: np.ndarray, root_a: np.ndarray, root_b: np.ndarray) -> np.ndarray:
        """Sums of the singular values of the centred, weighted cross products of a block of replicates."""
        rows, columns = _drawn(share_a), _drawn(share_b)
        p, q = np.take_along_axis(share_a, rows, axis=1), np.take_along_axis(share_b, columns, axis=1)
        product = self.ab[rows[:, :, None], columns[:, None, :]]
        product -= np.einsum("ri,rij->rj", p, product)[:, None, :]
        product -= np.einsum("rij,rj->ri", product, q)[:, :, None]
        product *= np.take_along_axis(root_a, rows, axis=1)[:, :, None]
        product *= np.take_along_axis(root_b, columns, axis=1)[:, None, :]
        return np.asarray(np.linalg.svd(product, compute_uv=False).sum(axis=1))


def frechet_distance_by_compound(
    a: np.ndarray, a_compounds: np.ndarray, b: np.ndarray, b_compounds: np.ndarray
) -> np.ndarray:
    """Frechet distance between the rows of a and of b that share a compound, in sorted order of compounds: (C,).

    Raises ValueError when the two sides hold different compounds or one has fewer than two rows of a compound, or as
    `frechet_distance`.
    """
    return by_compound(frechet_distance, a, a_compounds, b, b_compounds)


def frechet_resamples_by_compound(
    a: np.ndarray,
    a_compounds: np.ndarray,
    b: np.ndarray,
    b_compounds: np.ndarray,
    weights_a: np.ndarray,
    weights_b: np.ndarray,
) -> dict[str, np.ndarray]:
    """`frechet_resamples`, to first order, of each compound under R sets of row weights (R, n), (R, m): {name: (R,)}.

    The first order and not `FrechetGram.resamples`: a resample repeats images and is biased by it, and its spread is
    too wide even after the bias is taken off. Raises as `frechet_distance_by_compound`.
    """
    return resamples_by_compound(frechet_resamples, a, a_compounds, b, b_compounds, weights_a, weights_b)


def frechet_intervals_by_compound(
    a: np.ndarray,
    a_compounds: np.ndarray,
    a_units: np.ndarray,
    b: np.ndarray,
    b_compounds: np.ndarray,
    b_units: np.ndarray,
    replicates: int,
    seed: int,
) -> dict[str, tuple[float, float] | None]:
    """95% interval of each compound's Frechet distance at its number of images: {name: (low, high)}.

    units: labels of what was drawn independently, plates or, where images are independent, the images; units with one
    label on both sides are drawn together. Replicates are first order, widened for the fewest units of a side, and laid
    around the logarithm of the distance: few images give a skewed distance, whose interval must not pass 0. None for
    fewer than three units or a distance of 0. Raises as `frechet_distance_by_compound`.
    """
    a, b = checked_pair(a, b)
    a_compounds, a_units, b_compounds, b_units = map(array, (a_compounds, a_units, b_compounds, b_units))
    intervals: dict[str, tuple[float, float] | None] = {}
    for name in paired_compounds(a_compounds, b_compounds):
        mine, true = a_compounds == name, b_compounds == name
        units = a_units[mine], b_units[true]
        fewest = min(len(np.unique(side)) for side in units)
        intervals[str(name)] = None
        centre = frechet_distance(a[mine], b[true])
        if fewest >= FEWEST_UNITS and centre > 0:
            draws = draw_clusters([], units, replicates, seed)
            weights = [draws.plate_weights(side) for side in units]
            values = frechet_resamples(a[mine], b[true], weights[0], weights[1])
            intervals[str(name)] = log_interval(centre, values, few_clusters_widening(fewest))
    return intervals


def log_interval(value: float, resamples: np.ndarray, widening: float) -> tuple[float, float] | None:
    """`recentred_interval` of a value > 0, its relative deviations laid around its logarithm: both ends are > 0.

    None for one that spans more than FARTHEST of the value on a side: the distance is lost in its noise.
    """
    low, high = recentred_interval(0.0, resamples / value, widening=widening)
    if max(-low, high) > np.log(FARTHEST):
        return None
    return value * float(np.exp(low)), value * float(np.exp(high))


def _moments(gram: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared norm of the mean (R,), weight shares (R, n) and trace of the covariance (R,) of each replicate."""
    total = weights.sum(axis=1)
    share = weights / np.maximum(total, 1)[:, None]
    mean = ((share @ gram) * share).sum(axis=1)
    return mean, share, _bessel(total) * (share @ gram.diagonal() - mean)


def _roots(weights: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.sqrt(share * _bessel(weights.sum(axis=1))[:, None])


def _bessel(total: np.ndarray) -> np.ndarray:
    return total / np.maximum(total - 1, 1)


def _drawn(share: np.ndarray) -> np.ndarray:
    """Places of the rows with weight in each replicate, filled up with others to the longest replicate's number."""
    count = int((share > 0).sum(axis=1).max())
    return np.argsort(share == 0, axis=1, kind="stable")[:, : max(count, 1)]
