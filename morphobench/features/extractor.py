"""A feature extractor: a function from uint8 images to an array, with the name and hash of what computed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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
