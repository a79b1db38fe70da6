"""Training of the sim tier's image autoencoder: L1 at three scales, gradients, a small KL term, and in the last third
a patch discriminator.

No feature extractor that scores images takes part in the loss: a decoder trained against one would be rewarded for that
network's blind spots.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_models.autoencoder.config import TrainedAutoencoder
from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.core.pixels import VIEWS, dihedral, to_tensor, to_uint8
from reference_models.training.devices import Compute, mean_of
from reference_models.training.watching import BATCH, Part


class PatchDiscriminator(nn.Module):
    """Real or decoded, judged on overlapping patches of about 30 pixels (Isola et al. 2017): (N, 3, H, W) -> (N, 1,
    H/8, W/8)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, 48, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(48, 64, 4, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 96, 4, stride=2, padding=1),
            nn.GroupNorm(8, 96),
            nn.LeakyReLU(0.2),
            nn.Conv2d(96, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def reconstruction_loss(images: Tensor, decoded: Tensor, gradient_weight: float = 1.0) -> Tensor:
    """L1 of the pixels at full, half and quarter size, plus L1 of their differences to the next pixel across and
    down."""
    loss = torch.zeros((), device=images.device)
    for scale in (1, 2, 4):
        real, made = (functional.avg_pool2d(part, scale) if scale > 1 else part for part in (images, decoded))
        loss = loss + functional.l1_loss(made, real)
        if scale < 4:
            for axis in (-1, -2):
                loss = loss + gradient_weight * functional.l1_loss(made.diff(dim=axis), real.diff(dim=axis))
    return loss


def kl_per_value(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL to a standard normal, averaged over all latent values; keeps latents bounded and smooth for the diffusion."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


class AutoencoderTraining:
    """The autoencoder against its discriminator, each with its own optimiser (a `training.loop.Trainee`)."""

    def __init__(self, config: TrainedAutoencoder, images: Tensor, compute: Compute) -> None:
        """images: uint8 (N, 3, H, W), on the CPU; seen in random flips and quarter turns."""
        self.config, self.recipe, self.images, self.compute = config.autoencoder, config.recipe, images, compute
        self.device = device = compute.device
        torch.manual_seed(config.recipe.seed)
        self.autoencoder = ConvolutionalAutoencoder(config.autoencoder).to(device)
        self.discriminator = PatchDiscriminator().to(device)
        self.draws = torch.optim.AdamW(
            self.autoencoder.parameters(), lr=self.recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.judges = torch.optim.AdamW(
            self.discriminator.parameters(), lr=self.recipe.learning_rate / 2, betas=(0.5, 0.99), weight_decay=0.0
        )
        self.modules: dict[str, nn.Module] = {"autoencoder": self.autoencoder, "discriminator": self.discriminator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"autoencoder": self.draws, "discriminator": self.judges}

    def update(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        recipe = self.recipe
        for group in self.draws.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (step + 1) / 100, 0.02 + 1.2 * (1 - step / recipe.steps))
        real = draw_images(self.images, recipe.batch, generator)
        noise = torch.randn(self._latent_shape(real), generator=generator)
        adversarial = step >= recipe.adversarial_from * recipe.steps
        parts = self.compute.parts(recipe.batch)
        reals = [real[part].to(self.device) for part in parts]
        decoded, terms = [], []
        for own, drawn in zip(reals, (noise[part].to(self.device) for part in parts), strict=True):
            made, term = self._draw(own, drawn, adversarial, len(parts))
            decoded.append(made)
            terms.append(term)
        self._step(self.draws, self.autoencoder)
        if adversarial:
            hinges = [self._judge(own, made, len(parts)) for own, made in zip(reals, decoded, strict=True)]
            self._step(self.judges, self.discriminator)
            return mean_of(terms) | mean_of(hinges)
        return mean_of(terms)

    def _draw(self, real: Tensor, noise: Tensor, adversarial: bool, parts: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the gradient of one of the equal `parts` of a batch; returns what the autoencoder drew, and its terms."""
        recipe, terms = self.recipe, {}
        with self.compute.autocast():
            mean, log_variance = (part.float() for part in self.autoencoder.posterior(real))
            decoded = self.autoencoder.decoder(mean + torch.exp(0.5 * log_variance) * noise).float()
            reconstruction = reconstruction_loss(real, decoded, recipe.gradient_weight)
            kl = kl_per_value(mean, log_variance)
            loss = reconstruction + recipe.kl_weight * kl
            if adversarial:
                fooled = -self.discriminator(decoded).float().mean()
                loss = loss + recipe.adversarial_weight * fooled
                terms["fooled"] = fooled.detach()
        (loss / parts).backward(inputs=list(self.autoencoder.parameters()))
        return decoded.detach(), {"reconstruction": reconstruction.detach(), "kl": kl.detach(), **terms}

    def _judge(self, real: Tensor, decoded: Tensor, parts: int) -> dict[str, Tensor]:
        """Add the discriminator's gradient of one of the parts, of the hinge loss, which is returned."""
        with self.compute.autocast():
            judged_real, judged_made = self.discriminator(real).float(), self.discriminator(decoded).float()
            hinge = functional.relu(1 - judged_real).mean() + functional.relu(1 + judged_made).mean()
        (hinge / parts).backward(inputs=list(self.discriminator.parameters()))
        return {"discriminator": hinge.detach()}

    def _latent_shape(self, images: Tensor) -> tuple[int, ...]:
        """(N, C, H/8, W/8) of a batch of images."""
        sizes, (height, width) = self.config, images.shape[-2:]
        return (len(images), sizes.latent_channels, height // sizes.downsampling, width // sizes.downsampling)

    def _step(self, optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
        self.compute.join_gradients(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def draw(self, part: Part) -> np.ndarray:
        """The images of a part, sent once through the autoencoder (a `training.watching.Draws`)."""
        batches = (part.images[at : at + BATCH] for at in range(0, len(part.images), BATCH))
        return np.concatenate(
            [to_uint8(self.autoencoder.decode(self.autoencoder.encode(to_tensor(b, self.device)))) for b in batches]
        )

    def finish(self) -> nn.Module:
        """Measure the latents' mean and deviation per channel, by which they are standardised."""
        standardise(self.autoencoder, self.images, self.device)
        return self.autoencoder


def draw_images(images: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """A random batch (N, 3, H, W) in [-1, 1], each image in a random dihedral view."""
    rows = torch.randint(len(images), (batch,), generator=generator)
    views = torch.randint(VIEWS, (batch,), generator=generator)
    turned = [dihedral(images[row], int(view)) for row, view in zip(rows, views, strict=True)]
    return torch.stack(turned).float() / 127.5 - 1


@torch.no_grad()
def standardise(autoencoder: ConvolutionalAutoencoder, images: Tensor, device: torch.device, batch: int = 64) -> None:
    """Set the autoencoder's latent mean and deviation per channel from uint8 images (N, 3, H, W)."""
    parts = (part.to(device).float() / 127.5 - 1 for part in images.split(batch))
    means = torch.cat([autoencoder.posterior(part)[0] for part in parts])
    autoencoder.latent_mean.copy_(means.mean((0, 2, 3)).view(-1, 1, 1))
    autoencoder.latent_std.copy_(means.std((0, 2, 3)).view(-1, 1, 1))
