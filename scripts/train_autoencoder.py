"""Train the sim tier's image autoencoder on the tier's training images and export it to the package.

    python scripts/train_autoencoder.py --out runs/sim-autoencoder

Started again with the same folder, it continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from morphobench.datasets import Tier, load_tier
from morphobench.storage import atomic_write_text
from reference_models.trident.autoencoder_training import train_autoencoder
from reference_models.trident.config import SIM
from reference_models.trident.weights import AUTOENCODER_PARTS, FOLDER, export, identity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint and log")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bfloat16", action="store_true", help="mixed precision; faster on processors with AVX512-BF16"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tier = load_tier("sim")
    autoencoder = train_autoencoder(
        SIM.autoencoder, training_images(tier), arguments.out, arguments.steps, bfloat16=arguments.bfloat16
    )
    metadata = identity(SIM, tier.spec.version, AUTOENCODER_PARTS)
    recipe = {"steps": str(arguments.steps), "bfloat16": str(arguments.bfloat16)}
    export(autoencoder, "sim_autoencoder.safetensors", {**metadata, **recipe})
    first, *log = [json.loads(line) for line in (arguments.out / "log.jsonl").read_text().splitlines()]
    first["command"] = " ".join(["python", *sys.argv])
    atomic_write_text(FOLDER / "sim_autoencoder.log.jsonl", "".join(json.dumps(line) + "\n" for line in [first, *log]))


def training_images(tier: Tier) -> torch.Tensor:
    """uint8 (N, 3, H, W): the train split, in its order."""
    images = np.concatenate(list(tier.images(tier.rows("train")).batches(64)))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    main()
