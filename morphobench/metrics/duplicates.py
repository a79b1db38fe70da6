"""Duplicates: generated images that are copies of one another."""

from __future__ import annotations

import numpy as np


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Whether another row has the same hash, bool (n,), for hashes (n,)."""
    _, member, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(counts[member] > 1)
