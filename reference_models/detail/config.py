"""Sizes of the flow that draws the detail of an image, and how it is trained."""

from __future__ import annotations

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from reference_models.autoencoder.config import SIM as SIM_AUTOENCODER
from reference_models.autoencoder.config import AutoencoderConfig
from reference_models.training.recipe import STRICT, Recipe


@dataclass(frozen=True, config=STRICT)
class DetailConfig:
    """Channels of the flow's convolutions."""

    width: PositiveInt = 48
    """At half of the image size."""
    deep_width: PositiveInt = 96
    """At a quarter of it."""
    time_width: PositiveInt = 96


@dataclass(frozen=True, config=STRICT)
class TrainedDetail:
    """One complete configuration: what the weights of a flow of detail say of themselves."""

    name: str
    autoencoder: AutoencoderConfig
    """Of the autoencoder whose images it completes."""
    detail: DetailConfig
    recipe: Recipe


SIM = TrainedDetail(
    "sim",
    SIM_AUTOENCODER.autoencoder,
    DetailConfig(),
    Recipe(steps=3000, batch=4, learning_rate=1e-3, warmup=100, decay=0.4, clip=1.0, ema=0.998),
)
"""Ships for the sim tier."""
