"""Plate biology: how densely a plate was seeded and how well its cells were kept. Cells and expression share it.

A culture is a cause of the image (population parameters), of the profile (two planted programmes, see `expression`)
and so of G_pre, the mean of the plate's vehicle wells. It is no batch effect: stain, optics and array are the plate's
own and say nothing about cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphobench.datasets.simulate.seeds import stream
from morphobench.errors import BadInput

LIMIT = 3.0
"""Scores stay within -LIMIT and LIMIT."""
WELL_SD = 0.35
"""Standard deviation of a well's own scores about its plate's, whose standard deviation is 1."""


@dataclass(frozen=True)
class Culture:
    """Standard normal scores of the cells before any compound; 0 is the average culture.

    Raises BadInput for a score outside -LIMIT..LIMIT.
    """

    density: float = 0.0
    """Cells seeded: more of them, smaller, in tighter contact, dividing less."""
    stress: float = 0.0
    """Spent medium and rough handling: fewer divisions, more death, stress fibres, somewhat larger nuclei."""

    def __post_init__(self) -> None:
        for name in ("density", "stress"):
            if not abs(getattr(self, name)) <= LIMIT:  # false for NaN too
                raise BadInput(f"{name} of a culture is {getattr(self, name)}: give a score from {-LIMIT} to {LIMIT}")


AVERAGE = Culture()

LOG_FACTORS: dict[str, Culture] = {
    "count": Culture(density=0.12, stress=-0.04),
    "cell_radius": Culture(density=-0.04),
    "nuclear_radius": Culture(density=-0.015, stress=0.03),
    "nucleoli": Culture(stress=-0.10),
}
"""Population parameters that a culture multiplies, and the logarithm of the factor per unit of each score."""
LOG_ODDS: dict[str, Culture] = {
    "adhesion": Culture(density=0.20),
    "mitotic": Culture(density=-0.15, stress=-0.25),
    "apoptotic": Culture(stress=0.30),
    "stress_fibres": Culture(stress=0.35),
}
"""Shares of which a culture multiplies the odds s / (1 - s), and the logarithm of the factor per unit of each score."""


def plate_culture(tier_version: str, plate: str) -> Culture:
    """The culture of a plate, drawn from (tier version, plate) alone."""
    return _held(stream(tier_version, "plate culture", plate).normal(0, 1, 2))


def well_culture(tier_version: str, sample_id: str, plate: Culture) -> Culture:
    """The culture of one well: its plate's and a deviation drawn from (tier version, sample id) alone."""
    own = stream(tier_version, "well culture", sample_id).normal(0, WELL_SD, 2)
    return _held(np.array([plate.density, plate.stress]) + own)


def cultured(name: str, value: float, culture: Culture) -> float:
    """A population parameter as cells of this culture have it; strictly increasing in `value`, shares stay in 0..1."""
    if name in LOG_FACTORS:
        return value * _factor(LOG_FACTORS[name], culture)
    if name in LOG_ODDS:
        # Odds and not the share: a product would have to be cut off at 1, where a stronger dose would do no more.
        factor = _factor(LOG_ODDS[name], culture)
        return value * factor / (1.0 - value + value * factor)
    return value


def _factor(per_unit: Culture, culture: Culture) -> float:
    return float(np.exp(per_unit.density * culture.density + per_unit.stress * culture.stress))


def _held(scores: np.ndarray) -> Culture:
    density, stress = np.clip(scores, -LIMIT, LIMIT)
    return Culture(float(density), float(stress))
