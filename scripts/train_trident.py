"""Train TRIDENT on the sim tier (Algorithm 1) with the committed recipe, into a folder of its own.

    python scripts/train_trident.py --out runs/sim-trident
    morphobench evaluate --model trident --checkpoint runs/sim-trident

It uses the autoencoder that ships, or that of `--autoencoder`, and keeps a copy of it in the folder. Started again with
the same folder, it goes on where it stopped. `scripts/release_weights.py` puts the result into the package.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from morphobench.datasets import load_tier
from morphobench.storage import atomic_path, sha256_file
from morphobench.training_data import TierDataset
from reference_models.autoencoder import loading
from reference_models.core.weight_file import describe
from reference_models.shipped import weight_path
from reference_models.training.command import one_line_errors, options
from reference_models.training.devices import chosen_device
from reference_models.training.loop import train
from reference_models.training.run_folder import RunFolder
from reference_models.trident.config import SIM
from reference_models.trident.training import TridentTraining, training_set


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--autoencoder", type=Path, help="file or folder of a run (default: the one that ships)")
    arguments = parser.parse_args()
    with one_line_errors():
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    device, tier = chosen_device(arguments.device), load_tier("sim")
    path = weight_path("autoencoder", tier.spec.name, arguments.autoencoder)
    autoencoder = loading.load(path, SIM.autoencoder, tier).to(device)
    metadata = describe("trident", SIM, tier) | {"autoencoder_sha256": sha256_file(path)}
    folder = RunFolder(arguments.out, metadata | {"bfloat16": str(arguments.bfloat16)})
    folder.claim()
    with atomic_path(arguments.out / loading.BESIDE) as temporary:
        shutil.copyfile(path, temporary)
    data = training_set(TierDataset(tier, "train"), autoencoder.encode, SIM, device)
    train(
        TridentTraining(SIM, data, arguments.bfloat16), folder, SIM.recipe.seed, SIM.recipe.steps, arguments.stop_after
    )


if __name__ == "__main__":
    main()
