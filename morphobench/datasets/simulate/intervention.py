"""Interventions: what a sample of the sim tier would have been, had one of its causes been another.

do(...) replaces a cause in the structural model and keeps the random numbers of the sample, so that image and profile
differ from the sample's own by the intervention alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from morphobench.datasets.simulate.culture import Culture, plate_culture, well_culture
from morphobench.datasets.simulate.mechanisms import VEHICLE, activities
from morphobench.datasets.simulate.truth import SampleTruth, check_simulated, truth_of
from morphobench.datasets.simulate.well import well_of
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A sample under an intervention; without one, the sample itself."""

    image: np.ndarray
    """uint8 (H, W, 3): red actin, green tubulin, blue DNA."""
    profile: np.ndarray
    """G_post: measured log2 expression (978,) float32, with the noise of the sample's own well."""
    g_pre: np.ndarray
    """(978,) float32: mean of the vehicle wells of the sample's plate, under the same culture and batch effect."""
    truth: SampleTruth


def counterfactual(
    tier: Tier,
    sample: Mapping[str, Any] | pd.Series,
    *,
    drug: str | None = None,
    dose_um: float | None = None,
    pathway: Mapping[str, float] | None = None,
    g_pre: str | Culture | None = None,
    plate: str | None = None,
) -> Counterfactual:
    """A sample (a row of the sim tier's table) after do(...) of any of its causes; what is None stays.

    drug: another compound, "DMSO" included, at the sample's dose unless `dose_um` is given too.
    dose_um: another dose, micromolar, >= 0.
    pathway: {mechanism: activity 0..1}, set whatever compound and dose make of it; other mechanisms stay.
    g_pre: the cells start from another state: the culture of the plate of this name, or this culture. The well keeps
        its deviation from its plate.
    plate: the optics and the batch effect on expression of the plate of this name. The culture, which is biology,
        stays, unless `g_pre` is given too.

    Raises BadInput for a tier that is not simulated, an unknown compound, mechanism or plate, a dose or an activity
    out of range, and a drug for a vehicle sample without a dose.
    """
    check_simulated(tier)
    version = tier.spec.version
    well = well_of(version, sample)
    if drug is not None and well.compound == VEHICLE and drug != VEHICLE and dose_um is None:
        raise BadInput(f"drug {drug!r}: {well.sample_id} is a vehicle well; give dose_um as well")
    compound = well.compound if drug is None else drug
    dose = well.dose_um if dose_um is None else dose_um
    if not isinstance(dose, Real):
        raise BadInput(f"dose_um {dose!r}: give a number, micromolar, 0 or more")
    dose = float(dose)
    if not (math.isfinite(dose) and dose >= 0):
        raise BadInput(f"dose_um {dose}: give micromolar, 0 or more")
    source = g_pre if g_pre is not None else well.plate
    if not isinstance(source, str | Culture):
        raise BadInput(
            f"g_pre of type {type(source).__name__}: give the name of a plate or a Culture (plate_culture, "
            "truth.culture), which the profile is drawn from; a profile cannot be set itself"
        )
    culture = source if isinstance(source, Culture) else plate_culture(version, _known(tier, source))
    shown_on = well.plate if plate is None else _known(tier, plate)
    changed = replace(
        well,
        compound=compound,
        dose_um=dose,
        activities=activities(compound, dose) | dict(pathway or {}),
        culture=well_culture(version, well.sample_id, culture),
        plate=shown_on,
    )
    size = tier.spec.image_size
    return Counterfactual(
        truth=truth_of(changed, size),  # first: it refuses a wrong pathway
        image=changed.image(size),
        profile=changed.profile(),
        g_pre=_vehicle_mean(tier, well.plate, culture, shown_on),
    )


def _vehicle_mean(tier: Tier, plate: str, culture: Culture, shown_on: str) -> np.ndarray:
    """Mean profile of the vehicle wells of `plate`, had they the culture and the batch effect given."""
    samples, version = tier.samples, tier.spec.version
    wells = [
        replace(
            well_of(version, row), culture=well_culture(version, row["sample_id"], culture), plate=shown_on
        ).profile()
        for _, row in samples[(samples["split"] == "vehicle") & (samples["plate"] == plate)].iterrows()
    ]
    return np.stack(wells).mean(axis=0, dtype=np.float64).astype(np.float32)


def _known(tier: Tier, plate: str) -> str:
    names = tier.samples["plate"].unique()
    if plate not in names:
        raise BadInput(f"plate {plate!r}: not in tier {tier.spec.name}, which has {', '.join(sorted(names))}")
    return plate
