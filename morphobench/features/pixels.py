"""Pixel hashes: which images are the same, bit by bit, whichever way up they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morphobench.datasets.tier import ImageSet
from morphobench.features.cache import cached_array
from morphobench.storage import sha256_bytes

VERSION = "dihedral-sha256-1"
BATCH = 32


def dihedral_hash(image: np.ndarray) -> str:
    """The least SHA-256 of the eight views (rotations by 90 degrees, and their mirror images) of uint8 (S, S, 3).

    Equal for two images where one is a view of the other; a change of one grey level makes it another.
    """
    sides = (image, image[:, ::-1])
    views = (np.rot90(side, turns) for side in sides for turns in range(4))
    return min(sha256_bytes(np.ascontiguousarray(view).tobytes()) for view in views)


def pixel_hashes(images: ImageSet, cache: Path) -> np.ndarray:
    """`dihedral_hash` of every image, (N,) str, in order; kept in the folder `cache`."""

    def compute() -> dict[str, np.ndarray]:
        return {"sha256": np.array([dihedral_hash(image) for batch in images.batches(BATCH) for image in batch])}

    return cached_array(f"{VERSION} {images.digest()}", cache, compute)["sha256"]
