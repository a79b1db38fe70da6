"""Mechanism activities -> parameters of a cell population: the table of what each BBBC021 mechanism does to MCF7 cells.

Lengths are in reference pixels, 1/128 of the image side (about 1 um); intensities are relative to a vehicle cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from morphobench.datasets.simulate.culture import AVERAGE, Culture, cultured
from morphobench.datasets.simulate.mechanisms import MECHANISMS
from morphobench.errors import BadInput


@dataclass(frozen=True)
class PopulationParams:
    """What the cells of one image are drawn from. The defaults are vehicle (DMSO) cells."""

    count: float = 21.0
    """Mean number of cells whose centre lies in the image."""
    nuclear_radius: float = 6.4
    nuclear_radius_cv: float = 0.11
    nuclear_elongation: float = 1.18
    nuclear_irregularity: float = 0.03
    """Relative amplitude of the lobes of the nuclear outline."""
    nuclear_intensity: float = 1.0
    chromatin_texture: float = 0.14
    """Relative standard deviation of the DNA stain inside a nucleus."""
    nucleoli: float = 2.6
    """Mean number per nucleus."""
    mitotic: float = 0.05
    monopolar: float = 0.0
    """Fraction of mitotic cells arrested as monoasters."""
    scattered: float = 0.0
    """Fraction of mitotic cells without a spindle, chromosomes scattered (prometaphase arrest)."""
    apoptotic: float = 0.015
    binucleate: float = 0.02
    multinucleate: float = 0.01
    """Fraction of cells with a nucleus broken into micronuclei."""
    rounded: float = 0.03
    """Fraction of interphase cells that have rounded up."""
    cell_radius: float = 14.0
    cell_radius_cv: float = 0.12
    cell_elongation: float = 1.15
    arborisation: float = 0.0
    """Depth of the retractions that leave thin processes, 0..1."""
    adhesion: float = 0.6
    """0: cells avoid each other; 1: compact islands."""
    tubulin: float = 1.0
    tubulin_fibres: float = 1.0
    """Share of tubulin in fibres; the rest is diffuse."""
    tubulin_bundling: float = 0.0
    """Share of fibres in thick peripheral bundles that do not start at the centrosome."""
    tubulin_perinuclear: float = 0.4
    """Tubulin piled up around the nucleus."""
    actin: float = 1.0
    actin_cortex: float = 1.0
    stress_fibres: float = 0.2
    actin_puncta: float = 0.05
    heterogeneity: float = 0.24
    """Log-scale standard deviation of each cell's stain intensity."""
    debris: float = 0.8
    """Mean number of specks of dead cells in the field."""


RANGES: dict[str, tuple[float, float]] = {
    "count": (2.0, 30.0),
    "nuclear_radius": (4.0, 12.0),
    "nuclear_elongation": (1.0, 2.0),
    "nuclear_irregularity": (0.0, 0.25),
    "chromatin_texture": (0.03, 0.4),
    "nucleoli": (0.0, 5.0),
    "mitotic": (0.0, 0.75),
    "apoptotic": (0.0, 0.5),
    "cell_radius": (8.0, 22.0),
    "cell_elongation": (1.0, 3.0),
    "nuclear_intensity": (0.4, 1.6),
    "tubulin": (0.2, 2.2),
    "tubulin_perinuclear": (0.0, 1.5),
    "actin": (0.2, 2.0),
    "actin_cortex": (0.1, 2.2),
    "debris": (0.0, 12.0),
}
"""Where several mechanisms add up, values stop here; fields without an entry stay in 0..1."""

SCALES = ("count", "cell_radius", "nuclear_radius", "nuclear_intensity", "tubulin", "actin")
"""Sizes and amounts move by factors, so that their products (covered area, integrated stain) rise or fall with the
dose all the way; the other parameters move by differences."""

PHENOTYPES: dict[str, dict[str, float]] = {
    # Retracted, branching cells; the cortex breaks into aggregates; failed cytokinesis leaves two nuclei.
    "Actin disruptors": {
        "count": 13, "cell_radius": 13.5, "arborisation": 0.85, "actin_puncta": 1.0, "actin_cortex": 0.25,
        "stress_fibres": 0.0, "actin": 1.15, "binucleate": 0.32, "adhesion": 0.35, "mitotic": 0.02,
        "nuclear_irregularity": 0.07,
    },
    # Failed division without arrest: few, very large, polyploid cells with lobed or double nuclei.
    "Aurora kinase inhibitors": {
        "count": 8, "nuclear_radius": 10.4, "nuclear_radius_cv": 0.25, "nuclear_irregularity": 0.15,
        "binucleate": 0.22, "multinucleate": 0.08, "cell_radius": 19.5, "mitotic": 0.02, "tubulin": 0.85,
        "nuclear_intensity": 0.9, "nucleoli": 4.0,
    },
    # Statins: the loss of Rho prenylation leaves few, spindle-shaped cells that lie apart.
    "Cholesterol-lowering": {
        "count": 11, "cell_elongation": 2.7, "cell_radius": 11.5, "nuclear_elongation": 1.65, "nuclear_radius": 6.0,
        "adhesion": 0.05, "actin_cortex": 0.6, "stress_fibres": 0.1, "arborisation": 0.25, "tubulin": 1.25,
        "mitotic": 0.015,
    },
    # Arrest with continued growth: few flat cells, large uneven nuclei, stress fibres.
    "DNA damage": {
        "count": 9, "nuclear_radius": 9.0, "nuclear_radius_cv": 0.2, "cell_radius": 18.0, "mitotic": 0.0,
        "chromatin_texture": 0.25, "apoptotic": 0.07, "nuclear_intensity": 0.75, "nuclear_irregularity": 0.07,
        "stress_fibres": 0.75, "nucleoli": 3.6, "debris": 3.0,
    },
    # S-phase arrest: enlarged, round, smooth, bright nuclei with one nucleolus; no mitoses.
    "DNA replication": {
        "count": 15, "nuclear_radius": 8.3, "nuclear_elongation": 1.05, "cell_radius": 15.5, "mitotic": 0.0,
        "chromatin_texture": 0.05, "nucleoli": 1.0, "nuclear_intensity": 1.3, "tubulin": 0.8, "apoptotic": 0.03,
    },
    # Monoasters: round cells with a ring of chromosomes about one pole.
    "Eg5 inhibitors": {
        "count": 14, "mitotic": 0.62, "monopolar": 1.0, "apoptotic": 0.07, "multinucleate": 0.05, "adhesion": 0.45,
    },
    # Tight, compact islands with strong cell-cell borders.
    "Epithelial": {
        "count": 19, "adhesion": 1.0, "cell_radius": 11.5, "actin_cortex": 2.0, "actin": 1.15,
        "cell_elongation": 1.03, "mitotic": 0.02, "nuclear_radius": 5.6, "nuclear_elongation": 1.06, "tubulin": 0.85,
        "stress_fibres": 0.05,
    },
    # The mildest: somewhat fewer, flatter cells with less tubulin and thinner borders.
    "Kinase inhibitors": {
        "count": 14, "cell_radius": 15.5, "tubulin": 0.75, "actin_cortex": 0.65, "mitotic": 0.02,
        "stress_fibres": 0.4, "nuclear_radius": 6.9, "tubulin_perinuclear": 0.75,
    },
    # No fibres: diffuse tubulin, rounded cells, scattered chromosomes, fragmented nuclei after slippage.
    "Microtubule destabilizers": {
        "count": 11, "mitotic": 0.38, "scattered": 1.0, "rounded": 0.35, "multinucleate": 0.38,
        "tubulin_fibres": 0.03, "tubulin": 0.75, "cell_radius": 11.0, "apoptotic": 0.09, "adhesion": 0.35,
        "tubulin_perinuclear": 0.1, "debris": 3.0,
    },
    # Thick peripheral bundles, bright tubulin, multi-micronucleated cells.
    "Microtubule stabilizers": {
        "count": 11, "multinucleate": 0.7, "tubulin_bundling": 1.0, "tubulin": 1.45, "mitotic": 0.12, "scattered": 0.6,
        "cell_radius": 15.0, "apoptotic": 0.05,
    },
    # Proteasome: few, shrunken, round, dying cells; tubulin in a perinuclear aggresome.
    "Protein degradation": {
        "count": 6, "rounded": 0.5, "apoptotic": 0.32, "cell_radius": 10.5, "nuclear_radius": 5.6, "adhesion": 0.2,
        "tubulin_perinuclear": 1.3, "tubulin_fibres": 0.35, "mitotic": 0.03, "nuclear_intensity": 1.2,
        "arborisation": 0.2, "debris": 6.0,
    },
    # Fewer, smaller, dim cells with smooth nuclei that have lost their nucleoli.
    "Protein synthesis": {
        "count": 11, "nuclear_radius": 5.7, "cell_radius": 11.5, "tubulin": 0.45, "actin": 0.5, "nucleoli": 0.2,
        "chromatin_texture": 0.08, "mitotic": 0.0, "nuclear_intensity": 0.75, "tubulin_perinuclear": 0.1,
        "stress_fibres": 0.1,
    },
}  # fmt: skip
"""Field values at activity 1; a field that a mechanism does not name keeps the vehicle's value."""


def population_params(activities: Mapping[str, float], culture: Culture = AVERAGE) -> PopulationParams:
    """Vehicle parameters moved toward each mechanism's, in proportion to its activity, then to the culture's.

    The effects of mechanisms add up (those on SCALES multiply) and are clipped to RANGES. The culture multiplies what
    they leave, by a bounded factor, and is not clipped: under any culture a stronger activity does more.

    Raises BadInput for an unknown mechanism or an activity outside [0, 1].
    """
    for name, activity in activities.items():
        if name not in PHENOTYPES:
            raise BadInput(f"mechanism {name!r}: not one of {', '.join(MECHANISMS)}")
        if not 0.0 <= activity <= 1.0:
            raise BadInput(f"activity of {name!r} is {activity}: give a value in [0, 1]")
    vehicle = PopulationParams()
    values: dict[str, float] = {}
    for name in (f.name for f in fields(PopulationParams)):
        base = float(getattr(vehicle, name))
        # In the table's order, so that the sum does not depend on the order of the mapping.
        pulls = [(activities.get(m, 0.0), PHENOTYPES[m][name]) for m in MECHANISMS if name in PHENOTYPES[m]]
        if name in SCALES:
            moved = base * math.prod((target / base) ** activity for activity, target in pulls)
        else:
            moved = base + sum(activity * (target - base) for activity, target in pulls)
        low, high = RANGES.get(name, (0.0, 1.0))
        values[name] = cultured(name, min(max(moved, low), high), culture)
    return PopulationParams(**values)
