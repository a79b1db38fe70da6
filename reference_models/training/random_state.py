"""Every source of randomness of a process, so that a resumed run draws what it would have drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Start Python's, numpy's and torch's global generators, on every device, from one seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (the global state is what a library may draw from)
    torch.manual_seed(seed)  # CUDA's too


def random_state() -> dict[str, Any]:
    """The state of all of them, in types that `torch.load(weights_only=True)` reads."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on from a state of `random_state`. States of devices that this machine lacks are left."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for device, kept in enumerate(state["cuda"][:devices]):
        torch.cuda.set_rng_state(kept, device)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Whatever the block draws, all generators are afterwards as they were."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
