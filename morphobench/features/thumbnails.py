"""Thumbnails: block means of an image, by which copies are told from look-alikes whichever way up they lie.

The eight views (rotations by 90 degrees and mirror images) of an image have the eight views of its thumbnail, so a
turned copy is found from thumbnails alone. Unlike a hash, a thumbnail hardly changes where rendering or decoding
differs by a grey level.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morphobench.datasets.tier import ImageSet
from morphobench.features.cache import measured
from morphobench.features.shipped import write_arrays

VERSION = "thumbnail-8-1"
SIDE = 8
"""Blocks along each edge."""
BATCH = 32


def thumbnail(images: np.ndarray) -> np.ndarray:
    """Rounded means over SIDE x SIDE blocks of uint8 (N, S, S, 3), uint8 (N, SIDE, SIDE, 3).

    Pixels that fill no block are cut off at the edges, as many on either side where their number is even.
    Raises ValueError for fewer than SIDE pixels along an edge.
    """
    block = images.shape[1] // SIDE
    if block == 0:
        raise ValueError(f"{images.shape=}: at least {SIDE} pixels along each edge are needed")
    cut = (images.shape[1] - block * SIDE) // 2
    middle = images[:, cut : cut + block * SIDE, cut : cut + block * SIDE]
    means = middle.reshape(len(images), SIDE, block, SIDE, block, 3).mean(axis=(2, 4), dtype=np.float32)
    return np.rint(means).astype(np.uint8)


def thumbnails(images: ImageSet, cache: Path, shipped: Path | None = None) -> np.ndarray:
    """`thumbnail` of every image, in order: shipped ones where they are of these images, else cached or made now.

    Raises BadInput for a damaged `shipped` file.
    """
    origin = _origin(images.digest())

    def compute() -> dict[str, np.ndarray]:
        return {"thumbnail": np.concatenate([thumbnail(batch) for batch in images.batches(BATCH)])}

    return measured(origin, " ".join(origin.values()), cache, shipped, compute)["thumbnail"]


def write_shipped(path: Path, values: np.ndarray, images_digest: str) -> None:
    """Write thumbnails for shipping with a tier, with what they were made from."""
    write_arrays(path, {"thumbnail": values}, _origin(images_digest))


def _origin(images_digest: str) -> dict[str, str]:
    return {"format": VERSION, "images": images_digest}
