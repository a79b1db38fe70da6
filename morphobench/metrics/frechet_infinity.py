"""Frechet distance extrapolated to infinitely many images.

Between finite samples the distance is biased up by about c / N, with c of its own for every model, so that a comparison
at one N can order two models wrongly (Chong and Forsyth 2020, "Effectively unbiased FID and Inception Score and where
to find them", CVPR). The distance at several N lies on a line in 1 / N whose intercept is the distance without it.
Chong and Forsyth thin out the generated images alone, against a large reference; here both sides are as small, and
both are thinned out together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphobench.metrics.frechet import checked_pair, frechet_influence, shares

PARTS = (1.0, 1.5, 2.0, 2.5, 3.0)
"""A sample of N images is cut into parts of N over these: evenly spaced in 1 / N, and no further than a straight line
holds with fewer images than features."""
ROUNDS = 4
"""Times that the images are shuffled and cut anew for each size."""
SEED = 2020


@dataclass(frozen=True)
class Extrapolation:
    """The line through the distances at several N.

    sizes (K,): mean images per part of the smaller side; distances (K,): mean distance of the parts of that size. The
    line is `value` + `slope` / size, `r2` the share of the distances' variance that it explains. influence_parts: what
    replicates need, see `resamples`.
    """

    sizes: np.ndarray
    distances: np.ndarray
    value: float
    slope: float
    r2: float
    influence_parts: tuple[Part, ...]

    def resamples(self, weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
        """The intercept under R sets of row weights (R, n), (R, m), to first order: (R,).

        Each part's distance moves by the influences of its rows, as in `frechet_resamples`, and the line is fitted
        again; the parts stay as they were cut. NaN where a part has lost all weight.
        """
        total = np.zeros(len(weights_a))
        for part in self.influence_parts:
            moved = shares(weights_a[:, part.rows_a]) @ part.influence_a
            moved += shares(weights_b[:, part.rows_b]) @ part.influence_b
            total += part.weight * (part.distance + moved)
        return total


@dataclass(frozen=True)
class Part:
    """Rows of both sides, their distance and influences, and the part's weight in the intercept."""

    rows_a: np.ndarray
    rows_b: np.ndarray
    distance: float
    influence_a: np.ndarray
    influence_b: np.ndarray
    weight: float


def fd_infinity(a: np.ndarray, b: np.ndarray, seed: int = SEED) -> Extrapolation:
    """Extrapolate the Frechet distance of a (n, d) and b (m, d) to infinitely many rows on both sides.

    Both sides are shuffled by `seed` and cut into parts of n / p and m / p rows, for each p of PARTS. The value can
    fall below 0, as an unbiased estimate of a small distance must. Raises ValueError for fewer than six rows on a side,
    or as `frechet_distance`.
    """
    x, y = checked_pair(a, b)
    if min(len(x), len(y)) < 2 * max(PARTS):
        raise ValueError(f"{a.shape=}, {b.shape=}: at least {2 * max(PARTS):.0f} rows of each are needed")
    random = np.random.default_rng(seed)
    cuts = [_cut(len(x), len(y), parts, random) for parts in PARTS]
    sizes = np.array([np.mean([min(len(rows_a), len(rows_b)) for rows_a, rows_b in cut]) for cut in cuts])
    # The intercept of a least-squares line is a fixed mix of the distances.
    design = np.column_stack([np.ones(len(sizes)), 1 / sizes])
    mix = np.linalg.pinv(design)
    parts, distances = [], np.empty(len(sizes))
    for place, cut in enumerate(cuts):
        values = np.empty(len(cut))
        for number, (rows_a, rows_b) in enumerate(cut):
            values[number], influence_a, influence_b = frechet_influence(x[rows_a], y[rows_b])
            weight = float(mix[0, place] / len(cut))
            parts.append(Part(rows_a, rows_b, values[number], influence_a, influence_b, weight))
        distances[place] = values.mean()
    value, slope = (float(number) for number in mix @ distances)
    left = float(((distances - design @ (value, slope)) ** 2).sum())
    spread = float(((distances - distances.mean()) ** 2).sum())
    return Extrapolation(sizes, distances, value, slope, 1 - left / spread if spread else 1.0, tuple(parts))


def _cut(n: int, m: int, parts: float, random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of both sides in disjoint parts of n / parts and m / parts, for each round; all of them in one for 1."""
    if parts == 1:
        return [(np.arange(n), np.arange(m))]
    found = []
    for _ in range(ROUNDS):
        order_a, order_b = random.permutation(n), random.permutation(m)
        size_a, size_b = int(n / parts), int(m / parts)
        for part in range(int(parts)):
            rows = slice(part * size_a, (part + 1) * size_a), slice(part * size_b, (part + 1) * size_b)
            found.append((np.sort(order_a[rows[0]]), np.sort(order_b[rows[1]])))
    return found
