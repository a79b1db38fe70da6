"""Simulated log2 expression of the 978 landmark genes, with a truth that enrichment can be held to.

A treated profile is

    gain_plate * (baseline + culture + sum_m activity_m * signature_m + total * stress + reach * own)
        + offset_plate + noise

where signature_m moves whole GO gene sets up or down (PROGRAMMES) and a few genes outside them, `stress` is shared by
all active compounds, `own` is a sparse signature of the compound alone, total = 1 - prod(1 - activity_m) and reach =
0.3 occupancy + 0.7 total; `culture` is the sum of the scores of the well's culture times their programmes
(CULTURE_PROGRAMMES). Everything is drawn from streams seeded by hashes of (tier version, purpose, name): nothing
depends on order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from morphobench.datasets.frozen import load_gene_sets, load_landmarks
from morphobench.datasets.simulate.culture import AVERAGE, Culture, plate_culture, well_culture
from morphobench.datasets.simulate.mechanisms import MECHANISMS, VEHICLE, activities, occupancy
from morphobench.datasets.simulate.seeds import stream

LOWEST, HIGHEST = 5.0, 13.5
"""Range of the baseline, log2: with responses and noise, about the 4 to 15 of L1000 Level 3."""
CENTRE = 8.0
"""Expression that a plate's gain leaves where it is."""


@dataclass(frozen=True)
class Programme:
    """GO terms whose genes a mechanism raises and lowers."""

    up: tuple[str, ...]
    down: tuple[str, ...]


PROGRAMMES = {
    "Actin disruptors": Programme(
        up=("Regulation Of Actin Cytoskeleton Organization (GO:0032956)",),
        down=("Cell-Matrix Adhesion (GO:0007160)", "Regulation Of Focal Adhesion Assembly (GO:0051893)"),
    ),
    "Aurora kinase inhibitors": Programme(
        up=("DNA Damage Response, Signal Transduction By P53 Class Mediator (GO:0030330)",),
        down=("Regulation Of Cytokinesis (GO:0032465)", "Mitotic Sister Chromatid Segregation (GO:0000070)"),
    ),
    "Cholesterol-lowering": Programme(
        up=("Cholesterol Biosynthetic Process (GO:0006695)", "Sterol Homeostasis (GO:0055092)"),
        down=("Small GTPase Mediated Signal Transduction (GO:0007264)",),
    ),
    "DNA damage": Programme(
        up=(
            "Regulation Of Signal Transduction By P53 Class Mediator (GO:1901796)",
            "Nucleotide-Excision Repair (GO:0006289)",
            "Intrinsic Apoptotic Signaling Pathway In Response To DNA Damage (GO:0008630)",
        ),
        down=("G2/M Transition Of Mitotic Cell Cycle (GO:0000086)",),
    ),
    "DNA replication": Programme(
        up=("Mitotic G1 DNA Damage Checkpoint Signaling (GO:0031571)", "Response To UV (GO:0009411)"),
        down=(
            "Positive Regulation Of DNA Biosynthetic Process (GO:2000573)",
            "Regulation Of Mitotic Nuclear Division (GO:0007088)",
        ),
    ),
    "Eg5 inhibitors": Programme(
        up=(
            "Regulation Of Mitotic Spindle Organization (GO:0060236)",
            "Mitotic Metaphase Plate Congression (GO:0007080)",
        ),
        down=("G1/S Transition Of Mitotic Cell Cycle (GO:0000082)",),
    ),
    "Epithelial": Programme(
        up=("Epithelial Cell Differentiation (GO:0030855)", "Homotypic Cell-Cell Adhesion (GO:0034109)"),
        down=("Positive Regulation Of Epithelial To Mesenchymal Transition (GO:0010718)",),
    ),
    "Kinase inhibitors": Programme(
        up=("Negative Regulation Of ERK1 And ERK2 Cascade (GO:0070373)",),
        down=(
            "Protein Autophosphorylation (GO:0046777)",
            "Regulation Of G1/S Transition Of Mitotic Cell Cycle (GO:2000045)",
        ),
    ),
    "Microtubule destabilizers": Programme(
        up=(
            "Mitotic Spindle Organization (GO:0007052)",
            "Positive Regulation Of Stress-Activated MAPK Cascade (GO:0032874)",
        ),
        down=("DNA Replication (GO:0006260)", "Cytoskeleton Organization (GO:0007010)"),
    ),
    "Microtubule stabilizers": Programme(
        up=("Regulation Of Apoptotic Signaling Pathway (GO:2001233)", "Mitotic Spindle Organization (GO:0007052)"),
        down=("Regulation Of Cell Growth (GO:0001558)", "DNA Replication (GO:0006260)"),
    ),
    "Protein degradation": Programme(
        up=("Proteasomal Protein Catabolic Process (GO:0010498)", "Response To Unfolded Protein (GO:0006986)"),
        down=("Regulation Of I-kappaB kinase/NF-kappaB Signaling (GO:0043122)",),
    ),
    "Protein synthesis": Programme(
        up=("Ribosome Biogenesis (GO:0042254)", "Integrated Stress Response Signaling (GO:0140467)"),
        down=("Golgi Vesicle Transport (GO:0048193)", "Cell Cycle G1/S Phase Transition (GO:0044843)"),
    ),
}
"""What the paper's Figure 5 reports for docetaxel is planted for the microtubule stabilizers."""
STRESS = Programme(
    up=("Response To Endoplasmic Reticulum Stress (GO:0034976)", "Cellular Response To Oxidative Stress (GO:0034599)"),
    down=("Mitochondrion Organization (GO:0007005)",),
)


CULTURE_PROGRAMMES = {
    "density": Programme(
        up=("Extracellular Matrix Organization (GO:0030198)", "Negative Regulation Of Cell Migration (GO:0030336)"),
        down=("Epidermal Growth Factor Receptor Signaling Pathway (GO:0007173)",),
    ),
    "stress": Programme(
        up=("Cellular Response To Starvation (GO:0009267)", "Macroautophagy (GO:0016236)"),
        down=("Protein Glycosylation (GO:0006486)", "Insulin Receptor Signaling Pathway (GO:0008286)"),
    ),
}
"""What each score of a culture moves; no mechanism moves these sets, though some of their genes are in its own."""


def planted_programmes(mechanism: str) -> dict[str, tuple[str, ...]]:
    """{"up": GO terms, "down": GO terms} that a mechanism moves: the right answer of an enrichment analysis."""
    programme = PROGRAMMES[mechanism]
    return {"up": programme.up, "down": programme.down}


def truth(tier_version: str, compound: str, dose_um: float, culture: Culture = AVERAGE) -> np.ndarray:
    """Noiseless log2 expression (978,) of a compound at a dose in a culture, on a plate without batch effect.

    "DMSO" in the average culture is the baseline. Raises BadInput for an unknown compound.
    """
    return untreated(tier_version, culture) + response(tier_version, compound, float(dose_um))


def untreated(tier_version: str, culture: Culture) -> np.ndarray:
    """Noiseless log2 expression (978,) of vehicle cells of a culture."""
    density, stress = culture_loadings(tier_version)
    return baseline(tier_version) + culture.density * density + culture.stress * stress


@cache
def culture_loadings(tier_version: str) -> np.ndarray:
    """Log2 shift per unit of the density and of the stress of a culture, (2, 978)."""
    return _frozen(
        np.array(
            [
                coherent(programme, stream(tier_version, "culture programme", name), 0.25, 0.5)
                for name, programme in CULTURE_PROGRAMMES.items()
            ]
        )
    )


@cache
def response(tier_version: str, compound: str, dose_um: float) -> np.ndarray:
    """Noiseless log2 fold change (978,) of a compound at a dose against the vehicle; 0 for "DMSO" and at dose 0."""
    return _frozen(fold_change(tier_version, compound, dose_um, activities(compound, dose_um)))


def fold_change(tier_version: str, compound: str, dose_um: float, activity: Mapping[str, float]) -> np.ndarray:
    """Noiseless log2 fold change (978,) of a compound at a dose, with the mechanisms as active as `activity` says.

    Under the compound's own activities this is `response`; under others it is what an intervention on a pathway gives:
    the response that active compounds share and the compound's own follow the total activity.
    """
    active = np.array([activity[mechanism] for mechanism in MECHANISMS])
    total = 1 - np.prod(1 - active)
    change = active @ signatures(tier_version) + total * _stress(tier_version)
    if compound != VEHICLE:
        change = change + (0.3 * occupancy(compound, dose_um) + 0.7 * total) * _own(tier_version, compound)
    return change


@cache
def _own(tier_version: str, compound: str) -> np.ndarray:
    return _frozen(sparse(stream(tier_version, "compound signature", compound), 0.08, 0.8))


@cache
def baseline(tier_version: str) -> np.ndarray:
    """Vehicle expression (978,), log2, between LOWEST and HIGHEST and peaked in their lower half."""
    drawn = stream(tier_version, "baseline").beta(2.2, 2.4, size=len(symbols()))
    return _frozen(LOWEST + (HIGHEST - LOWEST) * drawn)


@cache
def signatures(tier_version: str) -> np.ndarray:
    """Log2 fold change at full activity (12, 978), rows in the order of MECHANISMS."""
    rows = []
    for mechanism in MECHANISMS:
        random = stream(tier_version, "mechanism signature", mechanism)
        rows.append(coherent(PROGRAMMES[mechanism], random, 0.7, 1.5) + sparse(random, 0.12, 0.7))
    return _frozen(np.array(rows))


@cache
def _stress(tier_version: str) -> np.ndarray:
    random = stream(tier_version, "stress")
    return _frozen(coherent(STRESS, random, 0.3, 0.7) + random.normal(0, 0.12, len(symbols())))


def coherent(programme: Programme, random: np.random.Generator, low: float, high: float) -> np.ndarray:
    """(978,): +U(low, high) on the genes of the sets that rise, -U(low, high) on those that fall, 0 elsewhere.

    A gene that is in several of the sets follows the smallest, so that no small set is blurred by a large one.
    """
    sets = load_landmark_sets()
    effect = np.zeros(len(symbols()))
    signed = [(term, 1.0) for term in programme.up] + [(term, -1.0) for term in programme.down]
    for term, sign in sorted(signed, key=lambda pair: (-len(sets[pair[0]]), pair[0])):
        genes = sets[term]
        effect[genes] = sign * random.uniform(low, high, len(genes))
    return effect


def sparse(random: np.random.Generator, share: float, sd: float) -> np.ndarray:
    """(978,): normal effects on a random share of the genes, 0 elsewhere."""
    effects = random.normal(0, sd, len(symbols()))
    return effects * (random.random(len(symbols())) < share)


@dataclass(frozen=True)
class PlateEffect:
    """What a plate does to every well: expression -> CENTRE + gain (expression - CENTRE) + offset (978,)."""

    gain: float
    offset: np.ndarray

    def apply(self, expression: np.ndarray) -> np.ndarray:
        """Expression (..., 978) as this plate shows it."""
        return CENTRE + self.gain * (expression - CENTRE) + self.offset


@cache
def plate_effect(tier_version: str, plate: str) -> PlateEffect:
    """Effect of a plate: a gain near 1 and, per gene, three batch factors that all plates share and an own part."""
    random = stream(tier_version, "plate expression", plate)
    scores = random.normal(0, 1, 3)
    own = random.normal(0, 0.1, len(symbols()))
    return PlateEffect(1 + 0.04 * random.normal(), _frozen(scores @ _factors(tier_version, "plate", 0.15) + own))


def measured(tier_version: str, samples: pd.DataFrame) -> np.ndarray:
    """Profiles of wells as a plate reader would give them: (N, 978) float32, log2, one per row of `samples`.

    `samples` has columns sample_id, compound, dose_um, plate. A row depends on nothing but its own values: every well
    has the culture of its plate and a deviation of its own, which its image shares.
    """
    profiles = np.empty((len(samples), len(symbols())), dtype=np.float32)
    columns = (samples[name] for name in ("sample_id", "compound", "dose_um", "plate"))
    for row, (sample_id, compound, dose, plate) in enumerate(zip(*columns, strict=True)):
        culture = well_culture(tier_version, sample_id, plate_culture(tier_version, plate))
        profiles[row] = profile(tier_version, sample_id, plate, truth(tier_version, compound, dose, culture))
    return profiles


def profile(tier_version: str, sample_id: str, plate: str, noiseless: np.ndarray) -> np.ndarray:
    """Profile (978,) float32 of a well on a plate whose cells express `noiseless` (978,), log2."""
    shown = plate_effect(tier_version, plate).apply(noiseless) + well_noise(tier_version, sample_id)
    return shown.astype(np.float32)


def well_noise(tier_version: str, sample_id: str) -> np.ndarray:
    """Noise (978,) of one well: independent per gene, and two factors (cell number, RNA yield) shared by all wells."""
    random = stream(tier_version, "well expression", sample_id)
    return random.normal(0, 1, 2) @ _factors(tier_version, "well", 0.08) + random.normal(0, 0.26, len(symbols()))


@cache
def _factors(tier_version: str, kind: str, sd: float) -> np.ndarray:
    count = {"plate": 3, "well": 2}[kind]
    return _frozen(stream(tier_version, f"{kind} factors").normal(0, sd, (count, len(symbols()))))


@cache
def symbols() -> tuple[str, ...]:
    """The 978 landmark symbols in the order of every profile."""
    return tuple(load_landmarks()["symbol"])


@cache
def load_landmark_sets() -> dict[str, np.ndarray]:
    """Positions of the genes of each GO set in a profile."""
    position = {symbol: index for index, symbol in enumerate(symbols())}
    return {term: np.array([position[gene] for gene in genes]) for term, genes in load_gene_sets().items()}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False  # cached: a caller that changed it would change every later profile
    return array
