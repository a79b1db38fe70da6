"""Images encoded once, in all their views, so that no step of a latent model has to encode one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from reference_models.core.pixels import VIEWS, dihedral, to_tensor


@torch.no_grad()
def encode_views(batches: Iterable[np.ndarray], encode: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
    """Latents float16 (N, 8, C, S, S) of batches of uint8 images (B, H, W, 3), on `device`.

    encode: (B, 3, H, W) in [-1, 1] -> (B, C, S, S).
    """
    latents = []
    for batch in batches:
        images = to_tensor(batch, device)
        latents.append(torch.stack([encode(dihedral(images, view)) for view in range(VIEWS)], 1).half())
    return torch.cat(latents)
