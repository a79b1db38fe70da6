"""How far held-out compounds are from those that were trained on: structure, scaffold, mechanism.

Scores of unseen compounds mean little without it: an analogue of a training compound is less unseen than others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from morphobench.datasets.frozen import morgan_fingerprint


def distances(compounds: pd.DataFrame, held_out: Sequence[str], trained: Sequence[str]) -> pd.DataFrame:
    """One row per held-out compound, in the order given.

    compounds: columns compound, smiles and moa ("" where unknown).
    Columns: compound; tanimoto, the largest similarity to a trained compound (Morgan fingerprint, radius 2, 1,024
    bits); neighbour, the trained compound that has it (the first by name of equals); scaffold_seen, whether a trained
    compound has its Bemis-Murcko scaffold (J. Med. Chem. 1996, 39:2887); mechanism and mechanism_seen, whether a
    trained compound has its BBBC021 mechanism. NaN, "" and <NA> where the structure is unknown (or acyclic: it has no
    scaffold), and <NA> where no mechanism is annotated.
    """
    table = compounds.set_index("compound")
    with_structure = [name for name in sorted(trained) if table.loc[name, "smiles"]]
    bits = np.array([morgan_fingerprint(table.loc[name, "smiles"]) for name in with_structure], dtype=bool)
    scaffolds = {scaffold(table.loc[name, "smiles"]) for name in with_structure}
    mechanisms = {table.loc[name, "moa"] for name in trained}
    rows = []
    for name in held_out:
        smiles, mechanism = table.loc[name, "smiles"], table.loc[name, "moa"]
        similarity, neighbour, seen = np.nan, "", pd.NA
        if smiles and with_structure:
            query = morgan_fingerprint(smiles).astype(bool)
            tanimoto = (bits & query).sum(axis=1) / (bits | query).sum(axis=1)
            similarity, neighbour = float(tanimoto.max()), with_structure[int(tanimoto.argmax())]
            seen = scaffold(smiles) in scaffolds if scaffold(smiles) else pd.NA
        rows.append((name, similarity, neighbour, seen, mechanism, mechanism in mechanisms if mechanism else pd.NA))
    columns = ["compound", "tanimoto", "neighbour", "scaffold_seen", "mechanism", "mechanism_seen"]
    distances = pd.DataFrame(rows, columns=columns)
    return distances.astype({"tanimoto": float, "scaffold_seen": "boolean", "mechanism_seen": "boolean"})


def scaffold(smiles: str) -> str:
    """Bemis-Murcko scaffold of a valid structure: canonical SMILES without stereochemistry, "" where it has no ring."""
    return str(MurckoScaffold.MurckoScaffoldSmiles(mol=Chem.MolFromSmiles(smiles)))
