"""Averages of weights: the power-function profile against numerical integration, and any width put together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from reference_models.training.average import (
    combined,
    exponent,
    new_average,
    power_decay,
    profile_products,
    reconstruction,
    update_average,
)

WIDTHS = (0.01, 0.05, 0.1, 0.2)


def profile(time: float, end: float, width: float) -> float:
    """The paper's profile, written out."""
    gamma = exponent(width)
    return (gamma + 1) * time**gamma / end ** (gamma + 1) if time <= end else 0.0


@pytest.mark.parametrize("width", WIDTHS)
def test_the_exponent_gives_the_width(width: float) -> None:
    """The standard deviation of the profile on [0, 1], by numerical integration."""
    mass, mean, square = (quad(lambda t, k=k: t**k * profile(t, 1, width), 0, 1)[0] for k in range(3))
    assert mass == pytest.approx(1, rel=1e-6)
    assert np.sqrt(square - mean**2) == pytest.approx(width, rel=1e-4)


def test_published_exponents() -> None:
    """sigma_rel 0.05 and 0.10 are gamma 16.97 and 6.94 in Karras et al. 2024, section 3.1."""
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.01)
    for width in (0.0, -1.0, 0.3):
        with pytest.raises(ValueError, match="must lie between"):
            exponent(width)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_average_weighs_each_step_by_its_part_of_the_profile(width: float) -> None:
    """One-hot weights: after T steps the average holds the share of each, which is the profile's integral over it."""
    steps = 30
    module = nn.Linear(steps, 1, bias=False).double()
    average = new_average(module)
    for step in range(1, steps + 1):
        with torch.no_grad():
            module.weight.copy_(torch.eye(steps).double()[step - 1 : step])
        update_average(average, module, power_decay(width, step))
    shares = [quad(profile, step, step + 1, args=(steps, width))[0] for step in range(steps)]
    np.testing.assert_allclose(average.weight.detach().numpy()[0], shares, atol=1e-9)


def test_products_of_profiles_are_integrals() -> None:
    ends, widths = (5.0, 8.0, 8.0), (0.05, 0.05, 0.2)
    found = profile_products(np.array(ends), np.array(widths), np.array(ends), np.array(widths))
    for row, (end, width) in enumerate(zip(ends, widths, strict=True)):
        for column, (other_end, other) in enumerate(zip(ends, widths, strict=True)):
            value, _ = quad(
                lambda t, a=(end, width), b=(other_end, other): profile(t, *a) * profile(t, *b), 0, min(end, other_end)
            )
            assert found[row, column] == pytest.approx(value, rel=1e-6)


def test_products_of_a_long_run_are_finite() -> None:
    steps, widths = np.array([1e5, 2e9]), np.array([0.01, 0.01])
    assert np.isfinite(profile_products(steps, widths, steps, widths)).all()


def test_a_snapshot_s_own_width_is_the_snapshot() -> None:
    weights = reconstruction([100, 100, 200, 200], [0.05, 0.1, 0.05, 0.1], 200, 0.05)
    np.testing.assert_allclose(weights, [0, 0, 1, 0], atol=1e-6)
    assert reconstruction([10, 20], [0.05, 0.05], 20, 0.2).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="no snapshots"):
        reconstruction([], [], 1, 0.1)


@pytest.mark.parametrize("width", [0.06, 0.08, 0.12])
def test_another_width_is_put_together_from_snapshots(width: float) -> None:
    """A random walk of weights: the reconstruction is nearer the true average than the nearest kept one, by far."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Linear(50, 1, bias=False).double()
    kept = {own: new_average(module) for own in (0.05, 0.10, width)}
    snapshots, steps, widths = [], [], []
    for step in range(1, 401):
        with torch.no_grad():
            module.weight += 0.1 * torch.randn(1, 50, generator=generator, dtype=torch.float64)
        for own, average in kept.items():
            update_average(average, module, power_decay(own, step))
        if step % 50 == 0:
            for own in (0.05, 0.10):
                snapshots.append({name: value.clone() for name, value in kept[own].state_dict().items()})
                steps.append(step)
                widths.append(own)
    true = kept[width].weight.detach()
    made = combined(snapshots, reconstruction(steps, widths, 400, width))["weight"]
    nearest = min(float((kept[own].weight - true).norm()) for own in (0.05, 0.10))
    assert float((made - true).norm()) < 0.2 * nearest


def test_counters_are_the_newest() -> None:
    parts = [{"a": torch.tensor([1.0]), "n": torch.tensor(3)}, {"a": torch.tensor([3.0]), "n": torch.tensor(5)}]
    made = combined(parts, np.array([0.5, 0.5]))
    assert made["a"].item() == 2
    assert made["n"].item() == 5
