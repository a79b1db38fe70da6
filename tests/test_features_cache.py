"""Features are computed once: counted calls, damaged files, and features shipped with a tier."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from morphobench.errors import BadInput
from morphobench.features import Extractor, Features
from morphobench.features.cache import cached_array, extract, features_origin, write_shipped
from morphobench.features.shipped import read_arrays


@dataclass(frozen=True)
class Images:
    """An ImageSet in memory."""

    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def digest(self) -> str:
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()

    def batches(self, size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self.pixels), size):
            yield self.pixels[start : start + size]

    def take(self, rows: Sequence[int]) -> np.ndarray:
        return self.pixels[list(rows)]


class Means:
    """An extractor of channel means that counts the images it saw."""

    def __init__(self) -> None:
        self.seen = 0
        self.extractor = Extractor("means", 3, "0" * 64, "none", self.extract)

    def extract(self, images: np.ndarray) -> Features:
        self.seen += len(images)
        embedding = images.mean(axis=(1, 2)).astype(np.float32)
        return Features(embedding, embedding / embedding.sum(axis=1, keepdims=True))


@pytest.fixture
def images() -> Images:
    return Images(np.random.default_rng(0).integers(0, 256, (65, 4, 4, 3), dtype=np.uint8))


@pytest.fixture
def means() -> Means:
    return Means()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_features_come_in_order_and_the_second_time_from_the_cache(
    tmp_path: Path, images: Images, means: Means, batch_size: int
) -> None:
    first = extract(images, means.extractor, tmp_path, batch_size)
    np.testing.assert_array_equal(first.embedding, images.pixels.mean(axis=(1, 2)).astype(np.float32))
    assert first.embedding.dtype == np.float32
    assert means.seen == 65
    again = extract(images, means.extractor, tmp_path, 3)
    assert means.seen == 65
    np.testing.assert_array_equal(again.embedding, first.embedding)
    np.testing.assert_array_equal(again.probabilities, first.probabilities)


def test_anything_that_matters_changes_the_key(tmp_path: Path, images: Images, means: Means) -> None:
    extract(images, means.extractor, tmp_path)
    for changed in ({"name": "other"}, {"weights_sha256": "1" * 64}, {"preprocessing": "other"}):
        before = means.seen
        extract(images, replace(means.extractor, **changed), tmp_path)
        assert means.seen == before + 65
    reversed_images = Images(images.pixels[::-1].copy())
    features = extract(reversed_images, means.extractor, tmp_path)
    np.testing.assert_array_equal(features.embedding, reversed_images.pixels.mean(axis=(1, 2)).astype(np.float32))


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda data: b"", lambda data: b"not a zip" * 50])
def test_a_damaged_cache_file_is_logged_and_made_again(
    tmp_path: Path, images: Images, means: Means, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    first = extract(images, means.extractor, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        again = extract(images, means.extractor, tmp_path)
    assert means.seen == 130
    assert path.name in caplog.text
    np.testing.assert_array_equal(again.embedding, first.embedding)
    extract(images, means.extractor, tmp_path)
    assert means.seen == 130


def test_an_interrupted_extraction_leaves_nothing(tmp_path: Path, images: Images) -> None:
    def interrupt(batch: np.ndarray) -> Features:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(images, Extractor("means", 3, "0" * 64, "none", interrupt), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_no_images_is_an_error(tmp_path: Path, means: Means) -> None:
    with pytest.raises(ValueError, match="no images"):
        extract(Images(np.zeros((0, 4, 4, 3), dtype=np.uint8)), means.extractor, tmp_path)


def test_cached_array_keeps_names_dtypes_and_text(tmp_path: Path) -> None:
    calls = []

    def table() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"area": np.arange(3.0), "compartment": np.array(["Cells", "Nuclei"])}

    for _ in range(2):
        arrays = cached_array("morphology 1", tmp_path, table)
        assert arrays["compartment"].tolist() == ["Cells", "Nuclei"]
        assert arrays["area"].dtype == np.float64
    assert len(calls) == 1
    cached_array("morphology 2", tmp_path, table)
    assert len(calls) == 2
    with pytest.raises(ValueError, match="Python objects"):
        cached_array("objects", tmp_path, lambda: {"x": np.array([{}], dtype=object)})


@pytest.mark.parametrize(("half", "tolerance"), [(False, 0.0), (True, 1e-3)])
def test_shipped_features_spare_the_network(
    tmp_path: Path, images: Images, means: Means, half: bool, tolerance: float
) -> None:
    shipped = tmp_path / "id.safetensors"
    truth = means.extract(images.pixels)
    write_shipped(shipped, truth, images.digest(), means.extractor, half=half)
    means.seen = 0
    features = extract(images, means.extractor, tmp_path / "cache", shipped=shipped)
    assert means.seen == 0
    assert features.embedding.dtype == np.float32
    np.testing.assert_allclose(features.embedding, truth.embedding, rtol=tolerance)
    np.testing.assert_allclose(features.probabilities, truth.probabilities, rtol=tolerance)


def test_shipped_features_of_something_else_are_not_used(tmp_path: Path, images: Images, means: Means) -> None:
    shipped = tmp_path / "id.safetensors"
    write_shipped(shipped, means.extract(images.pixels), images.digest(), means.extractor)
    assert read_arrays(shipped, features_origin(images.digest(), means.extractor)) is not None
    assert read_arrays(shipped, features_origin("other images", means.extractor)) is None
    for changed in ({"name": "other"}, {"weights_sha256": "1" * 64}, {"preprocessing": "other"}):
        assert read_arrays(shipped, features_origin(images.digest(), replace(means.extractor, **changed))) is None
    means.seen = 0
    extract(Images(images.pixels[:5]), means.extractor, tmp_path / "cache", shipped=shipped)
    assert means.seen == 5


def test_damaged_or_absent_shipped_features_are_named(tmp_path: Path, images: Images, means: Means) -> None:
    shipped = tmp_path / "id.safetensors"
    with pytest.raises(BadInput, match=r"id\.safetensors"):
        extract(images, means.extractor, tmp_path, shipped=shipped)
    write_shipped(shipped, means.extract(images.pixels), images.digest(), means.extractor)
    shipped.write_bytes(shipped.read_bytes()[:-10])
    with pytest.raises(BadInput, match=r"id\.safetensors"):
        extract(images, means.extractor, tmp_path, shipped=shipped)
