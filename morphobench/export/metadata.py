"""What is known of each sample, as columns: the `Metadata_` names of CellProfiler, pycytominer and copairs."""

from __future__ import annotations

import pandas as pd

from morphobench.datasets.tier import Tier

CAPITAL = {"plate": "Plate", "well": "Well", "site": "Site"}
"""Sample columns that CellProfiler and pycytominer write with a capital; all others keep their name."""
CONTROL, TREATED = "control", "trt"
"""Values of `pert_type`, those of the JUMP Cell Painting metadata."""


def sample_table(tier: Tier, rows: pd.DataFrame) -> pd.DataFrame:
    """The samples with what the tier knows of their compound, (N, columns), order kept.

    All sample columns, then `smiles`, `moa` and `pert_type` ("control" for the vehicle, else "trt"). `moa` takes the
    place of a built tier's `mechanism`, which says the same; an unknown structure or mechanism is an empty string.
    """
    smiles = dict(zip(tier.compounds["compound"], tier.compounds["smiles"], strict=True))
    table = rows.drop(columns="mechanism", errors="ignore").reset_index(drop=True)
    table["smiles"] = [smiles.get(compound, "") for compound in rows["compound"]]
    table["moa"] = tier.mechanisms(rows)
    table["pert_type"] = [CONTROL if split == "vehicle" else TREATED for split in rows["split"]]
    return table


def metadata(tier: Tier, rows: pd.DataFrame) -> pd.DataFrame:
    """`sample_table` under the names Metadata_Plate, Metadata_Well, Metadata_compound, Metadata_dose_um, ..."""
    table = sample_table(tier, rows)
    return table.rename(columns={name: f"Metadata_{CAPITAL.get(name, name)}" for name in table})
