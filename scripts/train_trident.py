"""Train TRIDENT on the sim tier (Algorithm 1) with the committed recipe and export the averaged weights to the package.

    python scripts/train_autoencoder.py --out runs/sim-autoencoder
    python scripts/train_trident.py --out runs/sim-trident

It uses the exported autoencoder. Started again with the same folder, it continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from morphobench.datasets import Tier, load_tier
from morphobench.storage import atomic_write_text
from reference_models.trident.autoencoder import ConvolutionalAutoencoder, dihedral, to_tensor
from reference_models.trident.condition import featurise
from reference_models.trident.config import SIM, TridentConfig
from reference_models.trident.training import TrainingSet, train_trident
from reference_models.trident.weights import AUTOENCODER_PARTS, FOLDER, export, identity, restore

LOG_LINES = 200
"""Lines of the training log that ship, evenly spaced."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint and log")
    parser.add_argument("--steps", type=int, help="stop after the first STEPS of the recipe's (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bfloat16", action="store_true", help="mixed precision; faster on processors with AVX512-BF16"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tier = load_tier("sim")
    metadata = identity(SIM, tier.spec.version)
    autoencoder = ConvolutionalAutoencoder(SIM.autoencoder).eval().requires_grad_(False)
    restore(autoencoder, "sim_autoencoder.safetensors", identity(SIM, tier.spec.version, AUTOENCODER_PARTS))
    data = training_set(tier, autoencoder, SIM)
    run = train_trident(SIM, data, arguments.out, arguments.bfloat16, arguments.steps)
    recipe = {"recipe": json.dumps(asdict(SIM.recipe)), "steps": str(run.step), "bfloat16": str(arguments.bfloat16)}
    export(run.modules["average"], "sim_trident.safetensors", {**metadata, **recipe})
    first, *lines = run.log
    first["command"] = " ".join(["python", *sys.argv])
    kept = [first, *lines[:: max(1, len(lines) // LOG_LINES)], lines[-1]]
    atomic_write_text(FOLDER / "sim_trident.log.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


@torch.no_grad()
def training_set(tier: Tier, autoencoder: ConvolutionalAutoencoder, config: TridentConfig) -> TrainingSet:
    """The train split with its images encoded in all eight dihedral views, so that no step has to encode one."""
    rows = tier.rows("train")
    latents = []
    for batch in tier.images(rows).batches(64):
        images = to_tensor(batch, torch.device("cpu"))
        latents.append(torch.stack([autoencoder.encode(dihedral(images, view)) for view in range(8)], 1).half())
    g_pre, g_post = (torch.from_numpy(part).float() for part in tier.expression(rows))
    drugs = featurise(tier.conditions_of(rows, "train").records, config.condition)
    return TrainingSet(torch.cat(latents), g_pre, g_post, drugs)


if __name__ == "__main__":
    main()
