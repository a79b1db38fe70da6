"""Rows on what the cells of an image look like: the area that each compartment occupies, and profiles of cells."""

from __future__ import annotations

import numpy as np

from morphobench.metrics.bootstrap import ClusterDraws
from morphobench.metrics.inputs import MorphologyInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.morphology import (
    area_occupied_shift_by_compound,
    profile_correlation,
    profile_resamples,
    shift_resamples,
)
from morphobench.metrics.profile_inputs import MorphologyProfileInputs
from morphobench.metrics.replicates import draws_of, own_draws
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


def _shift_replicates(inputs: MorphologyInputs, replicates: int, seed: int) -> np.ndarray:
    """AreaOccupied shift; vehicle images are drawn by plate, the samples stay."""
    draws = draws_of(
        [inputs.generated_compounds, inputs.real_compounds],
        [inputs.generated_plates, inputs.real_plates, inputs.vehicle_plates],
        replicates,
        seed,
    )
    counts, which = np.unique(np.stack(list(draws.plate_counts.values())), axis=1, return_inverse=True)
    distinct = ClusterDraws(counts.shape[1], {}, dict(zip(draws.plate_counts, counts, strict=True)))
    return shift_resamples(
        inputs.generated,
        inputs.generated_compounds,
        inputs.generated_plates,
        inputs.real,
        inputs.real_compounds,
        inputs.vehicle,
        inputs.vehicle_plates,
        distinct.plate_weights(inputs.generated_plates),
        distinct.plate_weights(inputs.real_plates),
        distinct.plate_weights(inputs.vehicle_plates),
        which.reshape(-1),
        draws.compound_counts,
    )


def _profile_correlation_replicates(inputs: MorphologyProfileInputs, replicates: int, seed: int) -> np.ndarray:
    """Correlation of profiles, averaged; the vehicle images stay."""
    draws = own_draws(inputs, replicates, seed)
    weights = draws.plate_weights(inputs.plates)
    return profile_resamples(*inputs.changes, inputs.compounds, weights, draws.compound_counts)


def _area_row(compartment: str, edge: bool) -> Metric:
    border = "kept" if edge else "discarded"
    return Metric(
        key="area_occupied_shift",
        part=compartment if edge else f"{compartment}_no_edge",
        part_words=compartment if edge else f"{compartment}, no edge objects",
        title="AreaOccupied shift",
        family="morphology",
        named_after="engine",
        version=2,
        inputs=MorphologyInputs,
        direction="max",
        unit="share of the gap closed",
        smallest_n=10,
        summary=f"How much of the real shift from vehicle in area of {compartment} is made; border objects {border}.",
        sees=("dose", "wrong compound"),
        compute=_shift,
        resample=_shift_replicates,
        count=smaller_side,
        undefined=lambda inputs: inputs.dropped,
    )


ROWS = (
    *(_area_row(compartment, edge) for compartment in ("cells", "cytoplasm", "nuclei") for edge in (True, False)),
    Metric(
        key="profile_correlation",
        title="Profile correlation",
        family="morphology",
        named_after="engine",
        version=1,
        inputs=MorphologyProfileInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="r over measurements of cells of generated and real change from the vehicle, averaged over compounds.",
        # Drugs share a direction: what no compound tells apart scores well above the vehicle.
        ranked=False,
        sees=("dose", "wrong compound"),
        compute=lambda inputs: defined_mean(_correlations(inputs)),
        resample=_profile_correlation_replicates,
        count=compounds,
        undefined=lambda inputs: inputs.dropped + undefined_of(_correlations(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _correlations(inputs)),
    ),
)
