"""Rows on predicted gene expression."""

from __future__ import annotations

import numpy as np

from morphobench.metrics.expression import (
    centroid_accuracy,
    centroid_resamples,
    lfc_pearson,
    lfc_pearson_per_compound,
    per_compound_resamples,
    pooled_resamples,
)
from morphobench.metrics.inputs import ExpressionInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.replicates import own_draws
from morphobench.metrics.rows.counts import compounds, defined_mean, named, undefined_of


def _r_vehicle(inputs: ExpressionInputs) -> np.ndarray:
    return lfc_pearson_per_compound(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)


def _r_perturbed_mean(inputs: ExpressionInputs) -> np.ndarray:
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return lfc_pearson_per_compound(*profiles, centred=True)


def _nearer_to_own(inputs: ExpressionInputs) -> np.ndarray:
    return centroid_accuracy(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)


def _pooled_lfc_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """The paper's pooled LFC correlation."""
    draws = own_draws(inputs, replicates, seed)
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return pooled_resamples(*profiles, draws.plate_weights(inputs.plates), draws.compound_counts)


def _lfc_vehicle_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """LFC correlation per compound against the vehicle, averaged."""
    return _per_compound_replicates(inputs, False, replicates, seed)


def _lfc_perturbed_mean_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """LFC correlation per compound, each side centred by its mean over compounds, averaged."""
    return _per_compound_replicates(inputs, True, replicates, seed)


def _centroid_replicates(inputs: ExpressionInputs, replicates: int, seed: int) -> np.ndarray:
    """Centroid accuracy, averaged over compounds."""
    draws = own_draws(inputs, replicates, seed)
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return centroid_resamples(*profiles, draws.plate_weights(inputs.plates), draws.compound_counts)


def _per_compound_replicates(inputs: ExpressionInputs, centred: bool, replicates: int, seed: int) -> np.ndarray:
    draws = own_draws(inputs, replicates, seed)
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return per_compound_resamples(*profiles, centred, draws.plate_weights(inputs.plates), draws.compound_counts)


ROWS = (
    Metric(
        key="lfc_pearson",
        title="LFC Pearson, pooled",
        family="expression",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        asked_of="trained compounds",
        summary="The paper's LFC correlation: training compounds, z-scored per gene, pooled; rewards a lookup table.",
        ranked=False,
        sees=("dose", "wrong compound", "noise", "dropped"),
        compute=lambda inputs: lfc_pearson(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds),
        resample=_pooled_lfc_replicates,
        count=compounds,
    ),
    Metric(
        key="lfc_pearson_vehicle",
        title="LFC Pearson per compound",
        family="expression",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="Correlation over genes of predicted and measured LFC from the vehicle, averaged over compounds.",
        sees=("dose", "wrong compound", "noise", "dropped"),
        compute=lambda inputs: defined_mean(_r_vehicle(inputs)),
        resample=_lfc_vehicle_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(_r_vehicle(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _r_vehicle(inputs)),
    ),
    Metric(
        key="lfc_pearson_perturbed_mean",
        title="LFC Pearson beyond the mean drug",
        family="expression",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="The same after each side's mean over compounds is subtracted: what sets a compound apart.",
        sees=("dose", "wrong compound", "noise", "dropped"),
        compute=lambda inputs: defined_mean(_r_perturbed_mean(inputs)),
        resample=_lfc_perturbed_mean_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(_r_perturbed_mean(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _r_perturbed_mean(inputs)),
    ),
    Metric(
        key="centroid_accuracy",
        title="Centroid accuracy",
        family="expression",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="share of other compounds",
        smallest_n=2,
        summary="How often a predicted LFC is more like its own compound's measured one than another's; chance is 0.5.",
        sees=("dose", "wrong compound", "dropped"),
        compute=lambda inputs: defined_mean(_nearer_to_own(inputs)),
        resample=_centroid_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(_nearer_to_own(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _nearer_to_own(inputs)),
    ),
)
