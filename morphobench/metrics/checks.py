"""What a table of numbers must be before anything is computed of it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

LARGEST = 1e50
"""Largest size of a value: the kernel takes it to the sixth power, and sums of those must stay below 1.8e308."""

_NO_NUMBERS = "cSUmM"
"""Kinds of arrays that numpy would turn into float64: complex loses a part, text and times mean something else."""


def array(values: ArrayLike) -> np.ndarray:
    """What is an array, nested lists or a torch tensor as a numpy array of its own type.

    A tensor may lie on any device and carry a gradient, which ends here; its bfloat16, which numpy lacks, becomes
    float32.
    Raises ValueError for what has no values: masked entries, a tensor on the meta device, lists of unequal length.
    """
    if np.ma.is_masked(values):
        raise ValueError("masked values have no number: leave them out, or fill them")
    try:
        if isinstance(values, _Tensor):
            tensor = values.detach().cpu()
            values = tensor.float() if "bfloat16" in str(tensor.dtype) else tensor
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"a {type(values).__name__} that is no array of numbers or labels: {reason}") from error


@runtime_checkable
class _Tensor(Protocol):
    """What is known of a torch tensor without torch."""

    dtype: Any

    def detach(self) -> Any: ...

    def cpu(self) -> Any: ...


def table(values: ArrayLike, what: str = "rows") -> np.ndarray:
    """An array, as `array` takes it, as float64.

    Raises ValueError for what is no numbers, and for `what`, its rows, with values that are not finite or beyond
    LARGEST.
    """
    try:
        x = array(values)
        if x.dtype.kind in _NO_NUMBERS:
            raise TypeError(f"{x.dtype=}")
        x = x.astype(np.float64, copy=False)
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
