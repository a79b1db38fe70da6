"""A TRIDENT of a few thousand weights, its training set and its tier, for tests of training and loading."""

from __future__ import annotations

from dataclasses import replace

import torch

from morphobench.schema import Condition
from reference_models.autoencoder.config import AutoencoderConfig, AutoencoderRecipe, TrainedAutoencoder
from reference_models.detail.config import DetailConfig, TrainedDetail
from reference_models.training.recipe import Recipe
from reference_models.trident.condition import featurise
from reference_models.trident.config import (
    ConditionConfig,
    DiffusionConfig,
    SamplerConfig,
    TransformerConfig,
    TridentConfig,
)
from reference_models.trident.training import TrainingSet

AUTOENCODER = TrainedAutoencoder(
    "tiny",
    AutoencoderConfig("convolutional", latent_channels=2, widths=(16, 16, 8)),
    AutoencoderRecipe(steps=12, batch=4),
)
TINY = TridentConfig(
    name="tiny",
    image_size=32,
    autoencoder=AUTOENCODER.autoencoder,
    condition=ConditionConfig(z_width=32, genes=12, hidden=16),
    transformer=TransformerConfig(latent_channels=2, latent_size=4, patch=2, width=32, depth=2, heads=4),
    diffusion=DiffusionConfig(),
    sampler=SamplerConfig("dpmsolver++", 20),
    recipe=Recipe(steps=12, batch=8, learning_rate=3e-3, warmup=4, clip=1.0, ema=0.9),
)
TINY_GENES = replace(TINY, condition=replace(TINY.condition, genes=978))
"""For `tiny_tier`, whose expression has all landmark genes."""

TINY_DETAIL = TrainedDetail(
    "tiny", AUTOENCODER.autoencoder, DetailConfig(width=16, deep_width=16, time_width=16),
    Recipe(steps=150, batch=4, learning_rate=5e-3, warmup=10, decay=0.5, clip=1.0, ema=0.98),
)  # fmt: skip


def tiny_training_set() -> TrainingSet:
    """Four samples of random latents and expression; one compound without a structure."""
    torch.manual_seed(0)
    smiles = ["CCO", "CCN", "c1ccccc1", None]
    records = [
        Condition(track="t", compound=str(i), index=0, smiles=s, dose_um=1.0, plate="P") for i, s in enumerate(smiles)
    ]
    g_pre = 8 + torch.randn(4, 12)
    return TrainingSet(
        torch.randn(4, 8, 2, 4, 4).half(), g_pre, g_pre + torch.randn(4, 12), featurise(records, TINY.condition)
    )
