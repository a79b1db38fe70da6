"""Train the sim tier's image autoencoder on the tier's training images, into a folder of its own.

    python scripts/train_autoencoder.py --out runs/sim-autoencoder

Started again with the same folder, it goes on where it stopped. `scripts/release_weights.py` puts the result into the
package.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from morphobench.datasets import load_tier
from morphobench.training_data import TierDataset
from reference_models.autoencoder.config import SIM
from reference_models.autoencoder.training import AutoencoderTraining
from reference_models.core.weight_file import describe
from reference_models.training.command import one_line_errors, options
from reference_models.training.devices import chosen_device
from reference_models.training.loop import train
from reference_models.training.run_folder import RunFolder


def main() -> None:
    with one_line_errors():
        run(options(__doc__).parse_args())


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    tier = load_tier("sim")
    folder = RunFolder(arguments.out, describe("autoencoder", SIM, tier) | {"bfloat16": str(arguments.bfloat16)})
    folder.claim()
    images = np.concatenate(list(TierDataset(tier, "train").images.batches(64)))
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    trainee = AutoencoderTraining(SIM, tensor, chosen_device(arguments.device), arguments.bfloat16)
    train(trainee, folder, SIM.recipe.seed, SIM.recipe.steps, arguments.stop_after)


if __name__ == "__main__":
    main()
