"""How long and how fast: the part of a configuration that only training reads."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from reference_models.training.average import WIDEST

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of every configuration: a field that is not known is an error, and so is a number that is not finite."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What torch's generators take."""
Timesteps = Annotated[int, Field(gt=0, le=100_000)]
"""Steps of a noise schedule or of a solver. No tensor of a file says how many there are: a file that asks for a billion
is refused by its configuration, before they take memory or hours."""


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """AdamW; the rate is constant between warm-up and decay."""

    steps: PositiveInt
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 0
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the steps, the last ones, over which the rate falls linearly to zero."""
    clip: PositiveFloat | None = None
    """Largest global gradient norm; None leaves gradients alone."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    """Decay of the average of the weights, which is the result; not used where there are `ema_widths`."""
    ema_widths: tuple[Annotated[float, Field(gt=0, lt=WIDEST)], ...] = ()
    """Relative widths of averages with power-function profiles, see `average`. The first is the result."""
    snapshots: PositiveInt = 20
    """How often, evenly over the steps, the averages of `ema_widths` are kept, to put any width together afterwards."""
    seed: Seed = 0


def snapshot_every(recipe: Recipe) -> int:
    """Steps between two snapshots of the averages of `ema_widths`."""
    return math.ceil(recipe.steps / recipe.snapshots)


def rate_at(recipe: Recipe, step: int) -> float:
    """Learning rate at a step (0, 1, ...): linear over `warmup` steps, constant, linear to zero over the last
    `decay`."""
    left = (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps)
    return recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warmup), left if recipe.decay else 1.0)
