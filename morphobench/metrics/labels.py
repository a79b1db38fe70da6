"""Labels beside the rows of a bundle: how many differ, and whether there is one per row."""

from __future__ import annotations

import numpy as np


class OneLabelled:
    """A bundle whose rows have one array of compounds and one of plates: what the bootstrap draws."""

    compounds: np.ndarray
    plates: np.ndarray

    @property
    def clusters(self) -> tuple[int, int]:
        """Numbers of compounds and of plates."""
        return distinct(self.compounds), distinct(self.plates)


def distinct(labels: np.ndarray) -> int:
    """Number of different labels."""
    return len(np.unique(labels))


def aligned(name: str, values: np.ndarray, *others: np.ndarray) -> None:
    """ValueError where another array has not one entry per row of `values`, called `name`, or one is a tensor."""
    tensors = [entry for entry in (values, *others) if hasattr(entry, "detach")]
    if tensors:
        raise ValueError(f"{name}: {type(tensors[0]).__name__}s beside it; a bundle holds numpy arrays (checks.array)")
    for other in others:
        if len(other) != len(values):
            raise ValueError(f"{name}: {values.shape=} has labels or values of {other.shape=}; one per row is needed")
