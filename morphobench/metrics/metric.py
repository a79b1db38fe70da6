"""What a row of METRICS is: a score, its replicates, and everything that a reader must know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from morphobench.metrics.bootstrap import clustered_interval

Family = Literal["realism", "per compound", "separability", "morphology", "expression", "reliance", "memorisation"]
FAMILIES: tuple[Family, ...] = get_args(Family)
"""Groups of rows, in the order of the score table; a rank is a mean over them, so that no group weighs by its size."""
Seen = Literal[
    "dose",
    "wrong compound",
    "blur",
    "noise",
    "JPEG",
    "brighter",
    "duplicated",
    "dropped",
    "copied",
    "copied, disguised",
]
"""What a row may claim to see: a nearer dose makes it better, and more images that are spoilt so make it worse."""
INCEPTION = "inception"
"""The extractor whose scores bear the published names, see `Genuine`."""


@dataclass(frozen=True)
class Genuine:
    """What a score of the genuine Inception's features is called, and no other: its key and its title."""

    key: str
    title: str


@dataclass(frozen=True)
class Metric:
    """A row: all that is to be known of a score, but how its bundle of arrays is filled (`scoring.tasks`).

    key: what it is printed under, before the brackets. part: of several rows of one key, what this one looks at, a
    compartment for example; `part_words` say it in a title. title, family: see FAMILIES.
    inputs: the bundle of arrays that it takes. compute, resample: the score and its replicates, see `replicates`.
    count: its N, of two sides the smaller one's; smallest_n: the least that it is computed of.
    undefined: how many items have no value (left out, never counted as 0).
    named_after: whose name a score bears. "extractor": there is one for each extractor; "embedding", "engine": there
    is one, which bears the name of an embedding or engine that is not the tier's own.
    genuine: key and title that it has with the genuine Inception's features instead.
    asked_of: the tracks that it is defined on, where not on all: those whose compounds were all trained on, or those of
    a simulated tier.
    ranked: whether the board orders by it.
    by_compound: where the score is a mean over compounds, the value of each, NaN for one without;
    compound_intervals: of (inputs, replicates, seed), their 95% intervals, None where nothing is known of the spread.
    sees: what it claims to see, each of which `benchmarks/metric_validation.py` and `tests/test_metric_validation.py`
    hold it to.
    chance: what blind guesses would score, where that depends on the labels of the track; NaN where it is not defined.
    answers: among how many it chooses, where that depends on them and one answer for all scores at most 1 / answers.
    """

    key: str
    title: str
    family: Family
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
    part: str = ""
    part_words: str = ""
    named_after: Literal["extractor", "embedding", "engine", ""] = ""
    genuine: Genuine | None = None
    asked_of: Literal["every track", "trained compounds", "simulated tiers"] = "every track"
    target: float | None = None
    ranked: bool = True
    by_compound: Callable[[Any], Mapping[str, float]] | None = None
    compound_intervals: Callable[[Any, int, int], Mapping[str, tuple[float, float] | None]] | None = None
    sees: tuple[Seen, ...] = ()
    chance: Callable[[Any], float] | None = None
    answers: Callable[[Any], int] | None = None

    def printed_key(self, features: str = "", engine: str = "") -> str:
        """The key of a score: `fid`, `fd[name]`, `nsc`, `area_occupied_shift[cells][engine]`.

        features, engine: the extractor and the engine that it is named after, "" where it is after none.
        """
        if self.genuine is not None and features == INCEPTION:
            return self.genuine.key
        return self.key + "".join(f"[{name}]" for name in (self.part, features, engine) if name)

    def printed_title(self, features: str = "", engine: str = "") -> str:
        """The title of a score, with what it looked at; arguments as `printed_key`."""
        if self.genuine is not None and features == INCEPTION:
            return self.genuine.title
        about = ", ".join(name for name in (self.part_words, features, engine) if name)
        return f"{self.title} ({about})" if about else self.title

    def score(self, inputs: Any) -> float:
        """The value for one bundle. Raises ValueError, with the reason, where there is none; never returns NaN."""
        if not isinstance(inputs, self.inputs):
            raise TypeError(f"{self.printed_key()} takes {self.inputs.__name__}, not {type(inputs).__name__}")
        n = self.count(inputs)
        if n < self.smallest_n:
            raise ValueError(f"too few for {self.printed_key()}: {n}, at least {self.smallest_n} are needed")
        value = float(self.compute(inputs))
        if not np.isfinite(value):
            raise ValueError(f"{self.printed_key()} is not a finite number for these {n}")
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
