"""A tier that was built from real files: where it lives, loading it, checking it.

A folder with tier.toml, samples.csv, compounds.csv (with the structures that were filled), expression.npz, matches.csv
(which L1000 id was which compound, and why), build.json (how it was made), images/PLATE/SAMPLE.png, and
the hash of each in SHA256SUMS.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from morphobench import storage
from morphobench.datasets.manifest import load_landmarks
from morphobench.datasets.tier import HERE, Tier, TierSpec, read_spec
from morphobench.errors import BadInput, Unavailable


def built_path(name: str) -> Path:
    """Where a built tier lives: `tiers/NAME` in the cache folder (see `storage.cache_dir`)."""
    return storage.cache_dir() / "tiers" / name


def template(name: str) -> TierSpec:
    """The shipped TOML of a tier that users build; BadInput lists the names there are."""
    specs = {
        spec.name: spec for spec in map(read_spec, sorted((HERE / "tiers").glob("*.toml"))) if spec.kind == "built"
    }
    if name not in specs:
        raise BadInput(f"tier {name!r}: not one that is built; there is {', '.join(specs)}")
    return specs[name]


def load_built(name: str, folder: Path | None = None) -> Tier:
    """A tier that `build` wrote, from `folder` or `built_path(name)`.

    A compound without L1000 profile has the mean vehicle profile as G_pre and NaN as G_post; vehicle samples have the
    mean vehicle profile as both. Raises Unavailable if it was not built, BadInput if a file of it changed since.
    """
    template(name)
    folder = folder or built_path(name)
    if not (folder / "SHA256SUMS").is_file():
        raise Unavailable(
            f"tier {name}: not built at {folder}; run `morphobench data build {name} --images DIR --l1000 DIR`"
        )
    sums = storage.read_sums(folder, mend(name))
    for file in ("tier.toml", "samples.csv", "compounds.csv", "expression.npz"):
        storage.verify_file(folder, file, sums.get(file, "nothing"), mend(name))
    samples = pd.read_csv(folder / "samples.csv", keep_default_na=False)
    compounds = pd.read_csv(folder / "compounds.csv", keep_default_na=False)
    with np.load(folder / "expression.npz") as arrays:
        rows = {compound: row for row, compound in enumerate(arrays["compounds"].tolist())}
        g_pre, g_post = arrays["g_pre"], arrays["g_post"]
    return Tier(
        spec=read_spec(folder / "tier.toml"),
        folder=folder,
        split_sha256=sums["samples.csv"],
        compounds=compounds[compounds["compound"].isin(set(samples["compound"]))].reset_index(drop=True),
        samples=samples,
        genes=tuple(load_landmarks()["symbol"]),
        read_images=partial(_folder_images, folder, sums),
        read_expression=partial(_expression_of, rows, g_pre, g_post),
    )


def verify(name: str, folder: Path | None = None) -> int:
    """Check every file of a built tier against its SHA256SUMS and return how many; BadInput names the first changed."""
    return len(storage.verify_sums(folder or load_built(name).folder, mend(name)))


def mend(name: str) -> str:
    """What to do about a changed file of a built tier."""
    return f"run `morphobench data build {name}` again"


@dataclass(frozen=True)
class FolderImages:
    """PNG files of a built tier as an ImageSet; each is checked against its recorded hash as it is read."""

    folder: Path
    names: tuple[str, ...]
    hashes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        """Hash of the files' hashes, in order."""
        return storage.sha256_text(*self.hashes)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 (<= size, H, W, 3), in order."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (len(rows), H, W, 3)."""
        return np.stack([self._read(row) for row in rows])

    def _read(self, row: int) -> np.ndarray:
        path = self.folder / self.names[row]
        data = path.read_bytes() if path.is_file() else b""
        if storage.sha256_bytes(data) != self.hashes[row]:
            raise BadInput(f"{path}: changed or removed since the tier was built; run `morphobench data build` again")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def image_name(plate: str, sample_id: str) -> str:
    """Where a sample's image lies in the folder of its tier."""
    return f"images/{plate}/{sample_id}.png"


def _expression_of(
    rows: dict[str, int], g_pre: np.ndarray, g_post: np.ndarray, samples: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    chosen = [rows[compound] for compound in samples["compound"]]
    return g_pre[chosen], g_post[chosen]


def _folder_images(folder: Path, sums: dict[str, str], samples: pd.DataFrame) -> FolderImages:
    names = tuple(image_name(row.plate, row.sample_id) for row in samples.itertuples())
    return FolderImages(folder, names, tuple(sums.get(name, "nothing") for name in names))
