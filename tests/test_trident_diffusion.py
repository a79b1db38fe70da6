"""Diffusion: closed forms of Eqs. 5, 6 and 11, and diffusers' DDPM. The solvers have tests of their own."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from scipy.stats import kstest, truncnorm

from reference_models.core import solvers
from reference_models.trident import diffusion
from reference_models.trident.config import DiffusionConfig, SamplerConfig

CONFIG = DiffusionConfig()
SCHEDULE = diffusion.Schedule(CONFIG)
PROCESS = solvers.Diffusion(SCHEDULE.beta)


def ddpm(variance: str) -> DDPMScheduler:
    return DDPMScheduler(1000, 1e-4, 0.02, "linear", variance_type=variance, clip_sample=False)


def test_alpha_bar_is_the_product() -> None:
    beta = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(SCHEDULE.alpha_bar.numpy(), np.cumprod(1 - beta), rtol=1e-12)


def test_variances_are_diffusers() -> None:
    """fixed_large is the paper's sigma_t^2 = beta_t; fixed_small is the posterior's (1 - abar_(t-1)) / (1 - abar_t)
    beta_t."""
    for step in (1, 487, 999):
        assert float(SCHEDULE.beta[step]) == pytest.approx(float(ddpm("fixed_large")._get_variance(step)), rel=1e-4)
        before, here = SCHEDULE.alpha_bar[step - 1], SCHEDULE.alpha_bar[step]
        small = float((1 - before) / (1 - here) * SCHEDULE.beta[step])
        assert small == pytest.approx(float(ddpm("fixed_small")._get_variance(step)), rel=1e-4)
    assert float(ddpm("fixed_small")._get_variance(487)) == pytest.approx(0.00979, abs=1e-5)
    assert float(SCHEDULE.beta[487]) == pytest.approx(0.00980, abs=1e-5)
    assert float(SCHEDULE.beta[999]) == pytest.approx(0.02, abs=1e-5)


def test_noising_is_equation_6() -> None:
    latents, noise, steps = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.tensor([0, 500, 999])
    noisy = diffusion.add_noise(SCHEDULE, latents, noise, steps)
    torch.testing.assert_close(noisy, ddpm("fixed_large").add_noise(latents, noise, steps), rtol=1e-4, atol=1e-5)
    one = diffusion.add_noise(SCHEDULE, torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([999]))
    assert float(one) == pytest.approx(float(SCHEDULE.alpha_bar[999].sqrt()), rel=1e-5)


def test_the_weights_of_equation_6_are_on_the_network_s_device_and_not_in_its_file() -> None:
    """A table of float64 copied to the device at every step was half of a small step's waiting on a GPU."""
    schedule = diffusion.Schedule(CONFIG).to("meta")
    assert {name: part.device.type for name, part in schedule.named_buffers()} == {"signal": "meta", "noise": "meta"}
    assert schedule.state_dict() == {}
    exact = np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    np.testing.assert_array_equal(SCHEDULE.signal.numpy(), exact.astype(np.float32))
    np.testing.assert_array_equal(SCHEDULE.noise.numpy(), np.sqrt(1 - exact**2).astype(np.float32))


@pytest.mark.parametrize("step", [0, 1, 487, 999])
def test_reverse_mean_is_equation_11_not_8(step: int) -> None:
    """The DDPM posterior mean written with the predicted X^0, and diffusers' step without its noise."""
    latents, predicted = torch.randn(2, 2, 4, 4).double(), torch.randn(2, 2, 4, 4).double()
    alpha_bar, beta = SCHEDULE.alpha_bar[step], SCHEDULE.beta[step]
    before = SCHEDULE.alpha_bar[step - 1] if step else torch.ones(()).double()
    clean = (latents - (1 - alpha_bar).sqrt() * predicted) / alpha_bar.sqrt()
    posterior = (before.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - before) * latents) / (1 - alpha_bar)
    mean = solvers.reverse_mean(PROCESS, latents, predicted, step)
    torch.testing.assert_close(mean, posterior, rtol=1e-9, atol=1e-9)
    if step == 487:
        printed = (latents - beta / (1 - SCHEDULE.alpha[step]).sqrt() * predicted) / SCHEDULE.alpha[step].sqrt()
        assert (mean - printed).abs().max() > 0.05, "Eq. 8 as printed is another mean"


def test_one_whole_step_is_diffusers() -> None:
    scheduler = ddpm("fixed_large")
    latents, predicted = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    theirs = scheduler.step(predicted, 300, latents, generator=torch.Generator().manual_seed(5)).prev_sample
    noise = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(5))
    ours = solvers.reverse_mean(PROCESS, latents, predicted, 300) + SCHEDULE.beta[300].sqrt().float() * noise
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_squared_error_is_a_sum_per_image() -> None:
    assert diffusion.squared_error(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).tolist() == [48.0, 48.0]


def test_the_configured_solver_is_the_one_that_draws() -> None:
    start, sources = torch.randn(1, 1, 2, 2), [torch.Generator().manual_seed(0)]
    by_config = diffusion.sample(lambda x, steps: 0.1 * x, SCHEDULE, SamplerConfig("ddim", 7), start, sources)
    by_name = solvers.sample(lambda x, steps: 0.1 * x, PROCESS, "ddim", 7, start, sources)
    assert torch.equal(by_config, by_name)


def test_steps_are_drawn_so_that_log_snr_is_normal() -> None:
    """Against scipy's normal law, cut at the schedule's ends; and uniform where no law is given."""
    config = DiffusionConfig(log_snr=(0.5, 2.0))
    steps = diffusion.draw_steps(config, 20_000, torch.Generator().manual_seed(0))
    alpha_bar = diffusion.Schedule(config).alpha_bar
    drawn = torch.log(alpha_bar / (1 - alpha_bar))[steps].numpy()
    highest, lowest = (float(torch.log(alpha_bar[at] / (1 - alpha_bar[at]))) for at in (0, -1))
    law = truncnorm((lowest - 0.5) / 2, (highest - 0.5) / 2, loc=0.5, scale=2.0)
    assert kstest(drawn, law.cdf).statistic < 0.02  # 0.0096 is the 5% point at 20,000; steps are whole numbers
    even = diffusion.draw_steps(DiffusionConfig(), 20_000, torch.Generator().manual_seed(0))
    assert kstest(even.numpy() / 1000, "uniform").statistic < 0.012
