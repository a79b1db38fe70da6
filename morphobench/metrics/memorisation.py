"""Memorisation: generated images that lie nearer to training images than other real images do.

Every limit is a share of what separates real test images from the training images. Where those are the same images
there is no limit, and no share is given: an image that was remembered is the right answer too.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

THUMBNAIL_COPY = 0.1
"""Share of the distance between thumbnails of real images under which a generated image is a copy, in some view."""
FEATURE_COPY = 0.01
"""Share of the distance between features of real images under which two images are one, the same way up."""
NEAR = 0.05
"""Share of held-out real images that count as near copies by themselves, and so of the images of an honest model."""


def nearest_distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each point (n, d) to the nearest of others (m, d): (n,).

    NaN for a point that is not finite, and for all where one of others is not.
    """
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


def copies(view_distance: np.ndarray, real_view_distance: np.ndarray) -> np.ndarray:
    """Whether an image lies nearer to the training images than THUMBNAIL_COPY of what is common (median) for real ones.

    view_distance (n,), real_view_distance (m,): see `nearest_view_distance`; bool (n,). Raises ValueError where most
    real images are training images.
    """
    limit = THUMBNAIL_COPY * np.median(real_view_distance)
    if limit <= 0:
        share = np.mean(real_view_distance <= 0)
        raise ValueError(
            f"{share:.0%} of the real test images are training images in one of eight views, so that a copy of a "
            "training image cannot be told from a right answer"
        )
    return np.asarray(view_distance < limit)


def near(distance: np.ndarray, real_distance: np.ndarray) -> np.ndarray:
    """Whether an image lies nearer to the training images than all but NEAR of held-out real images do, bool (n,).

    Raises ValueError where those NEAR are training images.
    """
    limit = np.quantile(real_distance, NEAR)
    same = FEATURE_COPY * np.median(real_distance)
    if limit <= same:
        share = np.mean(real_distance <= same)
        raise ValueError(
            f"{share:.0%} of the real test images are training images, so that {NEAR:.0%} of them set no limit to what "
            "is near"
        )
    return np.asarray(distance < limit)


def feature_copies(distance: np.ndarray, real_distance: np.ndarray) -> np.ndarray:
    """Whether an image lies nearer to a set than FEATURE_COPY of what commonly (median) parts real images, bool (n,).

    distance (n,) may hold NaN, which is no copy; real_distance (m,). Raises ValueError where nothing parts them,
    or one is not finite.
    """
    limit = FEATURE_COPY * np.median(real_distance)
    if not np.isfinite(limit):
        raise ValueError("features of real test or training images are not finite")
    if limit <= 0:
        raise ValueError("most real test images are training images, so that no distance parts real images")
    return np.asarray(distance < limit)
