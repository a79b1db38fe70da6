"""Kernel distance against torch-fidelity on the same subsets, closed forms and its own unbiasedness."""

import numpy as np
import pytest

from morphobench.metrics import kernel_distance, kernel_distance_by_compound, kernel_distance_subsets
from morphobench.metrics.compounds import counted_mean
from morphobench.metrics.kernel import kernel_resamples, kernel_resamples_by_compound


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    return random.normal(size=(60, 16)), random.normal(size=(50, 16)) + 0.5


def test_equals_torch_fidelity_on_its_subsets(pair):
    from morphobench.features.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = pair
    theirs = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=7, kid_subset_size=20, rng_seed=5, verbose=False
    )
    mean, deviation = kernel_distance_subsets(a, b, subset_size=20, subsets=7, seed=5)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


def test_by_hand():
    # k(x, y) = (xy + 1)^3 in one dimension: within a, k(0, 1) = 1; within b, k(1, 2) = 27; across, 1, 1, 8, 27.
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert kernel_distance(a, b) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_subsets_estimate_the_estimator_over_all_pairs(pair):
    mean, deviation = kernel_distance_subsets(*pair, subset_size=30, subsets=400)
    assert mean == pytest.approx(kernel_distance(*pair), abs=4 * deviation / np.sqrt(400))


def test_unbiased_at_tiny_n():
    random = np.random.default_rng(1)
    values = [kernel_distance(random.normal(size=(4, 3)), random.normal(size=(5, 3))) for _ in range(3000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_unit_weights_give_the_distance_and_a_weight_moves_it_by_the_projection(pair):
    a, b = pair
    one_a, one_b = np.ones((1, len(a))), np.ones((1, len(b)))
    assert kernel_resamples(a, b, one_a, one_b)[0] == pytest.approx(kernel_distance(a, b))
    # Leaving a row out changes the estimator, to first order, as its weight going to 0 does.
    without = one_a.copy()
    without[0, 7] = 0
    moved = kernel_resamples(a, b, without, one_b)[0] - kernel_distance(a, b)
    assert moved == pytest.approx(kernel_distance(np.delete(a, 7, axis=0), b) - kernel_distance(a, b), rel=0.1)


def test_by_compound_is_the_distance_of_each(pair):
    a, b = pair
    a_names, b_names = np.repeat(["x", "y", "z"], 20), np.r_[np.repeat("z", 10), np.repeat("y", 20), np.repeat("x", 20)]
    values = kernel_distance_by_compound(a, a_names, b, b_names)
    expected = [kernel_distance(a[a_names == name], b[b_names == name]) for name in "xyz"]
    assert values == pytest.approx(expected)
    counts = {"x": np.array([1, 0]), "y": np.array([1, 3]), "z": np.array([1, 1])}
    resampled = kernel_resamples_by_compound(a, a_names, b, b_names, np.ones((2, 60)), np.ones((2, 50)))
    means = counted_mean(resampled, counts)
    assert means == pytest.approx([values.mean(), (3 * values[1] + values[2]) / 4])
    with pytest.raises(ValueError, match="1 compounds are on only one side, the first is 'z'"):
        kernel_distance_by_compound(a[:40], a_names[:40], b, b_names)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((1, 4)), np.ones((3, 4)), r"\(1, 4\)"),
        (np.ones((3, 4)), np.ones((3, 5)), "differ"),
        (np.full((3, 4), np.nan), np.ones((3, 4)), "3 of 3 rows"),
    ],
)
def test_bad_input_is_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(a, b)


def test_subsets_larger_than_a_side_are_refused(pair):
    with pytest.raises(ValueError, match="subset_size=51"):
        kernel_distance_subsets(*pair, subset_size=51)


def test_two_images_of_each_compound_and_subsets_of_two_are_enough():
    """Of two images a side the unbiased estimator is k(x1, x2) + k(y1, y2) less twice the mean of the mixed ones."""
    x, y = np.array([[1.0, 0], [0, 2]]), np.array([[1.0, 1], [2, 0]])

    def k(a, b):
        return (a @ b / 2 + 1) ** 3

    expected = k(*x) + k(*y) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(expected)
    assert kernel_distance_subsets(x, y, subsets=1, subset_size=2)[0] == pytest.approx(expected)
    names = np.array(["a", "a", "b", "b"])
    both = kernel_distance_by_compound(np.concatenate([x, y]), names, np.concatenate([y, x]), names)
    assert both == pytest.approx([expected, expected])
