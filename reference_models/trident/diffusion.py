"""Diffusion in the latent space: noising (Eqs. 4-6), the L2 objective (Eq. 9) and sampling (Algorithm 2, or faster).

Steps are counted 0..T-1 here, as in diffusers; the paper's t is one more. Eq. 8 prints sqrt(1 - alpha_t) where Eq. 11
and Algorithm 2 have sqrt(1 - alpha_bar_t); the latter is the posterior mean of DDPM (Ho et al. 2020) and is what is
computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.core import solvers
from reference_models.core.solvers import Diffusion, Predictor
from reference_models.trident.config import DiffusionConfig, SamplerConfig


class Schedule(nn.Module):
    """The forward process: beta_t linear from beta_start to beta_end, alpha_t = 1 - beta_t, alpha_bar_t = prod alpha_s.

    beta, alpha, alpha_bar: (T,) float64 on the CPU, for the samplers, which take one number a step. signal, noise: the
    weights of Eq. 6, sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), (T,) float32; they move with the network they are in.
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.beta = torch.linspace(config.beta_start, config.beta_end, config.timesteps, dtype=torch.float64)
        self.alpha = 1 - self.beta
        self.alpha_bar = torch.cumprod(self.alpha, 0)
        self.register_buffer("signal", self.alpha_bar.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - self.alpha_bar).sqrt().float(), persistent=False)


def add_noise(schedule: Schedule, latents: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
    """Eq. 6: X^t = sqrt(alpha_bar_t) X^0 + sqrt(1 - alpha_bar_t) noise; steps (N,)."""
    kept, added = (
        table[steps].to(latents.dtype).view(-1, *[1] * (latents.ndim - 1))
        for table in (schedule.signal, schedule.noise)
    )
    return kept * latents + added * noise


def squared_error(noise: Tensor, predicted: Tensor) -> Tensor:
    """Eq. 9: ||noise - predicted||^2 of each image, summed over its latent: (N, C, S, S) -> (N,)."""
    return (noise - predicted).square().flatten(1).sum(1)


def draw_steps(config: DiffusionConfig, count: int, generator: torch.Generator) -> Tensor:
    """`count` steps in 0..T-1 to train on, int64: uniform, or such that log SNR is normal (cut at the ends).

    The chance of a step is the normal density at its log SNR times the width of log SNR that the step stands for.
    """
    if config.log_snr is None:
        return torch.randint(config.timesteps, (count,), generator=generator)
    mean, deviation = config.log_snr
    alpha_bar = Schedule(config).alpha_bar
    log_snr = torch.log(alpha_bar / (1 - alpha_bar))
    (width,) = torch.gradient(-log_snr)
    chance = width * torch.exp(-0.5 * ((log_snr - mean) / deviation).square())
    return torch.multinomial(chance, count, replacement=True, generator=generator)


def sample(
    predict: Predictor,
    schedule: Schedule,
    sampler: SamplerConfig,
    start: Tensor,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """X^0 from X^T = `start` (N, C, S, S) by the configured solver, see `core.solvers.sample`; one generator per image.

    `ddpm` is Algorithm 2, lines 7-13, with sigma_t^2 = beta_t and all T steps.
    """
    return solvers.sample(predict, Diffusion(schedule.beta), sampler.solver, sampler.steps, start, generators)
