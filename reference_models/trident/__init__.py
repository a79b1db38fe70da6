"""TRIDENT (Peng et al.): drug and pre-treatment expression -> cell images and post-treatment expression."""

from __future__ import annotations

import torch

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, Unavailable
from reference_models.trident.autoencoder import ConvolutionalAutoencoder
from reference_models.trident.config import PAPER, SIM, TridentConfig
from reference_models.trident.model import Trident
from reference_models.trident.network import TridentNetwork
from reference_models.trident.weights import AUTOENCODER_PARTS, identity, restore

__all__ = ["PAPER", "SIM", "Trident", "TridentConfig", "load"]

SHIPPED = {"sim": SIM}
"""Tiers whose trained weights come with the package."""


def load(tier: Tier, device: str = "cpu") -> Trident:
    """The TRIDENT trained on a tier.

    Unavailable for a tier or version without shipped weights; BadInput for weights that were changed or are another
    model's, and for an unknown device.
    """
    name, version = tier.spec.name, tier.spec.version
    if name not in SHIPPED:
        raise Unavailable(
            f"tier {name!r}: no TRIDENT weights ship for it; train the paper's configuration on it, "
            f"or choose tier {', '.join(SHIPPED)}"
        )
    config = SHIPPED[name]
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise BadInput(f"device {device!r}: unknown; choose cpu or cuda") from error
    network, autoencoder = TridentNetwork(config), ConvolutionalAutoencoder(config.autoencoder)
    restore(autoencoder, f"{name}_autoencoder.safetensors", identity(config, version, AUTOENCODER_PARTS))
    restore(network, f"{name}_trident.safetensors", identity(config, version))
    training_data = f"{tier.spec.title}, version {version}, train split ({len(tier.rows('train'))} images)"
    return Trident(network, autoencoder.to(target).eval().requires_grad_(False), training_data, device)
