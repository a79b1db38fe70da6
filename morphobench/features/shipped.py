"""Measurements of a tier's real images that come with it, made once by `scripts/derive_features.py`."""

from __future__ import annotations

from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.storage import verify_listed

FOLDER = "features"
"""Of a tier: holds a folder by the tier's name, with a file per measurement and split."""


def shipped_path(tier: Tier, name: str, split: str) -> Path:
    """Where the measurements of a split or of a track's test images lie, if they ship.

    name: of the extractor, engine version or other measurement.
    """
    return tier.folder / FOLDER / tier.spec.name / f"{name.replace(':', '_')}__{split}.safetensors"


def shipped_file(tier: Tier, name: str, split: str) -> Path | None:
    """The file at `shipped_path`, its hash checked; None where there is none.

    Whoever reads it compares the digest of the images, so that another track's training set is not taken for `train`.
    """
    path = shipped_path(tier, name, split)
    return verify_listed(tier.folder, path) if path.is_file() else None
