"""Samplers against a Gaussian target, whose score is known and whose ODE has a closed form, and against diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from reference_models.core import solvers
from reference_models.core.solvers import Diffusion, Flow

PROCESS = Diffusion(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
MEAN, DEVIATION = 1.5, 0.4


def generators(n: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(n)]


def exact_noise(noisy: Tensor, steps: Tensor) -> Tensor:
    """E[noise | X^t] where X^0 is N(MEAN, DEVIATION^2): what a perfect network would predict."""
    alpha_bar = PROCESS.alpha_bar[steps].to(noisy.dtype).view(-1, *[1] * (noisy.ndim - 1))
    variance = alpha_bar * DEVIATION**2 + 1 - alpha_bar
    return (1 - alpha_bar).sqrt() * (noisy - alpha_bar.sqrt() * MEAN) / variance


def exact_velocity(noisy: Tensor, times: Tensor) -> Tensor:
    """E[noise - X_0 | X_t] of the same target."""
    t = times.to(noisy.dtype).view(-1, *[1] * (noisy.ndim - 1))
    residual = (noisy - (1 - t) * MEAN) / ((1 - t) ** 2 * DEVIATION**2 + t**2)
    return t * residual - (MEAN + (1 - t) * DEVIATION**2 * residual)


@pytest.mark.parametrize(
    ("process", "solver", "steps"),
    [(PROCESS, "ddpm", 1000), (PROCESS, "ddim", 200), (PROCESS, "dpmsolver++", 20), (Flow(), "heun", 20)],
)
def test_every_solver_draws_a_gaussian_target(process: Diffusion | Flow, solver: str, steps: int) -> None:
    sources = generators(16)
    start = solvers.draw((4, 16, 16), sources, torch.device("cpu"))
    predict = exact_velocity if isinstance(process, Flow) else exact_noise
    drawn = solvers.sample(predict, process, solver, steps, start, sources)
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(drawn.std()) == pytest.approx(DEVIATION, abs=0.03)


def diffusion_end(start: Tensor) -> Tensor:
    """For a Gaussian target the ODE is linear: (x - sqrt(abar) m) / sqrt(abar s^2 + 1 - abar) stays what it was."""
    alpha_bar = PROCESS.alpha_bar[-1]
    return MEAN + DEVIATION * (start - alpha_bar.sqrt() * MEAN) / (alpha_bar * DEVIATION**2 + 1 - alpha_bar).sqrt()


@pytest.mark.parametrize(("solver", "within"), [("ddim", 0.1), ("dpmsolver++", 0.03)])
def test_deterministic_solvers_of_the_diffusion_follow_the_exact_ode(solver: str, within: float) -> None:
    start = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    errors = [
        float((solvers.sample(exact_noise, PROCESS, solver, n, start, []) - diffusion_end(start)).abs().max())
        for n in (5, 10, 20, 50)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < within


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_solvers_of_the_flow_have_their_order(solver: str, order: int) -> None:
    """Halving the step divides the error by 2 and by 4. The exact map: (x - (1 - t) m) / deviation_t stays."""
    start = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).double()
    errors = [
        float((solvers.sample(exact_velocity, Flow(), solver, n, start, []) - (MEAN + DEVIATION * start)).abs().max())
        for n in (100, 200)
    ]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)
    assert errors[1] < 0.02


@pytest.mark.parametrize("steps", [1, 10, 50, 1000])
def test_ddim_is_diffusers(steps: int) -> None:
    scheduler = DDIMScheduler(
        1000, 1e-4, 0.02, "linear", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    theirs = start
    for step in scheduler.timesteps:
        theirs = scheduler.step(exact_noise(theirs, torch.full((2,), int(step))), step, theirs).prev_sample
    ours = solvers.sample(exact_noise, PROCESS, "ddim", steps, start, [])
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("process", "solver", "steps"),
    [
        (PROCESS, "ddpm", 1000),
        (PROCESS, "ddim", 5),
        (PROCESS, "dpmsolver++", 5),
        (Flow(), "euler", 3),
        (Flow(), "heun", 3),
    ],
)
def test_a_sample_does_not_depend_on_its_batch(process: Diffusion | Flow, solver: str, steps: int) -> None:
    predict = exact_velocity if isinstance(process, Flow) else exact_noise
    drawn = []
    for rows in (slice(0, 3), slice(2, 3)):
        sources = generators(3)[rows]
        start = solvers.draw((2, 3), sources, torch.device("cpu"))
        drawn.append(solvers.sample(predict, process, solver, steps, start, sources))
    torch.testing.assert_close(drawn[0][2:], drawn[1], rtol=1e-6, atol=1e-6)


def test_what_a_solver_cannot_do_is_an_error() -> None:
    start = torch.zeros(1, 1)
    for process, solver, steps, says in (
        (PROCESS, "ddpm", 50, "ddpm takes all 1000 steps"),
        (PROCESS, "ddim", 1001, "ddim takes 1 to 1000 steps"),
        (PROCESS, "dpmsolver++", 0, "takes 1 to 1000 steps"),
        (PROCESS, "dpmsolver++", 5000, "takes 1 to 1000 steps"),
        (PROCESS, "heun", 5, "a diffusion has ddpm, ddim, dpmsolver"),
        (Flow(), "ddim", 5, "a flow has euler, heun"),
        (Flow(), "euler", 0, "a flow takes at least 1"),
    ):
        with pytest.raises(ValueError, match=says):
            solvers.sample(exact_noise, process, solver, steps, start, generators(1))


def test_draws_depend_on_their_own_generator_alone() -> None:
    together = solvers.draw((2, 3), generators(3), torch.device("cpu"))
    alone = solvers.draw((2, 3), generators(3)[2:], torch.device("cpu"))
    assert torch.equal(together[2:], alone)
