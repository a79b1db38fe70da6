"""CellProfiler's MeasureColocalization within objects, every pair of channels at once.

cp-measure has these measurements too, but takes the threshold of Costes and the ranks of the rank-weighted coefficient
from each object alone. CellProfiler takes one threshold per image and one ranking per set of objects, and so does this
module: other values, and one search per pair of channels in place of one per object. Costes et al. 2004,
doi:10.1529/biophysj.103.038422; Singan et al. 2011, doi:10.1186/1471-2105-12-407.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

THRESHOLD = np.float32(15 / 100)
"""Share of an object's brightest pixel from which a pixel counts for Manders, Overlap, K and RWC."""
GREY_LEVELS = 255
"""Steps of the search for Costes' threshold: those of an 8-bit image."""
FALL = 6 / 5
"""A candidate lies this part of the window above its lower end: the correlation wavers at low thresholds."""
NARROW = 6
"""Windows up to this width are halved instead."""

Thresholds = dict[tuple[int, int], tuple[np.float32, np.float32]]


def costes_thresholds(channels: np.ndarray, steps: int = GREY_LEVELS) -> Thresholds:
    """Costes' thresholds of every pair of channels over the whole image, by CellProfiler's "Faster" search.

    channels: float32 (C, H, W) in 0..1; steps: the grid of thresholds, 1 / steps apart. NaN where the two channels have
    no line of regression.
    """
    flat = channels.reshape(len(channels), -1)
    return {(i, j): _costes(flat[i], flat[j], steps) for i, j in combinations(range(len(channels)), 2)}


def colocalisation(
    labels: np.ndarray, channels: np.ndarray, names: tuple[str, ...], thresholds: Thresholds
) -> dict[str, np.ndarray]:
    """Correlation, Overlap, K, Manders, RWC and Costes of every object: CellProfiler's column -> float64 (n,).

    labels: int (H, W) numbered 1..n; channels: float32 (C, H, W) in 0..1, one per name; thresholds: those of
    `costes_thresholds`. NaN where an object has no such value: one grey level, or no pixel above a threshold. Empty
    arrays for no object.
    """
    inside = labels > 0
    objects = labels[inside] - 1
    count = int(labels.max(initial=0))
    prepared = [_channel(pixels[inside], objects, count) for pixels in channels]
    table = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for (i, j), cut in thresholds.items():
            pair, reverse = f"{names[i]}_{names[j]}", f"{names[j]}_{names[i]}"
            for feature, values in _pair(prepared[i], prepared[j], objects, count, cut).items():
                table[f"Correlation_{feature}_{pair}"] = values[0]
                if len(values) > 1:
                    table[f"Correlation_{feature}_{reverse}"] = values[1]
    return table


@dataclass(frozen=True)
class _Channel:
    """One channel's pixels within objects, (pixels,), and what every pair of it needs; `total` is (n,)."""

    values: np.ndarray
    standardised: np.ndarray
    above: np.ndarray
    total: np.ndarray
    rank: np.ndarray


def _channel(values: np.ndarray, objects: np.ndarray, count: int) -> _Channel:
    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(objects, weights, count)

    brightest = np.zeros(count, np.float32)
    np.maximum.at(brightest, objects, values)
    above = values >= (THRESHOLD * brightest)[objects]
    centred = values - (total(values) / np.bincount(objects, minlength=count))[objects]
    with np.errstate(invalid="ignore", divide="ignore"):
        standardised = centred / np.sqrt(total(centred**2))[objects]
    rank = np.unique(values, return_inverse=True)[1]
    return _Channel(values, standardised, above, total(np.where(above, values, 0)), rank)


def _pair(
    a: _Channel, b: _Channel, objects: np.ndarray, count: int, cut: tuple[np.float32, np.float32]
) -> dict[str, tuple[np.ndarray, ...]]:
    """Feature -> values, (n,) each: one, or first over second and second over first."""

    def total(weights: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.bincount(objects[where], weights[where], count)

    both = a.above & b.above
    product = total(a.values * b.values, both)
    squares = total(a.values**2, both), total(b.values**2, both)
    highest = max(int(a.rank.max(initial=0)), int(b.rank.max(initial=0))) + 1
    weight = (highest - np.abs(a.rank - b.rank)) / highest
    bright = (a.values > cut[0]) & (b.values > cut[1])
    return {
        "Correlation": (np.bincount(objects, a.standardised * b.standardised, count),),
        "Overlap": (product / np.sqrt(squares[0] * squares[1]),),
        "K": (product / squares[0], product / squares[1]),
        "Manders": (total(a.values, both) / a.total, total(b.values, both) / b.total),
        "RWC": (total(a.values * weight, both) / a.total, total(b.values * weight, both) / b.total),
        "Costes": (
            total(a.values, bright) / total(a.values, a.values >= cut[0]),
            total(b.values, bright) / total(b.values, b.values >= cut[1]),
        ),
    }


def _costes(a: np.ndarray, b: np.ndarray, steps: int) -> tuple[np.float32, np.float32]:
    """Thresholds of two channels, (pixels,): the lowest below which the rest of the image is not correlated.

    Thresholds lie on the orthogonal regression of b on a. They and the pixels are compared in float32, as an 8-bit
    grey level and the threshold of the same level would differ by rounding otherwise.
    """
    slope, intercept = _regression(a, b)
    if not np.isfinite(intercept):
        return np.float32(np.nan), np.float32(np.nan)

    def cut(step: float) -> tuple[np.float32, np.float32]:
        return np.float32(step / steps), np.float32(slope * (step / steps) + intercept)

    low, high, valid = 1.0, float(steps), 1.0
    step, last = (high - low) // FALL + low, 0.0
    while step != last:
        first, second = cut(step)
        sign = _correlation_sign((a < first) | (b < second), a, b)
        if sign < 0:
            low = step - 1
        elif sign >= 0:
            high, valid = step + 1, step
        last, step = step, (high - low) // (FALL if high - low > NARROW else 2) + low
    return cut(valid - 1)


def _regression(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the orthogonal regression over pixels that are not black in both; NaN if there is none."""
    lit = (a > 0) | (b > 0)
    if np.count_nonzero(lit) < 2:
        return np.nan, np.nan
    a, b = a[lit], b[lit]
    variance_a, variance_b, variance = (np.var(values, ddof=1) for values in (a, b, a + b))
    covariance = (variance - (variance_a + variance_b)) / 2
    difference = variance_b - variance_a
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (difference + np.sqrt(difference**2 + 4 * covariance**2)) / (2 * covariance)
    return float(slope), float(np.mean(b) - slope * np.mean(a))


def _correlation_sign(where: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Sign of the correlation of a part of the pixels: -1 for fewer than three, NaN if a channel is constant there."""
    if np.count_nonzero(where) < 3:
        return -1.0
    a, b = a[where].astype(np.float64), b[where].astype(np.float64)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(np.sign(np.dot(a - a.mean(), b - b.mean())))
