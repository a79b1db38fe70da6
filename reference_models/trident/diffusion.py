"""Diffusion in the latent space: noising (Eqs. 4-6), the L2 objective (Eq. 9), Algorithm 2 and a fast solver.

Steps are counted 0..T-1 here, as in diffusers; the paper's t is one more. Eq. 8 prints sqrt(1 - alpha_t) where Eq. 11
and Algorithm 2 have sqrt(1 - alpha_bar_t); the latter is the posterior mean of DDPM (Ho et al. 2020) and is what is
computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor, nn

from reference_models.trident.config import DiffusionConfig, SamplerConfig

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(noisy latents (N, C, S, S), steps (N,)) -> predicted noise (N, C, S, S)."""


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


def reverse_mean(schedule: Schedule, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
    """Mean of p(X^(t-1) | X^t), Eq. 11: (X^t - beta_t / sqrt(1 - alpha_bar_t) predicted) / sqrt(alpha_t)."""
    weight = schedule.beta[step] / (1 - schedule.alpha_bar[step]).sqrt()
    return (latents - float(weight) * predicted) / float(schedule.alpha[step].sqrt())


def draw(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Standard normal (len(generators), *shape), each row from its own generator: what else is in the batch cannot
    matter.

    Drawn on the CPU, so that a seed means the same noise on every device.
    """
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators]).to(device)


def sample_ddpm(predict: Predictor, schedule: Schedule, start: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Algorithm 2, lines 7-13, with sigma_t^2 = beta_t: all T steps from X^T = `start` (N, C, S, S) to X^0."""
    latents = start
    for step in reversed(range(len(schedule.beta))):
        steps = torch.full((len(latents),), step, device=latents.device)
        latents = reverse_mean(schedule, latents, predict(latents, steps), step)
        if step > 0:
            noise = draw(latents.shape[1:], generators, latents.device)
            latents = latents + float(schedule.beta[step].sqrt()) * noise
    return latents


def sample_fast(predict: Predictor, config: DiffusionConfig, start: Tensor, steps: int) -> Tensor:
    """The probability-flow ODE from X^T = `start` by DPM-Solver++ 2M (Lu et al. 2022) in `steps` evaluations; no
    further noise."""
    scheduler: Any = DPMSolverMultistepScheduler(
        num_train_timesteps=config.timesteps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule="linear",
        algorithm_type="dpmsolver++",
        solver_order=2,
        use_lu_lambdas=True,  # uniform in log SNR: uniform in t loses up to half of a narrow target's deviation
    )
    scheduler.set_timesteps(steps)
    latents = start
    for step in scheduler.timesteps:
        at = torch.full((len(latents),), int(step), device=latents.device)
        latents = scheduler.step(predict(latents, at), step, latents).prev_sample
    return latents


def sample(
    predict: Predictor,
    diffusion: DiffusionConfig,
    sampler: SamplerConfig,
    start: Tensor,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """X^0 from X^T = `start` by the configured sampler."""
    if sampler.solver == "ddpm":
        if sampler.steps != diffusion.timesteps:
            raise ValueError(f"{sampler.steps=}: Algorithm 2 takes all {diffusion.timesteps} steps")
        return sample_ddpm(predict, Schedule(diffusion), start, generators)
    return sample_fast(predict, diffusion, start, sampler.steps)
