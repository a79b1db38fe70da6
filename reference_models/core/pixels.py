"""Pixels as the networks see them: uint8 <-> [-1, 1], and the eight views of a square."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

VIEWS = 8
"""Flips and quarter turns of a square, the identity among them."""


def to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images: Tensor) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] -> uint8 (N, H, W, 3), rounded and clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def dihedral(images: Tensor, view: int) -> Tensor:
    """One of the eight flips and quarter turns of (..., H, W) squares; view 0 is the identity."""
    turned = torch.rot90(images, view % 4, (-2, -1))
    return turned.flip(-1) if view >= 4 else turned
