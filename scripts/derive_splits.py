"""Derive the frozen splits, morphobench/datasets/splits/sim.csv.gz and, with --bbbc021, morphogene.csv.gz.

    python scripts/derive_splits.py --bbbc021 ../shared/data/bbbc021 && python scripts/derive_manifest.py --sums-only

`--bbbc021` is the folder of BBBC021's image table (sha256 of the unpacked CSV: 7fd8a936...). The rule of morphogene is
at the top of morphobench/datasets/morphogene/split_rules.py.

The sim tier: a plate belongs to one role: T train, E test, R replicate (the floor). Every image is one field of a well
of its own, so that two images of a compound share nothing but the compound, the dose and the plate. Wells are shuffled
over a 1,536-well plate by a hash of the sample id: compound and position are unrelated.
"""

from __future__ import annotations

import argparse
import gzip
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets import bbbc021
from morphobench.datasets.frozen import doses, load_compounds
from morphobench.datasets.morphogene import split_rules

OUT = Path(__file__).parents[1] / "morphobench" / "datasets" / "splits"
PLATES = {
    "train": tuple(f"T{number:02d}" for number in range(1, 7)),
    "test": tuple(f"E{number:02d}" for number in range(1, 5)),
    "replicate": tuple(f"R{number:02d}" for number in range(1, 5)),
}
SPLITS = (
    # split, cohort, plates, images per compound and plate at the (top, middle, low) dose
    ("train", "ID", "train", (4, 2, 2)),
    ("id", "ID", "test", (2, 1, 1)),
    ("ood", "OOD", "test", (2, 1, 1)),
    ("id_replicate", "ID", "replicate", (2, 1, 1)),
    ("ood_replicate", "OOD", "replicate", (2, 1, 1)),
)
VEHICLE_WELLS = 64
"""Per plate: 14 x 64 = 896, so that the vehicle control answers the 864 conditions of `ood` and repeats no image."""


def three_doses(series: tuple[float, ...]) -> tuple[float, float, float]:
    """The top dose of a series and its members nearest, in log, to the top over sqrt(10) and over 10."""
    top = max(series)
    middle, low = (min(series, key=lambda dose: abs(math.log10(top / dose) - step)) for step in (0.5, 1.0))
    return top, middle, low


def samples() -> pd.DataFrame:
    """Every image of the tier: sample_id, split, compound, index, dose_um, plate, well."""
    compounds = load_compounds()
    rows = []
    for split, cohort, role, counts in SPLITS:
        for compound in compounds.loc[compounds["cohort"] == cohort, "compound"]:
            ladder = np.repeat(three_doses(doses(compounds, compound)), counts).tolist()
            wanted = [(plate, dose) for plate in PLATES[role] for dose in ladder]
            rows += [(split, compound, index, dose, plate) for index, (plate, dose) in enumerate(wanted)]
    plates = [plate for role in PLATES.values() for plate in role]
    wanted = [(plate, 0.0) for plate in plates for _ in range(VEHICLE_WELLS)]
    rows += [("vehicle", "DMSO", index, dose, plate) for index, (plate, dose) in enumerate(wanted)]
    table = pd.DataFrame(rows, columns=["split", "compound", "index", "dose_um", "plate"])
    names = zip(table["plate"], table["compound"], table["index"], strict=True)
    table.insert(0, "sample_id", [f"sim-{plate}-{slug(compound)}-{index:04d}" for plate, compound, index in names])
    table["well"] = table.groupby("plate", sort=False)["sample_id"].transform(place)
    return table


def slug(compound: str) -> str:
    """A compound's name in lower case, anything but letters and digits as single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", compound.lower()).strip("-")


def place(sample_ids: pd.Series) -> list[str]:
    """Well names for the samples of one plate: the samples sorted by hash take wells in turn."""
    rows = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *(f"A{letter}" for letter in "ABCDEF")]
    wells = sorted((f"{row}{column:02d}" for row in rows for column in range(1, 49)), key=storage.sha256_text)
    ranks = {name: rank for rank, name in enumerate(sorted(sample_ids, key=storage.sha256_text))}
    return [wells[ranks[name]] for name in sample_ids]


def morphogene(folder: Path) -> pd.DataFrame:
    """Every field of the 98 compounds and the vehicle with its split, columns `split_rules.COLUMNS`."""
    fields = bbbc021.read_image_table(folder)
    # Plates of a layout hold the same compounds; layouts are numbered by their first plate's name.
    held = fields.groupby("plate")["compound"].agg(lambda names: "|".join(sorted(set(names))))
    numbers = {layout: number for number, layout in enumerate(dict.fromkeys(held), start=1)}
    fields["layout"] = fields["plate"].map(held).map(numbers)
    cohorts = split_rules.cohorts()
    fields = fields[fields["compound"].isin([*cohorts, bbbc021.VEHICLE])]
    fields = fields.assign(split=split_rules.deal_splits(fields, cohorts))
    return fields.sort_values(split_rules.FIELD, ignore_index=True)[split_rules.COLUMNS]


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table, gzipped without a time stamp."""
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    with storage.atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bbbc021", type=Path, help="folder of BBBC021_v1_image.csv[.gz]")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to")
    asked = parser.parse_args()
    write(asked.out / "sim.csv.gz", samples())
    if asked.bbbc021 is not None:
        write(asked.out / "morphogene.csv.gz", morphogene(asked.bbbc021))


if __name__ == "__main__":
    main()
