"""The structural model of the sim tier: compound and dose -> activity of BBBC021's twelve mechanisms.

`sim_mechanisms.csv` gives each compound its mechanisms with a weight, an EC50 and a Hill slope. For the compounds that
BBBC021 annotates, the mechanism is theirs and the EC50 is half of their lowest active dose, or a sixth of the top dose
where that is less; for the others both are informed guesses (column `basis`) that keep compounds of similar structure
together. The table drives a simulation and claims nothing about the real drugs.
"""

from __future__ import annotations

from functools import cache

import pandas as pd

from morphobench.datasets.frozen import HERE, read_table
from morphobench.errors import BadInput

MECHANISMS = (
    "Actin disruptors",
    "Aurora kinase inhibitors",
    "Cholesterol-lowering",
    "DNA damage",
    "DNA replication",
    "Eg5 inhibitors",
    "Epithelial",
    "Kinase inhibitors",
    "Microtubule destabilizers",
    "Microtubule stabilizers",
    "Protein degradation",
    "Protein synthesis",
)
"""The names of BBBC021's mechanism table, DMSO apart."""
INACTIVE = "inactive"
VEHICLE = "DMSO"


@cache
def mechanism_table() -> pd.DataFrame:
    """compound, mechanism (one of MECHANISMS or "inactive"), weight in [0, 1], ec50_um, hill, basis: one row per pair.

    Raises BadInput that names the file if a byte of it changed.
    """
    return read_table(HERE, "simulate/sim_mechanisms.csv")


@cache
def _parameters() -> dict[str, tuple[tuple[str, float, float, float], ...]]:
    parameters: dict[str, tuple[tuple[str, float, float, float], ...]] = {VEHICLE: ()}
    for row in mechanism_table().itertuples():
        entry = () if row.mechanism == INACTIVE else ((row.mechanism, row.weight, row.ec50_um, row.hill),)
        parameters[row.compound] = parameters.get(row.compound, ()) + entry
    return parameters


def activities(compound: str, dose_um: float) -> dict[str, float]:
    """Activity in [0, 1] of each of MECHANISMS for a compound ("DMSO" included) at a dose in micromolar.

    weight * dose^h / (dose^h + EC50^h), the Hill equation, for each mechanism of the compound; 0 for the others.
    Raises BadInput for a compound that is not in the table.
    """
    if compound not in _parameters():
        raise BadInput(f"compound {compound!r}: not in sim_mechanisms.csv; the sim tier knows the 98 of compounds.csv")
    result = dict.fromkeys(MECHANISMS, 0.0)
    for mechanism, weight, ec50, hill in _parameters()[compound]:
        result[mechanism] = weight * dose_um**hill / (dose_um**hill + ec50**hill)
    return result


def occupancy(compound: str, dose_um: float) -> float:
    """How far a compound acts at all at a dose, 0..1: the largest Hill fraction of its rows, inactive ones included.

    Unlike `activities` it knows no weight: what a compound does on its own account also grows from 0 at dose 0.
    Raises BadInput for a compound that is not in the table.
    """
    activities(compound, dose_um)
    return max((dose_um**hill / (dose_um**hill + ec50**hill) for ec50, hill in _potencies()[compound]), default=0.0)


@cache
def _potencies() -> dict[str, tuple[tuple[float, float], ...]]:
    potencies: dict[str, tuple[tuple[float, float], ...]] = {VEHICLE: ()}
    for row in mechanism_table().itertuples():
        potencies[row.compound] = (*potencies.get(row.compound, ()), (row.ec50_um, row.hill))
    return potencies


def main_mechanism(compound: str) -> str:
    """The mechanism of largest weight, or "inactive"."""
    ranked = sorted(_parameters()[compound], key=lambda entry: -entry[1])
    return ranked[0][0] if ranked else INACTIVE
