"""Rows on whether the condition is used: what changes in an image when its drug or its G_pre is swapped."""

from __future__ import annotations

import numpy as np

from morphobench.metrics.inputs import DrugSwapInputs, RnaSwapInputs, SwapInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.reliance import error_resamples, gap_resamples, swap_error, swap_gap
from morphobench.metrics.replicates import draws_of


def _swap_gap_replicates(inputs: SwapInputs, replicates: int, seed: int) -> np.ndarray:
    """Swap gap; generated and real images are drawn together, by compound and plate."""
    return gap_resamples(inputs.changes, *_swap_counts(inputs, replicates, seed))


def _swap_error_replicates(inputs: SwapInputs, replicates: int, seed: int) -> np.ndarray:
    """Share of the true change that is missed."""
    assert inputs.truth is not None
    counts = _swap_counts(inputs, replicates, seed)
    return error_resamples(inputs.moved, inputs.truth, inputs.units, inputs.levels, *counts)


def _swap_counts(inputs: SwapInputs, replicates: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws of what was swapped, and of the other label."""
    compounds, plates = [inputs.compounds, inputs.real_compounds], [inputs.plates, inputs.real_plates]
    draws = draws_of(compounds, plates, replicates, seed)
    counts = draws.compound_counts, draws.plate_counts
    return counts if inputs.by == "compounds" else counts[::-1]


def _swap_error(inputs: SwapInputs) -> float:
    if inputs.truth is None:
        raise ValueError("the true change is known of simulated images alone")
    return swap_error(inputs.moved, inputs.truth, inputs.units)


def _swap_rows(inputs: type[SwapInputs], kind: str, word: str, what: str) -> tuple[Metric, Metric]:
    """The gap and the error of one swap; `kind` is of their keys, `word` of their titles, `what` of their summaries."""
    drug = inputs is DrugSwapInputs
    gap = Metric(
        key=f"{kind}_swap_gap",
        title=f"{word}-swap gap",
        family="reliance",
        named_after="embedding",
        version=1,
        inputs=inputs,
        # Where RNA is swapped, the real change holds what plates add beside the cells: more is not always better.
        direction="max" if drug else "none",
        unit="share of the real change",
        smallest_n=8,
        summary=f"How far images move along the real change when {what} is swapped; 0 for a model that ignores it.",
        ranked=False,
        compute=lambda inputs: swap_gap(inputs.changes),
        resample=_swap_gap_replicates,
        count=lambda inputs: len(inputs.moved),
        undefined=lambda inputs: int((~np.isin(inputs.units, list(inputs.changes))).sum()),
    )
    error = Metric(
        key=f"{kind}_swap_error",
        title=f"{word}-swap error",
        family="reliance",
        named_after="embedding",
        asked_of="simulated tiers",
        version=1,
        inputs=inputs,
        # A target has no scale from the vehicle to real replicates: no control reads G_pre.
        direction="min" if drug else "target",
        target=None if drug else 0.0,
        unit="share of the true change",
        smallest_n=8,
        summary=f"Share of the true counterfactual change that is missed when {what} is swapped; 1 if nothing moves.",
        ranked=False,
        compute=_swap_error,
        resample=_swap_error_replicates,
        count=lambda inputs: len(inputs.moved),
    )
    return gap, error


ROWS = (
    *_swap_rows(DrugSwapInputs, "drug", "Drug", "the drug"),
    *_swap_rows(RnaSwapInputs, "rna", "RNA", "G_pre"),
)
