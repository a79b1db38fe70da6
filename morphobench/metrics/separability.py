"""Separability: is the mechanism of generated images told as that of real ones is?

Linear discriminant analysis is fitted on embeddings of real training images and asked for the class of generated
ones. The seed paper draws this map (its figure 4a) without a number; the accuracy is the number.
"""

from __future__ import annotations

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from morphobench.metrics.checks import array, table


def lda_separability(
    train_x: np.ndarray, train_y: np.ndarray, generated_x: np.ndarray, generated_y: np.ndarray
) -> float:
    """Balanced accuracy: share of a class's generated embeddings (n, d) that an LDA names, averaged over classes, 0..1.

    The LDA is fitted on real embeddings (m, d) with equal priors. train_y (m,) and generated_y (n,) are class names.
    Classes weigh equally on both sides, so that one answer for every image scores at most 1 / classes of generated_y,
    however common that class is. Raises ValueError when a generated class was not fitted, a fitted class has fewer than
    two images or images that do not vary, shapes differ, or a value is not finite.
    """
    correct = lda_correct(train_x, train_y, generated_x, generated_y)
    return float(balanced_resamples(correct, array(generated_y), np.ones((1, len(correct))))[0])


def balanced_resamples(correct: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over classes (n,) of the share of `correct` (n,) images, under R sets of weights (R, n): (R,).

    A class without weight in a replicate is left out of it; NaN where every class is.
    """
    names, member = np.unique(classes, return_inverse=True)
    one_hot = np.eye(len(names))[member]
    total = weights @ one_hot
    share = np.divide(weights @ (one_hot * correct[:, None]), total, out=np.zeros_like(total), where=total > 0)
    present = (total > 0).sum(axis=1)
    return np.divide(share.sum(axis=1), present, out=np.full(len(weights), np.nan), where=present > 0)


def lda_correct(
    train_x: np.ndarray, train_y: np.ndarray, generated_x: np.ndarray, generated_y: np.ndarray
) -> np.ndarray:
    """Per generated image, whether the fitted LDA names its true class: bool (n,). Raises as `lda_separability`."""
    generated_x, generated_y = _pair(generated_x, generated_y)
    train_x, train_y = _pair(train_x, train_y)
    unseen = sorted(set(np.unique(generated_y)) - set(np.unique(train_y)))
    if unseen:
        raise ValueError(f"{len(unseen)} classes have no training images, the first is {str(unseen[0])!r}")
    model = _fit(train_x, train_y)
    if generated_x.shape[1] != train_x.shape[1]:
        raise ValueError(f"{train_x.shape=} and {generated_x.shape=}: the numbers of features differ")
    return np.asarray(model.predict(generated_x) == generated_y)


def lda_projection(train_x: np.ndarray, train_y: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Coordinates (n, 2) of points (n, d) on the two strongest axes of the same LDA, for the map of a report.

    Raises ValueError when there are fewer than three classes (they span fewer than two axes), or as `lda_separability`.
    """
    train_y = array(train_y)
    if len(np.unique(train_y)) < 3:
        raise ValueError(f"{len(np.unique(train_y))} classes span fewer than two axes; three or more are needed")
    return _fit(*_pair(train_x, train_y)).transform(table(points))[:, :2]


def _fit(train_x: np.ndarray, train_y: np.ndarray) -> LinearDiscriminantAnalysis:
    names, counts = np.unique(train_y, return_counts=True)
    if len(names) < 2 or counts.min() < 2:
        raise ValueError(f"{len(names)} classes, the smallest has {counts.min()} images; two of each are needed")
    # Ledoit-Wolf shrinkage: embeddings have about as many dimensions as a class has images, and without it the
    # within-class covariance is singular. The eigen solver is the one that also gives the axes of the map.
    equal = np.full(len(names), 1 / len(names))
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", priors=equal)
    try:
        return model.fit(train_x, train_y)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"the {len(train_x)} training embeddings do not vary within their classes: no discriminant can be fitted"
        ) from error


def _pair(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings as float64 and their classes."""
    x, y = table(x), array(y)
    if x.ndim != 2 or len(x) != len(y) or len(x) == 0:
        raise ValueError(f"{x.shape=} and {y.shape=} do not pair up")
    return x, y
