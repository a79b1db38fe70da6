"""Peak memory of each stage at N and at 4 N images: what streams must not grow.

    python benchmarks/memory.py [--images 48] [--size 512] [--stage features]

Each measurement is a process of its own, so that its peak is its own; images are made as they are read. Features are
EfficientNet-Lite0's, the segmentation is the built-in engine in the same process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphobench.datasets.tier import ImageSet
from morphobench.storage import sha256_text

NUCLEUS = (8.0, 40.0)
"""Diameters in pixels."""


@dataclass(frozen=True)
class Made:
    """Smooth images that exist only while they are read (an `ImageSet`)."""

    count: int
    size: int

    def __len__(self) -> int:
        return self.count

    def digest(self) -> str:
        return sha256_text("made", str(self.count), str(self.size))

    def take(self, rows: Sequence[int]) -> np.ndarray:
        blocks = (np.random.default_rng(row).integers(0, 256, (8, 8, 3), dtype=np.uint8) for row in rows)
        scale = self.size // 8
        return np.stack([block.repeat(scale, axis=0).repeat(scale, axis=1) for block in blocks])

    def batches(self, size: int) -> Iterator[np.ndarray]:
        for start in range(0, self.count, size):
            yield self.take(range(start, min(start + size, self.count)))


def features(images: ImageSet, cache: Path) -> None:
    """EfficientNet-Lite0 of all images."""
    from morphobench.features import load_extractor
    from morphobench.features.cache import extract

    extract(images, load_extractor("efficientnet_lite0"), cache, batch_size=8)


def segmentation(images: ImageSet, cache: Path) -> None:
    """Profiles of all images."""
    from morphobench.features.profile import measure_images

    measure_images(images, NUCLEUS, cache, workers=1)


def hashes(images: ImageSet, cache: Path) -> None:
    """Pixel hashes of all images."""
    from morphobench.features.pixels import pixel_hashes

    pixel_hashes(images, cache)


STAGES = {"features": features, "segmentation": segmentation, "hashes": hashes}


def peak_mib(stage: str, images: int, size: int) -> float:
    """Peak resident memory in MiB of a process that runs one stage over so many images."""
    command = [sys.executable, __file__, "--child", "--stage", stage, "--images", str(images), "--size", str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print a table; as a child, one number."""
    parser = argparse.ArgumentParser(description="peak memory of each stage at N and at 4 N images")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        with tempfile.TemporaryDirectory() as cache:
            STAGES[arguments.stage](Made(arguments.images, arguments.size), Path(cache))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # KiB on Linux
        return
    pixels = 3 * arguments.images * arguments.size**2 / 2**20
    print(
        f"images of {arguments.size} x {arguments.size}; the {3 * arguments.images} added ones are {3 * pixels:.0f} MiB"
    )
    for stage in [arguments.stage] if arguments.stage else STAGES:
        one, four = (peak_mib(stage, times * arguments.images, arguments.size) for times in (1, 4))
        print(f"{stage:<14}{one:8.0f} MiB at {arguments.images}{four:8.0f} MiB at {4 * arguments.images}")


if __name__ == "__main__":
    main()
