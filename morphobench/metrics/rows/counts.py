"""What several rows count: their N, the items that have no value, and the mean of those that have one."""

from __future__ import annotations

import numpy as np

from morphobench.metrics.inputs import ExpressionInputs, FeatureInputs, MorphologyInputs
from morphobench.metrics.profile_inputs import MorphologyProfileInputs, ProfileInputs


def smaller_side(inputs: FeatureInputs | MorphologyInputs) -> int:
    """Number of generated or of real images, whichever is fewer."""
    return min(len(inputs.generated), len(inputs.real))


def compounds(inputs: ExpressionInputs | MorphologyProfileInputs | ProfileInputs) -> int:
    """Number of compounds."""
    return len(np.unique(inputs.compounds))


def named(compounds: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Values (C,) of the compounds of rows (N,), in sorted order, by name."""
    return {str(name): float(value) for name, value in zip(np.unique(compounds), values, strict=True)}


def undefined_of(values: np.ndarray) -> int:
    """How many values are NaN."""
    return int(np.isnan(values).sum())


def defined_mean(values: np.ndarray) -> float:
    """Mean of the values of compounds (C,) that are numbers; ValueError, with the reason, where none is."""
    if np.isnan(values).all():
        raise ValueError(f"r is undefined for all {len(values)} compounds: prediction or truth is constant")
    return float(np.nanmean(values))
