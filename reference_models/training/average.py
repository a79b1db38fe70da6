"""Exponential moving averages of a network's weights: with a fixed decay, or with power-function profiles.

A power-function average (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
section 3) weighs the weights of step t of T by a profile that grows as t^gamma: it forgets in proportion to how long
the training has lasted, so that the first steps never linger. Its width sigma_rel is the profile's standard deviation
relative to T. Snapshots of a few widths are enough to have any width afterwards (`reconstruction`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
WIDEST = 0.28
"""Widths below it have a profile that grows: an even mean of all steps (gamma 0) has 1 / sqrt(12) = 0.289."""


def new_average(module: Network) -> Network:
    """A copy that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """One step of the average, in place. Buffers are statistics already, or counters: the newest is taken."""
    for kept, new in zip(average.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for buffer, newest in zip(average.buffers(), module.buffers(), strict=True):
        buffer.copy_(newest)


class Averages(Generic[Network]):
    """The averages that a recipe asks for: of a fixed decay, or of several power-function profiles.

    by_width: those of profiles. result: the first of them, or that of the fixed decay. modules: all, under names that a
    checkpoint keeps them by.
    """

    def __init__(self, module: Network, decay: float, widths: Sequence[float]) -> None:
        """decay: of the fixed average, where there are no widths."""
        self.decay = decay
        self.by_width = {width: new_average(module) for width in widths}
        self.result: Network = self.by_width[widths[0]] if widths else new_average(module)
        others = list(self.by_width.items())[1:]
        self.modules = {"average": self.result} | {f"average {width}": average for width, average in others}

    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step 0, 1, ..."""
        if not self.by_width:
            update_average(self.result, module, self.decay)
        for width, average in self.by_width.items():
            update_average(average, module, power_decay(width, step + 1))


@cache
def exponent(width: float) -> float:
    """gamma of the profile t^gamma whose relative width is sigma_rel = `width`, 0 < width < 0.28.

    The profile (gamma + 1) t^gamma on [0, 1] has variance (gamma + 1) / ((gamma + 2)^2 (gamma + 3)); gamma is the
    largest root of the cubic that this gives. ValueError for another width.
    """
    if not 0 < width < WIDEST:
        raise ValueError(f"{width=}: must lie between 0 and {WIDEST}")
    ratio = width**-2
    return float(np.roots([1, 7, 16 - ratio, 12 - ratio]).real.max())


def power_decay(width: float, step: int) -> float:
    """Decay at step 1, 2, ... that makes the average one with the profile of relative width `width`.

    (1 - 1 / t)^(gamma + 1): after T steps the weights of step t count
    (t / T)^(gamma + 1) - ((t - 1) / T)^(gamma + 1), which is the profile's integral over that step.
    """
    return (1 - 1 / step) ** (exponent(width) + 1)


def profile_products(
    steps_a: np.ndarray, widths_a: np.ndarray, steps_b: np.ndarray, widths_b: np.ndarray
) -> np.ndarray:
    """Inner products (n, m) of the profiles that end at steps_a (n,) with widths (n,) and at steps_b (m,).

    The integral of p_a p_b over time, where p(t) = (gamma + 1) t^gamma / T^(gamma + 1) up to T and 0 after it.
    """
    gammas_a, gammas_b = (np.array([exponent(w) for w in widths]) for widths in (widths_a, widths_b))
    a, b = gammas_a[:, None], gammas_b[None, :]
    ends_a, ends_b = np.asarray(steps_a, float)[:, None], np.asarray(steps_b, float)[None, :]
    overlap = np.minimum(ends_a, ends_b)
    # In ratios: T^(gamma + 1) itself overflows for a narrow profile of a long run.
    powers = (overlap / ends_a) ** a * (overlap / ends_b) ** b * overlap / (ends_a * ends_b)
    return (a + 1) * (b + 1) / (a + b + 1) * powers


def reconstruction(steps: Sequence[int], widths: Sequence[float], step: int, width: float) -> np.ndarray:
    """Weights (n,) of n snapshots, each at a step and of a width, whose sum is nearest the average of another width.

    Nearest in the squared distance of profiles (Karras et al. 2024, section 3.2 and appendix C), among sums of 1: what
    every step shares, which of weights is most, then stays exact. ValueError without snapshots.
    """
    if not steps:
        raise ValueError("no snapshots to put together")
    have = np.asarray(steps, float), np.asarray(widths, float)
    gram = profile_products(*have, *have)
    wanted = profile_products(*have, np.array([step], float), np.array([width]))[:, 0]
    ones = np.ones((len(gram), 1))
    # Lagrange's conditions, scaled so that the sum weighs as much as the profiles do.
    scale = gram.diagonal().mean()
    system = np.block([[gram, scale * ones], [scale * ones.T, np.zeros((1, 1))]])
    return np.linalg.lstsq(system, np.append(wanted, scale), rcond=None)[0][:-1]


def combined(snapshots: Iterable[Mapping[str, Tensor]], weights: np.ndarray) -> dict[str, Tensor]:
    """The weighted sum of tensors by name, in their own precision; a whole number is the last snapshot's.

    One snapshot is held at a time, beside the sum.
    """
    totals: dict[str, Tensor] = {}
    newest: Mapping[str, Tensor] = {}
    for newest, weight in zip(snapshots, weights, strict=True):
        for name, value in newest.items():
            if value.is_floating_point():
                totals[name] = totals.get(name, 0.0) + float(weight) * value.double()
    return {name: totals[name].to(value.dtype) if name in totals else value for name, value in newest.items()}
