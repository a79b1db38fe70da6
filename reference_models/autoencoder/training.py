"""Training of the sim tier's image autoencoder: L1 at three scales, gradients, a small KL term, and in the last third
a patch discriminator.

No feature extractor that scores images takes part in the loss: a decoder trained against one would be rewarded for that
network's blind spots.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_models.autoencoder.config import TrainedAutoencoder
from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.core.pixels import VIEWS, dihedral
from reference_models.training.devices import mixed_precision


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

    def __init__(
        self, config: TrainedAutoencoder, images: Tensor, device: torch.device, bfloat16: bool = False
    ) -> None:
        """images: uint8 (N, 3, H, W), on the CPU; seen in random flips and quarter turns."""
        self.recipe, self.images, self.device, self.bfloat16 = config.recipe, images, device, bfloat16
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
        real = draw_images(self.images, recipe.batch, generator).to(self.device)
        adversarial = step >= recipe.adversarial_from * recipe.steps
        terms: dict[str, Tensor] = {}
        with mixed_precision(self.device, self.bfloat16):
            mean, log_variance = (part.float() for part in self.autoencoder.posterior(real))
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            decoded = self.autoencoder.decoder(mean + torch.exp(0.5 * log_variance) * noise).float()
            reconstruction = reconstruction_loss(real, decoded, recipe.gradient_weight)
            kl = kl_per_value(mean, log_variance)
            loss = reconstruction + recipe.kl_weight * kl
            if adversarial:
                fooled = -self.discriminator(decoded).float().mean()
                loss = loss + recipe.adversarial_weight * fooled
                terms["fooled"] = fooled.detach()
        _step(self.draws, self.autoencoder, loss)
        if adversarial:
            terms["discriminator"] = self._judge(real, decoded.detach())
        return {"reconstruction": reconstruction.detach(), "kl": kl.detach(), **terms}

    def _judge(self, real: Tensor, decoded: Tensor) -> Tensor:
        """One step of the discriminator on the hinge loss, which is returned."""
        with mixed_precision(self.device, self.bfloat16):
            judged_real, judged_made = self.discriminator(real).float(), self.discriminator(decoded).float()
            hinge = functional.relu(1 - judged_real).mean() + functional.relu(1 + judged_made).mean()
        _step(self.judges, self.discriminator, hinge)
        return hinge.detach()

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


def _step(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    parameters = list(module.parameters())
    loss.backward(inputs=parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
