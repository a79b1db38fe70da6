"""Frechet distance against closed forms and against the two libraries that the field uses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from morphobench.metrics import FrechetReference, frechet_distance
from morphobench.metrics import frechet as module
from morphobench.metrics.frechet import frechet_influence, frechet_resamples

SHAPES = ((40, 25, 60), (40, 60, 9), (200, 150, 12), (200, 5, 12), (30, 30, 30))


def samples(n, m, d, seed=0):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(d, d)) / np.sqrt(d)
    return random.normal(size=(n, d)) @ mixing, 1.3 * random.normal(size=(m, d)) @ mixing + 0.4


def with_exact_moments(n, d, mean, scale, seed=0):
    """n rows whose sample mean and covariance are exactly `mean` and scale^2 I."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    q, _ = np.linalg.qr(x - x.mean(axis=0))
    return mean + scale * np.sqrt(n - 1) * q


def test_shifted_standard_normals_are_their_dimension_apart():
    a, b = with_exact_moments(257, 256, 0.0, 1.0, seed=0), with_exact_moments(400, 256, 1.0, 1.0, seed=1)
    assert frechet_distance(a, b) == pytest.approx(256, rel=1e-9)
    x = np.random.default_rng(0).normal(size=(300, 2048))
    assert frechet_distance(x, x + 1) == pytest.approx(2048, rel=1e-12)


def test_scaled_normals():
    a, b = with_exact_moments(50, 8, 0.0, 1.0), with_exact_moments(70, 8, 0.0, 3.0, seed=1)
    assert frechet_distance(a, b) == pytest.approx(8 * (3 - 1) ** 2, rel=1e-12)


def test_commuting_covariances_follow_the_diagonal_formula():
    random = np.random.default_rng(3)
    s, t = random.uniform(0, 3, 6), random.uniform(0, 3, 6)
    a = with_exact_moments(80, 6, 0.0, 1.0) * s
    b = with_exact_moments(90, 6, 0.0, 1.0, seed=1) * t
    assert frechet_distance(a, b) == pytest.approx(((s - t) ** 2).sum(), rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_equals_the_matrix_square_root(n, m, d):
    a, b = samples(n, m, d)
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    shift = a.mean(axis=0) - b.mean(axis=0)
    expected = shift @ shift + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * np.trace(root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_equals_torch_fidelity_and_clean_fid(n, m, d):
    from morphobench.features.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import torch
    from cleanfid.fid import frechet_distance as clean_fid
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    a, b = samples(n, m, d)
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    theirs = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    cleaned = clean_fid(a.mean(axis=0), np.cov(a, rowvar=False), b.mean(axis=0), np.cov(b, rowvar=False))
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(cleaned, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 20), st.integers(0, 10**6))
def test_a_distance(n, m, d, seed):
    a, b = samples(n, m, d, seed)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * np.var(a).sum() * d + 1e-12)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9)
    shift = np.linspace(-1, 1, d)
    assert frechet_distance(a, a + shift) == pytest.approx(shift @ shift, rel=1e-8, abs=1e-9)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * frechet_distance(a, b), rel=1e-9, abs=1e-8)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(frechet_distance(a, b), rel=1e-8, abs=1e-8)


def test_singular_covariances_and_constant_features_lose_nothing():
    a, b = samples(300, 200, 10)
    wide = np.random.default_rng(1).normal(size=(10, 40))  # rank 10 in 40 dimensions, n > d
    wide = np.linalg.qr(wide.T)[0].T
    pad = np.full((300, 5), 7.0)
    assert frechet_distance(a @ wide, b @ wide) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    padded = frechet_distance(np.hstack([a, pad]), np.hstack([b, pad[:200]]))
    assert padded == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert frechet_distance(pad, pad) == 0
    assert frechet_distance(pad, pad + 2) == pytest.approx(20)


def test_float32_features_are_not_rounded_on_the_way():
    a, b = samples(64, 64, 100)
    a, b = (a + 50).astype(np.float32), (b + 50).astype(np.float32)
    assert frechet_distance(a, b) == frechet_distance(a.astype(float), b.astype(float))


def test_reference_is_cached_once_and_used_for_many():
    a, b = samples(60, 40, 20)
    reference = FrechetReference.of(b)
    assert reference.distance(a) == frechet_distance(a, b)
    with pytest.raises(ValueError, match="reference has 20 features"):
        reference.distance(a[:, :5])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((1, 4)), np.ones((3, 4)), r"features.shape=\(1, 4\)"),
        (np.ones((3, 4)), np.ones((3, 5)), r"a.shape=\(3, 4\) and b.shape=\(3, 5\)"),
        (np.ones(4), np.ones((3, 4)), r"features.shape=\(4,\)"),
        (np.array([[1.0, np.nan], [0, 0], [1, 1]]), np.ones((3, 2)), "1 of 3 rows"),
        (np.ones((3, 2)), np.array([[1.0, np.inf], [0, 0]]), "1 of 2 rows"),
    ],
)
def test_bad_input_is_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


def weighted_frechet(a, b, p, q, n, m):
    """From moments with weight shares p, q; the n - 1 correction is kept at the full n, as the influence has it."""
    moments = []
    for x, share, rows in ((a, p, n), (b, q, m)):
        centred = x - share @ x
        moments.append((share @ x, (centred * share[:, None]).T @ centred * rows / (rows - 1)))
    (mean_a, s), (mean_b, t) = moments
    root = sqrtm(s @ t).real
    return (mean_a - mean_b) @ (mean_a - mean_b) + np.trace(s) + np.trace(t) - 2 * np.trace(root)


@pytest.mark.parametrize("d", [5, 30])
def test_influence_is_the_derivative_by_a_row_weight(d):
    a, b = samples(30, 40, d)
    if d == 30:  # full rank, so that the reference's square root is differentiable
        a, b = samples(45, 31, d)
    value, influence_a, influence_b = frechet_influence(a, b)
    assert value == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert influence_a.mean() == pytest.approx(0, abs=1e-9)
    n, m, step = len(a), len(b), 1e-5
    for side, influence, rows in ((0, influence_a, n), (1, influence_b, m)):
        direction = np.eye(rows)[3] - 1 / rows
        values = []
        for sign in (1, -1):
            shares = [np.full(n, 1 / n), np.full(m, 1 / m)]
            shares[side] = shares[side] + sign * step * direction
            values.append(weighted_frechet(a, b, *shares, n, m))
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(influence[3], rel=1e-3, abs=1e-3)


def test_unit_weights_give_the_distance_and_no_weight_gives_nan():
    a, b = samples(40, 50, 100)
    weights = np.ones((2, 40))
    weights[1] = 0
    values = frechet_resamples(a, b, weights, np.ones((2, 50)))
    assert values[0] == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert np.isnan(values[1])


@pytest.mark.parametrize(("n", "m", "d"), [(700, 600, 520), (520, 900, 700), (900, 520, 700), (530, 520, 800)])
def test_large_sets_by_eigenvalues_equal_singular_values(n, m, d, monkeypatch):
    a, b = samples(n, m, d)
    values, taken = [], []
    singular_values = np.linalg.svd

    def spy(*arguments, **options):
        taken.append(large)
        return singular_values(*arguments, **options)

    monkeypatch.setattr(np.linalg, "svd", spy)
    for large in (512, 10**6):
        monkeypatch.setattr(module, "LARGE", large)
        values.append(frechet_distance(a, b))
    assert values[0] == pytest.approx(values[1], rel=1e-7)
    assert taken == [10**6]  # each way was taken once


@pytest.mark.parametrize("rows", [540, 700])
def test_eigenvalues_give_way_where_they_would_lose_digits(rows):
    """Equal sets, and a shift small beside the spread: roots of eigenvalues are wrong by far more than the distance."""
    x = np.random.default_rng(0).normal(size=(rows, 600)) * np.logspace(0, -9, 600)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-13)
    assert frechet_distance(x, x + 1e-5) == pytest.approx(600e-10, rel=1e-4)
