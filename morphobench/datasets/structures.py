"""Structures of the compounds: the missing ones from BBBC021's own table, and the part of a structure that names it."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from morphobench.datasets import tables
from morphobench.datasets.frozen import fingerprint_sha256
from morphobench.errors import BadInput

COMPOUND_TABLE = "BBBC021_v1_compound.csv"
"""BBBC021's table of names and SMILES, beside its image table; the user's copy, as it may not be shipped."""


def compound_table(images: Path) -> Path | None:
    """BBBC021's compound table in its folder, plain or gzipped; None where it is not there."""
    return tables.find_file(images, COMPOUND_TABLE)


def fill_structures(compounds: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The compounds with the SMILES that they lack taken from BBBC021's compound table (columns compound, smiles).

    Every structure of the table is checked against the recorded fingerprint hash, as it stands and without its salt;
    the form that has the hash is taken. A compound that the table lacks keeps "". Raises BadInput that names file, line
    and compound for a structure that does not parse or has another hash.
    """
    recorded = dict(zip(compounds["compound"], compounds["fingerprint_sha256"], strict=True))
    smiles_of: dict[str, str] = {}
    for line, compound, smiles in _rows(path):
        if compound not in recorded or not smiles:
            continue  # BBBC021 has 15 more names than the tier
        try:
            forms = [smiles, *([_parent(smiles)] if "." in smiles else [])]
            agreed = [form for form in forms if fingerprint_sha256(form) == recorded[compound]]
        except BadInput as error:
            raise BadInput(f"{path}: line {line}: compound {compound!r}: {error}") from error
        if not agreed:
            raise BadInput(
                f"{path}: line {line}: compound {compound!r}: SMILES {smiles} gives fingerprint "
                f"{fingerprint_sha256(smiles)[:12]}..., not the recorded {recorded[compound][:12]}...; restore the "
                "file as BBBC021 ships it"
            )
        smiles_of.setdefault(compound, agreed[0])
    missing = compounds["smiles"] == ""
    filled = compounds["smiles"].where(
        ~missing, compounds["compound"].map(lambda compound: smiles_of.get(compound, ""))
    )
    return compounds.assign(smiles=filled)


def _rows(path: Path) -> list[tuple[int, str, str]]:
    names = ("compound", "smiles")
    table = tables.read_table(
        path, {name: (name,) for name in names}, names, "give the table as BBBC021 ships it", errors="replace"
    )
    # What follows a structure after white space is its name; parsers pass over it, and a model would be given it.
    smiles = [tables.bare(text.partition(" ")[0]) for text in table["smiles"].str.replace(r"\s", " ", regex=True)]
    return list(zip(table.index, table["compound"], smiles, strict=True))


@functools.cache
def skeletons(smiles: str) -> frozenset[str]:
    """First blocks of the InChIKeys of a structure as it stands and of its neutral parent without salts.

    The first block hashes formula and connectivity, so stereoisomers share it. Empty for "" and for SMILES that do not
    parse or have no InChI. Source: Heller et al., J. Cheminform. 2015, 7:23.
    """
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if smiles else None
        if molecule is None:
            return frozenset()
        parent = rdMolStandardize.ChargeParent(molecule)
        carbon = any(atom.GetSymbol() == "C" for atom in parent.GetAtoms())  # all sodium salts would be alike in sodium
        keys = [Chem.MolToInchiKey(form) for form in ([molecule, parent] if carbon else [molecule])]
    return frozenset(key[:14] for key in keys if key)


def _parent(smiles: str) -> str:
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        return Chem.MolToSmiles(rdMolStandardize.FragmentParent(molecule)) if molecule is not None else ""
