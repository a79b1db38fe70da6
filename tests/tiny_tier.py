"""A tier small enough to hold in memory: 4 compounds, 32-pixel images whose colour follows the compound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.datasets.tier import Tier, TierSpec, Track
from morphobench.schema import GENES
from morphobench.storage import sha256_bytes

SIZE = 32
COMPOUNDS = pd.DataFrame(
    {
        "compound": ["alpha", "beta/2", "gamma", "delta"],
        "smiles": ["CCO", "c1ccccc1", "", "CCN"],
        "moa": ["one", "two", "one", ""],
        "cohort": ["ID", "ID", "OOD", "OOD"],
    }
)
SPLITS = {
    "train": ("alpha", "beta/2"), "id": ("alpha", "beta/2"), "id_replicate": ("alpha", "beta/2"),
    "ood": ("gamma", "delta"), "ood_replicate": ("gamma", "delta"), "vehicle": ("DMSO",),
}  # fmt: skip
PLATES = {"train": "T01", "id": "E01", "ood": "E01", "id_replicate": "R01", "ood_replicate": "R01"}


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory."""

    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def digest(self) -> str:
        return sha256_bytes(self.pixels.tobytes())

    def batches(self, size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self), size):
            yield self.pixels[start : start + size]

    def take(self, rows: Sequence[int]) -> np.ndarray:
        return self.pixels[list(rows)]


def tiny_tier(folder: Path, images_per_compound: int = 6) -> Tier:
    """The tier, deterministic; `folder` is where it says its files are."""
    rows = []
    for split, names in SPLITS.items():
        for compound in names:
            for index in range(images_per_compound):
                plate = PLATES.get(split, ("T01", "E01", "R01")[index % 3])
                dose = 0.0 if split == "vehicle" else (1.0, 10.0)[index % 2]
                rows.append((f"{split}-{compound}-{index}", split, compound, index, dose, plate, f"A{index:02d}"))
    columns = ["sample_id", "split", "compound", "index", "dose_um", "plate", "well"]
    samples = pd.DataFrame(rows, columns=columns)
    genes = tuple(f"G{number}" for number in range(GENES))
    colours = {"DMSO": 20, "alpha": 60, "beta/2": 100, "gamma": 140, "delta": 180}

    def images(wanted: pd.DataFrame) -> ArrayImages:
        pixels = np.zeros((len(wanted), SIZE, SIZE, 3), np.uint8)
        for row, (name, compound) in enumerate(zip(wanted["sample_id"], wanted["compound"], strict=True)):
            noise = np.random.default_rng(list(name.encode())).integers(0, 20, (SIZE, SIZE, 3))
            pixels[row] = colours[compound] + noise
        return ArrayImages(pixels)

    def expression(wanted: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        pre = np.full((len(wanted), GENES), 8.0, np.float32)
        post = pre.copy()
        for row, (name, compound) in enumerate(zip(wanted["sample_id"], wanted["compound"], strict=True)):
            change = np.random.default_rng(list(compound.encode())).normal(size=GENES)
            post[row] += change + 0.3 * np.random.default_rng(list(name.encode())).normal(size=GENES)
        return pre, post

    spec = TierSpec(
        name="tiny", version="1", title="tiny", kind="built", simulated=True, image_size=SIZE, um_per_pixel=1.0,
        channels=("actin", "tubulin", "DNA"), extractor="efficientnet_lite0", embedding="efficientnet_lite0",
        nucleus_diameter=(4, 12), batch="plate",
        counts=samples["split"].value_counts().to_dict(), panel_compounds=("alpha", "gamma"),
        tracks={name: Track(title=name, split=name, replicate_split=f"{name}_replicate") for name in ("id", "ood")},
        licence="CC0",
    )  # fmt: skip
    return Tier(spec, folder, "0" * 64, COMPOUNDS, samples, genes, images, expression)
