"""A feature extractor: a function from uint8 images to an array, with the name and hash of what computed it.

`load_extractor(name)` is the only way to one. A score is named after its extractor, so a name stands for one network,
one file of weights and one preprocessing; nothing is ever replaced by something similar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphobench.errors import BadInput

EXTRACTORS = ("efficientnet_lite0", "inception", "inception_bf16", "sim_vit")
TIMM_PREFIX = "timm:"
"""`timm:<model name>` is any vision transformer of timm."""


@dataclass(frozen=True)
class Features:
    """What an extractor says of N images.

    embedding: float32 (N, D).
    probabilities: float32 (N, K), rows sum to 1; None where the network has no classifier.
    """

    embedding: np.ndarray
    probabilities: np.ndarray | None


@dataclass(frozen=True)
class Extractor:
    """A network ready to run.

    dimension: D of the embedding.
    weights_sha256: SHA-256 of the file of weights, 64 hex digits.
    preprocessing: name and version of everything between the uint8 pixels and the network; part of every cache key.
    extract: uint8 (B, H, W, 3) -> Features of B rows. ValueError for another shape or dtype.
    """

    name: str
    dimension: int
    weights_sha256: str
    preprocessing: str
    extract: Callable[[np.ndarray], Features]


def load_extractor(name: str, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """Build an extractor by name.

    name: one of EXTRACTORS, or "timm:<model name>", e.g. "timm:vit_base_patch16_224".
    weights: a local file of weights; by default the shipped, installed or downloaded one.
    device: a torch device.

    Raises BadInput for an unknown name or device and for a file that is not the network's, Unavailable where a download
    is needed and fails.
    """
    _check_device(device)
    # Each network is imported when it is asked for: torch and timm take seconds to import.
    if name in ("inception", "inception_bf16"):
        from morphobench.features import inception

        return inception.load(weights, device, bfloat16=name == "inception_bf16")
    if name == "efficientnet_lite0":
        from morphobench.features import efficientnet

        return efficientnet.load(weights, device)
    if name == "sim_vit":
        from morphobench.features import vit

        return vit.load_sim_vit(weights, device)
    if name.startswith(TIMM_PREFIX):
        from morphobench.features import vit

        return vit.load_timm_vit(name.removeprefix(TIMM_PREFIX), weights, device)
    raise BadInput(f"extractor {name!r}: unknown; choose {', '.join(EXTRACTORS)} or {TIMM_PREFIX}<model name>")


def _check_device(device: str) -> None:
    import torch

    try:
        # A result that comes back: some devices, like "meta", hold shapes and no numbers.
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise BadInput(f"device {device!r}: not on this machine; use cpu") from error
