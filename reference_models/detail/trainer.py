"""How the flow of detail is trained from the command line: on the images of an autoencoder that was trained before."""

from __future__ import annotations

import numpy as np
import torch

from morphobench.errors import BadInput
from morphobench.storage import sha256_file
from morphobench.training_data import TierDataset
from reference_models.autoencoder import loading
from reference_models.detail.config import SIM, TrainedDetail
from reference_models.detail.training import DetailTraining
from reference_models.shipped import weight_path
from reference_models.training.trainer import Job, Trainer


def describe(job: Job[TrainedDetail]) -> dict[str, str]:
    """The hash of the autoencoder; BadInput for one that is not ours, and for options that it has no use for."""
    if job.config.autoencoder.kind != "convolutional":
        raise BadInput(
            f"autoencoder.kind {job.config.autoencoder.kind!r}: only the images of a convolutional one are completed"
        )
    if job.compute.recompute:
        raise BadInput("--recompute: the flow of detail has no blocks to compute again; leave it out")
    if job.compute.compiled:
        raise BadInput("--compile: the step of the flow of detail is not compiled; leave it out")
    return {"autoencoder_sha256": sha256_file(weight_path("autoencoder", job.tier.spec.name, job.autoencoder))}


def build(job: Job[TrainedDetail]) -> DetailTraining:
    """The flow, the autoencoder and the training images of the tier, which are kept in memory."""
    place = weight_path("autoencoder", job.tier.spec.name, job.autoencoder)
    autoencoder = loading.load(place, job.config.autoencoder, job.tier)
    images = np.concatenate(list(TierDataset(job.tier, "train").images.batches(64)))
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return DetailTraining(job.config, autoencoder, tensor, job.compute)


TRAINER = Trainer("detail", {"sim": SIM}, describe, build)
