"""Lay pixels out on disk the way BBBC021 ships its own, for tests: tables, and one zip of 16-bit TIFF files per plate.

BBBC021's pixels may not be redistributed; a CC0 Cell Painting field, tiled by reflection, takes their place. Every field
gets its own window of that tiling, chosen by its file name and not by its compound: the pixels carry no drug effect.
"""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

FIELD_SHAPE = (1024, 1280)
STAINS = ("DAPI", "Tubulin", "Actin")


def real_rows(shared_data: Path, plates: list[str], compounds: list[str], wells: int, sites: int) -> pd.DataFrame:
    """Rows of the real image table: on each plate the `wells` top doses of each compound, `sites` fields of each."""
    table = pd.read_csv(shared_data / "bbbc021" / "BBBC021_v1_image.csv.gz", dtype=str)
    table = table[table["Image_Metadata_Plate_DAPI"].isin(plates) & table["Image_Metadata_Compound"].isin(compounds)]
    site = table["Image_FileName_DAPI"].str.extract(r"_s(\d)_", expand=False).astype(int)
    key = ["Image_Metadata_Plate_DAPI", "Image_Metadata_Compound"]
    chosen = (
        table[["Image_Metadata_Well_DAPI", *key]]
        .drop_duplicates()
        .assign(dose=lambda rows: table.loc[rows.index, "Image_Metadata_Concentration"].astype(float))
    )
    chosen = chosen.sort_values([*key, "dose", "Image_Metadata_Well_DAPI"], ascending=[True, True, False, True])
    chosen = chosen.groupby(key).head(wells)
    wanted = set(zip(chosen["Image_Metadata_Plate_DAPI"], chosen["Image_Metadata_Well_DAPI"], strict=True))
    pairs = zip(table["Image_Metadata_Plate_DAPI"], table["Image_Metadata_Well_DAPI"], strict=True)
    return table[np.array([pair in wanted for pair in pairs]) & (site <= sites)]


def window(source: np.ndarray, name: str) -> np.ndarray:
    """The (3, 1024, 1280) window of the reflected tiling of `source` (3, H, W) that belongs to a file name."""
    tiling = np.concatenate([source, source[:, ::-1]], axis=1)
    tiling = np.concatenate([tiling, tiling[:, :, ::-1]], axis=2)
    digest = hashlib.sha256(name.encode()).digest()
    top, left = (int.from_bytes(digest[start : start + 4], "big") for start in (0, 4))
    rows = (np.arange(FIELD_SHAPE[0]) + top) % tiling.shape[1]
    columns = (np.arange(FIELD_SHAPE[1]) + left) % tiling.shape[2]
    return tiling[:, rows][:, :, columns]


def tiff_bytes(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels)
    return stream.getvalue()


def lay_out(folder: Path, rows: pd.DataFrame, source: np.ndarray, mechanisms: Path) -> Path:
    """Write tables and zips for `rows` of the image table; `source` is (3, H, W): DNA, tubulin, actin."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / "BBBC021_v1_image.csv", index=False)
    (folder / "BBBC021_v1_moa.csv").write_bytes(mechanisms.read_bytes())
    for plate, fields in rows.groupby("Image_Metadata_Plate_DAPI"):
        with zipfile.ZipFile(folder / f"BBBC021_v1_images_{plate}.zip", "w") as archive:
            for _, field in fields.iterrows():
                pixels = window(source, f"{plate}/{field['Image_FileName_DAPI']}")
                for channel, stain in enumerate(STAINS):
                    archive.writestr(f"{plate}/{field[f'Image_FileName_{stain}']}", tiff_bytes(pixels[channel]))
    return folder
