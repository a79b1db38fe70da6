"""Mechanism and identity of compounds, asked of profiles by their nearest neighbours.

Profiles are rows, compared by cosine similarity, which asks for the direction of a drug's effect and not for its size.
A query's neighbours are sought among reference profiles; queries and reference may be one and the same set.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from morphobench.metrics.checks import LARGEST, array

TIE = 1e-9
"""Cosine similarities that differ by less are equal: two sums over the same numbers in another order are."""


def mean_profiles(values: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of the rows (n, d) of each label, in the order of np.unique(labels): (labels, d).

    weights (n,) count rows; a label without weight has a profile of NaN.
    """
    names, member = np.unique(labels, return_inverse=True)
    counts = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    summing = csr_matrix((counts, (member, np.arange(len(values)))), shape=(len(names), len(values)))
    total = np.bincount(member, counts, minlength=len(names))[:, None]
    sums = summing @ np.asarray(values, dtype=np.float64)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def cosine_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of the rows of a (n, d) to those of b (m, d): (n, m); 0 for a row of zeros, NaN for one of NaN.

    Raises ValueError when the numbers of features differ.
    """
    a, b = array(a).astype(np.float64, copy=False), array(b).astype(np.float64, copy=False)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape=} and {b.shape=}: two matrices with the same features are needed")
    large = sum(int((np.abs(rows) > LARGEST).any(axis=1).sum()) for rows in (a, b))
    if large:
        raise ValueError(f"{large} of {len(a) + len(b)} rows hold values beyond {LARGEST:g}: their squares overflow")
    return np.asarray(_unit(a) @ _unit(b).T)


def mechanism_matches(
    queries: np.ndarray,
    reference: np.ndarray,
    compounds: tuple[np.ndarray, np.ndarray],
    mechanisms: tuple[np.ndarray, np.ndarray],
    batches: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Whether the reference profile nearest to each query has its mechanism: 1, 0, or NaN for no answer; (n,).

    queries (n, d), reference (m, d); the labels are pairs of arrays, of the queries (n,) and of the reference (m,).
    Profiles of the query's own compound, at any dose, are never its neighbours (NSC: not the same compound); with
    `batches`, nor are those of its own batch (NSCB). References nearest in equal measure share the answer, so that
    their order does not matter. NaN where no reference that may answer has the query's mechanism, or the query has NaN;
    a reference with NaN is nobody's neighbour. Raises ValueError for labels that do not pair up.
    """
    queries, reference = array(queries), array(reference)
    compounds, mechanisms, batches = _arrays(compounds), _arrays(mechanisms), batches and _arrays(batches)
    pairs = [compounds, mechanisms, *([batches] if batches else [])]
    if any(len(ours) != len(queries) or len(theirs) != len(reference) for ours, theirs in pairs):
        raise ValueError(f"{queries.shape=} and {reference.shape=} do not pair up with their labels")
    similarity = cosine_similarity(queries, reference)
    for ours, theirs in (compounds, batches) if batches else (compounds,):
        similarity[ours[:, None] == theirs[None]] = np.nan
    allowed, same = ~np.isnan(similarity), mechanisms[0][:, None] == mechanisms[1][None]
    best = np.where(allowed, similarity, -np.inf).max(axis=1, initial=-np.inf)
    nearest = allowed & (np.where(allowed, similarity, -np.inf) >= best[:, None] - TIE)
    answered = (allowed & same).any(axis=1)
    share = np.divide((nearest & same).sum(axis=1), nearest.sum(axis=1), out=np.zeros(len(queries)), where=answered)
    return np.where(answered, share, np.nan)


def answerable(compounds: np.ndarray, mechanisms: np.ndarray, batches: np.ndarray | None = None) -> np.ndarray:
    """Whether another profile of one set may answer with the right mechanism, bool (n,), for labels (n,)."""
    same = mechanisms[:, None] == mechanisms[None]
    return np.asarray((_others(compounds, batches) & same).any(axis=1))


def chance_of_mechanism(compounds: np.ndarray, mechanisms: np.ndarray, batches: np.ndarray | None = None) -> float:
    """Mean of `mechanism_matches` if neighbours were drawn among all that are allowed, for labels (n,) of one set.

    NaN where no label has an answer.
    """
    allowed = _others(compounds, batches)
    right = (allowed & (mechanisms[:, None] == mechanisms[None])).sum(axis=1)
    answered = right > 0
    return float((right[answered] / allowed[answered].sum(axis=1)).mean()) if answered.any() else float("nan")


def discrimination(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Share of the other compounds whose real profile lies farther from a compound's generated one than its own, (C,).

    generated, real (C, d): row i of both is compound i. 1: the true compound is the nearest; 0.5 is expected by chance,
    and is the mean for one profile given to all. Equally near ones count half. The perturbation discrimination score of
    the Virtual Cell Challenge (Roohani et al. 2025, Cell 188) is the same but for its distance, the sum of absolute
    differences, and for dividing the rank by C. NaN for a compound with NaN on either side, which is nobody's rival.
    Raises ValueError when shapes differ.
    """
    generated, real = array(generated), array(real)
    if generated.shape != real.shape:
        raise ValueError(f"{generated.shape=} and {real.shape=} differ")
    similarity = cosine_similarity(generated, real)
    own = similarity.diagonal()[:, None]
    rivals = np.isfinite(real).all(axis=1)[None] & ~np.eye(len(real), dtype=bool)
    with np.errstate(invalid="ignore"):
        farther = (similarity < own - TIE) + 0.5 * (np.abs(similarity - own) <= TIE)
    count = rivals.sum(axis=1)
    share = np.divide((farther * rivals).sum(axis=1), count, out=np.full(len(real), np.nan), where=count > 0)
    return np.where(np.isnan(own[:, 0]), np.nan, share)


def average_precision(
    queries: np.ndarray,
    reference: np.ndarray,
    compounds: tuple[np.ndarray, np.ndarray],
    batches: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Average precision with which a query finds reference profiles of its compound before those of others, (n,).

    queries (n, d), reference (m, d); labels are pairs of arrays, of the queries (n,) and of the reference (m,). With
    `batches`, profiles of the query's own batch are not looked at. The others are ranked by cosine similarity; the
    value is the mean, over those of its compound, of the share of its compound among all that rank at least as high
    (Kalinin et al. 2025, "A versatile information retrieval framework for evaluating profile strength and similarity",
    Nature Communications 16). A profile of another compound that is as near ranks before. NaN where nothing of the
    compound is to be found. Raises ValueError for labels that do not pair up, or where features differ.
    """
    queries, reference = array(queries), array(reference)
    compounds, batches = _arrays(compounds), batches and _arrays(batches)
    if any(len(a) != len(queries) or len(b) != len(reference) for a, b in (compounds, batches or compounds)):
        raise ValueError(f"{queries.shape=} and {reference.shape=} do not pair up with their labels")
    similarity = cosine_similarity(queries, reference)
    wanted = compounds[0][:, None] == compounds[1][None]
    allowed = ~np.isnan(similarity)
    if batches is not None:
        allowed &= batches[0][:, None] != batches[1][None]
    precision = np.full(len(queries), np.nan)
    for row, values in enumerate(similarity):
        own = -np.sort(-values[allowed[row] & wanted[row]])
        if len(own):
            others = np.sort(values[allowed[row] & ~wanted[row]])
            rank = np.arange(1, len(own) + 1)
            precision[row] = (rank / (rank + len(others) - np.searchsorted(others, own - TIE))).mean()
    return precision


def chance_of_average_precision(own: int, others: int) -> float:
    """Expected `average_precision` of a random order of p profiles of the compound and v of others.

    With n = p + v and H_n the sum of 1 / i up to n: (p - 1) / (n - 1) + (n - p) / (n (n - 1)) H_n.
    """
    n = own + others
    if own < 1 or others < 0:
        raise ValueError(f"{own=} and {others=}: at least one of the compound is needed")
    if n == 1:
        return 1.0
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    return (own - 1) / (n - 1) + (n - own) / (n * (n - 1)) * harmonic


def chance_of_retrieval(compounds: np.ndarray, batches: np.ndarray) -> float:
    """Mean of `average_precision` of random orders, for labels (n,) of one set; NaN where nothing is to be found."""
    other_batch = batches[:, None] != batches[None]
    same = compounds[:, None] == compounds[None]
    pairs = zip((same & other_batch).sum(axis=1), (~same & other_batch).sum(axis=1), strict=True)
    chances = [chance_of_average_precision(int(own), int(others)) for own, others in pairs if own]
    return float(np.mean(chances)) if chances else float("nan")


def discrimination_by_compound(
    generated: np.ndarray, real: np.ndarray, compounds: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """`discrimination` of the mean profiles of compounds, for rows (n, d) of both sides and labels and weights (n,)."""
    return discrimination(mean_profiles(generated, compounds, weights), mean_profiles(real, compounds, weights))


def joint_labels(*labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One label for rows that agree in all of several (n,): whole numbers (n,), and the first row of each, in order."""
    codes = np.stack([np.unique(each, return_inverse=True)[1] for each in labels])
    _, first, joint = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    return joint.reshape(-1), first


def _others(compounds: np.ndarray, batches: np.ndarray | None) -> np.ndarray:
    """Which profiles of a set may be another's neighbour, bool (n, n)."""
    allowed = compounds[:, None] != compounds[None]
    return allowed if batches is None else allowed & (batches[:, None] != batches[None])


def _arrays(labels: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return array(labels[0]), array(labels[1])


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length != 0)
