"""Each row's score on one small bundle, against another library or the definition in plain arithmetic."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import pearsonr, zscore
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from test_registry import bundle

from morphobench.metrics import METRICS
from morphobench.metrics.inputs import (
    ExpressionInputs,
    FeatureInputs,
    MemorisationInputs,
    SeparabilityInputs,
    SwapInputs,
)

ELSEWHERE = {
    "fd_infinity": "test_frechet_infinity",  # a law whose distance is known
    "area_occupied_shift": "test_morphology_metric",  # scipy's Wasserstein distance
    "is": "test_inception_score",  # torch-fidelity, its shuffle and its ten chunks included
    "profile_correlation": "test_profile_correlation",
    "nsc": "test_mechanism",  # the published table of Ljosa et al. 2013, and plain loops
    "nscb": "test_mechanism",
    "replicate_map": "test_mechanism",  # copairs
    "discrimination_rank": "test_mechanism",
}
"""Rows whose score a test of the function itself compares; by name of the row or of its family."""


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    one, two = np.cov(x.T), np.cov(y.T)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(one + two - 2 * sqrtm(one @ two).real))


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared MMD (Gretton et al. 2012, eq. 3) of the cubic kernel (x y / d + 1)^3."""
    xx, yy, xy = (polynomial_kernel(*pair, degree=3, coef0=1) for pair in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    off = [(square.sum() - np.trace(square)) / (size * (size - 1)) for square, size in ((xx, n), (yy, m))]
    return float(sum(off) - 2 * xy.mean())


def per_compound(score, inputs: FeatureInputs) -> float:
    names = np.unique(inputs.real_compounds)
    sides = ((inputs.generated, inputs.generated_compounds), (inputs.real, inputs.real_compounds))
    return float(np.mean([score(*(rows[labels == name] for rows, labels in sides)) for name in names]))


def reach(points: np.ndarray, k: int) -> np.ndarray:
    """Distance of each point to its k-th neighbour among the others."""
    return NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)[0][:, -1]


def inside(points: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
    """Which centres' balls of k neighbours hold which points: bool (points, centres)."""
    return np.linalg.norm(points[:, None] - centres, axis=2) <= reach(centres, k)


def changes(inputs: ExpressionInputs) -> list[np.ndarray]:
    """Predicted and measured change of every compound."""
    return [
        np.array([(side - inputs.pre)[inputs.compounds == name].mean(axis=0) for name in np.unique(inputs.compounds)])
        for side in (inputs.predicted_post, inputs.measured_post)
    ]


def centroid(inputs: ExpressionInputs) -> float:
    predicted, measured = changes(inputs)
    r = np.array([[pearsonr(own, other)[0] for other in measured] for own in predicted])
    return float(np.mean([(np.delete(row, own) < row[own]).mean() for own, row in enumerate(r)]))


def discriminant(inputs: SeparabilityInputs) -> float:
    """LDA with equal priors: the class of least Mahalanobis distance under the pooled, shrunk covariance."""
    names = np.unique(inputs.train_y)
    means = np.array([inputs.train_x[inputs.train_y == name].mean(axis=0) for name in names])
    pooled = np.mean([shrunk(inputs.train_x[inputs.train_y == name]) for name in names], axis=0)
    away = inputs.generated_x[:, None] - means
    squared = np.einsum("ncd,de,nce->nc", away, np.linalg.inv(pooled), away)
    return float(balanced_accuracy_score(inputs.generated_y, names[squared.argmin(axis=1)]))


def shrunk(rows: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's covariance of standardised columns, in the columns' own units."""
    scale = rows.std(axis=0)
    return ledoit_wolf((rows - rows.mean(axis=0)) / scale)[0] * np.outer(scale, scale)


def swapped(inputs: SwapInputs) -> tuple[float, float]:
    """Gap and error, each unit's squares as mean products of different rows."""
    along = length = missed = truth = 0.0
    for unit, donor in inputs.toward.items():
        rows = inputs.compounds == unit
        change = []
        for plate in np.unique(inputs.plates):
            here = inputs.real_plates == plate
            own, other = (inputs.real[here & (inputs.real_compounds == name)] for name in (unit, donor))
            change.append(other.mean(axis=0) - own.mean(axis=0))
        along += inputs.moved[rows].mean(axis=0) @ np.mean(change, axis=0)
        length += different(np.array(change))
        missed += different(inputs.moved[rows] - inputs.truth[rows])
        truth += different(inputs.truth[rows])
    return along / length, missed / truth


def different(rows: np.ndarray) -> float:
    products = rows @ rows.T
    return float(products[~np.eye(len(rows), dtype=bool)].mean())


ORACLES = {
    "fd": lambda i: frechet(i.generated, i.real),
    "kd": lambda i: kernel(i.generated, i.real),
    "kd_per_compound": lambda i: per_compound(kernel, i),
    "fd_per_compound": lambda i: per_compound(frechet, i),
    "precision": lambda i: inside(i.generated, i.real, 3).any(axis=1).mean(),
    "recall": lambda i: inside(i.real, i.generated, 3).any(axis=1).mean(),
    "density": lambda i: inside(i.generated, i.real, 5).sum() / (5 * len(i.generated)),
    "coverage": lambda i: inside(i.generated, i.real, 5).any(axis=0).mean(),
    "lfc_pearson": lambda i: pearsonr(*(zscore(side, axis=0).ravel() for side in changes(i)))[0],
    "lfc_pearson_vehicle": lambda i: np.mean([pearsonr(*pair)[0] for pair in zip(*changes(i), strict=True)]),
    "lfc_pearson_perturbed_mean": lambda i: np.mean(
        [pearsonr(*pair)[0] for pair in zip(*(side - side.mean(axis=0) for side in changes(i)), strict=True)]
    ),
    "centroid_accuracy": centroid,
    "lda_separability": discriminant,
    "duplicates": lambda i: sum(n for n in Counter(i.hashes.tolist()).values() if n > 1) / len(i.hashes),
    "drug_swap_gap": lambda i: swapped(i)[0],
    "drug_swap_error": lambda i: swapped(i)[1],
    "rna_swap_gap": lambda i: swapped(i)[0],
    "rna_swap_error": lambda i: swapped(i)[1],
}


@pytest.mark.parametrize("key", ORACLES)
def test_a_rows_score_is_that_of_another_library_or_of_its_definition(key):
    metric = METRICS[key]
    inputs = bundle(metric.inputs)
    assert metric.score(inputs) == pytest.approx(float(ORACLES[key](inputs)), rel=1e-6, abs=1e-9)


def test_rows_of_memorisation_are_shares_under_limits_that_real_images_set():
    """Real distances 1..40: a copy lies under 0.1 of their median, a near one under their 5% quantile."""
    real = np.arange(1.0, 41.0)
    found = np.array([*[2.0] * 3, *[2.06] * 4, *[2.94] * 2, *[2.96] * 1, *[20.5] * 10, *[41.0] * 20])
    labels = np.repeat(["a", "b", "c", "d"], 10), np.tile(["p", "q"], 20)
    inputs = MemorisationInputs(found, real, found, real, *labels)
    assert METRICS["train_copies"].score(inputs) == pytest.approx(3 / 40)  # 2.05 is 0.1 of 20.5
    assert METRICS["near_copies"].score(inputs) == pytest.approx(9 / 40)  # numpy's quantile of 1..40 at 0.05: 2.95
    assert METRICS["nearest_train_distance"].score(inputs) == pytest.approx(found.mean() / 20.5)


def test_every_row_has_an_oracle_here_or_where_this_says():
    known = {*ORACLES, "train_copies", "near_copies", "nearest_train_distance"}
    assert {key for key in METRICS if key not in known and key.split("[")[0] not in ELSEWHERE} == set()
