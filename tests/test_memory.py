"""Peak memory of a process over N and 4 N images: what a stage holds does not grow with the set."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from memory import peak_mib


@pytest.mark.parametrize(
    ("stage", "images", "size"), [("features", 16, 768), ("hashes", 64, 256), ("segmentation", 32, 384)]
)
def test_four_times_the_images_take_no_more_memory(stage: str, images: int, size: int) -> None:
    added = 3 * images * 3 * size**2 / 2**20
    assert peak_mib(stage, 4 * images, size) - peak_mib(stage, images, size) < 0.3 * added
