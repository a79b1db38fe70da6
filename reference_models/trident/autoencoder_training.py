"""Training of the sim tier's image autoencoder: L1 at three scales, gradients, a small KL term, and in the last third
a patch discriminator.

No feature extractor that scores images takes part in the loss: a decoder trained against one would be rewarded for that
network's blind spots.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_models.trident.autoencoder import ConvolutionalAutoencoder, dihedral
from reference_models.trident.config import AutoencoderConfig
from reference_models.trident.training import Run, train

LEARNING_RATE = 1e-3
KL_WEIGHT = 1e-3
GRADIENT_WEIGHT = 1.0
ADVERSARIAL_WEIGHT = 0.02
ADVERSARIAL_FROM = 2 / 3
"""Share of the steps after which the discriminator joins."""


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


def reconstruction_loss(images: Tensor, decoded: Tensor) -> Tensor:
    """L1 of the pixels at full, half and quarter size, plus L1 of their differences to the next pixel across and
    down."""
    loss = torch.zeros((), device=images.device)
    for scale in (1, 2, 4):
        real, made = (functional.avg_pool2d(part, scale) if scale > 1 else part for part in (images, decoded))
        loss = loss + functional.l1_loss(made, real)
        if scale < 4:
            for axis in (-1, -2):
                loss = loss + GRADIENT_WEIGHT * functional.l1_loss(made.diff(dim=axis), real.diff(dim=axis))
    return loss


def kl_per_value(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL to a standard normal, averaged over all latent values; keeps latents bounded and smooth for the diffusion."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def train_autoencoder(
    config: AutoencoderConfig,
    images: Tensor,
    folder: Path,
    steps: int,
    batch: int = 8,
    seed: int = 0,
    bfloat16: bool = False,
) -> ConvolutionalAutoencoder:
    """Train on uint8 images (N, 3, H, W), in random flips and quarter turns, continuing what `folder` holds; then
    measure the latents' mean and deviation per channel, by which they are standardised."""
    torch.manual_seed(seed)
    autoencoder, discriminator = ConvolutionalAutoencoder(config), PatchDiscriminator()
    optimizers: dict[str, torch.optim.Optimizer] = {
        "autoencoder": torch.optim.AdamW(
            autoencoder.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0
        ),
        "discriminator": torch.optim.AdamW(
            discriminator.parameters(), lr=LEARNING_RATE / 2, betas=(0.5, 0.99), weight_decay=0.0
        ),
    }
    generator = torch.Generator().manual_seed(seed)
    run = Run({"autoencoder": autoencoder, "discriminator": discriminator}, optimizers, generator)

    def update(run: Run) -> dict[str, float]:
        for group in optimizers["autoencoder"].param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (run.step + 1) / 100, 0.02 + 1.2 * (1 - run.step / steps))
        real = draw_images(images, batch, run.generator)
        adversarial = run.step >= ADVERSARIAL_FROM * steps
        terms: dict[str, float] = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            mean, log_variance = (part.float() for part in autoencoder.posterior(real))
            noise = torch.randn(mean.shape, generator=run.generator)
            decoded = autoencoder.decoder(mean + torch.exp(0.5 * log_variance) * noise).float()
            reconstruction, kl = reconstruction_loss(real, decoded), kl_per_value(mean, log_variance)
            loss = reconstruction + KL_WEIGHT * kl
            if adversarial:
                fooled = -discriminator(decoded).float().mean()
                loss = loss + ADVERSARIAL_WEIGHT * fooled
                terms["fooled"] = float(fooled.detach())
        _step(optimizers["autoencoder"], autoencoder, loss)
        if adversarial:
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                judged_real, judged_made = discriminator(real).float(), discriminator(decoded.detach()).float()
                hinge = functional.relu(1 - judged_real).mean() + functional.relu(1 + judged_made).mean()
            _step(optimizers["discriminator"], discriminator, hinge)
            terms["discriminator"] = float(hinge.detach())
        return {"reconstruction": float(reconstruction.detach()), "kl": float(kl.detach()), **terms}

    train(run, update, steps, folder)
    standardise(autoencoder, images)
    return autoencoder


def draw_images(images: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """A random batch (N, 3, H, W) in [-1, 1], each image in a random dihedral view."""
    rows = torch.randint(len(images), (batch,), generator=generator)
    views = torch.randint(8, (batch,), generator=generator)
    turned = [dihedral(images[row], int(view)) for row, view in zip(rows, views, strict=True)]
    return torch.stack(turned).float() / 127.5 - 1


@torch.no_grad()
def standardise(autoencoder: ConvolutionalAutoencoder, images: Tensor, batch: int = 64) -> None:
    """Set the autoencoder's latent mean and deviation per channel from uint8 images (N, 3, H, W)."""
    means = torch.cat([autoencoder.posterior(part.float() / 127.5 - 1)[0] for part in images.split(batch)])
    autoencoder.latent_mean.copy_(means.mean((0, 2, 3)).view(-1, 1, 1))
    autoencoder.latent_std.copy_(means.std((0, 2, 3)).view(-1, 1, 1))


def _step(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    parameters = list(module.parameters())
    loss.backward(inputs=parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
