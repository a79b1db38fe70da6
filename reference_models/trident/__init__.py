"""TRIDENT (Peng et al.): drug and pre-treatment expression -> cell images and post-treatment expression."""

from __future__ import annotations

from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from reference_models import shipped
from reference_models.autoencoder.loading import load_companion
from reference_models.core import weight_file
from reference_models.detail.loading import load_detail
from reference_models.training.devices import chosen_device
from reference_models.trident.config import PAPER, SIM, TridentConfig
from reference_models.trident.model import Trident
from reference_models.trident.network import TridentNetwork

__all__ = ["PAPER", "SIM", "Trident", "TridentConfig", "load"]


def load(tier: Tier, device: str = "cpu", weights: Path | None = None) -> Trident:
    """The TRIDENT trained on a tier: the one that ships, or that of `weights` (a file, or the folder of a run).

    Its configuration is the file's. Unavailable for a tier without shipped weights; BadInput for weights that were
    changed or are of another model, tier, version or gene order, and for an unknown device.
    """
    target = chosen_device(device)
    file = weight_file.read(shipped.weight_path("trident", tier.spec.name, weights))
    weight_file.check(file, "trident", tier)
    config = weight_file.configuration(file, TridentConfig)
    if config.image_size != tier.spec.image_size:
        raise BadInput(
            f"{file.path}: configuration {config.name!r} draws {config.image_size} pixels, tier {tier.spec.name} has "
            f"{tier.spec.image_size}; train a configuration of that size"
        )
    network = weight_file.filled(lambda: TridentNetwork(config), file)
    autoencoder = load_companion(file, config.autoencoder, tier).to(target)
    detail = None
    if config.sampler.detail_steps:
        place = shipped.beside(file.path, "detail", tier.spec.name)
        detail = load_detail(place, file.metadata.get("autoencoder_sha256", ""), tier).to(target)
    training_data = f"{tier.spec.title}, version {tier.spec.version}, train split ({len(tier.rows('train'))} images)"
    return Trident(network, autoencoder, training_data, device, weights_sha256=file.sha256, detail=detail)
