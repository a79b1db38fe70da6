"""Rows on whether the condition is used: what changes in an image when its drug or its G_pre is swapped."""

from __future__ import annotations

import numpy as np

from morphobench.metrics import replicates as resample
from morphobench.metrics.inputs import SwapInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.reliance import swap_error, swap_gap


def _swap_gap_row(kind: str, what: str) -> Metric:
    return Metric(
        key=f"{kind}_swap_gap",
        version=1,
        inputs=SwapInputs,
        # Where RNA is swapped, the real change holds what plates add beside the cells: more is not always better.
        direction="max" if kind == "drug" else "none",
        unit="share of the real change",
        smallest_n=8,
        summary=f"How far images move along the real change when {what} is swapped; 0 for a model that ignores it.",
        ranked=False,
        compute=lambda inputs: swap_gap(inputs.changes),
        resample=resample.swap_gap_replicates,
        count=lambda inputs: len(inputs.moved),
        undefined=lambda inputs: int((~np.isin(inputs.units, list(inputs.changes))).sum()),
    )


def _swap_error_row(kind: str, what: str) -> Metric:
    return Metric(
        key=f"{kind}_swap_error",
        version=1,
        inputs=SwapInputs,
        # A target has no scale from the vehicle to real replicates: no control reads G_pre.
        direction="min" if kind == "drug" else "target",
        target=None if kind == "drug" else 0.0,
        unit="share of the true change",
        smallest_n=8,
        summary=f"Share of the true counterfactual change that is missed when {what} is swapped; 1 if nothing moves.",
        ranked=False,
        compute=_swap_error,
        resample=resample.swap_error_replicates,
        count=lambda inputs: len(inputs.moved),
    )


def _swap_error(inputs: SwapInputs) -> float:
    if inputs.truth is None:
        raise ValueError("the true change is known of simulated images alone")
    return swap_error(inputs.moved, inputs.truth, inputs.units)


ROWS = (
    *(
        row(kind, what)
        for kind, what in (("drug", "the drug"), ("rna", "G_pre"))
        for row in (_swap_gap_row, _swap_error_row)
    ),
)
