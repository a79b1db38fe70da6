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
from test_registry import COMPOUNDS, PLATES, bundle

from morphobench.leaderboard.version_1 import fields_of
from morphobench.metrics import METRICS, scaled
from morphobench.metrics.bootstrap import ClusterDraws
from morphobench.metrics.inputs import (
    ExpressionInputs,
    FeatureInputs,
    MemorisationInputs,
    SeparabilityInputs,
    SwapInputs,
)
from morphobench.metrics.registry import row_of

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
"""Rows whose score a test of the function itself compares; by the row's key, its part aside."""


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
    labels, real_labels = (inputs.compounds, inputs.plates), (inputs.real_compounds, inputs.real_plates)
    (units, _), (real_units, real_levels) = (
        side if inputs.by == "compounds" else side[::-1] for side in (labels, real_labels)
    )
    along = length = missed = truth = 0.0
    for unit, donor in inputs.toward.items():
        rows, change = units == unit, []
        for level in np.unique(real_levels):
            own, other = (inputs.real[(real_levels == level) & (real_units == name)] for name in (unit, donor))
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


def memorised(found: np.ndarray, real: np.ndarray, views: np.ndarray, real_views: np.ndarray) -> MemorisationInputs:
    labels = np.repeat(["a", "b", "c", "d"], len(found) // 4), np.tile(["p", "q"], len(found) // 2)
    return MemorisationInputs(found, real, views, real_views, *labels)


def test_rows_of_memorisation_are_shares_under_limits_that_real_images_set():
    """Real distances 1..40: a copy lies under 0.1 of their median, a near one under their 5% quantile."""
    real = np.arange(1.0, 41.0)
    found = np.array([*[2.0] * 3, *[2.06] * 4, *[2.94] * 2, *[2.96] * 1, *[20.5] * 10, *[41.0] * 20])
    inputs = memorised(found, real, found, real)
    assert METRICS["train_copies"].score(inputs) == pytest.approx(3 / 40)  # 2.05 is 0.1 of 20.5
    assert METRICS["near_copies"].score(inputs) == pytest.approx(9 / 40)  # numpy's quantile of 1..40 at 0.05: 2.95
    assert METRICS["nearest_train_distance"].score(inputs) == pytest.approx(found.mean() / 20.5)
    # A copy in another view is near, too, however far its features are.
    views = np.where(np.arange(40) < 38, 30.0, 1.0)
    turned = memorised(found, real, views, real)
    assert METRICS["train_copies"].score(turned) == pytest.approx(2 / 40)
    assert METRICS["near_copies"].score(turned) == pytest.approx(11 / 40)


def test_an_image_at_a_limit_of_memorisation_is_neither_copy_nor_near():
    real, found = np.full(40, 8.0), np.where(np.arange(40) < 4, 7.9, 8.0)
    inputs = memorised(found, real, np.where(np.arange(40) < 6, 1.9, 2.0), np.full(40, 20.0))
    assert METRICS["train_copies"].score(inputs) == pytest.approx(6 / 40)
    assert METRICS["near_copies"].score(inputs) == pytest.approx(6 / 40)  # the four by features are copies, too
    alike = memorised(found, 0 * real, found, real)
    with pytest.raises(ValueError, match="the real test images are training images themselves"):
        METRICS["nearest_train_distance"].score(alike)
    one = memorised(found, np.ones(40), found, real)
    assert METRICS["nearest_train_distance"].score(one) == pytest.approx(found.mean())


@pytest.mark.parametrize(
    "key", ["lfc_pearson", "lfc_pearson_vehicle", "lfc_pearson_perturbed_mean", "centroid_accuracy"]
)
def test_a_draw_of_every_compound_and_plate_is_the_score_of_expression(key, monkeypatch):
    inputs = bundle(ExpressionInputs)
    compounds, plates = (dict.fromkeys(map(str, np.unique(names)), np.ones(3, int)) for names in (COMPOUNDS, PLATES))
    once = ClusterDraws(3, compounds, plates)
    monkeypatch.setattr("morphobench.metrics.replicates.draw_clusters", lambda *_: once)
    np.testing.assert_allclose(METRICS[key].resample(inputs, 3, 0), METRICS[key].score(inputs), rtol=1e-9)


@pytest.mark.parametrize("key", ["precision", "density", "recall", "coverage"])
def test_replicates_of_a_neighbourhood_row_draw_the_images_that_it_counts(key):
    """Half of the counted images hit, those of one plate; the other side is of one plate that is always drawn once."""
    random = np.random.default_rng(0)
    still = random.normal(size=(24, 3))
    split = np.concatenate([still[:12] + 1e-6, still[12:] + 1e3])
    names, one = np.repeat(["a", "b"], 12), np.full(24, "z")
    labels = np.tile(["a", "b"], 12), np.repeat(["p", "q"], 12)
    counted_generated = key in ("precision", "density")
    sides = (split, still, *labels, names, one) if counted_generated else (still, split, names, one, *labels)
    inputs = FeatureInputs(*sides)
    found = METRICS[key].resample(inputs, 60, 0)
    whole = METRICS[key].score(inputs)
    assert whole > 0
    by_plate = found[120:] / whole
    # The plate that hits is drawn none, one or two times of two.
    assert set(by_plate.round(6)) == {0.0, 1.0, 2.0}


def test_every_row_has_an_oracle_here_or_where_this_says():
    known = {*ORACLES, "train_copies", "near_copies", "nearest_train_distance"}
    assert {key for key, row in METRICS.items() if key not in known and row.key not in ELSEWHERE} == set()


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("fid", "fd"), ("kid_per_compound", "kd_per_compound"), ("inception_score", "is"), ("fd[dinov2]", "fd"),
        ("coverage", "coverage"), ("coverage[dinov2]", "coverage"), ("nsc", "nsc"), ("lfc_pearson", "lfc_pearson"),
        ("area_occupied_shift[cells]", "area_occupied_shift[cells]"),
        ("area_occupied_shift[nuclei_no_edge][cellprofiler]", "area_occupied_shift[nuclei_no_edge]"),
        ("area_occupied_shift[mitochondria]", None), ("fidelity", None), ("", None),
    ],
)  # fmt: skip
def test_a_printed_key_is_that_of_one_row(key, row):
    fields = fields_of(key)
    assert row_of(fields["metric"], fields.get("part", "")) is (None if row is None else METRICS[row])


@pytest.mark.parametrize("ceiling", [0.1, 0.55, 0.45])
def test_a_ceiling_is_above_the_vehicle_with_its_interval_or_nothing_is_scaled(ceiling):
    """However its interval lies: a bootstrap's need not hold its score."""
    for direction, sign in (("max", 1.0), ("min", -1.0)):
        interval = (0.6, 0.9) if sign > 0 else (-0.9, -0.6)
        found = scaled(sign * 0.7, sign * 0.5, sign * ceiling, interval, direction)
        assert found == (pytest.approx(4.0) if ceiling > 0.5 else None)
