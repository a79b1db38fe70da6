"""A tier in the shapes that other tools read: PNG or zarr images, profiles, AnnData, Croissant. `export` is the way in.

Every format is a function (tier, rows, folder) in `FORMATS`; it sees nothing but the tier's public face, so that
simulated and built tiers come out alike.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from morphobench import storage
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, Unavailable
from morphobench.export.croissant import copy_tier, describe
from morphobench.export.expression import write_anndata
from morphobench.export.images import write_png, write_zarr
from morphobench.export.profiles import write_cell_profiles, write_profiles

STAMP = "export.json"
"""Says what an export holds, and that the folder is one: only such a folder is ever replaced."""
EXTRA = "pip install 'morphobench[formats]'"


@dataclass(frozen=True)
class Format:
    """How a format is written. packages: what it imports beyond the package's own dependencies.

    whole: it describes a tier's own files, so that a part of it makes no sense.
    """

    write: Callable[[Tier, pd.DataFrame, Path], None]
    packages: tuple[str, ...] = ()
    whole: bool = False


FORMATS = {
    "png": Format(write_png),
    "zarr": Format(write_zarr, ("zarr",)),
    "profiles": Format(write_profiles),
    "cell-profiles": Format(write_cell_profiles),
    "anndata": Format(write_anndata, ("anndata",)),
    "croissant": Format(copy_tier, whole=True),
}


def export(tier: Tier, name: str, out: Path, splits: Sequence[str] = (), limit: int | None = None) -> int:
    """Write a tier in a format into the folder `out`; returns the number of samples in it.

    name: a key of FORMATS. splits: the splits wanted, all if empty. limit: the first samples of each split only.
    `out` appears when it is complete, with `croissant.json` and `export.json` beside the data; an earlier export in its
    place is replaced then, and stays whole until then. At most a batch of images is in memory.

    Raises BadInput for an unknown format or split, for a part where the format takes the whole, and for an `out` that
    holds something else; Unavailable for a package that is not installed.
    """
    chosen = _format(name)
    if chosen.whole and (splits or limit is not None):
        raise BadInput(f"--format {name}: describes a whole tier; leave --split and --limit out")
    rows = select(tier, splits, limit)
    _check_out(out)
    stamp = {
        "format": name, "tier": tier.spec.name, "tier_version": tier.spec.version, "split_sha256": tier.split_sha256,
        "simulated": tier.spec.simulated, "samples": rows["split"].value_counts(sort=False).to_dict(), "limit": limit,
    }  # fmt: skip
    with storage.atomic_dir(out) as folder:
        chosen.write(tier, rows, folder)
        (folder / "croissant.json").write_text(json.dumps(describe(tier, folder, rows), indent=1) + "\n", "utf-8")
        (folder / STAMP).write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")
    return len(rows)


def select(tier: Tier, splits: Sequence[str] = (), limit: int | None = None) -> pd.DataFrame:
    """The samples of these splits (all if empty), the first `limit` of each, in the tier's order.

    Raises BadInput for a split that the tier does not have and a limit below 1.
    """
    available = list(dict.fromkeys(tier.samples["split"]))
    for split in splits:
        if split not in available:
            raise BadInput(f"--split {split!r}: tier {tier.spec.name} has {', '.join(available)}")
    rows = tier.samples[tier.samples["split"].isin(splits or available)]
    if limit is not None:
        if limit < 1:
            raise BadInput(f"--limit {limit}: give 1 or more")
        rows = rows.groupby("split", sort=False).head(limit)
    return rows.reset_index(drop=True)


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise BadInput(f"--format {name!r}: choose one of {', '.join(FORMATS)}")
    for package in FORMATS[name].packages:
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"--format {name}: needs the package {package}; run `{EXTRA}`")
    return FORMATS[name]


def _check_out(out: Path) -> None:
    storage.check_folder(out)
    if out.is_dir() and any(out.iterdir()) and not (out / STAMP).is_file():
        raise BadInput(f"{out}: holds other files and no {STAMP}; name a new or an empty folder")


__all__ = ["FORMATS", "Format", "export", "select"]
