"""Copies of training images are found whichever way up they lie; other real images are not taken for copies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from tiny_tier import ArrayImages

from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.cache import extract
from morphobench.features.registry import load_extractor
from morphobench.features.shipped import shipped_file
from morphobench.features.thumbnails import SIDE, VERSION, thumbnail, thumbnails, write_shipped
from morphobench.metrics import METRICS, MemorisationInputs
from morphobench.metrics.memorisation import feature_copies, nearest_distance, nearest_view_distance

KEYS = ("train_copies", "near_copies", "nearest_train_distance")
VIEWS = {f"{m}{turns}": (m, turns) for m in ("", "mirrored ") for turns in range(4)}


def view(images: np.ndarray, name: str) -> np.ndarray:
    mirrored, turns = VIEWS[name]
    return np.rot90(images[:, :, ::-1] if mirrored else images, turns, axes=(1, 2))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_an_image_is_at_distance_zero(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    others = thumbnail(images)
    np.testing.assert_array_equal(nearest_view_distance(thumbnail(view(images[2:4], name)), others), 0)
    plain = cdist(thumbnail(images[:1]).reshape(1, -1).astype(float), others[1:].reshape(4, -1).astype(float)).min()
    assert 0 < nearest_view_distance(others[:1], others[1:])[0] <= plain


def test_a_thumbnail_is_the_mean_of_blocks() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 35, 35, 3), dtype=np.uint8)
    small = thumbnail(images)
    assert small.shape == (2, SIDE, SIDE, 3)
    assert small[1, 0, 7, 2] == np.rint(images[1, 1:5, 29:33, 2].mean())
    with pytest.raises(ValueError, match="at least 8 pixels"):
        thumbnail(images[:, :7, :7])


def test_scores_in_closed_form() -> None:
    real = np.linspace(1.0, 2.0, 41)
    labels = np.tile(["a", "b"], 20), np.tile(["p", "q"], 20)
    half = np.r_[np.full(20, 0.0), np.full(20, 3.0)]
    inputs = MemorisationInputs(half, real[:40], np.full(40, 9.0), np.full(40, 10.0), *labels)
    assert METRICS["train_copies"].score(inputs) == 0
    assert METRICS["near_copies"].score(inputs) == 0.5
    assert METRICS["nearest_train_distance"].score(inputs) == pytest.approx(1.5 / real[:40].mean())
    turned = MemorisationInputs(half + 9, real[:40], np.r_[np.full(10, 0.9), np.full(30, 5.0)], real[:40] * 10, *labels)
    assert METRICS["train_copies"].score(turned) == METRICS["near_copies"].score(turned) == 0.25
    with pytest.raises(ValueError, match="training images themselves"):
        METRICS["nearest_train_distance"].score(MemorisationInputs(half, 0 * half, half, half, *labels))


def test_where_real_test_images_are_training_images_no_copy_is_told_and_the_reason_says_so() -> None:
    """Shares as in `morphogene-paper`: 39% are exact copies, all but 5 of 500 show a trained field, most turned."""
    random = np.random.default_rng(0)
    real = np.where(np.arange(500) < 195, 0.0, random.uniform(1, 2, 500))
    views = np.where(np.arange(500) < 495, 0.0, 90.0)
    labels = np.tile(list("abcde"), 100), np.tile(list("pqrs"), 125)
    copycat = MemorisationInputs(np.zeros(500), real, np.zeros(500), views, *labels)
    with pytest.raises(ValueError, match="99% of the real test images are training images in one of eight views"):
        METRICS["train_copies"].score(copycat)
    with pytest.raises(ValueError, match="39% of the real test images are training images, so that 5% of them set no"):
        METRICS["near_copies"].score(copycat)
    # Features of one image that differ by rounding are those of one image.
    rounded = dataclasses.replace(copycat, real_distance=np.maximum(real, 1e-6), real_view_distance=views + 90)
    with pytest.raises(ValueError, match="39% of the real"):
        METRICS["near_copies"].score(rounded)
    assert METRICS["train_copies"].score(rounded) == 1
    # A few copies among the test images leave the limits where they are.
    few = np.where(np.arange(500) < 20, 0.0, 1.5)
    spared = dataclasses.replace(copycat, real_distance=few, real_view_distance=few)
    assert METRICS["train_copies"].score(spared) == METRICS["near_copies"].score(spared) == 1


def test_the_side_whose_features_are_not_numbers_is_named() -> None:
    random = np.random.default_rng(0)
    n, labels = 40, (np.tile(["a", "b"], 20), np.tile(["p", "q"], 20))
    train, points, others = random.normal(size=(n, 4)), random.normal(size=(n, 4)), random.normal(size=(n, 4))

    def scored(key: str, generated: int = 0, real: int = 0, trained: int = 0) -> float:
        sides = [side.copy() for side in (points, others, train)]
        for side, count in zip(sides, (generated, real, trained), strict=True):
            side[:count] = np.nan
        distances = nearest_distance(sides[0], sides[2]), nearest_distance(sides[1], sides[2])
        return METRICS[key].score(MemorisationInputs(*distances, np.ones(n), np.full(n, 5.0), *labels))

    for key in ("near_copies", "nearest_train_distance"):
        assert scored(key) >= 0
        with pytest.raises(ValueError, match=r"^18 of 40 generated images have no distance .* features are not finite"):
            scored(key, generated=18)
        with pytest.raises(ValueError, match=r"^1 of 40 real test images have no distance"):
            scored(key, real=1)
        with pytest.raises(ValueError, match="features of training images are not finite"):
            scored(key, trained=1)
    # Thumbnails are no features.
    assert scored("train_copies", 18, 1, 1) == 0


def test_one_image_twice_is_told_by_features() -> None:
    real = np.full(9, 4.0)
    assert feature_copies(np.array([3.0, 0.0, 0.02, 0.05, np.nan]), real).tolist() == [False, True, True, False, False]
    with pytest.raises(ValueError, match="most real test images are training images"):
        feature_copies(real, 0 * real)
    with pytest.raises(ValueError, match="not finite"):
        feature_copies(real, np.nan * real)


def test_thumbnails_are_shipped_cached_or_made_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    path = tmp_path / "t.safetensors"
    made = thumbnails(images, tmp_path / "cache")
    np.testing.assert_array_equal(made, thumbnail(images.pixels))
    write_shipped(path, made[::-1].copy(), images.digest())
    np.testing.assert_array_equal(thumbnails(images, tmp_path / "other", path), made[::-1])
    write_shipped(path, made[::-1].copy(), "other images")
    np.testing.assert_array_equal(thumbnails(images, tmp_path / "other", path), made)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match=r"t\.safetensors: not a readable file of shipped measurements"):
        thumbnails(images, tmp_path / "other", path)


@pytest.fixture(scope="module")
def tier() -> Tier:
    return load_tier("sim")


class Memory:
    """What the sim tier's own images say of generated ones, on 48 conditions of the `id` track."""

    def __init__(self, tier: Tier, cache: Path) -> None:
        self.cache, self.network = cache, load_extractor("sim_vit")
        rows, train = tier.test_rows("id"), tier.training_rows("id")
        # Of each compound its first image at the highest dose and, of the first four, one more.
        self.rows = rows[rows["index"] == 0].head(44).index.tolist() + rows[rows["index"] == 4].head(4).index.tolist()
        self.labels = rows.loc[self.rows, "compound"].to_numpy(str), rows.loc[self.rows, "plate"].to_numpy(str)
        self.train_small = thumbnails(tier.images(train), cache, shipped_file(tier, VERSION, "train"))
        small = thumbnails(tier.images(rows), cache, shipped_file(tier, VERSION, "id"))
        shipped = shipped_file(tier, "sim_vit", "train")
        self.train = extract(tier.images(train), self.network, cache, shipped=shipped).embedding
        shipped = shipped_file(tier, "sim_vit", "id")
        embedding = extract(tier.images(rows), self.network, cache, shipped=shipped).embedding
        # All real test images: the 5% quantile of 48 would be two or three of them.
        self.real = cdist(embedding, self.train).min(axis=1)
        self.real_small = nearest_view_distance(small, self.train_small)

    def scores(self, images: np.ndarray) -> dict[str, float]:
        """The three rows for 48 images."""
        pixels = ArrayImages(np.ascontiguousarray(images))
        distance = cdist(extract(pixels, self.network, self.cache).embedding, self.train).min(axis=1)
        small = nearest_view_distance(thumbnails(pixels, self.cache), self.train_small)
        # The real sides in the order of their quantiles, as many as there are images.
        places = np.linspace(0, 1, len(images))
        real, real_small = np.quantile(self.real, places), np.quantile(self.real_small, places)
        inputs = MemorisationInputs(distance, real, small, real_small, *self.labels)
        return {key: METRICS[key].score(inputs) for key in KEYS}


@pytest.fixture(scope="module")
def memory(tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> Memory:
    return Memory(tier, tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def training_images(tier: Tier) -> np.ndarray:
    rows = tier.training_rows("id")
    return tier.images(rows.iloc[:48]).take(range(48))


@pytest.mark.parametrize("name", ["0", "1", "mirrored 0", "mirrored 3"])
def test_training_images_are_copies_in_every_view(memory: Memory, training_images: np.ndarray, name: str) -> None:
    scores = memory.scores(view(training_images, name))
    assert scores["train_copies"] == scores["near_copies"] == 1
    assert scores["nearest_train_distance"] < (0.01 if name == "0" else 0.9)


def test_spoilt_training_images_are_near_copies(memory: Memory, training_images: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 5, training_images.shape)
    noisy = memory.scores(np.clip(training_images + noise, 0, 255).astype(np.uint8))
    assert noisy["train_copies"] == noisy["near_copies"] == 1
    brighter = memory.scores(np.clip(training_images * 1.1, 0, 255).astype(np.uint8))
    assert brighter["train_copies"] == 0
    assert brighter["near_copies"] == 1


def test_other_real_images_and_a_blurred_one_are_no_copies(memory: Memory, tier: Tier) -> None:
    pool = tier.replicate_rows("id")
    first: pd.DataFrame = pool[pool["index"] == pool["index"].min()]
    chosen = pd.concat([first, pool[pool["index"] == pool["index"].min() + 4].head(48 - len(first))])
    replicates = tier.images(chosen).take(range(48))
    scores = memory.scores(replicates)
    assert scores["train_copies"] == 0
    assert scores["near_copies"] < 0.2
    assert scores["nearest_train_distance"] == pytest.approx(1, abs=0.2)
    mean = memory.scores(np.broadcast_to(replicates.mean(axis=0).astype(np.uint8), replicates.shape))
    assert mean["train_copies"] == mean["near_copies"] == 0
    assert mean["nearest_train_distance"] > 2
