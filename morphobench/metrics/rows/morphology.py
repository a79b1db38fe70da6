"""Rows on what the cells of an image look like: the area that each compartment occupies, and profiles of cells."""

from __future__ import annotations

import numpy as np

from morphobench.metrics import replicates as resample
from morphobench.metrics.inputs import MorphologyInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.morphology import area_occupied_shift_by_compound, profile_correlation
from morphobench.metrics.profile_inputs import MorphologyProfileInputs
from morphobench.metrics.rows.counts import compounds, defined_mean, named, smaller_side, undefined_of


def _shift(inputs: MorphologyInputs) -> float:
    return area_occupied_shift_by_compound(
        inputs.generated,
        inputs.generated_compounds,
        inputs.generated_plates,
        inputs.real,
        inputs.real_compounds,
        inputs.vehicle,
        inputs.vehicle_plates,
    )


def _correlations(inputs: MorphologyProfileInputs) -> np.ndarray:
    return profile_correlation(*inputs.changes, inputs.compounds)


def _area_row(compartment: str, suffix: str, border: str) -> Metric:
    return Metric(
        key=f"area_occupied_shift[{compartment}{suffix}]",
        version=2,
        inputs=MorphologyInputs,
        direction="max",
        unit="share of the gap closed",
        smallest_n=10,
        summary=f"How much of the real shift from vehicle in area of {compartment} is made; border objects {border}.",
        compute=_shift,
        resample=resample.shift_replicates,
        count=smaller_side,
        undefined=lambda inputs: inputs.dropped,
    )


ROWS = (
    *(
        _area_row(compartment, suffix, border)
        for compartment in ("cells", "cytoplasm", "nuclei")
        for suffix, border in (("", "kept"), ("_no_edge", "discarded"))
    ),
    Metric(
        key="profile_correlation",
        version=1,
        inputs=MorphologyProfileInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="r over measurements of cells of generated and real change from the vehicle, averaged over compounds.",
        # Drugs share a direction: what no compound tells apart scores well above the vehicle.
        ranked=False,
        compute=lambda inputs: defined_mean(_correlations(inputs)),
        resample=resample.profile_correlation_replicates,
        count=compounds,
        undefined=lambda inputs: inputs.dropped + undefined_of(_correlations(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _correlations(inputs)),
    ),
)
