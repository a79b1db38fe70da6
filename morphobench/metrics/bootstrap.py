"""Two-way cluster bootstrap: new compounds and new plates, drawn together and each alone.

Images of one compound or one plate are alike, so resampling images would make intervals far too narrow. Compounds and
plates are drawn with replacement independently and an image weighs the product of the two counts (the pigeonhole
bootstrap: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1). Equal labels and an equal seed give
equal draws, so two submissions can be compared replicate by replicate.

The spread of those replicates counts what is a single image's own up to three times, and four plates do not follow the
normal law's tails. So the same draws are also taken of compounds alone and of plates alone: `clustered_interval` has
the three spreads, which are the mean squares of a two-way layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from morphobench.metrics.checks import array

LEVEL = 0.95
ROUNDING = 1e-9
"""Replicates that differ by less than this share of their value differ by rounding alone."""


@dataclass(frozen=True)
class ClusterDraws:
    """How often each compound and each plate was drawn in each of R replicates: {label: (R,)} of whole numbers."""

    replicates: int
    compound_counts: dict[str, np.ndarray]
    plate_counts: dict[str, np.ndarray]

    def weights(self, compounds: np.ndarray, plates: np.ndarray) -> np.ndarray:
        """Weights (R, N) of rows by the product of their compound's and their plate's counts."""
        return self.plate_weights(plates) * _columns(self.compound_counts, compounds, self.replicates)

    def plate_weights(self, plates: np.ndarray) -> np.ndarray:
        """Weights (R, N) of rows by their plate alone: for vehicle images, whose compound is not a draw."""
        return _columns(self.plate_counts, plates, self.replicates)

    def each_way(self) -> ClusterDraws:
        """3 R draws: these, these compounds with every plate once, and these plates with every compound once."""
        once = np.ones(self.replicates, dtype=int)
        return ClusterDraws(
            3 * self.replicates,
            {name: np.concatenate([counts, counts, once]) for name, counts in self.compound_counts.items()},
            {name: np.concatenate([counts, once, counts]) for name, counts in self.plate_counts.items()},
        )


def draw_clusters(
    compounds: Sequence[np.ndarray], plates: Sequence[np.ndarray], replicates: int, seed: int
) -> ClusterDraws:
    """Draw the clusters of one or more sets of labelled images.

    Each array of labels is one set. Labels that an earlier set held share its draw; the new ones of a set are drawn
    among themselves, so that test plates are replaced by test plates and replicate plates by replicate plates. A set
    with a single label is kept as it is: nothing can be learnt about the spread of one.
    """
    if replicates < 1:
        raise ValueError(f"{replicates=} must be at least 1")
    random = np.random.default_rng(seed)
    return ClusterDraws(replicates, _draw(compounds, replicates, random), _draw(plates, replicates, random))


def percentile_interval(resamples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of the replicates (R,), NaN left out. Raises ValueError when fewer than half are numbers."""
    resamples = array(resamples).astype(np.float64, copy=False)
    defined = resamples[np.isfinite(resamples)]
    if len(defined) < max(2, len(resamples) / 2):
        raise ValueError(f"{len(defined)} of {len(resamples)} replicates are defined; half or more are needed")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def clustered_interval(
    value: float, resamples: np.ndarray, clusters: tuple[int, int], scale: float = 0.0, level: float = LEVEL
) -> tuple[float, float] | None:
    """Interval around `value` from replicates (3 R,) of `ClusterDraws.each_way`, given the numbers of both clusters.

    The variances of the three arms, v_both, v_c and v_p, each times k / (k - 1) for its k clusters, are for a mean over
    a balanced layout the mean squares of compounds and plates, and v_i = v_both - v_c - v_p that of the rest, all over
    N. The variance of the value is then (v_c - v_i) + (v_p - v_i) + v_i, parts below 0 taken as 0 (the analysis of
    variance: Searle, Casella and McCulloch 1992, "Variance Components", chapter 4; the sum: Cameron, Gelbach and Miller
    2011, "Robust inference with multiway clustering", Journal of Business and Economic Statistics 29), and follows
    Student's t with the degrees of freedom of Satterthwaite 1946, Biometrics Bulletin 2. The quantiles of the first
    arm's deviations from their mean, which have the right shape, are stretched to that spread.

    None where nothing is known of the spread: fewer than two clusters of a kind, fewer than half of an arm's replicates
    defined, all equal but for ROUNDING of their size or of `scale`, or so large that their square is no number. Raises
    ValueError when the replicates are not three equal arms.
    """
    resamples = array(resamples).astype(np.float64, copy=False)
    if resamples.ndim != 1 or len(resamples) % 3:
        raise ValueError(f"{resamples.shape=}: three arms of equally many replicates are needed")
    arms = [arm[np.isfinite(arm)] for arm in np.split(resamples, 3)]
    if min(clusters) < 2 or not arms_defined(resamples):
        return None
    if np.ptp(arms[0]) <= ROUNDING * max(scale, np.abs(arms[0]).max()):
        return None
    with np.errstate(over="ignore"):
        both, by_compound, by_plate = (float(arm.var()) for arm in arms)
    if not np.isfinite(both + by_compound + by_plate):
        return None
    stretch_c, stretch_p = (k / (k - 1) for k in clusters)
    rest = max(0.0, both - by_compound - by_plate) * stretch_c * stretch_p
    parts = np.array([max(0.0, by_compound * stretch_c - rest), max(0.0, by_plate * stretch_p - rest), rest])
    freedom = np.array([clusters[0] - 1, clusters[1] - 1, (clusters[0] - 1) * (clusters[1] - 1)])
    variance = parts.sum()
    degrees = variance**2 / (parts**2 / freedom).sum()
    upper = (1 + level) / 2
    stretch = t.ppf(upper, degrees) / norm.ppf(upper) * np.sqrt(variance / both)
    return recentred_interval(value, arms[0], level, float(stretch))


def arms_defined(resamples: np.ndarray) -> bool:
    """Whether half or more of each of the three arms of replicates (3 R,) are numbers, and two or more."""
    return min(np.isfinite(arm).sum() for arm in np.split(resamples, 3)) >= max(2, len(resamples) / 6)


def few_clusters_widening(clusters: int, level: float = LEVEL) -> float:
    """By how much the deviations of an interval over k clusters of one kind are widened: t_{k-1} / z sqrt(k / (k - 1)).

    t and z are the two-sided quantiles of `level`. k draws from k clusters spread by sqrt((k - 1) / k) of what k new
    ones would, which the root undoes, and Student's t takes the normal law's place, as in Hesterberg 2015, "What
    teachers should know about the bootstrap", American Statistician 69, section 4. 1.87 for four, 1.04 for 44. Raises
    ValueError for fewer than two clusters.
    """
    if clusters < 2:
        raise ValueError(f"{clusters=}: the spread of fewer than two is unknown")
    upper = (1 + level) / 2
    return float(t.ppf(upper, clusters - 1) / norm.ppf(upper) * np.sqrt(clusters / (clusters - 1)))


def recentred_interval(
    value: float, resamples: np.ndarray, level: float = LEVEL, widening: float = 1.0
) -> tuple[float, float]:
    """Percentile interval of the replicates (R,), as deviations from their mean, times `widening`, around `value`.

    A replicate holds fewer distinct images than the sample, so a score that is biased at small N (a Wasserstein
    distance, the Inception score) is biased more in every replicate. The shift takes that extra bias out and leaves
    the spread; for averages, and for Frechet and kernel distances taken to first order, it is nothing. The interval
    is for the score *at this N*, as is the floor beside it; the end of a bounded score can pass its bound.
    """
    resamples = array(resamples).astype(np.float64, copy=False)
    low, high = percentile_interval(resamples, level)
    mean = float(np.nanmean(resamples))
    return value + widening * (low - mean), value + widening * (high - mean)


def _draw(label_sets: Sequence[np.ndarray], replicates: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    counts: dict[str, np.ndarray] = {}
    for labels in label_sets:
        new = [str(label) for label in np.unique(labels) if str(label) not in counts]
        if new:
            drawn = random.multinomial(len(new), np.full(len(new), 1 / len(new)), size=replicates)
            counts.update(zip(new, drawn.T, strict=True))
    return counts


def _columns(counts: dict[str, np.ndarray], labels: np.ndarray, replicates: int) -> np.ndarray:
    names, member = np.unique(labels, return_inverse=True)
    if not len(names):
        return np.zeros((replicates, 0), dtype=int)
    return np.stack([counts[str(name)] for name in names])[member].T
