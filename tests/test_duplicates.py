"""Repeated images, by pixel hash in any of eight views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_tier import ArrayImages

from morphobench.features.pixels import dihedral_hash, pixel_hashes
from morphobench.metrics import METRICS, CopyInputs
from morphobench.metrics.duplicates import repeated


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)


def test_eight_views_of_an_image_have_one_hash_and_other_images_another(images: np.ndarray) -> None:
    image = images[0]
    turned = [np.rot90(image, turns) for turns in range(4)]
    views = turned + [view[::-1] for view in turned]
    assert len({view.tobytes() for view in views}) == 8
    assert {dihedral_hash(view) for view in views} == {dihedral_hash(image)}
    assert len({dihedral_hash(other) for other in images}) == len(images)
    nearly = image.copy()
    nearly[3, 4, 1] ^= 1
    assert dihedral_hash(nearly) != dihedral_hash(image)
    assert dihedral_hash(image[..., ::-1]) != dihedral_hash(image)


def test_hashes_of_a_set_are_kept(images: np.ndarray, tmp_path: Path) -> None:
    found = pixel_hashes(ArrayImages(images), tmp_path)
    assert found.tolist() == [dihedral_hash(image) for image in images]
    assert pixel_hashes(ArrayImages(images), tmp_path).tolist() == found.tolist()
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_both_of_a_pair_count(images: np.ndarray, tmp_path: Path) -> None:
    images[4] = images[1][::-1]
    hashes = pixel_hashes(ArrayImages(images), tmp_path)
    assert repeated(hashes).tolist() == [False, True, False, False, True, False]
    labels = np.array(["a", "b", "c", "d", "e", "f"])
    inputs = CopyInputs(hashes, labels, np.tile(["p", "q", "r"], 2))
    metric = METRICS["duplicates"]
    assert metric.score(inputs) == pytest.approx(2 / 6)
    low, high = metric.interval(inputs, 200, 0) or (0.0, 0.0)
    assert low < 1 / 3 < high


def test_without_a_copy_the_share_is_nought_and_has_no_interval() -> None:
    labels = np.array(["a", "b", "c", "d"])
    inputs = CopyInputs(np.array(["1", "2", "3", "4"]), labels, labels)
    assert METRICS["duplicates"].score(inputs) == 0
    assert METRICS["duplicates"].interval(inputs, 100, 0) is None
