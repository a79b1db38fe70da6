"""All causes of one sample in one place, and what follows from them: its image and its profile.

The tier draws its samples through here and so do truth and interventions: a counterfactual is a well with one cause
replaced, under the same random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.culture import Culture, plate_culture, well_culture
from morphobench.datasets.simulate.mechanisms import activities
from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.render import render
from morphobench.datasets.simulate.seeds import seed


@dataclass(frozen=True)
class Well:
    """The causes of a sample's image and profile; its random numbers belong to (tier version, sample id)."""

    tier_version: str
    sample_id: str
    compound: str
    dose_um: float
    activities: Mapping[str, float]
    """Of all mechanisms, 0..1."""
    culture: Culture
    """The plate's with the deviation of the well."""
    plate: str
    """Whose optics and whose batch effect on expression the well has."""

    def image(self, size: int = 128) -> np.ndarray:
        """uint8 (size, size, 3): red actin, green tubulin, blue DNA."""
        return render(
            self.activities, plate_optics(self.tier_version, self.plate), self.image_seed(), size, self.culture
        )

    def image_seed(self) -> np.random.SeedSequence:
        """Seed of everything random in the image."""
        return seed(self.tier_version, "image", self.sample_id)

    def noiseless(self) -> np.ndarray:
        """Log2 expression (978,) without noise of the well and batch effect of the plate."""
        change = expression.fold_change(self.tier_version, self.compound, self.dose_um, self.activities)
        return expression.untreated(self.tier_version, self.culture) + change

    def noiseless_on_plate(self) -> np.ndarray:
        """Log2 expression (978,) without noise of the well, as its plate shows it."""
        return expression.plate_effect(self.tier_version, self.plate).apply(self.noiseless())

    def profile(self) -> np.ndarray:
        """Measured log2 expression (978,) float32: `noiseless_on_plate` and the noise of the well."""
        return expression.profile(self.tier_version, self.sample_id, self.plate, self.noiseless())


def well_of(tier_version: str, sample: Mapping[str, Any] | pd.Series) -> Well:
    """The well of a sample: a row of the tier's table, of which sample_id, compound, dose_um and plate are read."""
    sample_id, compound, plate = (str(sample[name]) for name in ("sample_id", "compound", "plate"))
    dose_um = float(sample["dose_um"])
    return Well(
        tier_version=tier_version,
        sample_id=sample_id,
        compound=compound,
        dose_um=dose_um,
        activities=activities(compound, dose_um),
        culture=well_culture(tier_version, sample_id, plate_culture(tier_version, plate)),
        plate=plate,
    )
