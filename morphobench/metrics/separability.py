"""Separability: are generated images of a compound told apart as real ones are?

Linear discriminant analysis is fitted on embeddings of real training images and asked for the class of generated
ones. The seed paper draws this map (its figure 4a) without a number; the accuracy is the number.
"""

from __future__ import annotations

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis


def lda_separability(
    train_x: np.ndarray, train_y: np.ndarray, generated_x: np.ndarray, generated_y: np.ndarray
) -> float:
    """Share of generated embeddings (n, d) given their true class by an LDA fitted on real ones (m, d), in 0..1.

    train_y (m,) and generated_y (n,) are class names (compounds or mechanisms). Raises ValueError when a generated
    class was not fitted, a fitted class has fewer than two images, shapes differ, or a value is not finite.
    """
    return float(lda_correct(train_x, train_y, generated_x, generated_y).mean())


def lda_correct(
    train_x: np.ndarray, train_y: np.ndarray, generated_x: np.ndarray, generated_y: np.ndarray
) -> np.ndarray:
    """Per generated image, whether the fitted LDA names its true class: bool (n,). Raises as `lda_separability`."""
    _check(generated_x, generated_y)
    unseen = sorted(set(np.unique(generated_y)) - set(np.unique(train_y)))
    if unseen:
        raise ValueError(f"{len(unseen)} classes have no training images, the first is {str(unseen[0])!r}")
    model = _fit(train_x, train_y)
    if generated_x.shape[1] != train_x.shape[1]:
        raise ValueError(f"{train_x.shape=} and {generated_x.shape=}: the numbers of features differ")
    return model.predict(np.asarray(generated_x, dtype=np.float64)) == generated_y


def lda_projection(train_x: np.ndarray, train_y: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Coordinates (n, 2) of points (n, d) on the two strongest axes of the same LDA, for the map of a report.

    Raises ValueError when there are fewer than three classes (they span fewer than two axes), or as `lda_separability`.
    """
    if len(np.unique(train_y)) < 3:
        raise ValueError(f"{len(np.unique(train_y))} classes span fewer than two axes; three or more are needed")
    return _fit(train_x, train_y).transform(np.asarray(points, dtype=np.float64))[:, :2]


def _fit(train_x: np.ndarray, train_y: np.ndarray) -> LinearDiscriminantAnalysis:
    _check(train_x, train_y)
    names, counts = np.unique(train_y, return_counts=True)
    if len(names) < 2 or counts.min() < 2:
        raise ValueError(f"{len(names)} classes, the smallest has {counts.min()} images; two of each are needed")
    # Ledoit-Wolf shrinkage: embeddings have about as many dimensions as a class has images, and without it the
    # within-class covariance is singular. The eigen solver is the one that also gives the axes of the map.
    return LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(np.asarray(train_x, np.float64), train_y)


def _check(x: np.ndarray, y: np.ndarray) -> None:
    if x.ndim != 2 or len(x) != len(y) or len(x) == 0:
        raise ValueError(f"{x.shape=} and {y.shape=} do not pair up")
    if not np.isfinite(x).all():
        raise ValueError(f"{int((~np.isfinite(x)).any(axis=1).sum())} of {len(x)} rows hold values that are not finite")
