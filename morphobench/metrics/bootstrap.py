"""Two-way cluster bootstrap: new compounds and new plates, drawn at the same time.

Images of one compound or one plate are alike, so resampling images would make intervals far too narrow. Compounds and
plates are drawn with replacement independently and an image weighs the product of the two counts (the pigeonhole
bootstrap: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1). Equal labels and an equal seed give
equal draws, so two submissions can be compared replicate by replicate.

Its quantiles alone are too narrow when clusters are few: k draws from k clusters spread by sqrt((k - 1) / k) of what
k new clusters would, and four plates do not follow the normal law's tails. `few_clusters_widening` mends both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

LEVEL = 0.95


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


def cluster_weights(compounds: np.ndarray, plates: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Weights (R, N) of N images labelled by compound and plate: a replicate counts image i weights[r, i] times.

    Raises ValueError when the labels do not pair up or `replicates` < 1.
    """
    if compounds.shape != plates.shape or compounds.ndim != 1:
        raise ValueError(f"{compounds.shape=} and {plates.shape=} do not pair up")
    return draw_clusters([compounds], [plates], replicates, seed).weights(compounds, plates)


def percentile_interval(resamples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of the replicates (R,), NaN left out. Raises ValueError when fewer than half are numbers."""
    defined = resamples[np.isfinite(resamples)]
    if len(defined) < max(2, len(resamples) / 2):
        raise ValueError(f"{len(defined)} of {len(resamples)} replicates are defined; half or more are needed")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def few_clusters_widening(clusters: int, level: float = LEVEL) -> float:
    """By how much the deviations of an interval over k clusters are widened: t_{k-1} / z * sqrt(k / (k - 1)).

    t and z are the two-sided quantiles of `level`. The root undoes the bootstrap's narrowness and Student's t takes the
    normal law's place, as in Hesterberg 2015, "What teachers should know about the bootstrap", American Statistician
    69, section 4. With two ways of clustering k is the smaller number of clusters: Cameron, Gelbach and Miller 2011,
    "Robust inference with multiway clustering", Journal of Business and Economic Statistics 29. 1.87 for four, 1.04
    for 44. Raises ValueError for fewer than two clusters.
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
