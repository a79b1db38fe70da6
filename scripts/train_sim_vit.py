"""Train the small vision transformer of the sim tier without labels (SimCLR, Chen et al. 2020), into a folder of its
own.

    python scripts/train_sim_vit.py --out runs/sim-vit

It sees the training images and the vehicle images of the training plates. Two views of one image (turned, flipped,
cropped, each channel's gain and gamma changed, a quarter of the patches dropped) must find each other among all views
of a batch. A batch comes from one plate, so that what differs between plates does not help. With --resume it goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from morphobench.datasets import load_tier
from morphobench.features.torchvision_ops import ensure_torchvision
from reference_models.core.weight_file import FORMAT
from reference_models.training.command import one_line_errors, options
from reference_models.training.devices import chosen_device, mixed_precision
from reference_models.training.loop import train
from reference_models.training.run_folder import RunFolder

ARCHITECTURE: dict[str, Any] = {
    "img_size": 128,
    "patch_size": 16,
    "embed_dim": 192,
    "depth": 4,
    "num_heads": 3,
    "num_classes": 0,
    "class_token": False,
    "global_pool": "avg",
}
"""Arguments of timm's VisionTransformer: 1.9 million weights."""
PATCH_DROP = 0.25
TEMPERATURE = 0.15
LEARNING_RATE = 5e-4
WEIGHT_DECAY = 0.05
WARM_UP = 50
SEED = 0


class Contrastive(nn.Module):
    """The transformer and the projection that only the loss sees."""

    def __init__(self) -> None:
        super().__init__()
        ensure_torchvision()
        from timm.models.vision_transformer import VisionTransformer

        width = ARCHITECTURE["embed_dim"]
        self.vit = VisionTransformer(**ARCHITECTURE, patch_drop_rate=PATCH_DROP)
        self.project = nn.Sequential(nn.Linear(width, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 128))

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.vit(images))


class ContrastiveTraining:
    """Two views of one image must find each other (a `training.loop.Trainee`)."""

    def __init__(self, images: Tensor, plates: Tensor, arguments: argparse.Namespace) -> None:
        self.images, self.plates, self.arguments = images, plates, arguments
        self.device = chosen_device(arguments.device)
        torch.manual_seed(SEED)
        self.model = Contrastive()
        whiten_input(self.model.vit.patch_embed.proj, images)
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.modules: dict[str, nn.Module] = {"model": self.model}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"adamw": self.optimizer}

    def update(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.arguments.steps)
        (plate,) = torch.randint(int(self.plates.max()) + 1, (1,), generator=generator)
        (own,) = torch.nonzero(self.plates == plate, as_tuple=True)
        rows = own[torch.randperm(len(own), generator=generator)[: self.arguments.batch]]
        batch = self.images[rows].float() / 255
        views = torch.cat([augment(batch, generator), augment(batch, generator)]).to(self.device)
        with mixed_precision(self.device, self.arguments.bfloat16):
            projected = self.model((views - 0.5) / 0.5)
        loss, accuracy = contrastive_loss(projected.float())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return {"loss": loss.detach(), "accuracy": accuracy}

    def finish(self) -> nn.Module:
        return self.model.vit


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=96)
    arguments = parser.parse_args()
    with one_line_errors():
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    recipe = {"steps": arguments.steps, "batch": arguments.batch, "bfloat16": arguments.bfloat16, "seed": SEED}
    metadata = {"format": FORMAT, "model": "sim_vit", "tier": "sim", "architecture": json.dumps(ARCHITECTURE)}
    folder = RunFolder(arguments.out, metadata | {"recipe": json.dumps(recipe)})
    with folder.held():
        folder.claim(arguments.resume)
        trainee = ContrastiveTraining(*unlabelled_images(), arguments)
        folder.begin()
        train(trainee, folder, SEED, arguments.steps, arguments.stop_after, log_every=10, save_every=100)


def unlabelled_images() -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 3, H, W) of the train split and of the vehicle on its plates; and the number of each plate."""
    tier = load_tier("sim")
    train_rows, vehicle = tier.rows("train"), tier.rows("vehicle")
    vehicle = vehicle[vehicle["plate"].isin(train_rows["plate"])].reset_index(drop=True)
    parts = [part for rows in (train_rows, vehicle) for part in tier.images(rows).batches(64)]
    _, plates = np.unique(np.concatenate([train_rows["plate"], vehicle["plate"]]).astype(str), return_inverse=True)
    images = torch.from_numpy(np.concatenate(parts)).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(plates)


@torch.no_grad()
def whiten_input(first: nn.Conv2d, images: Tensor) -> None:
    """Let the first layer start as if its channels had mean 0 and deviation 1; dark pixels in -1..1 are far from it."""
    pixels = (images[::8].float() / 255 - 0.5) / 0.5
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    first.weight.div_(std[:, None, None])
    assert first.bias is not None
    first.bias.sub_((first.weight.sum((2, 3)) * mean).sum(1))


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random views of images (N, 3, H, W) in [0, 1]: any rotation, a flip, zoom 1..1.3, a shift, and per channel a
    gain and a gamma."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*(shape or (n,)), generator=generator)

    angle, zoom = uniform(-math.pi, math.pi), uniform(1.0, 1.3)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    shift = uniform(-0.25, 0.25, 2, n)
    rows = torch.stack([cosine * flip, -sine, shift[0], sine * flip, cosine, shift[1]], 1).view(n, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    turned = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain = torch.exp(0.35 * torch.randn(n, 3, 1, 1, generator=generator))
    gamma = torch.exp(uniform(-0.25, 0.25, n, 3, 1, 1))
    return (gain * turned.clamp(min=1e-4) ** gamma).clamp(0, 1)


def contrastive_loss(projected: Tensor) -> tuple[Tensor, Tensor]:
    """NT-Xent of (2 B, D), rows i and i + B two views of one image; and the share of views whose nearest is their
    partner."""
    unit = functional.normalize(projected, dim=1)
    similarity = unit @ unit.T / TEMPERATURE
    similarity.fill_diagonal_(float("-inf"))
    partner = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return functional.cross_entropy(similarity, partner), (similarity.argmax(1) == partner).float().mean()


if __name__ == "__main__":
    main()
