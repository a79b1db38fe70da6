"""What several rows count: their N, and the items that have no value."""

from __future__ import annotations

import numpy as np

from morphobench.metrics.inputs import ExpressionInputs, FeatureInputs, MorphologyInputs
from morphobench.metrics.profile_inputs import ProfileInputs


def smaller_side(inputs: FeatureInputs | MorphologyInputs) -> int:
    """Number of generated or of real images, whichever is fewer."""
    return min(len(inputs.generated), len(inputs.real))


def compounds(inputs: ExpressionInputs | ProfileInputs) -> int:
    """Number of compounds."""
    return len(np.unique(inputs.compounds))


def undefined_of(values: np.ndarray) -> int:
    """How many values are NaN."""
    return int(np.isnan(values).sum())
