"""The exponential moving average of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn


def new_average(module: nn.Module) -> nn.Module:
    """A copy that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """One step of the average, in place. Buffers are statistics already, or counters: the newest is taken."""
    for kept, new in zip(average.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for buffer, newest in zip(average.buffers(), module.buffers(), strict=True):
        buffer.copy_(newest)
