"""Sizes of the image autoencoders and how ours is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from reference_models.training.recipe import STRICT, Seed


@dataclass(frozen=True, config=STRICT)
class AutoencoderConfig:
    """Image autoencoder. `convolutional` is ours (sim); `stable-diffusion` is diffusers' AutoencoderKL from a local
    folder."""

    kind: Literal["convolutional", "stable-diffusion"]
    latent_channels: PositiveInt
    downsampling: PositiveInt = 8
    widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (128, 80, 40)
    """Channels of the convolutional decoder at 1/8, 1/4 and 1/2 of the image size."""
    scale: PositiveFloat = 1.0
    """Latents are multiplied by this for the diffusion (stable diffusion: 0.18215); ours are standardised per
    channel."""

    def __post_init__(self) -> None:
        if self.kind != "convolutional":
            return
        if self.downsampling != 8:
            raise ValueError(f"{self.downsampling=}: a convolutional one has 8")
        if any(width % 8 for width in self.widths):
            raise ValueError(f"{self.widths=}: must be multiples of 8, the groups of its norms")


@dataclass(frozen=True, config=STRICT)
class AutoencoderRecipe:
    """How the convolutional one is trained: L1 at three scales and of gradients, a small KL, and late a patch
    discriminator."""

    steps: PositiveInt = 3600
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-3
    kl_weight: NonNegativeFloat = 1e-3
    gradient_weight: NonNegativeFloat = 1.0
    adversarial_weight: NonNegativeFloat = 0.02
    adversarial_from: Annotated[float, Field(ge=0, le=1)] = 2 / 3
    """Share of the steps after which the discriminator joins."""
    seed: Seed = 0


@dataclass(frozen=True, config=STRICT)
class TrainedAutoencoder:
    """One complete configuration: what the weights of an autoencoder say of themselves."""

    name: str
    autoencoder: AutoencoderConfig
    recipe: AutoencoderRecipe


SIM = TrainedAutoencoder("sim", AutoencoderConfig("convolutional", latent_channels=8), AutoencoderRecipe())
"""Ships for the sim tier."""
