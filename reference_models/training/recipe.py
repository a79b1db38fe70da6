"""How long and how fast: the part of a configuration that only training reads."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
"""Of every configuration: a field that is not known is an error."""
Timesteps = Annotated[int, Field(gt=0, le=100_000)]
"""Steps of a noise schedule or of a solver. No tensor of a file says how many there are: a file that asks for a billion
is refused by its configuration, before they take memory or hours."""


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """AdamW, constant rate after `warmup` steps."""

    steps: PositiveInt
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-4
    weight_decay: float = 0.0
    warmup: NonNegativeInt = 0
    clip: PositiveFloat | None = None
    """Largest global gradient norm; None leaves gradients alone."""
    ema: float = 0.9999
    seed: int = 0


def warm_up(recipe: Recipe, step: int) -> float:
    """Learning rate at a step (0, 1, ...): linear over `warmup` steps, then constant."""
    return recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warmup))
