"""The splits of MorphoGene: the rule that dealt them, and the frozen tables that came of it.

BBBC021's 55 plates come in layouts of three plates (17) or two (2) that hold the same wells. Plates and wells are dealt
before any image is made, plates of a layout in the order of (replicate, name):

- three plates: the first trains, the second tests, the third gives the replicates that set the floor;
- two: the first trains; the wells of each compound on the second, by (dose, hash of plate and well), go to test and
  replicates in turn, so that each has doses from the whole series.

The split of a field is its role and its compound's cohort: `train`, `id`, `id_replicate` of ID compounds, `ood_train`,
`ood`, `ood_replicate` of OOD compounds, and `vehicle` on every plate. `ood_train` is trained on by named tracks only.

The tables are derived by `scripts/derive_splits.py` and never dealt again: a build of some plates takes their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets.bbbc021 import VEHICLE
from morphobench.datasets.frozen import HERE, load_compounds, read_table
from morphobench.datasets.morphogene import paper_recipe
from morphobench.errors import BadInput

SPLIT_FILE = "splits/morphogene.csv.gz"
FIELD = ["plate", "well", "site"]
"""What names a field."""
COLUMNS = [*FIELD, "replicate", "layout", "compound", "dose_um", "split"]
"""Of the frozen table; `layout` numbers the groups of plates that hold the same compounds."""
SPLITS = ("train", "id", "ood", "id_replicate", "ood_replicate", "ood_train", "vehicle")
_COHORT_SPLITS = {
    "ID": {"train": "train", "test": "id", "replicate": "id_replicate"},
    "OOD": {"train": "ood_train", "test": "ood", "replicate": "ood_replicate"},
}
_DEALT = {2: (("train",), ("test", "replicate")), 3: (("train",), ("test",), ("replicate",))}
"""Plates of a layout -> for each, the roles its wells are dealt to in turn."""


def deal_splits(fields: pd.DataFrame, cohorts: dict[str, str]) -> pd.Series:
    """The split of each field by the rule at the top of this file.

    fields: columns plate, well, replicate, layout, compound, dose_um. cohorts: compound -> ID or OOD.
    """
    roles = _well_roles(fields)

    def split(compound: str, plate: str, well: str) -> str:
        return "vehicle" if compound == VEHICLE else _COHORT_SPLITS[cohorts[compound]][roles[plate, well]]

    wells = zip(fields["compound"], fields["plate"], fields["well"], strict=True)
    return pd.Series([split(*well) for well in wells], index=fields.index, dtype=str)


def _well_roles(fields: pd.DataFrame) -> dict[tuple[str, str], str]:
    roles: dict[tuple[str, str], str] = {}
    plates = fields.drop_duplicates("plate").sort_values(["replicate", "plate"])
    for _, layout in plates.groupby("layout"):
        for plate, turn in zip(layout["plate"], _DEALT[len(layout)], strict=True):
            wells = fields[fields["plate"] == plate].drop_duplicates("well")
            for _, own in wells.groupby("compound"):
                hashes = [storage.sha256_text(plate, well) for well in own["well"]]
                order = own.assign(hash=hashes).sort_values(["dose_um", "hash"])["well"]
                roles |= {(plate, well): turn[position % len(turn)] for position, well in enumerate(order)}
    return roles


def frozen_fields(folder: Path = HERE) -> pd.DataFrame:
    """Every field of the 98 compounds and the vehicle with its split, columns COLUMNS, by plate, well and site.

    Raises BadInput that names the file if a byte of it changed.
    """
    return read_table(folder, SPLIT_FILE)


def frozen_samples(name: str, folder: Path = HERE) -> pd.DataFrame:
    """Every sample of a built tier, columns SAMPLE_COLUMNS, site and (of morphogene-paper) view, in frozen order."""
    fields = frozen_fields(folder)
    fields["field"] = field_ids(name, fields)
    if name == paper_recipe.NAME:
        samples = paper_recipe.samples(fields, cohorts(folder))
    else:
        samples = fields.assign(sample_id=fields["field"], copy=0)
    order = {compound: place for place, compound in enumerate([*cohorts(folder), VEHICLE])}
    samples = samples.assign(_split=samples["split"].map(SPLITS.index), _compound=samples["compound"].map(order))
    samples = samples.sort_values(["_split", "_compound", "copy", *FIELD], ignore_index=True)
    return numbered(samples.drop(columns=["field", "copy", "layout", "replicate", "_split", "_compound"]))


def part_of(samples: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    """Those samples whose field is among `fields` (columns FIELD and mechanism), numbered anew, with `mechanism`."""
    return numbered(samples.merge(fields[[*FIELD, "mechanism"]], on=FIELD, how="inner"))


def numbered(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples with `index`: 0, 1, ... within (split, compound)."""
    return samples.assign(index=samples.groupby(["split", "compound"]).cumcount())


def cohorts(folder: Path = HERE) -> dict[str, str]:
    """Compound -> ID or OOD, in manifest order."""
    table = load_compounds(folder)
    return dict(zip(table["compound"], table["cohort"], strict=True))


def field_ids(name: str, rows: pd.DataFrame) -> list[str]:
    """The name of each row's field in a tier, under which its image is stored; rows: columns FIELD."""
    return [f"{name}-{plate}-{well}-s{site}" for plate, well, site in zip(*(rows[key] for key in FIELD), strict=True)]


def plates_with(compounds: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Plates that hold fields of some of these compounds in some of these splits of morphogene, sorted."""
    fields = frozen_fields()
    return sorted(set(fields.loc[fields["compound"].isin(compounds) & fields["split"].isin(splits), "plate"]))


def with_splits(table: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the image table (read from `table`, named in errors) with their frozen `split`.

    rows: all that the table has of some plates; those of compounds that no tier has are left out. Raises BadInput that
    names the line of a field that the frozen table has under another compound, dose or replicate, or not at all though
    its compound is of the tier.
    """
    frozen = frozen_fields().rename(columns={key: f"frozen_{key}" for key in ("compound", "dose_um", "replicate")})
    joined = rows.merge(frozen, on=FIELD, how="left", validate="one_to_one")
    others = joined["split"].isna() & ~joined["compound"].isin([*cohorts(), VEHICLE])
    same = (joined["compound"] == joined["frozen_compound"]) & (joined["replicate"] == joined["frozen_replicate"])
    same &= np.isclose(joined["dose_um"], joined["frozen_dose_um"], rtol=1e-6)
    if not (same | others).all():
        row = joined[~(same | others)].iloc[0]
        frozen_as = (
            "no such field" if pd.isna(row["split"]) else f"{row['frozen_compound']} at {row['frozen_dose_um']} uM"
        )
        raise BadInput(
            f"{table}: line {row['line']}: plate {row['plate']} well {row['well']} site {row['site']} is "
            f"{row['compound']} at {row['dose_um']} uM (replicate {row['replicate']}); the frozen splits have "
            f"{frozen_as}; give the table as BBBC021 ships it"
        )
    return joined.loc[~others, [*rows.columns, "split"]].reset_index(drop=True)


def absent_fields(fields: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Frozen fields of the plates of `fields` (columns FIELD) that are not among them, and how many they are in all."""
    frozen = frozen_fields()
    frozen = frozen[frozen["plate"].isin(fields["plate"])]
    joined = frozen.merge(fields[FIELD], on=FIELD, how="left", indicator=True)
    return joined.loc[joined["_merge"] == "left_only", COLUMNS], len(frozen)


def check_part(samples: pd.DataFrame) -> list[str]:
    """Raise BadInput unless a part of a tier has training, test and vehicle images; it names the plates that would do.

    Returns a line for each compound that is tested without replicates: the controls cannot set its floor.
    """
    given = set(samples["split"])
    compounds = sorted(set(samples["compound"]) - {VEHICLE})
    for wanted in (("train",), ("id", "ood"), ("vehicle",)):
        if not given & set(wanted):
            plates = plates_with([VEHICLE] if wanted == ("vehicle",) else compounds, wanted)
            mend = f"add one of the plates {', '.join(plates)}" if plates else "add compounds of the ID cohort"
            raise BadInput(
                f"the chosen plates and compounds give only the splits {', '.join(s for s in SPLITS if s in given)}; "
                f"for {' or '.join(wanted)} {mend}"
            )
    lines = []
    for split in ("id", "ood"):
        own = {name: set(samples.loc[samples["split"] == name, "compound"]) for name in (split, f"{split}_replicate")}
        for compound in sorted(own[split] - own[f"{split}_replicate"]):
            plates = plates_with([compound], [f"{split}_replicate"])
            lines.append(f"{compound}: no replicates for the controls; add plate {' or '.join(plates)}")
    return lines
