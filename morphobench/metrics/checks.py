"""What a table of numbers must be before anything is computed of it."""

from __future__ import annotations

import numpy as np

LARGEST = 1e50
"""Largest size of a value: the kernel takes it to the sixth power, and sums of those must stay below 1.8e308."""


def table(values: np.ndarray, what: str = "rows") -> np.ndarray:
    """An array, or lists of equal length, as float64.

    Raises ValueError for what is no numbers, and for `what`, its rows, with values that are not finite or beyond
    LARGEST.
    """
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} that are no numbers, or not equally many: a table of numbers is needed") from error
    # The extremes are two passes over the data; only where they are wrong is each value looked at.
    if x.size and not max(float(x.max()), -float(x.min())) <= LARGEST:
        broken = ~np.isfinite(x)
        if broken.any():
            raise ValueError(f"{_rows(broken)} of {len(x)} {what} hold values that are not finite")
        large = _rows(np.abs(x) > LARGEST)
        raise ValueError(
            f"{large} of {len(x)} {what} hold values beyond {LARGEST:g}, whose powers overflow; scale them"
        )
    return x


def _rows(wrong: np.ndarray) -> int:
    return int(wrong.reshape(len(wrong), -1).any(axis=1).sum())
