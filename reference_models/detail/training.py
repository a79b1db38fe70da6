"""Training of the flow of detail: a likelihood for its deviation, flow matching for the rest.

No network that scores images takes part. The autoencoder stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.autoencoder.training import draw_images
from reference_models.core.pixels import to_tensor, to_uint8
from reference_models.detail.config import TrainedDetail
from reference_models.detail.network import DetailDecoder, DetailFlow
from reference_models.training.average import Averages
from reference_models.training.devices import Compute, mean_of
from reference_models.training.recipe import rate_at, snapshot_every
from reference_models.training.watching import BATCH, Part

Network = TypeVar("Network", bound=nn.Module)
LIKELIHOOD_WEIGHT = 0.1
LARGEST = 5.0
"""Differences are cut at so many deviations for the flow, so that a pixel whose deviation is not learnt yet does not
drown the others."""
DRAWN_STEPS = 8
"""Of Euler's method, for pictures on the way."""


class DetailTraining:
    """The flow, its average and its optimiser (a `training.loop.Trainee`)."""

    def __init__(
        self, config: TrainedDetail, autoencoder: ConvolutionalAutoencoder, images: Tensor, compute: Compute
    ) -> None:
        """images: uint8 (N, 3, H, W), on the CPU; seen in random flips and quarter turns."""
        self.recipe, self.images, self.compute, self.device = config.recipe, images, compute, compute.device
        self.autoencoder = _on(autoencoder, self.device)
        torch.manual_seed(config.recipe.seed)
        self.flow = _on(DetailFlow(config), self.device)
        self.snapshot_every = snapshot_every(self.recipe)
        self.kept = Averages(self.flow, self.recipe.ema, self.recipe.ema_widths)
        self.averages, self.average = self.kept.by_width, self.kept.result
        self.optimizer = torch.optim.AdamW(
            self.flow.parameters(),
            lr=self.recipe.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.recipe.weight_decay,
        )
        self.modules: dict[str, nn.Module] = {"flow": self.flow, **self.kept.modules}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"adamw": self.optimizer}

    def update(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        recipe = self.recipe
        images = draw_images(self.images, recipe.batch, generator)
        rounding = (torch.rand(images.shape, generator=generator) - 0.5) / 127.5  # grey levels are whole numbers
        noise = torch.randn(images.shape, generator=generator)
        times = torch.rand(len(images), generator=generator)
        parts = self.compute.parts(recipe.batch)
        terms = mean_of([
            self._backward((images + rounding)[part], noise[part], times[part], len(parts)) for part in parts
        ])  # fmt: skip
        return {**terms, "gradient_norm": self.step(step)}

    def _backward(self, images: Tensor, noise: Tensor, times: Tensor, parts: int) -> dict[str, Tensor]:
        """Add the gradient of one of the equal `parts` of a batch; returns its terms."""
        images, noise, times = (tensor.to(self.device) for tensor in (images, noise, times))
        with self.compute.autocast():
            with torch.no_grad():
                known = self.autoencoder.reconstruction(self.autoencoder.encode(images))
            terms = self.losses(images, known, noise, times)
        ((terms["flow"] + LIKELIHOOD_WEIGHT * terms["negative_log_likelihood"]) / parts).backward()
        return {name: value.detach() for name, value in terms.items()}

    def losses(
        self, images: Tensor, known: tuple[Tensor, Tensor, Tensor], noise: Tensor, times: Tensor
    ) -> dict[str, Tensor]:
        """Mean losses of images (N, 3, H, W) of which the autoencoder knows `known`, at noise and times (N,)."""
        given = self.flow.given(*known)
        difference = (images - given.mean) / given.deviation
        target = difference.detach().clamp(-LARGEST, LARGEST)
        at = times.view(-1, 1, 1, 1)
        velocity = self.flow((1 - at) * target + at * noise, times, given)
        return {
            "flow": (velocity - (noise - target)).square().mean(),
            "negative_log_likelihood": 0.5 * (difference.square() + given.log_variance).mean(),
        }

    def step(self, step: int) -> Tensor:
        """One step of the optimiser and the average; returns the norm of the gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.recipe, step)
        norm = self.compute.join_gradients(self.flow.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.kept.update(self.flow, step)
        return norm

    def draw(self, part: Part) -> np.ndarray:
        """The images of a part, sent once through the autoencoder and completed (a `training.watching.Draws`)."""
        decoder = DetailDecoder(self.autoencoder, self.average, DRAWN_STEPS, self.compute.bfloat16)
        drawn = []
        for at in range(0, len(part.images), BATCH):
            images = to_tensor(part.images[at : at + BATCH], self.device)
            generators = [torch.Generator().manual_seed(at + row) for row in range(len(images))]
            with torch.no_grad():
                drawn.append(to_uint8(decoder.draw(self.autoencoder.encode(images), generators)))
        return np.concatenate(drawn)

    def finish(self) -> nn.Module:
        """The average is the result."""
        return self.average


def _on(module: Network, device: torch.device) -> Network:
    """On a device, with convolutions' channels last, which is how the processor takes them."""
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
