"""Neighbourhood metrics: are generated images where real ones are, and are all real ones answered?

Each image of a set has a ball that reaches to its k-th nearest other image of the same set. Precision and recall
(Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models", eq. 1 to 3) ask
whether an image of one set lies in any ball of the other. Density and coverage (Naeem et al. 2020, "Reliable fidelity
and diversity metrics for generative models", eq. 5 and 6) use the balls of the real images alone, which no generated
outlier can blow up.

Ties: a ball is closed, and distances that differ by less than TIE of the common (median) norm of the real images are
equal, so that a copy of an image lies in every ball whose edge the image defines. Norms are distances from the real
images' centre (median of each feature): neither a generated nor a real outlier moves them. An image is not its own
neighbour; another image with the same features is, at distance 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from morphobench.metrics.frechet import checked_pair

PRECISION_K = 3
"""Neighbours that precision and recall reach to: the published choice, and torch-fidelity's."""
DENSITY_K = 5
"""Neighbours that density and coverage reach to: the published choice."""
TIE = 1e-5
"""Features of one image in two batches, in 32 bits, differ by about 1e-6 of their size."""
BLOCK = 1024
"""Rows whose distances to all others are in memory at a time."""


@dataclass(frozen=True)
class Neighbourhoods:
    """Verdicts on single images, of which the metrics are means.

    precise (n,) bool: the generated image lies in a real image's ball of PRECISION_K.
    dense (n,): real balls of DENSITY_K that hold the generated image, over DENSITY_K.
    holding (m,): generated images in the real image's ball of DENSITY_K, times m / (n DENSITY_K): its mean is dense's.
    recalled (m,) bool: the real image lies in a generated image's ball of PRECISION_K.
    covered (m,) bool: the real image's ball of DENSITY_K holds a generated image.
    """

    precise: np.ndarray
    dense: np.ndarray
    holding: np.ndarray
    recalled: np.ndarray
    covered: np.ndarray


def neighbourhoods(generated: np.ndarray, real: np.ndarray) -> Neighbourhoods:
    """Verdicts on every image, from features (n, d) and (m, d), in float64; memory grows with BLOCK (n + m + d).

    Raises ValueError where a side has no more than DENSITY_K rows, when the numbers of features differ, or when a value
    is not finite.
    """
    x, y = checked_pair(generated, real)
    if min(len(x), len(y)) <= DENSITY_K:
        raise ValueError(f"{len(x)} generated and {len(y)} real: more than {DENSITY_K} of each are needed")
    # Distances stay, and lose fewer digits to the subtraction of large squares.
    centre = np.median(y, axis=0)
    x, y = x - centre, y - centre
    tie = TIE * float(np.median(np.sqrt(_squares(y))))
    generated_reach = _reach(x, (PRECISION_K,), tie)[PRECISION_K]
    reach = _reach(y, (PRECISION_K, DENSITY_K), tie)
    precise, dense = np.zeros(len(x), dtype=bool), np.empty(len(x))
    recalled, held = np.zeros(len(y), dtype=bool), np.zeros(len(y), dtype=int)
    for rows, squared in _blocks(x, y):  # (block, m)
        precise[rows] = (squared <= reach[PRECISION_K]).any(axis=1)
        inside = squared <= reach[DENSITY_K]
        dense[rows] = inside.sum(axis=1) / DENSITY_K
        held += inside.sum(axis=0)
        recalled |= (squared <= generated_reach[rows, None]).any(axis=0)
    holding = held * (len(y) / (len(x) * DENSITY_K))
    return Neighbourhoods(precise, dense, holding, recalled, held > 0)


def precision(generated: np.ndarray, real: np.ndarray) -> float:
    """Share of generated images (n, d) in a real image's ball of PRECISION_K; raises as `neighbourhoods`."""
    return float(neighbourhoods(generated, real).precise.mean())


def recall(generated: np.ndarray, real: np.ndarray) -> float:
    """Share of real images (m, d) in a generated image's ball of PRECISION_K; raises as `neighbourhoods`."""
    return float(neighbourhoods(generated, real).recalled.mean())


def density(generated: np.ndarray, real: np.ndarray) -> float:
    """Mean number of real balls of DENSITY_K that hold a generated image, over DENSITY_K.

    1 is expected of a sample of the real law, and (k + 1) / k of the real images themselves; there is no upper bound.
    Raises as `neighbourhoods`.
    """
    return float(neighbourhoods(generated, real).dense.mean())


def coverage(generated: np.ndarray, real: np.ndarray) -> float:
    """Share of real images (m, d) whose ball of DENSITY_K holds a generated image; raises as `neighbourhoods`."""
    return float(neighbourhoods(generated, real).covered.mean())


def weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of verdicts (n,) under R sets of weights (R, n): (R,); NaN where all weights are 0."""
    with np.errstate(invalid="ignore"):
        return (weights @ values) / weights.sum(axis=1)


def _reach(points: np.ndarray, neighbours: tuple[int, ...], tie: float) -> dict[int, np.ndarray]:
    """Squared radius of each point's ball: the distance (n, d) to its k-th nearest other one plus `tie`, {k: (n,)}."""
    squared_radii = {k: np.empty(len(points)) for k in neighbours}
    for rows, squared in _blocks(points, points):
        own = np.arange(len(points))[rows]
        squared[np.arange(len(own)), own] = np.inf
        squared.partition([k - 1 for k in neighbours], axis=1)
        for k in neighbours:
            squared_radii[k][rows] = (np.sqrt(squared[:, k - 1]) + tie) ** 2
    return squared_radii


def _blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of the rows of a (n, d) to those of b (m, d), some rows of a at a time: (block, m)."""
    squares = _squares(b)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, min(start + BLOCK, len(a)))
        squared = a[rows] @ b.T
        squared *= -2
        squared += _squares(a[rows])[:, None]
        squared += squares
        yield rows, np.maximum(squared, 0, out=squared)


def _squares(points: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", points, points)
