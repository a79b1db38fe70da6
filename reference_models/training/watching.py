"""What is looked at while a model trains: pictures beside real ones, and a score on images that it never learns from.

Neither chooses anything. A score that chose a checkpoint would reward the blind spots of the network that scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from PIL import Image

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.extractor import Extractor
from morphobench.metrics import kernel_distance
from morphobench.schema import Conditions
from morphobench.storage import atomic_path

SCORED = 256
"""Most images that a run scores itself on."""
SHOWN = 8
"""Images in a row of a grid of samples."""
GAP = 2
BATCH = 64


@dataclass(frozen=True)
class Part:
    """Some real images (n, H, W, 3) uint8, with what a model may know of each."""

    conditions: Conditions
    images: np.ndarray

    def spread(self, most: int) -> Part:
        """At most so many of them, evenly spaced."""
        places = evenly(len(self.images), most)
        return Part(self.conditions.take(places), self.images[places])


@runtime_checkable
class Draws(Protocol):
    """A trainee whose state can be looked at."""

    def draw(self, part: Part) -> np.ndarray:
        """uint8 (n, H, W, 3): what it draws now for the conditions of a part, or of its images; changes nothing."""
        ...


def held_plate(tier: Tier) -> str:
    """The last plate of the training images: the one that a run which scores itself holds apart.

    BadInput where there is only one, or where it has a single image. Plates of tests are never used.
    """
    counts = tier.rows("train")["plate"].value_counts()
    last = max(counts.index)
    if len(counts) < 2:
        raise BadInput(
            f"--score-every: tier {tier.spec.name} has {len(counts)} plate of training images, and one is held apart "
            "to score on; leave it out"
        )
    if counts[last] < 2:
        raise BadInput(
            f"--score-every: plate {last} of tier {tier.spec.name} has a single training image, which is held apart "
            "to score on; leave it out"
        )
    return str(last)


def parted(tier: Tier, plate: str | None) -> tuple[Tier, pd.DataFrame]:
    """The tier without the training images of a plate, and those; without a plate the tier, and all training images."""
    rows = tier.rows("train")
    if plate is None:
        return tier, rows
    held = (tier.samples["split"] == "train") & (tier.samples["plate"] == plate)
    learnt = replace(tier, samples=tier.samples[~held].reset_index(drop=True))
    return learnt, rows[rows["plate"] == plate].reset_index(drop=True)


def part_of(tier: Tier, rows: pd.DataFrame, most: int = SCORED) -> Part:
    """At most so many of these samples of a tier, evenly spaced."""
    chosen = rows.iloc[evenly(len(rows), most)].reset_index(drop=True)
    images = tier.images(chosen)
    return Part(tier.conditions_of(chosen, "train"), np.concatenate(list(images.batches(BATCH))))


def evenly(n: int, most: int) -> np.ndarray:
    """At most so many of the places 0 .. n - 1, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(int))


@dataclass(frozen=True)
class SampleGrid:
    """Writes `samples/step-00000500.png` every so many steps (a `loop.Observer`): real images above, drawn below."""

    every: int
    folder: Path
    trainee: Draws
    part: Part

    def look(self, step: int) -> Mapping[str, float]:
        """Draw the same images as the time before; there is nothing to log."""
        path = self.folder / "samples" / f"step-{step:08d}.png"
        with atomic_path(path) as temporary:
            Image.fromarray(grid(self.part.images, self.trainee.draw(self.part))).save(temporary, format="PNG")
        return {}


def grid(*rows: np.ndarray) -> np.ndarray:
    """Rows of images, each uint8 (n, H, W, 3), as one image with white gaps."""
    n, height, width, channels = rows[0].shape
    page = np.full((len(rows) * (height + GAP) - GAP, n * (width + GAP) - GAP, channels), 255, np.uint8)
    for down, images in enumerate(rows):
        for across, image in enumerate(images):
            top, left = down * (height + GAP), across * (width + GAP)
            page[top : top + height, left : left + width] = image
    return page


@dataclass(frozen=True)
class SelfScore:
    """Kernel distance between drawn and real images of a plate that is held apart (a `loop.Observer`).

    The metric and the extractor (the tier's embedding) are those of `morphobench evaluate`; the images are not. They
    are at most SCORED, of one training plate, so that the value compares with others of the same curve alone.
    """

    every: int
    trainee: Draws
    part: Part
    extractor: Extractor

    def look(self, step: int) -> Mapping[str, float]:
        """The distance, and how many images it is of."""
        drawn = self._features(self.trainee.draw(self.part))
        return {f"kd[{self.extractor.name}]": kernel_distance(drawn, self._real), "scored": float(len(drawn))}

    @cached_property
    def _real(self) -> np.ndarray:
        return self._features(self.part.images)

    def _features(self, images: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), BATCH)
        return np.concatenate([self.extractor.extract(images[at : at + BATCH]).embedding for at in starts])
