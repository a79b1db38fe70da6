"""Condition reliance: how far generated images move when the drug or the RNA of their condition is swapped.

A unit (a compound where drugs are swapped, a plate where RNA is) is paired with another one. Its generated images are
drawn twice, for their own condition and for the other unit's, and the mean change of their embedding is compared with
the change of real images from the one unit to the other. With m_u the mean change of the generated images of unit u and
D_u that of real ones:

    gap = sum_u <m_u, D_u> / sum_u |D_u|^2

Only the part that points along the real change counts, so a model that ignores what was swapped scores 0 on average
however real its images are. |D_u|^2 is estimated without bias, since noise alone would lengthen D_u: real changes are
taken level by level (on each plate where drugs are swapped, within each compound where RNA is), and the squared error
of their mean is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UnitChange:
    """A unit and its donor. moved: change of each generated image (n, d), of which the levels are (n,).

    real: mean change of real images from the unit to its donor on each level that both have, (L, d), levels (L,).
    """

    moved: np.ndarray
    moved_levels: np.ndarray
    real: np.ndarray
    real_levels: np.ndarray

    @property
    def along(self) -> float:
        """<m, D>."""
        return float(self.moved.mean(axis=0) @ self.real.mean(axis=0))

    @property
    def bias(self) -> float:
        """Expected excess of |D|^2 by the noise of D: the summed variances over levels, over their number."""
        return float(self.real.var(axis=0, ddof=1).sum() / len(self.real))

    @property
    def length(self) -> float:
        """|D|^2 without bias; it can be negative where there is no change."""
        mean = self.real.mean(axis=0)
        return float(mean @ mean) - self.bias


def unit_changes(
    moved: np.ndarray,
    units: np.ndarray,
    levels: np.ndarray,
    real: np.ndarray,
    real_units: np.ndarray,
    real_levels: np.ndarray,
    toward: Mapping[str, str],
) -> dict[str, UnitChange]:
    """The units whose real change can be estimated: those that share two levels or more with their donor.

    moved: embedding of each swapped image less that of the image for its own condition, (N, d); `units` and `levels`
    label its rows. real: embeddings of real images (M, d) with their labels. toward: unit -> donor.
    Raises ValueError where no unit is left, or a value is not finite.
    """
    for name, values in (("moved", moved), ("real", real)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} embeddings hold values that are not finite")
    changes = {}
    for unit, donor in sorted(toward.items()):
        rows, own, other = units == unit, real_units == unit, real_units == donor
        shared = np.intersect1d(real_levels[own], real_levels[other])
        if rows.any() and len(shared) > 1:
            change = [
                real[other & (real_levels == level)].mean(axis=0) - real[own & (real_levels == level)].mean(axis=0)
                for level in shared
            ]
            changes[unit] = UnitChange(moved[rows].astype(np.float64), levels[rows], np.stack(change), shared)
    if not changes:
        raise ValueError("no two swapped conditions share two plates or compounds on which real images show the change")
    return changes


def swap_gap(changes: Mapping[str, UnitChange]) -> float:
    """The gap over all units. Raises ValueError where the real images of the pairs do not differ beyond their noise."""
    length = sum(change.length for change in changes.values())
    if length <= 0:
        raise ValueError("the real images of the swapped conditions do not differ beyond their noise")
    return sum(change.along for change in changes.values()) / length


def gap_resamples(
    changes: Mapping[str, UnitChange], unit_counts: Mapping[str, np.ndarray], level_counts: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The gap under R draws of units and levels, each label -> (R,) counts: (R,), NaN where a draw has no change.

    |D|^2 is taken to first order around its value, so that a level drawn twice is not paired with itself.
    """
    replicates = len(next(iter(unit_counts.values())))
    along, length = np.zeros(replicates), np.zeros(replicates)
    for unit, change in changes.items():
        moved, moved_drawn = _weighted_mean(change.moved, change.moved_levels, level_counts)
        real, real_drawn = _weighted_mean(change.real, change.real_levels, level_counts)
        mean = change.real.mean(axis=0)
        times = unit_counts[unit] * (moved_drawn & real_drawn)
        along += times * (moved * real).sum(axis=1)
        length += times * (2 * real @ mean - mean @ mean - change.bias)
    return np.divide(along, length, out=np.full(replicates, np.nan), where=length > 0)


def swap_error(moved: np.ndarray, truth: np.ndarray, units: np.ndarray) -> float:
    """Share of the true change that is missed: sum_u |m_u - t_u|^2 / sum_u |t_u|^2, both without bias.

    moved, truth: change of each generated image, and of the true one, (N, d); m_u and t_u are means over a unit's rows.
    0 where the images move as the true ones, 1 where they do not move, more where they move elsewhere or too far; it
    can be slightly negative. Squares are products of different rows, so that noise does not add to them; units of a
    single row are left out. Raises ValueError where no unit has two rows or nothing truly changes.
    """
    pairs = _pair_scores(moved, truth, units)
    length = sum(float(true.mean()) for _, _, true in pairs)
    if length <= 0:
        raise ValueError("the true images of the swapped conditions do not differ from the images of their own")
    return sum(float(missed.mean()) for _, missed, _ in pairs) / length


def error_resamples(
    moved: np.ndarray,
    truth: np.ndarray,
    units: np.ndarray,
    levels: np.ndarray,
    unit_counts: Mapping[str, np.ndarray],
    level_counts: Mapping[str, np.ndarray],
) -> np.ndarray:
    """`swap_error` under R draws of units and levels, to first order (Hoeffding projection): (R,)."""
    replicates = len(next(iter(unit_counts.values())))
    sums = np.zeros((2, replicates))
    for rows, *scores in _pair_scores(moved, truth, units):
        for number, values in enumerate(scores):
            mean, drawn = _weighted_mean(values[:, None], levels[rows], level_counts)
            times = unit_counts[str(units[rows][0])] * drawn
            sums[number] += times * (2 * mean[:, 0] - values.mean())
    return np.divide(sums[0], sums[1], out=np.full(replicates, np.nan), where=sums[1] > 0)


def _pair_scores(
    moved: np.ndarray, truth: np.ndarray, units: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per unit: its rows, and each row's mean product with the others' of what is missed, and of the truth."""
    missed, products = (moved - truth).astype(np.float64), []
    for unit in np.unique(units):
        rows = np.flatnonzero(units == unit)
        if len(rows) > 1:
            products.append((rows, _mean_product(missed[rows]), _mean_product(truth[rows].astype(np.float64))))
    if not products:
        raise ValueError("no swapped condition has two images")
    return products


def _mean_product(x: np.ndarray) -> np.ndarray:
    product = x @ x.T
    return (product.sum(axis=1) - product.diagonal()) / (len(x) - 1)


def _weighted_mean(
    values: np.ndarray, labels: np.ndarray, counts: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Means (R, d) of rows that weigh as their labels were drawn, and whether any was drawn, bool (R,)."""
    weights = np.stack([counts[str(label)] for label in labels], axis=1)
    total = weights.sum(axis=1)
    return weights @ values / np.maximum(total, 1)[:, None], total > 0
