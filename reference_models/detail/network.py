"""A conditional flow (Lipman et al. 2023) of the difference between an image and its reconstruction.

An autoencoder that is trained to reconstruct gives the mean of the images that its latents leave possible: camera noise
and fine texture are averaged away, and whoever looks at texture tells such a mean from a photograph. Here the
difference is drawn. It is divided by its own deviation, which is predicted per pixel, so that the flow starts near its
end: standard normal noise times that deviation already has the right strength everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.core import solvers
from reference_models.core.solvers import Flow
from reference_models.detail.config import TrainedDetail

TYPICAL_LOG_VARIANCE = -6.0
"""Where the predicted log variance starts: a deviation of 6 grey levels."""
LOWEST_LOG_VARIANCE = -12.0
"""A deviation of a third of a grey level, which rounding hides."""
TIME_FEATURES = 64


@dataclass(frozen=True)
class Given:
    """What the flow knows of an image.

    mean: the autoencoder's reconstruction (N, 3, H, W) in [-1, 1]. log_variance: of the difference to it, same shape.
    half, quarter: features at H / 2 and H / 4.
    """

    mean: Tensor
    log_variance: Tensor
    half: Tensor
    quarter: Tensor

    @property
    def deviation(self) -> Tensor:
        return torch.exp(0.5 * self.log_variance)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity, scaled and shifted between by the time, if there is one.

    No norm: the statistics of a whole image would differ between a crowded one and an empty one, and cost a fifth
    of the time.
    """

    def __init__(self, channels: int, time_width: int | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = None if time_width is None else nn.Linear(time_width, 2 * channels)
        for layer in (self.second, self.modulate):
            if layer is not None:
                _start_at_zero(layer)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        hidden = self.first(functional.silu(x))
        if self.modulate is not None and time is not None:
            scale, shift = self.modulate(time)[:, :, None, None].chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        return x + self.second(functional.silu(hidden))


class DetailFlow(nn.Module):
    """The predicted deviation and the velocity of the flow. Time runs from 1 (noise) to 0 (data)."""

    def __init__(self, config: TrainedDetail) -> None:
        super().__init__()
        sizes, (_, middle, shallow) = config.detail, config.autoencoder.widths
        width, deep, time = sizes.width, sizes.deep_width, sizes.time_width
        self.read_quarter = nn.Conv2d(middle, deep, 1)
        self.read_half = nn.Sequential(nn.Conv2d(shallow + 12, width, 3, padding=1), Block(width))
        self.log_variance = nn.Sequential(nn.SiLU(), nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))
        self.encode_time = nn.Sequential(nn.Linear(TIME_FEATURES, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.enter = nn.Conv2d(12, width, 3, padding=1)
        self.before = nn.ModuleList(Block(width, time) for _ in range(2))
        self.down = nn.Conv2d(width, deep, 2, stride=2)
        self.deep = nn.ModuleList(Block(deep, time) for _ in range(2))
        self.up = nn.Sequential(nn.Conv2d(deep, 4 * width, 1), nn.PixelShuffle(2))
        self.after = nn.ModuleList(Block(width, time) for _ in range(2))
        self.leave = nn.Sequential(nn.SiLU(), nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))
        for head in (self.log_variance[1], self.leave[1]):
            _start_at_zero(head)

    def given(self, mean: Tensor, half: Tensor, quarter: Tensor) -> Given:
        """What is known, from a reconstruction (N, 3, H, W) and the decoder's features at H / 2 and H / 4."""
        read = self.read_half(torch.cat([functional.pixel_unshuffle(2 * mean, 2).to(half.dtype), half], 1))
        log_variance = (self.log_variance(read).float() + TYPICAL_LOG_VARIANCE).clamp(LOWEST_LOG_VARIANCE, 0)
        return Given(mean, log_variance, read, self.read_quarter(quarter))

    def forward(self, x: Tensor, times: Tensor, given: Given) -> Tensor:
        """Velocity, noise minus difference in units of its deviation, (N, 3, H, W) at x and times (N,)."""
        time = self.encode_time(time_features(times).to(given.half.dtype))
        half = self.enter(functional.pixel_unshuffle(x, 2).to(given.half.dtype)) + given.half
        for block in self.before:
            half = block(half, time)
        quarter = self.down(half) + given.quarter
        for block in self.deep:
            quarter = block(quarter, time)
        half = half + self.up(quarter)
        for block in self.after:
            half = block(half, time)
        return self.leave(half).float()


class DetailDecoder(nn.Module):
    """An autoencoder whose images are completed by a flow."""

    def __init__(self, autoencoder: ConvolutionalAutoencoder, flow: DetailFlow, steps: int, bfloat16: bool) -> None:
        """steps: of Euler's method. bfloat16: compute convolutions in it."""
        super().__init__()
        self.autoencoder, self.flow, self.steps, self.in_bfloat16 = autoencoder, flow, steps, bfloat16
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs

    @torch.no_grad()
    def draw(self, latents: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] for latents (N, C, S, S); the noise of each comes from its own generator."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            given = self.flow.given(*self.autoencoder.reconstruction(latents))
            start = solvers.draw(given.mean.shape[1:], generators, latents.device)
            difference = solvers.sample(
                lambda x, times: self.flow(x, times, given), Flow(), "euler", self.steps, start, generators
            )
        return given.mean + given.deviation * difference


def _start_at_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def time_features(times: Tensor) -> Tensor:
    """Sines and cosines (N, 64) of times (N,) in [0, 1], wavelengths 0.06 to 60."""
    count = TIME_FEATURES // 2
    frequencies = 100 * torch.logspace(0, -3, count, device=times.device)
    angles = times[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)
