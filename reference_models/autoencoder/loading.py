"""An autoencoder from its file: the one that a latent model was trained with, and no other."""

from __future__ import annotations

from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.storage import sha256_file
from reference_models.autoencoder.config import AutoencoderConfig, TrainedAutoencoder
from reference_models.autoencoder.network import ConvolutionalAutoencoder, StableDiffusionAutoencoder
from reference_models.core import weight_file
from reference_models.shipped import FOLDER, STABLE_DIFFUSION

BESIDE = "autoencoder.safetensors"
"""Copy of the autoencoder in the folder of a run that used it."""


def load(path: Path, config: AutoencoderConfig, tier: Tier) -> ConvolutionalAutoencoder:
    """The autoencoder in a file, in inference mode; BadInput where the file is of another model, tier or size."""
    file = weight_file.read(path)
    weight_file.check(file, "autoencoder", tier)
    stored = weight_file.configuration(file, TrainedAutoencoder).autoencoder
    if stored != config:
        raise BadInput(f"{path}: an autoencoder of other sizes ({stored}) than the configuration asks for ({config})")
    autoencoder = weight_file.filled(lambda: ConvolutionalAutoencoder(stored), file)
    return autoencoder.eval().requires_grad_(False)


def load_companion(
    of: weight_file.WeightFile, config: AutoencoderConfig, tier: Tier
) -> ConvolutionalAutoencoder | StableDiffusionAutoencoder:
    """The autoencoder whose latents a file of weights was trained on: beside the file, or the one that ships.

    Its hash is in the file's metadata, but for a stable-diffusion VAE, which is whatever lies beside the file. BadInput
    where neither has the hash; Unavailable for a stable-diffusion VAE that is not there.
    """
    if config.kind == "stable-diffusion":
        return StableDiffusionAutoencoder(of.path.parent / STABLE_DIFFUSION, config).eval().requires_grad_(False)
    wanted = of.metadata.get("autoencoder_sha256", "")
    for path in (of.path.parent / BESIDE, FOLDER / f"autoencoder__{tier.spec.name}.safetensors"):
        if path.is_file() and sha256_file(path) == wanted:
            return load(path, config, tier)
    raise BadInput(
        f"{of.path}: trained on the latents of an autoencoder with sha256 {wanted[:12]}..., which is neither beside it "
        f"as {BESIDE} nor the one that ships; put it there"
    )
