"""Random streams that belong to words: nothing simulated depends on order or on what was drawn before."""

from __future__ import annotations

import numpy as np

from morphobench import storage


def seed(*parts: str) -> np.random.SeedSequence:
    """The seed that belongs to these words and to nothing else."""
    return np.random.SeedSequence(int(storage.sha256_text(*parts), 16))


def stream(*parts: str) -> np.random.Generator:
    """The random stream of these words."""
    return np.random.Generator(np.random.Philox(seed(*parts)))
