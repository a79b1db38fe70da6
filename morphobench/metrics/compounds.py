"""A distance between two sets of features, compound by compound, and what a bootstrap makes of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from morphobench.metrics.checks import array
from morphobench.metrics.frechet import checked_pair


def by_compound(
    distance: Callable[[np.ndarray, np.ndarray], float],
    a: np.ndarray,
    a_compounds: np.ndarray,
    b: np.ndarray,
    b_compounds: np.ndarray,
) -> np.ndarray:
    """Distance between the rows of a (n, d) and of b (m, d) that share a compound, in sorted order of compounds: (C,).

    Raises ValueError when the two sides hold different compounds, one has a single row of a compound, or as
    `checked_pair` and `distance`.
    """
    a, b = checked_pair(a, b)
    a_compounds, b_compounds = array(a_compounds), array(b_compounds)
    names = paired_compounds(a_compounds, b_compounds)
    return np.array([distance(a[a_compounds == name], b[b_compounds == name]) for name in names])


def resamples_by_compound(
    resample: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    a: np.ndarray,
    a_compounds: np.ndarray,
    b: np.ndarray,
    b_compounds: np.ndarray,
    weights_a: np.ndarray,
    weights_b: np.ndarray,
) -> dict[str, np.ndarray]:
    """A distance of each compound under R sets of row weights (R, n), (R, m): {name: (R,)}.

    Raises as `by_compound`.
    """
    checked_pair(a, b)
    resampled = {}
    for name in paired_compounds(a_compounds, b_compounds):
        mine, true = a_compounds == name, b_compounds == name
        resampled[str(name)] = resample(a[mine], b[true], weights_a[:, mine], weights_b[:, true])
    return resampled


def counted_mean(values: dict[str, np.ndarray], counts: dict[str, np.ndarray]) -> np.ndarray:
    """Mean over compounds of {name: (R,)} by how often each was drawn, NaN left out and where nothing is left: (R,)."""
    replicates = len(next(iter(values.values())))
    total, count = np.zeros(replicates), np.zeros(replicates)
    for name, resampled in values.items():
        times = np.where(np.isfinite(resampled), counts[name], 0)
        total[times > 0] += (times * resampled)[times > 0]
        count += times
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def shared_compounds(a_compounds: np.ndarray, b_compounds: np.ndarray) -> np.ndarray:
    """The compounds of both sides, sorted; ValueError where one is on a single side."""
    names = np.unique(a_compounds)
    odd = sorted(set(names) ^ set(np.unique(b_compounds)))
    if odd:
        raise ValueError(f"{len(odd)} compounds are on only one side, the first is {str(odd[0])!r}")
    return names


def paired_compounds(a_compounds: np.ndarray, b_compounds: np.ndarray) -> np.ndarray:
    """The compounds of both sides, sorted; ValueError, too, where one has a single row on a side: it has no spread."""
    names = shared_compounds(a_compounds, b_compounds)
    counts = [np.unique(side, return_counts=True)[1] for side in (a_compounds, b_compounds)]
    fewest = np.minimum(*counts)
    if len(names) and fewest.min() < 2:
        first = int(np.argmax(fewest < 2))
        raise ValueError(
            f"{int((fewest < 2).sum())} compounds have fewer than two images on a side, the first is "
            f"{str(names[first])!r} ({counts[0][first]} against {counts[1][first]})"
        )
    return names
