"""Where a model runs, and what differs between the places."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend

from morphobench.features.registry import check_device


def chosen_device(name: str) -> torch.device:
    """A device by name; BadInput where this machine has none such."""
    check_device(name)
    return torch.device(name)


def mixed_precision(device: torch.device, bfloat16: bool) -> torch.autocast:
    """Matrix products in bfloat16 where asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def attention_kernels(device: torch.device) -> list[SDPBackend]:
    """The kernels of attention that training may take.

    On a CPU and at 64 tokens the fused kernel's backward pass takes a third of a step, plain matrix products a seventh.
    """
    if device.type == "cpu":
        return [SDPBackend.MATH]
    return [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
