"""Samplers behind one signature: from noise to data by a network's predictions (`sample`).

A process says what a network predicts and at which times. Of a diffusion (DDPM, Ho et al. 2020) it is the noise, at
steps T-1, ..., 0; of a flow (Lipman et al. 2023; Liu et al. 2023) the velocity, at times from 1 (noise) to 0 (data).

Every random draw of a sample comes from that sample's own generator, so that what else is in the batch cannot matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(noisy (N, ...), steps or times (N,)) -> prediction (N, ...)."""


@dataclass(frozen=True)
class Diffusion:
    """X^t = sqrt(alpha_bar_t) X^0 + sqrt(1 - alpha_bar_t) noise; the network predicts the noise at whole steps (N,).

    beta: (T,) float64; alpha_t = 1 - beta_t, alpha_bar_t = prod alpha_s.
    """

    beta: Tensor

    @cached_property
    def alpha_bar(self) -> Tensor:
        return torch.cumprod(1 - self.beta, 0)


@dataclass(frozen=True)
class Flow:
    """X_t = (1 - t) X_0 + t noise; the network predicts the velocity noise - X_0 at times (N,) float32 in [0, 1]."""


def draw(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Standard normal (len(generators), *shape), each row from its own generator.

    Drawn on the CPU, so that a seed means the same noise on every device.
    """
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators]).to(device)


def sample(
    predict: Predictor,
    process: Diffusion | Flow,
    solver: str,
    steps: int,
    start: Tensor,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Data (N, ...) from noise `start` (N, ...) by one of the solvers of the process, in `steps` steps.

    solver: of a diffusion `ddpm` (all T steps, sigma_t^2 = beta_t), `ddim` (deterministic) or `dpmsolver++` (2M); of a
    flow `euler` or `heun`, which asks the network twice a step. generators: one per sample.
    Raises ValueError as `check`.
    """
    check(process, solver, steps)
    return _solvers(process)[solver](predict, process, steps, start, generators)


def check(process: Diffusion | Flow, solver: str, steps: int) -> None:
    """ValueError for a solver that the process has not, and for steps that it cannot take.

    `ddpm` takes all T steps, the others of a diffusion 1 to T, those of a flow any number.
    """
    solvers = _solvers(process)
    if solver not in solvers:
        raise ValueError(f"{solver=}: a {type(process).__name__.lower()} has {', '.join(solvers)}")
    if isinstance(process, Flow):
        if steps < 1:
            raise ValueError(f"{steps=}: a flow takes at least 1")
        return
    total = len(process.beta)
    if solver == "ddpm" and steps != total:
        raise ValueError(f"{steps=}: ddpm takes all {total} steps")
    if not 1 <= steps <= total:
        raise ValueError(f"{steps=}: {solver} takes 1 to {total} steps")


def _solvers(process: Diffusion | Flow) -> dict[str, Callable[..., Tensor]]:
    return DIFFUSION_SOLVERS if isinstance(process, Diffusion) else FLOW_SOLVERS


def reverse_mean(diffusion: Diffusion, noisy: Tensor, predicted: Tensor, step: int) -> Tensor:
    """Mean of p(X^(t-1) | X^t): (X^t - beta_t / sqrt(1 - alpha_bar_t) noise) / sqrt(alpha_t), DDPM eq. 11."""
    weight = diffusion.beta[step] / (1 - diffusion.alpha_bar[step]).sqrt()
    return (noisy - float(weight) * predicted) / float((1 - diffusion.beta[step]).sqrt())


def _ddpm(
    predict: Predictor, diffusion: Diffusion, steps: int, start: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """Ancestral sampling, DDPM Algorithm 2."""
    x = start
    for step in reversed(range(steps)):
        x = reverse_mean(diffusion, x, predict(x, _at(x, step)), step)
        if step > 0:
            x = x + float(diffusion.beta[step].sqrt()) * draw(x.shape[1:], generators, x.device)
    return x


def _ddim(
    predict: Predictor, diffusion: Diffusion, steps: int, start: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """DDIM with eta = 0 (Song et al. 2021, eq. 12), steps evenly spaced from T - 1 down."""
    total = len(diffusion.beta)
    at = [round(total - place * total / steps) - 1 for place in range(steps)]
    x = start
    for step, following in zip(at, [*at[1:], None], strict=True):
        here = diffusion.alpha_bar[step]
        there = torch.ones(()) if following is None else diffusion.alpha_bar[following]
        noise = predict(x, _at(x, step))
        clean = (x - float((1 - here).sqrt()) * noise) / float(here.sqrt())
        x = float(there.sqrt()) * clean + float((1 - there).sqrt()) * noise
    return x


def _dpm_solver(
    predict: Predictor, diffusion: Diffusion, steps: int, start: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """The probability-flow ODE by DPM-Solver++ 2M (Lu et al. 2022), diffusers' own."""
    from diffusers import DPMSolverMultistepScheduler  # slow to import, and only this solver needs it

    scheduler: Any = DPMSolverMultistepScheduler(
        num_train_timesteps=len(diffusion.beta),
        trained_betas=diffusion.beta.float().numpy(),
        algorithm_type="dpmsolver++",
        solver_order=2,
        use_lu_lambdas=True,  # uniform in log SNR: uniform in t loses up to half of a narrow target's deviation
    )
    scheduler.set_timesteps(steps)
    x = start
    for step in scheduler.timesteps:
        x = scheduler.step(predict(x, _at(x, int(step))), step, x).prev_sample
    return x


def _euler(predict: Predictor, flow: Flow, steps: int, start: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    x = start
    for time, following in _times(steps):
        x = x + (following - time) * predict(x, _at(x, time))
    return x


def _heun(predict: Predictor, flow: Flow, steps: int, start: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Heun's method of second order: the mean of the velocities at both ends of a step."""
    x = start
    for time, following in _times(steps):
        velocity = predict(x, _at(x, time))
        ahead = x + (following - time) * velocity
        x = x + (following - time) * (velocity + predict(ahead, _at(x, following))) / 2
    return x


def _times(steps: int) -> list[tuple[float, float]]:
    """Both ends of each of the even steps from 1 to 0."""
    ends = [1 - place / steps for place in range(steps + 1)]
    return list(pairwise(ends))


def _at(x: Tensor, when: int | float) -> Tensor:
    """The same step or time for each sample of a batch."""
    return torch.full((len(x),), when, device=x.device)


DIFFUSION_SOLVERS = {"ddpm": _ddpm, "ddim": _ddim, "dpmsolver++": _dpm_solver}
FLOW_SOLVERS = {"euler": _euler, "heun": _heun}
