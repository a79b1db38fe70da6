"""What the replicates of a row are made with: a bundle's clusters are drawn, and its rows weighted, R times.

The replicates of a row, which stand beside it in `rows`, are a function of (inputs, replicates, seed) that gives the
three arms of `ClusterDraws.each_way`, (3 R,): draws of compounds and plates, of compounds alone, of plates alone; NaN
where a replicate has no value. Compounds and plates that generated and real images share are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from morphobench.metrics.bootstrap import ClusterDraws, draw_clusters
from morphobench.metrics.inputs import FeatureInputs
from morphobench.metrics.labels import OneLabelled


def draws_of(compounds: Sequence[np.ndarray], plates: Sequence[np.ndarray], replicates: int, seed: int) -> ClusterDraws:
    """Draws of the clusters that all these sides of a bundle share, in three arms."""
    return draw_clusters(compounds, plates, replicates, seed).each_way()


def own_draws(inputs: OneLabelled, replicates: int, seed: int) -> ClusterDraws:
    """Draws of the clusters of a bundle with one label per row."""
    return draws_of([inputs.compounds], [inputs.plates], replicates, seed)


def row_weights(inputs: OneLabelled, replicates: int, seed: int) -> np.ndarray:
    """How often each row of a bundle is drawn, (3 R, N)."""
    return own_draws(inputs, replicates, seed).weights(inputs.compounds, inputs.plates)


def feature_draws(inputs: FeatureInputs, replicates: int, seed: int) -> ClusterDraws:
    """Draws of the clusters of generated and real images."""
    compounds = [inputs.generated_compounds, inputs.real_compounds]
    return draws_of(compounds, [inputs.generated_plates, inputs.real_plates], replicates, seed)


def image_weights(inputs: FeatureInputs, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each generated image, (3 R, N), and each real one, (3 R, M), is drawn."""
    draws = feature_draws(inputs, replicates, seed)
    return (
        draws.weights(inputs.generated_compounds, inputs.generated_plates),
        draws.weights(inputs.real_compounds, inputs.real_plates),
    )


def of_plate_draws(values: Callable[[np.ndarray], np.ndarray], draws: ClusterDraws, plates: np.ndarray) -> np.ndarray:
    """`values` (K,) of the weights (N,) that each replicate gives to plates, (R, K).

    Draws that are equal are computed once: there are only 35 different ones of four plates.
    """
    distinct, which = np.unique(draws.plate_weights(plates), axis=0, return_inverse=True)
    return np.stack([values(weights) for weights in distinct])[which.reshape(-1)]


def drawn_means(values: np.ndarray, draws: ClusterDraws, compounds: np.ndarray) -> np.ndarray:
    """Mean of values (R, K), one set per replicate, each counted as often as its compound (K,) is drawn: (R,)."""
    counts = np.stack([draws.compound_counts[str(name)] for name in compounds], axis=1)
    counts = np.where(np.isnan(values), 0, counts)
    total = counts.sum(axis=1)
    return np.divide(
        (counts * np.nan_to_num(values)).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0
    )
