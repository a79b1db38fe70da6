"""Derive compounds.csv, landmarks.csv and gene_sets.csv.gz of morphobench/datasets, then its SHA256SUMS.

    python scripts/derive_manifest.py --compounds C --moa M --image-table I --geneinfo G --gmt S [--out FOLDER]
    python scripts/derive_manifest.py --sums-only

Sources and licences:
  --compounds    table of the 98 compounds in BBBC021 order (facts): SMILES where the Morgan fingerprint of BBBC021's
                 own structure was reproduced, that fingerprint's hash, L1000 ids by exact name and by structure (LINCS
                 2020 and GSE92742, CC BY 4.0), the paper's cohort as inferred and how sure that is.
  --moa          BBBC021_v1_moa.csv, Broad Bioimage Benchmark Collection, metadata (Ljosa 2012; Caie 2010).
  --image-table  BBBC021_v1_image.csv[.gz], same source: doses, images, wells and plates are counted here.
  --geneinfo     LINCS geneinfo of the 978 landmark genes, CC BY 4.0; its order is the order of every expression vector.
  --gmt          GO Biological Process 2023 as a GMT file, CC BY 4.0 (The Gene Ontology Consortium).
"""

from __future__ import annotations

import argparse
import gzip
import io
from pathlib import Path

import pandas as pd

from morphobench import storage
from morphobench.datasets.frozen import COMPOUND_COLUMNS, check_structures

DATASETS = Path(__file__).parents[1] / "morphobench" / "datasets"
SET_SIZE = (5, 200)
KEPT_TERMS = ("GO:0001558", "GO:0006260", "GO:2001233")
"""Terms of the paper's Figure 5: kept down to three landmark genes."""
HASHED = (
    "*.csv",
    "*.csv.gz",
    "splits/*.csv",
    "splits/*.csv.gz",
    "simulate/*.csv",
    "tiers/sim.toml",
    "features/sim/*.safetensors",
    "controls/sim.json",
)


def derive_compounds(table: Path, moa: Path, image_table: Path) -> pd.DataFrame:
    """One row per compound, columns COMPOUND_COLUMNS; doses and counts from the image table, moa from the MoA table."""
    source = pd.read_csv(table, keep_default_na=False)
    images = pd.read_csv(image_table).rename(columns=lambda name: name.removeprefix("Image_Metadata_"))
    mechanisms = pd.read_csv(moa)
    rows = []
    for row in source.itertuples():
        of = images[images["Compound"] == row.compound]
        active = mechanisms[mechanisms["compound"] == row.compound].sort_values("concentration")
        rows.append(
            {
                "order": row.order,
                "compound": row.compound,
                "smiles": row.smiles,
                "fingerprint_sha256": row.bbbc_morgan2_1024_sha256,
                "doses_um": join_doses(sorted(of["Concentration"].unique())),
                "moa": "|".join(active["moa"].unique()),
                "moa_doses_um": join_doses(active["concentration"]),
                "l1000_match": row.l1000_match,
                "l1000_pert_ids": row.l1000_pert_ids,
                "l1000_names": row.l1000_names,
                "mcf7_evidence": row.mcf7_evidence,
                "cohort": row.paper_cohort_inferred,
                "cohort_confidence": row.inference_confidence,
                "structure_matched": row.mcf7_evidence != "",
                "n_images": len(of),
                "n_wells": len(of[["Plate_DAPI", "Well_DAPI"]].drop_duplicates()),
                "n_plates": of["Plate_DAPI"].nunique(),
            }
        )
    compounds = pd.DataFrame(rows, columns=list(COMPOUND_COLUMNS))
    check_structures(compounds)
    return compounds


def join_doses(doses: object) -> str:
    """Doses in their shortest decimal form, "|" between them."""
    return "|".join(f"{dose:.6g}" for dose in doses)  # type: ignore[attr-defined]


def derive_landmarks(geneinfo: Path) -> pd.DataFrame:
    """entrez_id and symbol of the landmark genes, in the file's order."""
    genes = pd.read_csv(geneinfo, sep="\t", keep_default_na=False)
    genes = genes[genes["feature_space"] == "landmark"]
    return genes.rename(columns={"gene_id": "entrez_id", "gene_symbol": "symbol"})[["entrez_id", "symbol"]]


def derive_gene_sets(gmt: Path, symbols: set[str]) -> pd.DataFrame:
    """term and "|"-joined landmark genes of every set whose landmark count lies in SET_SIZE, in the file's order."""
    rows = []
    for line in gmt.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        term, _, *genes = line.split("\t")
        present = [gene for gene in genes if gene in symbols]
        fewest = 3 if any(kept in term for kept in KEPT_TERMS) else SET_SIZE[0]
        if fewest <= len(present) <= SET_SIZE[1]:
            rows.append((term, "|".join(present)))
    return pd.DataFrame(rows, columns=["term", "genes"])


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV, gzipped without a time stamp if the name ends in .gz, so that equal tables are equal bytes."""
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    data = text.getvalue().encode()
    with storage.atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(data, compresslevel=9, mtime=0) if path.suffix == ".gz" else data)


def write_sums(folder: Path) -> None:
    """Hash every frozen table and the sim tier's TOML into `folder/SHA256SUMS`, sorted by name."""
    paths = sorted({path for pattern in HASHED for path in folder.glob(pattern)})
    lines = [f"{storage.sha256_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    storage.atomic_write_text(folder / "SHA256SUMS", "".join(lines))


def main() -> None:
    """Parse the arguments and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("compounds", "moa", "image-table", "geneinfo", "gmt"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--out", type=Path, default=DATASETS)
    parser.add_argument("--sums-only", action="store_true", help="hash the tables as they are")
    given = parser.parse_args()
    if not given.sums_only:
        landmarks = derive_landmarks(given.geneinfo)
        write_csv(derive_compounds(given.compounds, given.moa, given.image_table), given.out / "compounds.csv")
        write_csv(landmarks, given.out / "landmarks.csv")
        write_csv(derive_gene_sets(given.gmt, set(landmarks["symbol"])), given.out / "gene_sets.csv.gz")
    write_sums(given.out)


if __name__ == "__main__":
    main()
