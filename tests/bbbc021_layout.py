"""Lay pixels out on disk the way BBBC021 ships its own, for tests: tables, and one zip of 16-bit TIFF files per plate.

BBBC021's pixels may not be redistributed; a CC0 Cell Painting field, tiled by reflection, takes their place. Every
field gets its own window of that tiling, chosen by file name and not by its compound: no drug effect.
"""

import argparse
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from morphobench.datasets.frozen import load_compounds
from morphobench.datasets.morphogene.split_rules import frozen_fields
from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.render import render

FIELD_SHAPE = (1024, 1280)
MADE_PLATE = "Week1_22123"
STAINS = ("DAPI", "Tubulin", "Actin")
PIXELS = Path("images", "bbbc022_crop", "IXMtest_A02_s9.tif")
MECHANISMS = Path("bbbc021", "BBBC021_v1_moa.csv")
SHOWN_PLATES = [
    f"Week{week}_{number}"
    for week, numbers in {3: (25681, 25701, 25721), 9: (39206, 39221, 39222, 39282, 39283, 39301)}.items()
    for number in numbers
]
SHOWN_COMPOUNDS = ["DMSO", "emetine", "PD-98059", "Y-27632", "simvastatin", "AG-1478", "mevinolin/lovastatin"]
"""Four ID and two OOD compounds (and vehicle) that have real profiles in HT115, and the plates that hold them."""


def real_rows(shared_data: Path, plates: list[str], compounds: list[str], wells: int, sites: int) -> pd.DataFrame:
    """Rows of the real image table: on each plate, `wells` wells of each compound and `sites` fields of each well.

    Doses to which BBBC021 gives a mechanism come first, then the highest.
    """
    table = pd.read_csv(shared_data / "bbbc021" / "BBBC021_v1_image.csv.gz", dtype=str)
    moa = pd.read_csv(shared_data / "bbbc021" / "BBBC021_v1_moa.csv")
    annotated = set(zip(moa["compound"], moa["concentration"], strict=True))
    fields = pd.DataFrame(
        {
            "plate": table["Image_Metadata_Plate_DAPI"],
            "well": table["Image_Metadata_Well_DAPI"],
            "compound": table["Image_Metadata_Compound"],
            "dose": table["Image_Metadata_Concentration"].astype(float),
            "site": table["Image_FileName_DAPI"].str.extract(r"_s(\d)_", expand=False).astype(int),
        }
    )
    fields["known"] = [key in annotated for key in zip(fields["compound"], fields["dose"], strict=True)]
    fields = fields[fields["plate"].isin(plates) & fields["compound"].isin(compounds) & (fields["site"] <= sites)]
    ranked = fields.drop_duplicates(["plate", "well"]).sort_values(
        ["known", "dose", "well"], ascending=[False, False, True]
    )
    chosen = ranked.groupby(["plate", "compound"]).head(wells)
    kept = set(zip(chosen["plate"], chosen["well"], strict=True))
    return table.loc[[row.Index for row in fields.itertuples() if (row.plate, row.well) in kept]]


def frozen_rows(plates: list[str], compounds: dict[str, int], sites: int = 1) -> pd.DataFrame:
    """As `real_rows`, {compound: wells per plate}, from the package's own split table."""
    fields = frozen_fields()
    fields = fields[fields["plate"].isin(plates) & fields["compound"].isin(list(compounds)) & (fields["site"] <= sites)]
    annotated = set(zip(*(frozen_mechanisms()[column] for column in ("compound", "concentration")), strict=True))
    fields = fields.assign(known=[key in annotated for key in zip(fields["compound"], fields["dose_um"], strict=True)])
    ranked = fields.drop_duplicates(["plate", "well"]).sort_values(
        ["known", "dose_um", "well"], ascending=[False, False, True]
    )
    chosen = pd.concat(own.head(compounds[name]) for (_, name), own in ranked.groupby(["plate", "compound"]))
    fields = fields.merge(chosen[["plate", "well"]], on=["plate", "well"])
    return pd.DataFrame(
        [
            {
                **{
                    f"Image_FileName_{stain}": f"{field.well}_s{field.site}_{mark}X.tif"
                    for stain, mark in zip(STAINS, ("w1", "w2", "w4"), strict=True)
                },
                "Image_PathName_DAPI": f"{field.plate.partition('_')[0]}/{field.plate}",
                "Image_Metadata_Plate_DAPI": field.plate,
                "Image_Metadata_Well_DAPI": field.well,
                "Replicate": field.replicate,
                "Image_Metadata_Compound": field.compound,
                "Image_Metadata_Concentration": field.dose_um,
            }
            for field in fields.itertuples()
        ]
    )


def frozen_mechanisms() -> pd.DataFrame:
    """BBBC021_v1_moa.csv of the tier's compounds, as compounds.csv records it."""
    table = load_compounds()
    rows = [
        {"compound": row.compound, "concentration": float(dose), "moa": row.moa}
        for row in table[table["moa"] != ""].itertuples()
        for dose in row.moa_doses_um.split("|")
    ]
    return pd.DataFrame([*rows, {"compound": "DMSO", "concentration": 0.0, "moa": "DMSO"}])


def write_mechanisms(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frozen_mechanisms().to_csv(folder / "moa.csv", index=False)
    return folder / "moa.csv"


def rendered_source() -> np.ndarray:
    """A simulated field in 16 bits, (3, 512, 512): DNA, tubulin, actin."""
    image = render({}, plate_optics("1", "T01"), 7, 512)
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)).astype(np.uint16) * 257


def window(source: np.ndarray, name: str) -> np.ndarray:
    """The (3, 1024, 1280) window of the reflected tiling of `source` (3, H, W) that belongs to a file name."""
    tiling = np.concatenate([source, source[:, ::-1]], axis=1)
    tiling = np.concatenate([tiling, tiling[:, :, ::-1]], axis=2)
    digest = hashlib.sha256(name.encode()).digest()
    top, left = (int.from_bytes(digest[start : start + 4], "big") for start in (8, 12))
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


def made_rows(n: int = 2) -> pd.DataFrame:
    """Rows as the image table has them, of one plate: the first half vehicle, the rest taxol."""
    rows = [
        {
            "TableNumber": 4,
            "ImageNumber": number,
            **{
                f"Image_FileName_{stain}": f"G10_s{number}_w{mark}A.tif"
                for stain, mark in zip(STAINS, (1, 2, 4), strict=True)
            },
            **{f"Image_PathName_{stain}": f"Week1/{MADE_PLATE}" for stain in STAINS},
            "Image_Metadata_Plate_DAPI": MADE_PLATE,
            "Image_Metadata_Well_DAPI": "G10",
            "Replicate": 1,
            "Image_Metadata_Compound": "DMSO" if number <= n // 2 else "taxol",
            "Image_Metadata_Concentration": 0.0 if number <= n // 2 else 0.3,
        }
        for number in range(1, n + 1)
    ]
    return pd.DataFrame(rows)


def made_source() -> np.ndarray:
    """Noise, uint16 (3, 64, 80): DNA, tubulin, actin."""
    return np.random.default_rng(0).integers(200, 4000, (3, 64, 80), dtype=np.uint16)


def made_plate(folder: Path, rows: pd.DataFrame, source: np.ndarray) -> Path:
    """`lay_out` with a mechanism table of one row."""
    folder.mkdir(parents=True)
    mechanisms = folder / "moa.csv"
    mechanisms.write_text("compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n")
    return lay_out(folder / "images", rows, source, mechanisms)


def rewrite_zip(folder: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """Change the members, name to content, of the made plate's zip."""
    path = folder / f"BBBC021_v1_images_{MADE_PLATE}.zip"
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    edit(members)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lay CC0 pixels out as BBBC021, for docs/morphogene-run.md.")
    parser.add_argument("data", type=Path, help="folder of the real test files")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--wells", type=int, default=4, help="wells per plate and compound")
    parser.add_argument("--sites", type=int, default=3, help="fields per well, up to 4")
    asked = parser.parse_args()
    shown = real_rows(asked.data, SHOWN_PLATES, SHOWN_COMPOUNDS, asked.wells, asked.sites)
    lay_out(asked.out, shown, tifffile.imread(asked.data / PIXELS), asked.data / MECHANISMS)
    print(f"{asked.out}: {len(shown)} fields on {len(SHOWN_PLATES)} plates")
