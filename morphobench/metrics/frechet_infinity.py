"""Frechet distance extrapolated to infinitely many images.

Between finite samples the distance is biased up by about c / N, with c of its own for every model, so that a comparison
at one N can order two models wrongly (Chong and Forsyth 2020, "Effectively unbiased FID and Inception Score and where
to find them", CVPR). The distance at several N lies on a line in 1 / N whose intercept is the distance without it.
Chong and Forsyth thin out the generated images alone, against a large reference; here both sides are as small, and
both are thinned out together.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from morphobench.metrics.frechet import FrechetReference, checked_pair, frechet_influence, shares
from morphobench.metrics.frechet_compounds import FrechetGram

ROUNDS = {1.0: 1, 1.5: 6, 2.0: 12, 2.5: 10, 3.0: 48}
"""A sample of N images is cut into parts of N over these: evenly spaced in 1 / N, and no further than a straight line
holds with fewer images than features. Beside each, how often ROUNDS_FOR images are shuffled and cut anew: the small
parts differ most from cut to cut, and cost least."""
ROUNDS_FOR = 704
"""More images are cut fewer times, in proportion: what a cut does falls with N, an interval's width with its root."""
INFLUENCE_ROUNDS = 2
"""Of these cuts, how many have the influence of their rows taken, which replicates need."""
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

        Distances move by the influences of the rows of their parts, as in `frechet_resamples`, and the line is fitted
        again; the parts stay as they were cut. NaN where a part has lost all weight.
        """
        total = np.full(len(weights_a), self.value)
        for part in self.influence_parts:
            moved = shares(weights_a[:, part.rows_a]) @ part.influence_a
            moved += shares(weights_b[:, part.rows_b]) @ part.influence_b
            total += part.weight * moved
        return total


@dataclass(frozen=True)
class Part:
    """Rows of both sides, the influences of each on the part's distance, and the part's weight in the intercept."""

    rows_a: np.ndarray
    rows_b: np.ndarray
    influence_a: np.ndarray
    influence_b: np.ndarray
    weight: float


def fd_infinity(a: np.ndarray, b: np.ndarray, seed: int = SEED) -> Extrapolation:
    """Extrapolate the Frechet distance of a (n, d) and b (m, d) to infinitely many rows on both sides.

    Both sides are shuffled by `seed` and cut into parts of n / p and m / p rows, for each p of ROUNDS. The order of
    the rows does not matter. The value can fall below 0, as an unbiased estimate of a small distance must. Raises
    ValueError for fewer than six rows on a side, or as `frechet_distance`.
    """
    x, y = checked_pair(a, b)
    if min(len(x), len(y)) < 2 * max(ROUNDS):
        raise ValueError(f"{x.shape=}, {y.shape=}: at least {2 * max(ROUNDS):.0f} rows of each are needed")
    # Sorted by their features first, so that what the seed deals out is the rows and not their places.
    order_a, order_b = np.lexsort(x.T[::-1]), np.lexsort(y.T[::-1])
    x, y = x[order_a], y[order_b]
    random = np.random.default_rng(seed)
    fewer = min(1.0, ROUNDS_FOR / min(len(x), len(y)))
    rounds = [int(np.ceil(most * fewer)) for most in ROUNDS.values()]
    cuts = [_cut(len(x), len(y), parts, times, random) for parts, times in zip(ROUNDS, rounds, strict=True)]
    sizes = np.array([min(len(cut[0][0]), len(cut[0][1])) for cut in cuts], dtype=float)
    distances = _distances(x, y, cuts)
    # The intercept of a least-squares line is a fixed mix of the distances.
    design = np.column_stack([np.ones(len(sizes)), 1 / sizes])
    mix = np.linalg.pinv(design)
    parts = []
    for place, (cut, times) in enumerate(zip(cuts, rounds, strict=True)):
        chosen = cut[: len(cut) * min(INFLUENCE_ROUNDS, times) // times]
        for rows_a, rows_b in chosen:
            _, influence_a, influence_b = frechet_influence(x[rows_a], y[rows_b])
            weight = float(mix[0, place] / len(chosen))
            parts.append(Part(order_a[rows_a], order_b[rows_b], influence_a, influence_b, weight))
    value, slope = (float(number) for number in mix @ distances)
    left = float(((distances - design @ (value, slope)) ** 2).sum())
    spread = float(((distances - distances.mean()) ** 2).sum())
    return Extrapolation(sizes, distances, value, slope, 1 - left / spread if spread else 1.0, tuple(parts))


def _cut(n: int, m: int, parts: float, rounds: int, random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of both sides in parts of n / parts and m / parts, of several rounds in turn.

    The parts of a round are runs of a shuffled circle, for p = q / 2 the q runs that go round it twice: every row is
    in as many of them as any other, so that what a row does to the distance by itself is the same in every round.
    """
    runs = Fraction(parts).numerator
    cut = []
    for _ in range(rounds):
        orders = random.permutation(n), random.permutation(m)
        for run in range(runs):
            rows = [np.roll(order, -(run * len(order) // runs))[: int(len(order) / parts)] for order in orders]
            cut.append((rows[0], rows[1]))
    return cut


def _distances(x: np.ndarray, y: np.ndarray, cuts: list[list[tuple[np.ndarray, np.ndarray]]]) -> np.ndarray:
    """Mean Frechet distance of the parts of each size (K,)."""
    distances = np.empty(len(cuts))
    gram: FrechetGram | None = None
    for place, cut in enumerate(cuts):
        if max(len(cut[0][0]), len(cut[0][1])) > x.shape[1]:
            distances[place] = np.mean([FrechetReference.of(y[rows_b]).distance(x[rows_a]) for rows_a, rows_b in cut])
            continue
        # With fewer images than features their inner products are smaller than they are, and the same for every part.
        gram = gram or FrechetGram.of(x, y)
        weights = np.zeros((len(cut), len(x))), np.zeros((len(cut), len(y)))
        for number, rows in enumerate(cut):
            for side, chosen in zip(weights, rows, strict=True):
                side[number, chosen] = 1
        distances[place] = gram.resamples(*weights).mean()
    return distances
