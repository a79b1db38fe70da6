"""Inception score against its closed forms and torch-fidelity."""

import numpy as np
import pytest

from morphobench.metrics import inception_score
from morphobench.metrics.inception_score import inception_resamples


def test_equal_probabilities_score_one():
    assert inception_score(np.full((50, 7), 1 / 7)) == pytest.approx(1)
    assert inception_score(np.tile([0.7, 0.2, 0.1], (50, 1))) == pytest.approx(1)


@pytest.mark.parametrize("k", [2, 10, 1008])
def test_balanced_certainty_scores_the_number_of_classes(k):
    assert inception_score(np.eye(k), splits=1) == pytest.approx(k)


def test_equals_torch_fidelity_from_the_same_logits():
    from morphobench.features.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * np.random.default_rng(0).normal(size=(103, 20))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    theirs = isc_features_to_metric(torch.from_numpy(logits))["inception_score_mean"]
    assert inception_score(probabilities) == pytest.approx(theirs, rel=1e-9)


def test_one_chunk_does_not_depend_on_the_order():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=40)
    assert inception_score(p, splits=1) == pytest.approx(inception_score(p[::-1], splits=1), rel=1e-12)


def test_weights_repeat_rows():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=4)
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 3], [0, 0, 0, 0]])
    values = inception_resamples(p, weights)
    assert values[1] == pytest.approx(inception_score(p[[0, 0, 2, 3, 3, 3]], splits=1))
    assert np.isnan(values[2])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="logits"):
        inception_score(np.random.default_rng(0).normal(size=(20, 5)))
    with pytest.raises(ValueError, match="splits=10"):
        inception_score(np.eye(3))
    with pytest.raises(ValueError, match="20 of 20 rows hold values that are not finite"):
        inception_score(np.full((20, 2), np.nan))


def test_as_many_chunks_as_images_are_allowed_and_a_row_alone_scores_one():
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=12)
    assert inception_score(p, splits=12) == pytest.approx(1)
    with pytest.raises(ValueError, match="splits=13"):
        inception_score(p, splits=13)
    with pytest.raises(ValueError, match=r"\(images, classes\) is needed"):
        inception_score(p[0])
