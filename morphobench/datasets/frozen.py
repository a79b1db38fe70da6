"""The frozen tables: 98 compounds, 978 landmark genes, the gene sets on them. Every read checks the file's SHA-256.

`scripts/derive_manifest.py` says where each column comes from.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

from morphobench import storage
from morphobench.datasets.tables import read_own
from morphobench.errors import BadInput

HERE = Path(__file__).parent
FINGERPRINT_BITS = 1024
COMPOUND_COLUMNS = (
    "order",
    "compound",
    "smiles",
    "fingerprint_sha256",
    "doses_um",
    "moa",
    "moa_doses_um",
    "l1000_match",
    "l1000_pert_ids",
    "l1000_names",
    "mcf7_evidence",
    "cohort",
    "cohort_confidence",
    "structure_matched",
    "n_images",
    "n_wells",
    "n_plates",
)
"""Of `compounds.csv`. `cohort` is the paper's split, ID or OOD, as inferred with `cohort_confidence`;
`structure_matched` is true where the compound has MCF7 L1000 profiles under any name. Lists are separated by "|", doses
are micromolar."""


def load_compounds(folder: Path = HERE) -> pd.DataFrame:
    """The 98 compounds in BBBC021 order, columns COMPOUND_COLUMNS; an unknown value is an empty string.

    Raises BadInput that names the file if a byte of it changed.
    """
    return read_table(folder, "compounds.csv")


def load_landmarks(folder: Path = HERE) -> pd.DataFrame:
    """The 978 L1000 landmark genes, columns `entrez_id` (int) and `symbol`, in the order of every expression vector.

    Raises BadInput that names the file if a byte of it changed.
    """
    return read_table(folder, "landmarks.csv")


def load_gene_sets(folder: Path = HERE) -> dict[str, tuple[str, ...]]:
    """GO Biological Process 2023 restricted to landmark genes: {term with its GO id: landmark symbols}.

    Raises BadInput that names the file if a byte of it changed.
    """
    table = read_table(folder, "gene_sets.csv.gz")
    return {term: tuple(genes.split("|")) for term, genes in zip(table["term"], table["genes"], strict=True)}


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """A CSV of `folder`, verified; empty fields stay "". BadInput names the file if a byte of it changed."""
    return read_own(verified(folder, name))


def verified(folder: Path, name: str) -> Path:
    """Path of `folder/name` after its hash was found equal to the one in `folder/SHA256SUMS`; BadInput otherwise."""
    sums = storage.read_sums(folder)
    if name not in sums:
        raise BadInput(f"{folder / 'SHA256SUMS'}: no line for {name}; restore the shipped file")
    return storage.verify_file(folder, name, sums[name])


def doses(compounds: pd.DataFrame, compound: str) -> tuple[float, ...]:
    """The dose series of a compound in BBBC021, micromolar, ascending; BadInput if it is not in the table."""
    rows = compounds.loc[compounds["compound"] == compound, "doses_um"]
    if rows.empty:
        raise BadInput(f"compound {compound!r}: not one of the {len(compounds)} in compounds.csv")
    return tuple(float(dose) for dose in str(rows.iloc[0]).split("|"))


def parse_smiles(smiles: str) -> Chem.Mol:
    """The molecule of a SMILES.

    Raises BadInput if it does not parse, or holds more than a molecule: RDKit passes over a name that follows.
    """
    with rdBase.BlockLogs():  # the toolkit's complaint spans lines; BadInput says it in one
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not smiles:
        raise BadInput(f"SMILES {smiles!r}: does not parse; give a valid one or leave it empty")
    if not smiles.isascii() or re.search(r"\s", smiles):
        raise BadInput(f"SMILES {smiles!r}: more than a molecule; give its SMILES alone")
    return molecule


def morgan_fingerprint(smiles: str, radius: int = 2, bits: int = FINGERPRINT_BITS) -> np.ndarray:
    """Morgan fingerprint (Rogers and Hahn 2010): uint8 (bits,) of 0 and 1. Raises BadInput as `parse_smiles`."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    return np.asarray(generator.GetFingerprintAsNumPy(parse_smiles(smiles)), dtype=np.uint8)


def fingerprint_sha256(smiles: str) -> str:
    """SHA-256 of the 128 bytes of the Morgan fingerprint, bit 0 the highest of the first byte (`numpy.packbits`)."""
    return storage.sha256_bytes(np.packbits(morgan_fingerprint(smiles)).tobytes())


def check_structures(compounds: pd.DataFrame) -> None:
    """Raise BadInput that names the first compound whose SMILES does not parse or whose fingerprint hash differs."""
    for row in compounds[compounds["smiles"] != ""].itertuples():
        try:
            actual = fingerprint_sha256(row.smiles)
        except BadInput as error:
            raise BadInput(f"compound {row.compound!r}: {error}") from error
        if actual != row.fingerprint_sha256:
            raise BadInput(
                f"compound {row.compound!r}: SMILES gives fingerprint {actual[:12]}..., not the recorded one"
            )
