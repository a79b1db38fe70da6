"""Algorithm 1: what one step of TRIDENT's training is. The loop around it is `training.loop`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel
from torch.utils.checkpoint import checkpoint

from morphobench.training_data import TierDataset
from reference_models.autoencoder.network import ImageAutoencoder
from reference_models.training.average import Averages
from reference_models.training.devices import Compute, attention_kernels, mean_of
from reference_models.training.latents import CachedLatents
from reference_models.training.recipe import rate_at, snapshot_every
from reference_models.training.watching import Part
from reference_models.trident.condition import Drugs, feature_count, featurise
from reference_models.trident.config import TridentConfig
from reference_models.trident.diffusion import draw_steps
from reference_models.trident.model import Trident
from reference_models.trident.network import Losses, Noise, TridentNetwork


@dataclass(frozen=True)
class TrainingSet:
    """The paired samples of Algorithm 1, images already encoded, given out on one device.

    latents: (N, V, C, S, S) float16, V dihedral views of each image, in memory or on disk. g_pre, g_post: (N, G)
    float32 log2 expression.
    """

    latents: Tensor | CachedLatents
    g_pre: Tensor
    g_post: Tensor
    drugs: Drugs


def training_set(dataset: TierDataset, latents: CachedLatents, config: TridentConfig) -> TrainingSet:
    """A split, its images as `latents`, on their device."""
    device = latents.device
    return TrainingSet(
        latents,
        torch.from_numpy(dataset.g_pre).to(device),
        torch.from_numpy(dataset.g_post).to(device),
        featurise(dataset.conditions.records, config.condition).to(device),
    )


class TridentTraining:
    """Fresh weights, their average and the optimiser, all from the recipe's seed (a `training.loop.Trainee`).

    The loss is Eq. 10 divided by the number of latent values, a constant that only sets the scale of gradients.
    """

    def __init__(
        self,
        config: TridentConfig,
        data: TrainingSet,
        compute: Compute | None = None,
        autoencoder: ImageAutoencoder | None = None,
    ) -> None:
        """compute: how; on the data's device, by default plainly. autoencoder: what `draw` decodes with."""
        self.config, self.data, self.device = config, data, data.latents.device
        self.compute, self.autoencoder = compute or Compute(self.device), autoencoder
        torch.manual_seed(config.recipe.seed)
        self.network = TridentNetwork(config)
        self.network.fit_standardisation(data.g_pre.cpu(), data.g_post.cpu())
        self.network.condition.fit_features(data.drugs)
        self.network.to(self.device)
        self.snapshot_every = snapshot_every(config.recipe)
        self.kept = Averages(self.network, config.recipe.ema, config.recipe.ema_widths)
        self.averages, self.average = self.kept.by_width, self.kept.result
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.recipe.learning_rate,
            weight_decay=config.recipe.weight_decay,
            fused=True,
        )
        self.modules: dict[str, nn.Module] = {"network": self.network, **self.kept.modules}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"adamw": self.optimizer}
        self.losses = self._losses()

    def update(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        recipe = self.config.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(recipe, step)
        rows, views, noise = draw_batch(self.config, self.data, generator)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.compute.parts(recipe.batch)
        terms = mean_of([self._backward(rows, views, noise, part, len(parts)) for part in parts])
        norm = self.compute.join_gradients(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        self.kept.update(self.network, step)
        return {**terms, "gradient_norm": norm}

    def _backward(self, rows: Tensor, views: Tensor, noise: Noise, part: slice, parts: int) -> dict[str, Tensor]:
        """Add the gradient of one of the equal `parts` of a batch; returns its terms."""
        data, rows, views = self.data, rows[part], views[part]
        latents = data.latents[rows, views].float()
        latent_values = latents[0].numel()
        with sdpa_kernel(attention_kernels(self.device)):  # the backward pass too: it may compute blocks again
            with self.compute.autocast():
                losses = self.losses(latents, data.g_pre[rows], data.g_post[rows], data.drugs[rows], noise[part])
            (losses.total / latent_values / parts).backward()
        terms = {name: value.detach() for name, value in vars(losses).items()}
        return {**terms, "diffusion_per_value": terms["diffusion"] / latent_values}

    def _losses(self) -> Callable[..., Losses]:
        """The network's losses; the blocks computed again in the backward pass, and compiled, where asked for.

        The blocks are changed in place and after the average was copied, whose blocks stay as they are.
        """
        if self.compute.recompute:
            for block in self.network.transformer.blocks:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        return torch.compile(self.network.losses) if self.compute.compiled else self.network.losses

    def draw(self, part: Part) -> np.ndarray:
        """What the average draws for the conditions of a part, with seed 0 (a `training.watching.Draws`)."""
        if self.autoencoder is None:
            raise ValueError("no autoencoder to decode with")
        plain = replace(self.config.sampler, detail_steps=0)  # what is trained here is the latents
        drawing = Trident(self.average, self.autoencoder, "", str(self.device), plain)
        return drawing.generate(part.conditions, seed=0)

    def finish(self) -> nn.Module:
        """The average is the result."""
        return self.average


def draw_batch(config: TridentConfig, data: TrainingSet, generator: torch.Generator) -> tuple[Tensor, Tensor, Noise]:
    """Rows, views and noise of one batch; drawn on the CPU, so that a seed means the same batch on every device.

    Rows and views stay there, where latents on disk are looked up: to read them back would wait for the device.
    """
    size, device = config.recipe.batch, data.latents.device
    rows = torch.randint(data.latents.shape[0], (size,), generator=generator)
    views = torch.randint(data.latents.shape[1], (size,), generator=generator)
    z = torch.randn(size, config.condition.tokens, config.condition.z_width, generator=generator)
    steps = draw_steps(config.diffusion, size, generator)
    latents = torch.randn(size, *data.latents.shape[2:], generator=generator)
    noise = Noise(z.to(device), steps.to(device), latents.to(device), *_hidden(config, generator, device))
    return rows, views, noise


def _hidden(config: TridentConfig, generator: torch.Generator, device: torch.device) -> tuple[Tensor | None, ...]:
    """Which features and which structures of a batch are hidden; None where nothing is."""
    size, most = config.recipe.batch, config.condition.drug_dropout
    if most == 0:
        return None, None
    share = most * torch.rand(size, 1, generator=generator)
    features = torch.rand(size, feature_count(config.condition), generator=generator) < share
    structures = torch.rand(size, generator=generator) < most / 10
    return features.to(device), structures.to(device)
