"""The recipe of the TRIDENT paper, leak and all: augment each compound to 1,000 images, then split 8:2 at random.

The paper says no more than that, so this is its mildest reading, with the fewest copies: the fields of a compound are
taken in an order fixed by a hash, all of them as they are, then all in the next of the eight dihedral views, and so on;
a view is repeated only when all eight are used up. A compound with more than 1,000 fields (taxol) gives 1,000 of them.
Of the 1,000 images of an ID compound, the 200 with the smallest hash are tested and 800 trained on; all 1,000 of an OOD
compound are tested.

The paper has no replicates and no vehicle images. The floor here is each field of the compound once, unaugmented: the
very fields that are tested. A score at that floor is what copying the test images would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets.bbbc021 import VEHICLE
from morphobench.errors import BadInput

NAME = "morphogene-paper"
SEED = "morphogene-paper 1"
IMAGES, TESTED = 1000, 200
VIEWS = 8
TABLE_SHA256 = "7c97ba8b7a817e1d9fe9d3298c295e8a2bb1583278b2a06e8b902413c2466107"
"""Of (sample id, split) of every sample, in order: whoever derives the table has the same one."""


def samples(fields: pd.DataFrame, cohorts: dict[str, str]) -> pd.DataFrame:
    """The samples made of `fields`: its rows repeated, with sample_id, split, view (0 to 7) and copy (0, 1, ...).

    fields: columns field (its name), compound and what is to be kept. cohorts: compound -> ID or OOD.
    Raises BadInput if the table that comes out is not the frozen one.
    """
    vehicle = fields[fields["compound"] == VEHICLE]
    parts = [vehicle.assign(sample_id=vehicle["field"], split="vehicle", view=0, copy=0)]
    for compound, cohort in cohorts.items():
        own = fields[fields["compound"] == compound]
        own = own.iloc[np.argsort([storage.sha256_text(SEED, "field", name) for name in own["field"]])]
        parts.append(_augmented(own, cohort == "ID"))
        once = [f"{name}-once" for name in own["field"]]
        parts.append(own.assign(sample_id=once, split=f"{cohort.lower()}_replicate", view=0, copy=0))
    table = pd.concat(parts, ignore_index=True)
    actual = storage.sha256_text(*table["sample_id"], *table["split"])
    if actual != TABLE_SHA256:
        raise BadInput(
            f"{NAME}: the derived table has hash {actual[:12]}..., not {TABLE_SHA256[:12]}...; install again"
        )
    return table


def _augmented(own: pd.DataFrame, trained: bool) -> pd.DataFrame:
    copy = np.arange(IMAGES)
    view, repeat = copy // len(own) % VIEWS, copy // len(own) // VIEWS
    rows = own.iloc[copy % len(own)]
    names = [f"{name}-v{v}-c{r}" for name, v, r in zip(rows["field"], view, repeat, strict=True)]
    split = np.full(IMAGES, "ood", dtype=object)
    if trained:
        split[:] = "train"
        split[np.argsort([storage.sha256_text(SEED, "split", name) for name in names])[:TESTED]] = "id"
    return rows.assign(sample_id=names, split=split, view=view, copy=copy)


def dihedral(image: np.ndarray, view: int) -> np.ndarray:
    """One of the eight views of a square image (H, H, C): `view` % 4 quarter turns, mirrored where `view` >= 4."""
    turned = np.rot90(image, view % 4)
    return turned[:, ::-1] if view >= 4 else turned


@dataclass(frozen=True)
class Leak:
    """What the test images of a track share with each other and with its training images, counted without a pixel.

    distinct: different (field, view) among the test images. copied: test images of which a training image is an
    exact copy (same field, same view). same_field: test images whose field a training image shows in any view.
    """

    tested: int
    distinct: int
    copied: int
    same_field: int


def leak(tested: pd.DataFrame, trained: pd.DataFrame) -> Leak:
    """Count it. Columns plate, well, site and, where images are augmented, view."""
    field = ["plate", "well", "site"]
    view = [*field, "view"] if "view" in tested else field
    keys = {columns: pd.MultiIndex.from_frame(tested[list(columns)]) for columns in (tuple(field), tuple(view))}
    seen = {columns: pd.MultiIndex.from_frame(trained[list(columns)]) for columns in keys}
    same, copied = (int(keys[columns].isin(seen[columns]).sum()) for columns in (tuple(field), tuple(view)))
    return Leak(len(tested), keys[tuple(view)].nunique(), copied, same)
