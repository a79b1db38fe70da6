"""Folders that a build of the morphogene tier reads, small and made of noise."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from bbbc021_layout import (
    lay_out,
)

from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.datasets.morphogene import split_rules

PLATES = ["Week3_25681", "Week3_25701", "Week3_25721"]


def write_level3(folder: Path, compounds: list[str]) -> Path:
    """A GCTX of 978 genes: per plate two vehicle wells, and one well of each compound, MCF7 at 24 h."""
    table = load_compounds().set_index("compound")
    treated = [("trt_cp", table.loc[name, "l1000_pert_ids"].split("|")[0], name) for name in compounds]
    wells = [(plate, *well) for plate in ("P1", "P2") for well in [("ctl_vehicle", "DMSO", "DMSO")] * 2 + treated]
    columns = {
        "id": [f"{plate}:{number}" for number, (plate, *_) in enumerate(wells)],
        "rna_plate": [plate for plate, *_ in wells],
        "pert_type": [kind for _, kind, *_ in wells],
        "pert_id": [ids for *_, ids, _ in wells],
        "pert_iname": [name for *_, name in wells],
        "cell_id": ["MCF7"] * len(wells),
        "pert_itime": ["24 h"] * len(wells),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "level3.gctx", "w") as file:
        file["0/DATA/0/matrix"] = np.random.default_rng(1).uniform(4, 14, (len(wells), 978)).astype(np.float32)
        file["0/META/ROW/id"] = load_landmarks()["entrez_id"].to_numpy().astype("S")
        for name, values in columns.items():
            file[f"0/META/COL/{name}"] = np.array(values, "S")
    return folder


def made_rows() -> pd.DataFrame:
    """Image-table rows of one layout of three plates: on each a vehicle, an ID and an OOD well, one field each."""
    fields = split_rules.frozen_fields()
    fields = fields[fields["plate"].isin(PLATES) & fields["compound"].isin(["DMSO", "emetine", "taxol"])]
    fields = fields.drop_duplicates(["plate", "compound"])
    return pd.DataFrame(
        [
            {
                **{f"Image_FileName_{stain}": f"{field.well}_s{field.site}_{mark}X.tif" for stain, mark in marks},
                "Image_PathName_DAPI": f"Week3/{field.plate}",
                "Image_Metadata_Plate_DAPI": field.plate,
                "Image_Metadata_Well_DAPI": field.well,
                "Replicate": field.replicate,
                "Image_Metadata_Compound": field.compound,
                "Image_Metadata_Concentration": field.dose_um,
            }
            for field in fields.itertuples()
            for marks in [(("DAPI", "w1"), ("Tubulin", "w2"), ("Actin", "w4"))]
        ]
    )


def made_folder(folder: Path) -> Path:
    """A folder with `images` and `l1000`, made of noise."""
    moa = folder / "moa.csv"
    moa.write_text("compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n")
    source = np.random.default_rng(0).integers(200, 4000, (3, 101, 103), dtype=np.uint16)
    lay_out(folder / "images", made_rows(), source, moa)
    write_level3(folder / "l1000", ["emetine"])
    return folder
