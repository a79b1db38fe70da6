"""How the image autoencoder is trained from the command line."""

from __future__ import annotations

import numpy as np
import torch

from morphobench.errors import BadInput
from morphobench.training_data import TierDataset
from reference_models.autoencoder.config import SIM, TrainedAutoencoder
from reference_models.autoencoder.training import AutoencoderTraining
from reference_models.training.trainer import Job, Trainer


def describe(job: Job[TrainedAutoencoder]) -> dict[str, str]:
    """Nothing of its own; BadInput for a kind that is not ours to train, and for options that it has no use for."""
    if job.config.autoencoder.kind != "convolutional":
        raise BadInput(f"autoencoder.kind {job.config.autoencoder.kind!r}: is not trained here; choose convolutional")
    if job.autoencoder is not None:
        raise BadInput(f"--autoencoder {job.autoencoder}: is of a latent model; leave it out, this is the autoencoder")
    if job.compute.recompute:
        raise BadInput("--recompute: the autoencoder has no blocks to compute again; leave it out")
    if job.compute.compiled:
        raise BadInput("--compile: the autoencoder's step is not compiled; leave it out")
    return {}


def build(job: Job[TrainedAutoencoder]) -> AutoencoderTraining:
    """The autoencoder, its discriminator and the training images of the tier, which are kept in memory."""
    images = np.concatenate(list(TierDataset(job.tier, "train").images.batches(64)))
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return AutoencoderTraining(job.config, tensor, job.compute)


TRAINER = Trainer("autoencoder", {"sim": SIM}, describe, build)
