"""Measure the real images of the sim tier once and ship the measurements (morphobench/datasets/features/sim).

    python scripts/derive_features.py && python scripts/derive_manifest.py --sums-only

A run then renders and measures only what it generated. Each file says of which images, by which extractor and with
which weights it was made; one that does not fit any more is ignored by `morphobench evaluate` and made again here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from morphobench.datasets import load_tier
from morphobench.datasets.swaps import SwappedTruth, place, swaps
from morphobench.datasets.tier import Tier
from morphobench.features import shipped
from morphobench.features.cache import extract, write_shipped
from morphobench.features.extractor import Features
from morphobench.features.profile import measure_images
from morphobench.features.profile import write_shipped as write_profiles
from morphobench.features.registry import load_extractor
from morphobench.features.segment import ENGINE
from morphobench.features.thumbnails import VERSION as THUMBNAILS
from morphobench.features.thumbnails import thumbnails
from morphobench.features.thumbnails import write_shipped as write_thumbnails
from morphobench.storage import cache_dir

TESTED = ("id", "ood")
MAPPED = ("id", "ood", "train", "vehicle")
COPIED = ("id", "ood", "train")
MORPHOLOGY = ("id", "ood", "vehicle")


def derive_features(tier: Tier, name: str, splits: tuple[str, ...], folder: Path) -> None:
    """Embeddings of the real images of some splits by one extractor."""
    extractor = load_extractor(name)
    for split in splits:
        images = tier.images(tier.rows(split))
        embedding = extract(images, extractor, cache_dir(), label=f"{name}: {split}").embedding
        # Class probabilities of real images enter no score.
        write_shipped(folder / f"{name}__{split}.safetensors", Features(embedding, None), images.digest(), extractor)


def derive_swaps(tier: Tier, name: str, tracks: tuple[str, ...], folder: Path) -> None:
    """Embeddings of the counterfactuals of the swapped test images."""
    extractor = load_extractor(name)
    for track in tracks:
        for kind, swap in swaps(tier, tier.conditions(track)).items():
            images = SwappedTruth(tier, track, swap)
            features = Features(extract(images, extractor, cache_dir()).embedding, None)
            path = folder / f"{name}__{place(track, kind)}.safetensors"
            write_shipped(path, features, images.digest(), extractor)


def derive_thumbnails(tier: Tier, splits: tuple[str, ...], folder: Path) -> None:
    """Thumbnails of the real images of some splits."""
    for split in splits:
        images = tier.images(tier.rows(split))
        path = folder / f"{THUMBNAILS}__{split}.safetensors"
        write_thumbnails(path, thumbnails(images, cache_dir()), images.digest())


def derive_profiles(tier: Tier, splits: tuple[str, ...], folder: Path) -> None:
    """Areas, counts and quality of the real images of some splits."""
    diameter = tier.spec.nucleus_diameter
    for split in splits:
        images = tier.images(tier.rows(split))
        profiles = measure_images(images, diameter, cache_dir(), label=split)
        write_profiles(folder / f"{ENGINE}__{split}.safetensors", profiles, images.digest(), diameter)


def main() -> None:
    """Write every shipped measurement, or those of one extractor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["extractor", "embedding", "profiles", "swaps", "thumbnails"])
    only = parser.parse_args().only
    tier = load_tier("sim")
    folder = tier.folder / shipped.FOLDER / tier.spec.name
    if only in (None, "extractor"):
        derive_features(tier, tier.spec.extractor, TESTED, folder)
    if only in (None, "embedding"):
        derive_features(tier, tier.spec.embedding, MAPPED, folder)
    if only in (None, "swaps"):
        derive_swaps(tier, tier.spec.embedding, tuple(tier.spec.tracks), folder)
    if only in (None, "thumbnails"):
        derive_thumbnails(tier, COPIED, folder)
    if only in (None, "profiles"):
        derive_profiles(tier, MORPHOLOGY, folder)


if __name__ == "__main__":
    main()
