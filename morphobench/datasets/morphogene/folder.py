"""A tier that was built from real files: where it lives, loading it, checking it.

A folder with tier.toml, samples.csv, compounds.csv (with the structures that were filled), expression.npz, matches.csv
(which L1000 id was which compound, and why), build.json (how it was made), images/PLATE/FIELD.png, parts/*.json (what
each plate and the expression were made from), and the hash of each in SHA256SUMS. Samples of morphogene-paper are views
of these fields, made as they are read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from morphobench import storage
from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.datasets.morphogene import split_rules
from morphobench.datasets.morphogene.paper_recipe import NAME, TABLE_SHA256, dihedral
from morphobench.datasets.morphogene.parts import Parts
from morphobench.datasets.tables import read_own, toml
from morphobench.datasets.tier import HERE, ImageSet, Tier, TierSpec, read_spec
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
        raise _not_built(name, folder)
    sums = storage.read_sums(folder, mend(name))
    for file in ("tier.toml", "samples.csv", "compounds.csv", "expression.npz"):
        storage.verify_file(folder, file, sums.get(file, "nothing"), mend(name))
    samples, compounds = read_own(folder / "samples.csv"), read_own(folder / "compounds.csv")
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
        read_images=partial(_folder_images, name, folder, sums),
        read_expression=partial(_expression_of, rows, g_pre, g_post),
    )


def check_place(name: str, folder: Path) -> None:
    """Raise BadInput unless a tier `name` may be put at `folder`, whatever is there then being replaced.

    It may where nothing is, an empty folder, or such a tier, damaged or not, without any file but its own (those whose
    name begins with a dot, and those that are `storage.left_behind`, are not counted).
    """
    storage.check_folder(folder)
    files = sorted(path for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else []
    if not files:
        return
    mend = "name a new or empty folder, or move what is in this one away"
    sums = storage.read_sums(folder, mend) if (folder / "SHA256SUMS").is_file() else {}
    if "tier.toml" not in sums:
        raise BadInput(f"{folder}: holds {files[0].name} and is no tier, and a build would replace it; {mend}")
    theirs = _name_in(folder / "tier.toml") or name
    if theirs != name:
        raise BadInput(f"{folder}: is the tier {theirs}, and a build of {name} would replace it; {mend}")
    own = {folder / file for file in (*sums, "SHA256SUMS")}
    others = [path for path in files if path not in own and not path.name.startswith(".")]
    foreign = [path for path in others if not storage.left_behind(path.relative_to(folder))]
    if foreign:
        raise BadInput(f"{foreign[0]}: not of the tier in that folder, and a build would remove it; move it away")


def _name_in(spec: Path) -> str:
    """The name of a tier in its TOML; "" where that is absent or damaged, which a build mends."""
    try:
        return str(toml(spec.read_bytes(), str(spec)).get("name", ""))
    except (FileNotFoundError, BadInput):
        return ""


def load_frozen(name: str) -> Tier:
    """The whole of a built tier without its pixels and profiles: the frozen samples, tracks and compounds.

    Needs no build. Asking it for images or expression raises Unavailable.
    """
    spec, folder = template(name), built_path(name)
    samples = split_rules.frozen_samples(name)
    counts = samples["split"].value_counts()
    present = {split: int(counts[split]) for split in split_rules.SPLITS if split in counts}

    def images(rows: pd.DataFrame) -> ImageSet:
        raise _not_built(name, folder)

    def expression(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        raise _not_built(name, folder)

    return Tier(
        spec=spec.model_copy(update={"counts": present}),
        folder=folder,
        split_sha256=TABLE_SHA256 if name == NAME else storage.read_sums(HERE)[split_rules.SPLIT_FILE],
        compounds=load_compounds(),
        samples=samples,
        genes=tuple(load_landmarks()["symbol"]),
        read_images=images,
        read_expression=expression,
    )


def _not_built(name: str, folder: Path) -> Unavailable:
    done = Parts(folder).unfinished()
    begun = f" (a build that was interrupted has finished {done} of its parts)" if done else ""
    return Unavailable(f"tier {name}: not built at {folder}{begun}; run `morphobench data build {name}`")


def where(name: str) -> Path:
    """The folder of a built tier, whatever the state of its files; Unavailable if it was not built."""
    template(name)
    if not (built_path(name) / "SHA256SUMS").is_file():
        raise _not_built(name, built_path(name))
    return built_path(name)


def made_from(folder: Path, name: str) -> dict[str, Any]:
    """The `build.json` of a built tier, checked; BadInput if it changed."""
    sums = storage.read_sums(folder, mend(name))
    return json.loads(
        storage.verify_file(folder, "build.json", sums.get("build.json", "nothing"), mend(name)).read_text()
    )


def verify(name: str, folder: Path | None = None) -> int:
    """Check every file of a built tier against its SHA256SUMS and return how many; BadInput names the first changed."""
    return len(storage.verify_sums(folder or where(name), mend(name)))


def mend(name: str) -> str:
    """What to do about a changed file of a built tier."""
    return f"run `morphobench data build {name}` again"


@dataclass(frozen=True)
class FolderImages:
    """PNG files of a built tier as an ImageSet; each is checked against its recorded hash as it is read.

    views: the dihedral view (0 to 7) to give of each; empty: each as it is.
    """

    folder: Path
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    views: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        """Hash of the files' hashes and the views, in order."""
        return storage.sha256_text(*self.hashes, *map(str, self.views))

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
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return dihedral(image, self.views[row]) if self.views else image


def image_name(plate: str, field: str) -> str:
    """Where a field's image lies in the folder of its tier."""
    return f"images/{plate}/{field}.png"


def _expression_of(
    rows: dict[str, int], g_pre: np.ndarray, g_post: np.ndarray, samples: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    chosen = [rows[compound] for compound in samples["compound"]]
    return g_pre[chosen], g_post[chosen]


def _folder_images(tier: str, folder: Path, sums: dict[str, str], samples: pd.DataFrame) -> FolderImages:
    fields = split_rules.field_ids(tier, samples)
    names = tuple(image_name(plate, field) for plate, field in zip(samples["plate"], fields, strict=True))
    views = tuple(map(int, samples["view"])) if "view" in samples else ()
    return FolderImages(folder, names, tuple(sums.get(name, "nothing") for name in names), views)
