"""Latents on disk: what is in them, what they are found by, and that memory does not grow with their number."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tier import ArrayImages
from torch import Tensor
from torch.nn import functional

from morphobench.errors import Unavailable
from reference_models.core.pixels import VIEWS, dihedral, to_tensor
from reference_models.training import latents
from reference_models.training.latents import cached_latents, size_on_disk

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "latents"


def pictures(n: int = 70, seed: int = 0) -> ArrayImages:
    return ArrayImages(np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8))


class Encoder:
    """Means of squares of 4 x 4 pixels; counts the images that it is given."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return functional.avg_pool2d(images, 4)


def test_latents_are_those_of_each_view() -> None:
    images = pictures()
    made = cached_latents(images, Encoder(), "a", CPU)
    assert made.shape == (70, 8, 3, 4, 4)
    rows, views = torch.tensor([0, 3, 69, 3]), torch.tensor([0, 5, 7, 5])
    pixels = to_tensor(images.take(rows.tolist()), CPU)
    wanted = torch.stack([Encoder()(dihedral(p[None], int(v)))[0] for p, v in zip(pixels, views, strict=True)])
    found = made[rows, views]
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, wanted.half())


def test_the_same_images_and_autoencoder_are_encoded_once() -> None:
    first, again = Encoder(), Encoder()
    cached_latents(pictures(), first, "a", CPU)
    assert sum(first.seen) == 70 * VIEWS
    assert max(first.seen) <= latents.BATCH
    cached_latents(pictures(), again, "a", CPU)
    assert again.seen == []
    for images, autoencoder in ((pictures(seed=1), "a"), (pictures(), "b")):
        other = Encoder()
        cached_latents(images, other, autoencoder, CPU)
        assert sum(other.seen) == 70 * VIEWS


def test_large_images_are_encoded_a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together, few = Encoder(), Encoder()
    whole = cached_latents(pictures(), together, "a", CPU)
    monkeypatch.setattr(latents, "PIXELS", 5 * 16 * 16 + 3)
    parted = cached_latents(pictures(), few, "b", CPU)
    assert (max(together.seen), max(few.seen)) == (64, 5)
    for one, other in zip(whole.views, parted.views, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_what_is_missing_or_cut_short_is_made_again(cache: Path) -> None:
    made = cached_latents(pictures(), Encoder(), "a", CPU)
    everything = np.stack(made.views)
    files = sorted(cache.glob("*.npy"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-10])
    files[2].write_bytes(b"")
    again = Encoder()
    mended = cached_latents(pictures(), again, "a", CPU)
    assert sum(again.seen) == 70 * 3
    np.testing.assert_array_equal(np.stack(mended.views), everything)


def test_what_a_killed_process_left_half_written_is_removed(cache: Path) -> None:
    cached_latents(pictures(), Encoder(), "a", CPU)
    files = sorted(cache.glob("*.npy"))
    halves = [file.with_name(f".{file.name}.x7k2") for file in files]
    for half in halves:
        half.write_bytes(b"half")
    files[3].unlink()
    cached_latents(pictures(), Encoder(), "a", CPU)
    assert not any(half.exists() for half in halves)
    assert sorted(cache.glob("*.npy")) == files


def test_a_cache_that_holds_everything_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    cached_latents(pictures(), Encoder(), "a", CPU)

    def refuse(*_: object) -> None:
        raise AssertionError("locked")

    monkeypatch.setattr(latents, "lock", refuse)
    assert cached_latents(pictures(), Encoder(), "a", CPU).shape == (70, 8, 3, 4, 4)


def test_files_are_what_was_counted(cache: Path) -> None:
    cached_latents(pictures(), Encoder(), "a", CPU)
    headers = 128 * VIEWS
    assert sum(path.stat().st_size for path in cache.glob("*.npy")) == size_on_disk(70, (3, 4, 4)) + headers
    assert size_on_disk(35_200, (4, 64, 64)) == 35_200 * 8 * 4 * 64 * 64 * 2 == 9_227_468_800


@dataclass(frozen=True)
class Endless:
    """Many images, which cannot be had at once."""

    n: int

    def __len__(self) -> int:
        return self.n

    def digest(self) -> str:
        return f"{self.n} grey"

    def batches(self, size: int) -> Iterator[np.ndarray]:
        for start in range(0, self.n, size):
            yield np.full((min(size, self.n - start), 16, 16, 3), start % 256, np.uint8)

    def take(self, rows: Sequence[int]) -> np.ndarray:
        raise AssertionError("not one by one")


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    peaks = []
    for n in (640, 6400):
        tracemalloc.start()
        cached_latents(Endless(n), Encoder(), "a", CPU)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < size_on_disk(6400, (3, 4, 4)) / 4


def test_a_full_disk_is_one_line_and_leaves_no_half_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, shape: tuple[int, ...]) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(latents, "_write_header", full)
    with pytest.raises(Unavailable, match="the disk is full; free some space or set MORPHOBENCH_CACHE to another"):
        cached_latents(pictures(), Encoder(), "a", CPU)
    assert list(cache.glob("*.npy")) == []
    assert [path for path in cache.iterdir() if not path.name.endswith(".lock")] == []
