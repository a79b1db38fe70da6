"""Inception score: exp of the mean Kullback-Leibler divergence between each image's class probabilities and their mean.

Salimans et al. 2016, section 4. 1 when all images get the same probabilities, K for confident predictions spread
evenly over K classes. It never sees a real image; the field reads higher as better, the seed paper reads lower as
better, so this benchmark prints it beside the real images' value and ranks nothing by it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import xlogy

from morphobench.metrics.checks import table


def inception_score(probabilities: np.ndarray, splits: int = 10, seed: int = 2020) -> float:
    """Mean score over `splits` chunks of the shuffled images; probabilities (n, K), rows that sum to 1.

    The defaults are torch-fidelity's, its shuffle included, so equal probabilities give an equal score. `splits=1`
    scores all images at once, whatever their order. The score grows with the number of images in a chunk.
    Raises ValueError when n < splits or rows are no probabilities.
    """
    p = _checked_probabilities(probabilities)
    if not 1 <= splits <= len(p):
        raise ValueError(f"{splits=} must lie between 1 and the number of images, {len(p)}")
    p = p[np.random.RandomState(seed).permutation(len(p))]  # the published score's generator
    edges = [i * len(p) // splits for i in range(splits + 1)]
    chunks = (p[start:stop] for start, stop in pairwise(edges))
    return float(np.mean([inception_resamples(chunk, np.ones((1, len(chunk))))[0] for chunk in chunks]))


def inception_resamples(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Score in one chunk under R sets of row weights (R, n): (R,). NaN where all weights are zero."""
    p = _checked_probabilities(probabilities)
    weights = weights.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights / weights.sum(axis=1, keepdims=True)
    marginal = share @ p
    divergence = share @ xlogy(p, p).sum(axis=1) - xlogy(marginal, marginal).sum(axis=1)
    return np.exp(divergence)


def _checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    p = table(probabilities)
    if p.ndim != 2 or p.shape[0] < 1:
        raise ValueError(f"probabilities.shape={p.shape}: (images, classes) is needed")
    if not ((p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
        raise ValueError(f"rows of probabilities.shape={p.shape} are no probabilities; were logits given?")
    return p
