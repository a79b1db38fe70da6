"""How TRIDENT is trained from the command line: its latents come from an autoencoder that was trained before."""

from __future__ import annotations

from pathlib import Path

import torch

from morphobench.errors import BadInput
from morphobench.storage import copy_whole, folder_sha256, sha256_file
from morphobench.training_data import TierDataset
from reference_models.autoencoder import loading
from reference_models.autoencoder.network import ConvolutionalAutoencoder, StableDiffusionAutoencoder
from reference_models.core import solvers
from reference_models.core.solvers import Diffusion
from reference_models.shipped import STABLE_DIFFUSION, weight_path
from reference_models.training.latents import cached_latents
from reference_models.training.trainer import Job, Trainer
from reference_models.trident.config import PAPER, SIM, TridentConfig
from reference_models.trident.diffusion import Schedule
from reference_models.trident.training import TridentTraining, training_set
from reference_models.trident.transformer import DenoisingTransformer


def describe(job: Job[TridentConfig]) -> dict[str, str]:
    """The hash of the autoencoder.

    BadInput for one that is not there, another image size or other genes than the tier's, sizes that do not fit
    together, and a sampler that could not draw.
    """
    config, size = job.config, job.tier.spec.image_size
    if config.image_size != size:
        raise BadInput(
            f"configuration {config.name!r}: draws {config.image_size} pixels, tier {job.tier.spec.name} has {size}; "
            "choose another --config or --tier"
        )
    genes = len(job.tier.genes)
    if config.condition.genes != genes:
        raise BadInput(
            f"condition.genes {config.condition.genes}: tier {job.tier.spec.name} has {genes}; set it to that"
        )
    _check_sizes(config)
    try:
        solvers.check(Diffusion(Schedule(config.diffusion).beta), config.sampler.solver, config.sampler.steps)
    except ValueError as error:
        raise BadInput(f"sampler: {error}; --set sampler.steps=N") from error
    if config.sampler.detail_steps and config.autoencoder.kind != "convolutional":
        raise BadInput(
            "sampler.detail_steps: only the images of a convolutional autoencoder are completed; set it to 0"
        )
    place = _autoencoder(job)
    if config.autoencoder.kind == "stable-diffusion":
        return {"vae_sha256": folder_sha256(place)}
    return {"autoencoder_sha256": sha256_file(place)}


def _check_sizes(config: TridentConfig) -> None:
    """BadInput where layers do not fit together, known from a network without memory before any image is encoded."""
    sizes = config.transformer
    latents = (1, sizes.latent_channels, sizes.latent_size, sizes.latent_size)
    try:
        with torch.device("meta"):
            transformer = DenoisingTransformer(sizes)
            transformer(torch.zeros(latents), torch.zeros(1, 1, sizes.width), torch.zeros(1, dtype=torch.long))
    except (RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())[:120]
        raise BadInput(f"configuration {config.name!r}: sizes do not fit together ({detail}); correct them") from error


def build(job: Job[TridentConfig]) -> TridentTraining:
    """Fresh weights and the encoded training images; leaves a copy of the autoencoder beside the weights to come."""
    place, config, device = _autoencoder(job), job.config, job.compute.device
    autoencoder: ConvolutionalAutoencoder | StableDiffusionAutoencoder
    if config.autoencoder.kind == "stable-diffusion":
        autoencoder = StableDiffusionAutoencoder(place, config.autoencoder).eval().requires_grad_(False)
    else:
        autoencoder = loading.load(place, config.autoencoder, job.tier)
    if job.compute.main:
        _copy(place, job.folder)
    job.compute.wait()
    dataset = TierDataset(job.tier, "train")
    digest = folder_sha256(place) if place.is_dir() else sha256_file(place)
    latents = cached_latents(dataset.images, autoencoder.to(device).encode, digest, device)
    return TridentTraining(config, training_set(dataset, latents, config), job.compute, autoencoder)


def _autoencoder(job: Job[TridentConfig]) -> Path:
    """File of our autoencoder, or folder of a stable-diffusion VAE: the one asked for, the run's own, the shipped."""
    vae = job.config.autoencoder.kind == "stable-diffusion"
    own = job.folder / (STABLE_DIFFUSION if vae else loading.BESIDE)
    if job.autoencoder is None and job.resume and own.exists():
        return own
    if not vae:
        return weight_path("autoencoder", job.tier.spec.name, job.autoencoder)
    if job.autoencoder is None or not (job.autoencoder / "config.json").is_file():
        raise BadInput(
            f"--autoencoder {job.autoencoder or 'FOLDER'}: configuration {job.config.name!r} encodes by the "
            "stable-diffusion VAE; name its folder in diffusers' layout (config.json and weights)"
        )
    return job.autoencoder


def _copy(place: Path, folder: Path) -> None:
    """A copy beside the weights, where `autoencoder.loading.load_companion` looks for it."""
    if place.parent == folder:
        return
    copy_whole(place, folder / (STABLE_DIFFUSION if place.is_dir() else loading.BESIDE))


TRAINER = Trainer("trident", {"sim": SIM, "paper": PAPER}, describe, build)
