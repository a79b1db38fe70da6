"""Rows on what the cells of an image look like: the area that each compartment occupies."""

from __future__ import annotations

from morphobench.metrics import replicates as resample
from morphobench.metrics.inputs import MorphologyInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.morphology import area_occupied_shift_by_compound
from morphobench.metrics.rows.counts import smaller_side


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
)
