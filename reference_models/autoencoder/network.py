"""Image autoencoders: pixels <-> the latents that the diffusion works in (paper section 3.3, "Image Latent Space").

Both give the same two methods. `encode`: (N, 3, H, W) in [-1, 1] -> (N, C, H/8, W/8) of about unit variance;
`decode`: back. `ConvolutionalAutoencoder` is the sim tier's own; `StableDiffusionAutoencoder` wraps the pre-trained
one of the paper's size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphobench.errors import Unavailable
from morphobench.features.torchvision_ops import ensure_torchvision
from reference_models.autoencoder.config import AutoencoderConfig


class ImageAutoencoder(Protocol):
    """What the diffusion needs of an autoencoder."""

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


class ResidualBlock(nn.Module):
    """Group norm and two 3 x 3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(functional.silu(self.norm(x)))))


QUARTER, HALF = 6, 11
"""Layers of the decoder before whose end the features are at a quarter and at half of the image size."""


class ConvolutionalAutoencoder(nn.Module):
    """Small convolutional variational autoencoder with 8-fold downsampling.

    Pixel (un)shuffling does most of the resampling, so that no convolution runs at full resolution: decoding must be
    cheap on a CPU.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        deep, middle, shallow = config.widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),  # (N, 48, H/4, W/4)
            nn.Conv2d(48, middle, 3, padding=1),
            ResidualBlock(middle),
            nn.Conv2d(middle, deep, 2, stride=2),  # (N, deep, H/8, W/8)
            ResidualBlock(deep),
            nn.GroupNorm(8, deep),
            nn.SiLU(),
            nn.Conv2d(deep, 2 * config.latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.latent_channels, deep, 3, padding=1),
            ResidualBlock(deep),
            ResidualBlock(deep),
            nn.Conv2d(deep, 4 * middle, 1),
            nn.PixelShuffle(2),  # (N, middle, H/4, W/4)
            ResidualBlock(middle),
            nn.Conv2d(middle, 4 * shallow, 1),
            nn.PixelShuffle(2),  # (N, shallow, H/2, W/2)
            ResidualBlock(shallow),
            nn.GroupNorm(8, shallow),
            nn.SiLU(),
            nn.Conv2d(shallow, 12, 3, padding=1),
            nn.PixelShuffle(2),  # (N, 3, H, W)
        )
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(config.latent_channels, 1, 1))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, C, H/8, W/8) of the raw latents of images (N, 3, H, W) in [-1, 1]."""
        mean, log_variance = self.encoder(images).chunk(2, 1)
        return mean, log_variance.clamp(-20, 10)

    def encode(self, images: Tensor) -> Tensor:
        mean, _ = self.posterior(images)
        return (mean - self.latent_mean) / self.latent_std

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents * self.latent_std + self.latent_mean)

    def reconstruction(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `decode` gives, float32, and the decoder's features at H / 2 (N, shallow, ...) and H / 4 (N, middle,
        ...)."""
        quarter = self.decoder[:QUARTER](latents * self.latent_std + self.latent_mean)
        half = self.decoder[QUARTER:HALF](quarter)
        return self.decoder[HALF:](half).float(), half, quarter


class StableDiffusionAutoencoder(nn.Module):
    """The stable-diffusion VAE (8-fold, 4 channels) from a local diffusers folder; latents times 0.18215."""

    def __init__(self, folder: Path, config: AutoencoderConfig) -> None:
        super().__init__()
        if not (folder / "config.json").is_file():
            raise Unavailable(
                f"{folder}: no stable-diffusion VAE there (config.json and its weights); name the folder of one"
            )
        ensure_torchvision()
        from diffusers import AutoencoderKL  # slow to import, and only this class needs it

        try:
            self.vae = AutoencoderKL.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"{folder}: not a diffusers AutoencoderKL ({str(error).splitlines()[0]}); download it again"
            ) from error
        self.scale = config.scale

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        return self.vae.encode(images).latent_dist.mode() * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents / self.scale).sample
