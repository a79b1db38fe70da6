"""Memorisation: generated images that lie nearer to training images than other real images do."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

COPY = 0.1
"""Share of the distance between thumbnails of real images under which a generated image is a copy."""
NEAR = 0.05
"""Share of held-out real images that count as near copies by themselves, and so of the images of an honest model."""


def nearest_distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each point (n, d) to the nearest of others (m, d): (n,)."""
    return cdist(points, others).min(axis=1)


def nearest_view_distance(thumbnails: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each thumbnail (n, s, s, c) to the nearest of others (m, s, s, c), in any of its eight views: (n,).

    Views are the rotations by 90 degrees and their mirror images; the distance is Euclidean over all values.
    """
    flat = others.reshape(len(others), -1).astype(np.float64)
    best = np.full(len(thumbnails), np.inf)
    for side in (thumbnails, thumbnails[:, :, ::-1]):
        for turns in range(4):
            view = np.rot90(side, turns, axes=(1, 2)).reshape(len(thumbnails), -1).astype(np.float64)
            best = np.minimum(best, cdist(view, flat).min(axis=1))
    return best


def copies(distance: np.ndarray, real_distance: np.ndarray) -> np.ndarray:
    """Whether an image lies nearer to the training images than COPY of what is common (median) for real ones, (n,)."""
    return np.asarray(distance < COPY * np.median(real_distance))


def near(distance: np.ndarray, real_distance: np.ndarray) -> np.ndarray:
    """Whether an image lies nearer to the training images than all but NEAR of held-out real images do, bool (n,)."""
    return np.asarray(distance < np.quantile(real_distance, NEAR))
