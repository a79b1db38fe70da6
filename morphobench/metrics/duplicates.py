"""Duplicates: generated images that are copies, of one another or of training images."""

from __future__ import annotations

import numpy as np

COPY = 0.01
"""Share of the distance between real images under which a generated one is a copy."""


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Whether another row has the same hash, bool (n,), for hashes (n,)."""
    _, member, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(counts[member] > 1)


def near_copies(nearest: np.ndarray, spacing: float) -> np.ndarray:
    """Whether an image lies nearer to another set than COPY of `spacing`, bool (n,).

    nearest: distance of each image to the nearest of the set, (n,); spacing: the distance that commonly separates real
    images from the set. Where copies lie at the very same place in a set without spacing, none can be told.
    """
    return np.asarray(nearest < COPY * spacing)
