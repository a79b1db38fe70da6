"""LDA separability on classes whose answer is known."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from morphobench.metrics import lda_projection, lda_separability
from morphobench.metrics.separability import balanced_resamples, lda_correct

NAMES = np.array(["taxol", "emetine", "colchicine", "nocodazole"])


def classes(n, d=12, gap=8.0, seed=0):
    """n rows per class around class means `gap` apart, unit spread."""
    random = np.random.default_rng(seed)
    labels = np.repeat(NAMES, n)
    means = gap * np.eye(len(NAMES), d)
    return means[np.repeat(np.arange(len(NAMES)), n)] + random.normal(size=(len(labels), d)), labels


def test_distant_classes_are_all_told_apart_and_labels_matter():
    (x, y), (gx, gy) = classes(30), classes(10, seed=1)
    assert lda_separability(x, y, gx, gy) == 1
    assert lda_separability(x, y, gx, np.roll(gy, 10)) == 0
    assert lda_correct(x, y, gx, np.where(np.arange(len(gy)) < 5, "emetine", gy)).sum() == len(gy) - 5


def test_generated_images_without_class_information_score_chance():
    (x, y), (gx, gy) = classes(30), classes(500, gap=0.0, seed=1)
    assert lda_separability(x, y, gx + 2, gy) == pytest.approx(0.25, abs=0.03)


def test_close_classes_reach_the_bayes_rate():
    from scipy.stats import norm

    (x, y), (gx, gy) = classes(3000, gap=2.0), classes(3000, gap=2.0, seed=1)
    two = np.isin(y, NAMES[:2]), np.isin(gy, NAMES[:2])
    accuracy = lda_separability(x[two[0]], y[two[0]], gx[two[1]], gy[two[1]])
    assert accuracy == pytest.approx(norm.cdf(2 * np.sqrt(2) / 2), abs=0.015)


def test_more_features_than_images_and_constant_features_are_fine():
    (x, y), (gx, gy) = classes(6, d=100), classes(10, d=100, seed=1)
    x[:, 50:60] = gx[:, 50:60] = 3.0
    assert lda_separability(x, y, gx, gy) > 0.9


def test_projection_separates_the_classes_on_two_axes():
    (x, y), (gx, gy) = classes(30), classes(10, seed=1)
    points = lda_projection(x, y, gx)
    assert points.shape == (40, 2)
    centres = np.array([points[gy == name].mean(axis=0) for name in NAMES])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)[np.triu_indices(4, 1)]
    assert distances.min() > 1
    with pytest.raises(ValueError, match="2 classes span"):
        lda_projection(x[:60], y[:60], gx)


def test_one_answer_for_all_scores_one_in_the_number_of_classes():
    x, y = classes(30)
    centre = x[y == "emetine"].mean(axis=0)
    asked = np.repeat(NAMES, [5, 200, 7, 1])  # the class that is always named holds nearly every image
    assert lda_separability(x, y, np.tile(centre, (len(asked), 1)), asked) == pytest.approx(0.25)


def test_a_common_class_draws_no_answers_from_a_rare_one():
    (x, y), (gx, gy) = classes(400, gap=2.0), classes(2000, gap=2.0, seed=1)
    kept = (y != "taxol") | (np.arange(len(y)) < 40)
    recall = [lda_correct(x[kept], y[kept], gx, gy)[gy == name].mean() for name in NAMES]
    assert min(recall) > 0.7  # about 0.45 for priors that are the training shares


def test_it_is_the_balanced_accuracy_under_any_weights():
    (x, y), (gx, gy) = classes(30, gap=1.5), classes(50, gap=1.5, seed=1)
    gx, gy = gx[20:], gy[20:]
    correct = lda_correct(x, y, gx, gy)
    answers = np.where(correct, gy, "none")
    weights = np.random.default_rng(0).integers(0, 3, (5, len(gy)))
    expected = [recall_score(gy, answers, labels=NAMES, average="macro", sample_weight=w) for w in weights]
    assert balanced_resamples(correct, gy, weights) == pytest.approx(expected)
    assert lda_separability(x, y, gx, gy) == pytest.approx(recall_score(gy, answers, labels=NAMES, average="macro"))
    absent = np.stack([gy != "taxol", np.zeros(len(gy))]).astype(int)
    found = balanced_resamples(correct, gy, absent)
    assert found[0] == pytest.approx(np.mean([correct[gy == name].mean() for name in NAMES[1:]]))
    assert np.isnan(found[1])


def test_bad_input_is_named():
    (x, y), (gx, gy) = classes(5), classes(5, seed=1)
    with pytest.raises(ValueError, match="1 classes have no training images, the first is 'nocodazole'"):
        lda_separability(x[:15], y[:15], gx, gy)
    with pytest.raises(ValueError, match="numbers of features differ"):
        lda_separability(x, y, gx[:, :5], gy)
    with pytest.raises(ValueError, match="the smallest has 1 images"):
        lda_separability(x[:16], y[:16], gx[:16], gy[:16])
    with pytest.raises(ValueError, match="1 of 20 rows"):
        lda_separability(x, y, np.where(np.arange(20)[:, None] == 2, np.nan, gx), gy)
    with pytest.raises(ValueError, match="do not pair up"):
        lda_separability(x, y, gx, gy[:3])


def test_three_classes_have_a_map_and_two_have_none():
    (x, y), three = classes(10), NAMES[:3]
    kept = np.isin(y, three)
    assert lda_projection(x[kept], y[kept], x).shape == (40, 2)
    with pytest.raises(ValueError, match="2 classes span fewer than two axes"):
        lda_projection(x[:20], y[:20], x)
