"""Swapped conditions: the same images asked for again, with another compound's drug or another plate's RNA.

What a model draws for them tells whether it uses the drug and the RNA. Which conditions are swapped and with what is a
function of a track's conditions and of the annotated mechanisms alone, the same for everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from morphobench.datasets.sim import RENDERER_VERSION
from morphobench.datasets.simulate.culture import plate_culture, well_culture
from morphobench.datasets.simulate.mechanisms import activities
from morphobench.datasets.simulate.well import well_of
from morphobench.datasets.tier import Tier
from morphobench.schema import Conditions
from morphobench.storage import sha256_text

Kind = Literal["drug", "rna"]
KINDS: tuple[Kind, ...] = ("drug", "rna")
SEED = 0
"""Of the pairing. Frozen: nobody chooses the pairs."""
IMAGES: dict[Kind, int] = {"drug": 2, "rna": 1}
"""Swapped images per compound, each on another plate: 294 on the sim tier, a fifth of what a model draws anyway."""
REFUSED = 10.0
"""Cost of a pair that must not be, against random costs below 1 of all others."""


@dataclass(frozen=True, eq=False)
class Swap:
    """Some conditions of a track with one cause replaced.

    rows: positions of the conditions they were made from (N,). conditions: what a model is asked for instead (N).
    units: what was swapped, a compound or a plate, (N,); toward: unit -> the unit it was swapped for.
    compared: which of the track's real images show the change from unit to unit, bool (T,).
    reason: why nothing can be swapped; all else is empty then.
    """

    kind: Kind
    rows: np.ndarray
    conditions: Conditions
    units: np.ndarray
    toward: Mapping[str, str]
    compared: np.ndarray
    reason: str = ""

    def __len__(self) -> int:
        return len(self.rows)


def place(track: str, kind: Kind) -> str:
    """The name that the images of a swap go by in a submission: `id@drug-swap`."""
    return f"{track}@{kind}-swap"


def swaps(tier: Tier, conditions: Conditions) -> dict[Kind, Swap]:
    """Both swaps of a track's conditions."""
    column = "mechanism" if "mechanism" in tier.compounds else "moa"
    mechanisms = dict(zip(tier.compounds["compound"], tier.compounds[column], strict=True))
    return {"drug": drug_swap(conditions, mechanisms), "rna": rna_swap(conditions)}


def swapped_conditions(track: str, planned: Mapping[Kind, Swap]) -> dict[str, Conditions]:
    """What a model is asked for besides a track's own conditions, by `place`; nothing for a swap that cannot be."""
    return {place(track, kind): swap.conditions for kind, swap in planned.items() if len(swap)}


def drug_swap(conditions: Conditions, mechanisms: Mapping[str, str]) -> Swap:
    """Each compound takes the drug of another one: compound, SMILES and dose; plate and G_pre stay.

    The pairs are a derangement: every compound gives its drug once. The two differ in mechanism, if it is known, and
    share two plates at least, on which real images show the difference. Compounds for which that cannot be are left
    out. Swapped are images at the highest tested dose, for the other compound's highest one.
    """
    compounds, plates, doses = _columns(conditions)
    names = np.unique(compounds)
    top = doses == np.array([doses[compounds == compound].max() for compound in compounds])
    places = {name: set(plates[top & (compounds == name)]) for name in names}
    forbidden = np.array(
        [[_same_effect(a, b, mechanisms) or len(places[a] & places[b]) < 2 for b in names] for a in names]
    )
    cost = np.random.default_rng(SEED).random(forbidden.shape) + REFUSED * forbidden
    pairs = [(names[a], names[b]) for a, b in zip(*linear_sum_assignment(cost), strict=True) if not forbidden[a, b]]
    if not pairs:
        return _none("drug", conditions, "no two compounds of different mechanisms share two plates")
    rows, donors = [], []
    for number, (own, other) in enumerate(pairs):
        shared = sorted(places[own] & places[other])
        for image in range(IMAGES["drug"]):
            plate = shared[(number + image * max(1, len(shared) // 2)) % len(shared)]
            rows.append(np.flatnonzero(top & (compounds == own) & (plates == plate))[0])
            donors.append(np.flatnonzero(top & (compounds == other))[0])
    records = tuple(
        conditions.records[row].model_copy(
            update={
                "compound": conditions.records[donor].compound,
                "smiles": conditions.records[donor].smiles,
                "dose_um": conditions.records[donor].dose_um,
                "swapped_from": conditions.records[row].compound,
            }
        )
        for row, donor in zip(rows, donors, strict=True)
    )
    asked = Conditions(records, conditions.g_pre[rows], conditions.genes)
    toward = {str(own): str(other) for own, other in pairs}
    return Swap("drug", np.array(rows), asked, compounds[rows], toward, top)


def rna_swap(conditions: Conditions) -> Swap:
    """An image of each compound takes the G_pre of another plate; drug, dose and the plate's name stay.

    Possible where G_pre is that of the image's plate and differs between plates.
    """
    compounds, plates, _ = _columns(conditions)
    names = np.unique(plates)
    first = {plate: np.flatnonzero(plates == plate)[0] for plate in names}
    if any((conditions.g_pre[plates == plate] != conditions.g_pre[first[plate]]).any() for plate in names):
        return _none("rna", conditions, "G_pre of this track is not that of the plates of its images")
    if len(np.unique(conditions.g_pre, axis=0)) < max(2, len(names)):
        return _none("rna", conditions, "G_pre of this track is the same on several plates")
    shuffled = np.random.default_rng(SEED).permutation(names)
    toward = {str(plate): str(other) for plate, other in zip(shuffled, np.roll(shuffled, 1), strict=True)}
    rows = []
    for number, compound in enumerate(np.unique(compounds)):
        mine = np.flatnonzero(compounds == compound)
        places = np.unique(plates[mine])
        rows.append(mine[plates[mine] == places[number % len(places)]][0])
    records = tuple(
        record.model_copy(update={"swapped_from": record.compound}) for record in (conditions.records[r] for r in rows)
    )
    donors = [first[toward[str(plates[row])]] for row in rows]
    asked = Conditions(records, conditions.g_pre[donors], conditions.genes)
    return Swap("rna", np.array(rows), asked, plates[rows], toward, np.ones(len(conditions), dtype=bool))


def _columns(conditions: Conditions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compound, plate and dose of each condition."""
    return (
        np.array([record.compound for record in conditions], dtype=str),
        np.array([record.plate for record in conditions], dtype=str),
        np.array([record.dose_um for record in conditions], dtype=float),
    )


def _same_effect(one: str, other: str, mechanisms: Mapping[str, str]) -> bool:
    mechanism = mechanisms.get(one, "")
    return one == other or (mechanism != "" and mechanism == mechanisms.get(other, ""))


def _none(kind: Kind, conditions: Conditions, reason: str) -> Swap:
    nothing = np.zeros(0, dtype=int)
    return Swap(
        kind, nothing, conditions.take(nothing), np.zeros(0, dtype=str), {}, np.zeros(len(conditions), bool), reason
    )


class SwappedTruth:
    """What the real images of a swap would have been under it: counterfactuals of the sim tier (an `ImageSet`)."""

    def __init__(self, tier: Tier, track: str, swap: Swap) -> None:
        """Rendered when they are asked for, with the random numbers of the real samples."""
        self._spec, self._swap = tier.spec, swap
        self._samples = tier.test_rows(track).iloc[swap.rows]

    def __len__(self) -> int:
        return len(self._swap)

    def digest(self) -> str:
        """Hash of the tier, the renderer's version, the samples and what was swapped."""
        causes = [
            f"{sample}:{unit}>{self._swap.toward[unit]}@{record.dose_um:g}"
            for sample, unit, record in zip(
                self._samples["sample_id"], self._swap.units, self._swap.conditions, strict=True
            )
        ]
        return sha256_text(self._spec.name, self._spec.version, RENDERER_VERSION, self._swap.kind, *causes)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 arrays (<= size, H, W, 3), in order."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (len(rows), H, W, 3)."""
        return np.stack([self._image(int(row)) for row in rows])

    def _image(self, row: int) -> np.ndarray:
        version, record = self._spec.version, self._swap.conditions.records[row]
        well = well_of(version, self._samples.iloc[row])
        if self._swap.kind == "drug":
            compound, dose = record.compound, record.dose_um
            well = replace(well, compound=compound, dose_um=dose, activities=activities(compound, dose))
        else:
            culture = plate_culture(version, self._swap.toward[str(self._swap.units[row])])
            well = replace(well, culture=well_culture(version, well.sample_id, culture))
        return well.image(self._spec.image_size)
