"""The same images in other batches, another order, another number of threads, another order of files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_tier import ArrayImages, tiny_tier

from morphobench.features import Extractor, load_extractor
from morphobench.features.cache import extract
from morphobench.ingest.submission import open_submission, write_submission
from morphobench.metrics import (
    coverage,
    density,
    fd_infinity,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision,
    recall,
)
from morphobench.schema import Manifest


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return load_extractor("efficientnet_lite0")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth images of two kinds, (65, 32, 32, 3): a full batch of 64 and one more."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 200, (65, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    coarse[32:] //= 2
    return (coarse + random.integers(0, 50, coarse.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def whole(extractor: Extractor, images: np.ndarray) -> np.ndarray:
    return extractor.extract(images).embedding


@pytest.fixture
def one_and_two_threads() -> Iterator[tuple[int, int]]:
    before = torch.get_num_threads()
    yield (1, 2)
    torch.set_num_threads(before)


def scores(embedding: np.ndarray) -> list[float]:
    generated, real = embedding[:32], embedding[32:]
    metrics = (frechet_distance, kernel_distance, precision, recall, density, coverage)
    return [metric(generated, real) for metric in metrics] + [fd_infinity(generated, real).value]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_batch_size_moves_no_score(
    extractor: Extractor, images: np.ndarray, whole: np.ndarray, size: int, tmp_path: Path
) -> None:
    found = extract(ArrayImages(images), extractor, tmp_path, batch_size=size).embedding
    np.testing.assert_allclose(found, whole, atol=1e-4)
    assert scores(found) == pytest.approx(scores(whole), rel=1e-5)


def test_the_number_of_threads_moves_no_score(
    extractor: Extractor, images: np.ndarray, whole: np.ndarray, one_and_two_threads: tuple[int, int]
) -> None:
    for threads in one_and_two_threads:
        torch.set_num_threads(threads)
        assert scores(extractor.extract(images).embedding) == pytest.approx(scores(whole), rel=1e-5)


def test_the_order_of_the_images_moves_no_score_but_the_chunked_inception_score(
    extractor: Extractor, images: np.ndarray, whole: np.ndarray
) -> None:
    random = np.random.default_rng(0)
    order = np.r_[random.permutation(32), 32 + random.permutation(33)]
    assert scores(whole[order]) == pytest.approx(scores(whole), rel=1e-10)
    probabilities = extractor.extract(images).probabilities
    assert probabilities is not None
    assert inception_score(probabilities[order], splits=1) == pytest.approx(
        inception_score(probabilities, splits=1), rel=1e-12
    )
    assert inception_score(probabilities[order]) != pytest.approx(inception_score(probabilities), rel=1e-6)


def test_the_order_of_the_files_in_a_zip_changes_nothing(tmp_path: Path) -> None:
    tier = tiny_tier(tmp_path / "tier", images_per_compound=2)
    manifest = Manifest(
        name="m", group="g", version="1", method="the real images", tier=tier.spec.name,
        tier_version=tier.spec.version, split_sha256=tier.split_sha256,
    )  # fmt: skip
    answers = {
        track: (tier.conditions(track), tier.images(tier.rows(track)).take(range(len(tier.rows(track)))))
        for track in tier.spec.tracks
    }
    write_submission(tmp_path / "folder", manifest, answers, {})
    files = sorted(path for path in (tmp_path / "folder").rglob("*") if path.is_file())
    for name, order in (("up", files), ("down", files[::-1])):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for path in order:
                archive.write(path, str(path.relative_to(tmp_path / "folder")))
    tracks = tuple(tier.spec.tracks)
    opened = [open_submission(tmp_path / name, tier, tracks) for name in ("folder", "up.zip", "down.zip")]
    assert len({submission.images_sha256 for submission in opened}) == 1
    for track in tracks:
        pixels = [np.concatenate(list(submission.images[track].batches(3))) for submission in opened]
        np.testing.assert_array_equal(pixels[1], pixels[0])
        np.testing.assert_array_equal(pixels[2], pixels[0])
