"""What a row of METRICS is: a score, its replicates, and what a reader must know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from morphobench.metrics.bootstrap import clustered_interval


@dataclass(frozen=True)
class Metric:
    """A row.

    `compute` and `resample` are the score and its replicates; `count` is the N of the smaller side; `undefined` how
    many items have no value (they are left out, never counted as 0); `ranked` whether the board orders by it. Where the
    score is a mean over compounds, `by_compound` gives the value of each, NaN for one without, and
    `compound_intervals`, of (inputs, replicates, seed), their 95% intervals, None where nothing is known of the spread.
    """

    key: str
    version: int
    inputs: type
    direction: Literal["min", "max", "target", "none"]
    unit: str
    smallest_n: int
    summary: str
    compute: Callable[[Any], float]
    resample: Callable[[Any, int, int], np.ndarray]
    count: Callable[[Any], int]
    undefined: Callable[[Any], int] = lambda inputs: 0
    target: float | None = None
    ranked: bool = True
    by_compound: Callable[[Any], Mapping[str, float]] | None = None
    compound_intervals: Callable[[Any, int, int], Mapping[str, tuple[float, float] | None]] | None = None

    def score(self, inputs: Any) -> float:
        """The value for one bundle. Raises ValueError, with the reason, where there is none; never returns NaN."""
        if not isinstance(inputs, self.inputs):
            raise TypeError(f"{self.key} takes {self.inputs.__name__}, not {type(inputs).__name__}")
        n = self.count(inputs)
        if n < self.smallest_n:
            raise ValueError(f"too few for {self.key}: {n}, at least {self.smallest_n} are needed")
        value = float(self.compute(inputs))
        if not np.isfinite(value):
            raise ValueError(f"{self.key} is not a finite number for these {n}")
        return value

    def interval(
        self, inputs: Any, replicates: int, seed: int, value: float | None = None
    ) -> tuple[float, float] | None:
        """95% interval around `value`, the score if not given; None where nothing is known of its spread.

        See `clustered_interval`.
        """
        if min(inputs.clusters) < 2:
            return None
        centre = self.score(inputs) if value is None else value
        return clustered_interval(centre, self.resample(inputs, replicates, seed), inputs.clusters)


def scaled(
    value: float,
    vehicle: float,
    ceiling: float,
    interval: tuple[float, float] | None,
    direction: Literal["min", "max", "target", "none"],
) -> float | None:
    """(value - vehicle) / (ceiling - vehicle): 0 for the vehicle control, 1 for real replicates, not clipped.

    None unless the vehicle is worse than the whole 95% `interval` of the ceiling, real replicates' own, in a
    `direction` of min or max: where replicates do no better than the vehicle, the quotient would call worse values
    better, and where they do so by chance, it divides by chance.
    """
    if interval is None:
        return None
    low, high = interval
    gain = {"min": min(vehicle - high, vehicle - ceiling), "max": min(low - vehicle, ceiling - vehicle)}
    if gain.get(direction, 0.0) <= 0:
        return None
    return (value - vehicle) / (ceiling - vehicle)
