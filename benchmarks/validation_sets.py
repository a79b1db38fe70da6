"""Sets of simulated images of which it is known how good they are, measured and scored as a submission is.

A design is C mechanisms x S slots (images on plates). A pool holds one image per mechanism and slot, drawn in one way:
at a dose, or spoilt. Sets are put together from the measured rows of pools, so that no image is measured twice.
Everything is SIMULATED and seeded.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import joblib
import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq

from morphobench import storage
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.cells import sample_population
from morphobench.datasets.simulate.mechanisms import MECHANISMS, VEHICLE, activities, mechanism_table
from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.render import render, streams
from morphobench.datasets.tier import Tier
from morphobench.features.cache import extract
from morphobench.features.extractor import Extractor, Features
from morphobench.features.pixels import pixel_hashes
from morphobench.features.profile import Profiles, measure_images
from morphobench.features.registry import load_extractor
from morphobench.features.thumbnails import thumbnails

DOSES = (0.0, 0.25, 0.5, 1.0)
"""Activity of a generated set, as a share of the real set's."""
BLUR, NOISE, QUALITY, BRIGHTNESS = 1.5, 15.0, 25, 1.25
"""Pixels; grey levels; of JPEG; factor."""
DISGUISE = 5.0
"""Grey levels of noise on a training image that is handed back turned."""


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory (an `ImageSet`)."""

    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def digest(self) -> str:
        """Hash of the pixels."""
        return storage.sha256_bytes(np.ascontiguousarray(self.pixels).tobytes())

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 arrays (<= size, H, W, 3), in order."""
        for start in range(0, len(self), size):
            yield self.pixels[start : start + size]

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """The images at these rows."""
        return self.pixels[list(rows)]


@dataclass(frozen=True)
class Pool:
    """Measured images and the profile predicted beside each: all fields have N rows."""

    features: Mapping[str, Features]
    profiles: Profiles
    hashes: np.ndarray
    thumbnails: np.ndarray
    profile: np.ndarray  # (N, 978) log2

    def take(self, rows: np.ndarray) -> Pool:
        """The pool at these rows."""
        return Pool(
            {name: _rows(values, rows) for name, values in self.features.items()},
            {name: values[rows] for name, values in self.profiles.items()},
            self.hashes[rows],
            self.thumbnails[rows],
            self.profile[rows],
        )

    def replaced(self, at: np.ndarray, other: Pool, rows: np.ndarray) -> Pool:
        """This pool with the rows `at` taken from `rows` of another."""
        both = Pool(
            {name: _joined(values, other.features[name]) for name, values in self.features.items()},
            {name: np.concatenate([values, other.profiles[name]]) for name, values in self.profiles.items()},
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.thumbnails, other.thumbnails]),
            np.concatenate([self.profile, other.profile]),
        )
        chosen = np.arange(len(self.hashes))
        chosen[at] = len(self.hashes) + rows
        return both.take(chosen)


@dataclass(frozen=True)
class Design:
    """What is drawn: mechanisms x plates x images, measured with these extractors. Rows are mechanism-major."""

    tier: Tier
    mechanisms: tuple[str, ...] = MECHANISMS
    plates: int = 8
    images: int = 4
    extractors: tuple[str, ...] = ("efficientnet_lite0", "sim_vit")

    @property
    def slots(self) -> int:
        """Images per mechanism."""
        return self.plates * self.images

    @property
    def twins(self) -> np.ndarray:
        """The same mechanisms as two compounds each, whose images alternate on every plate, (N,)."""
        return np.char.add(self.compounds, np.where(np.arange(len(self.compounds)) % self.slots % 2, " b", " a"))

    @property
    def compounds(self) -> np.ndarray:
        """The mechanism of each row stands for a compound, (N,)."""
        return np.repeat(self.mechanisms, self.slots)

    def row_plates(self, prefix: str = "V") -> np.ndarray:
        """The plate of each row, (N,): the first `images` slots lie on the first plate."""
        names = [f"{prefix}{plate:02d}" for plate in range(self.plates)]
        return np.tile(np.repeat(names, self.images), len(self.mechanisms))

    def draw(self, name: str, share: float, prefix: str = "V") -> np.ndarray:
        """Images of all rows at a share of full activity, (N, H, W, 3); `name` is the seed."""
        wanted = zip(self.compounds, self.row_plates(prefix), range(len(self.compounds)), strict=True)
        size, version = self.tier.spec.image_size, self.tier.spec.version
        jobs = (
            joblib.delayed(render)({m: share} if share else {}, plate_optics(version, p), _seed(name, row), size)
            for m, p, row in wanted
        )
        return np.stack(joblib.Parallel(n_jobs=-1)(jobs))

    def measure(self, pixels: np.ndarray, profile: np.ndarray) -> Pool:
        """Measure images as an evaluation does; results are kept in the cache folder."""
        images, cache = ArrayImages(pixels), storage.cache_dir()
        features = {name: extract(images, _extractor(name), cache) for name in self.extractors}
        profiles = measure_images(images, self.tier.spec.nucleus_diameter, cache)
        return Pool(features, profiles, pixel_hashes(images, cache), thumbnails(images, cache), profile)

    def profiles(self, name: str, share: float) -> np.ndarray:
        """Measured profiles (N, 978) of wells of each mechanism's compound, at this share of its highest activity.

        The share is reached by the dose: Hill's equation of the compound is solved for it.
        """
        version = self.tier.spec.version
        rows: list[tuple[str, str, float, str]] = []
        for mechanism, plate in zip(self.compounds, self.row_plates(), strict=True):
            compound, dose = _dose(mechanism, share)
            rows.append((f"{name}-{len(rows)}", compound, dose, plate))
        return expression.measured(version, pd.DataFrame(rows, columns=["sample_id", "compound", "dose_um", "plate"]))

    def effects(self) -> dict[str, dict[str, float]]:
        """What full activity does to planted cells, in standard deviations of vehicle images, by mechanism.

        Of the simulator's cells before they are drawn: their number in the image, and the area of cells and of nuclei
        (circles of their radii), each summed over the image.
        """
        seeds = [_seed("planted", row) for row in range(4 * self.slots)]
        planted = {m: np.array([_planted({m: 1.0} if m else {}, s) for s in seeds]) for m in ("", *self.mechanisms)}
        vehicle = planted.pop("")
        return {
            m: dict(zip(("number", "cells", "nuclei"), (v.mean(0) - vehicle.mean(0)) / vehicle.std(0), strict=True))
            for m, v in planted.items()
        }


def _jpeg(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(stream))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


SPOIL: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "blur": lambda image, random: _to_uint8(gaussian_filter(image.astype(float), (BLUR, BLUR, 0))),
    "noise": lambda image, random: _to_uint8(image + random.normal(0, NOISE, image.shape)),
    "JPEG": _jpeg,
    "brighter": lambda image, random: _to_uint8(image * BRIGHTNESS),
}
"""What is done to single images, uint8 (H, W, 3)."""


def disguised(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An image (H, W, 3) turned by a quarter, under noise of DISGUISE."""
    return _to_uint8(np.rot90(image) + random.normal(0, DISGUISE, image.shape))


def _seed(*parts: object) -> np.random.SeedSequence:
    return np.random.SeedSequence(int(storage.sha256_text("validation", *map(str, parts)), 16))


def _planted(activity: dict[str, float], seed: np.random.SeedSequence) -> tuple[float, float, float]:
    _, cells = sample_population(activity, streams(seed)[0], 128)
    inside = cells.in_frame(128)
    areas = (np.sum(np.asarray(radius)[inside] ** 2) for radius in (cells.radius, cells.nucleus_radius))
    return (float(inside.sum()), *map(float, areas))  # type: ignore[return-value]


@cache
def _extractor(name: str) -> Extractor:
    return load_extractor(name)


@cache
def _dose(mechanism: str, share: float) -> tuple[str, float]:
    """The first compound of the table that has this mechanism alone, and the dose of a share of nine tenths of it."""
    if share == 0:
        return VEHICLE, 0.0
    table = mechanism_table()
    alone = table[~table["compound"].duplicated(keep=False) & (table["mechanism"] == mechanism)].iloc[0]
    compound, wanted = str(alone["compound"]), 0.9 * share * float(alone["weight"])
    highest = 1000 * float(alone["ec50_um"])
    return compound, brentq(lambda dose: activities(compound, dose)[mechanism] - wanted, 0.0, highest)


def _rows(features: Features, rows: np.ndarray) -> Features:
    known = features.probabilities
    return Features(features.embedding[rows], None if known is None else known[rows])


def _joined(a: Features, b: Features) -> Features:
    probabilities = None
    if a.probabilities is not None and b.probabilities is not None:
        probabilities = np.concatenate([a.probabilities, b.probabilities])
    return Features(np.concatenate([a.embedding, b.embedding]), probabilities)
