"""Measurements of a tier's real images that come with it, made once by `scripts/derive_features.py`.

A file is a .safetensors of arrays that says in its metadata what they were computed from, their origin: the images, and
what measured them. It stands for nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.storage import REINSTALL, atomic_path, verify_listed

FOLDER = "features"
"""Of a tier: holds a folder by the tier's name, with a file per measurement and split."""

Arrays = dict[str, np.ndarray]
log = logging.getLogger(__name__)


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


def write_arrays(path: Path, arrays: Arrays, origin: Mapping[str, str]) -> None:
    """Write measurements for shipping with a tier, with what they were computed from."""
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, dict(origin))


def read_arrays(path: Path, origin: Mapping[str, str]) -> Arrays | None:
    """Measurements from a file of `write_arrays`, or None where they are of another origin.

    Raises BadInput where the file is absent or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            said = stream.metadata() or {}
            if said != origin:
                name = next(key for key in {**said, **origin} if said.get(key) != origin.get(key))
                log.info("%s: its %s is %s, not %s; computing anew", path, name, said.get(name), origin.get(name))
                return None
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path}: not a readable file of shipped measurements ({error}); {REINSTALL}") from error
