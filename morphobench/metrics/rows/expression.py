"""Rows on predicted gene expression."""

from __future__ import annotations

import numpy as np

from morphobench.metrics import replicates as resample
from morphobench.metrics.expression import centroid_accuracy, lfc_pearson, lfc_pearson_per_compound
from morphobench.metrics.inputs import ExpressionInputs
from morphobench.metrics.metric import Metric
from morphobench.metrics.rows.counts import compounds, defined_mean, named, undefined_of


def _r_vehicle(inputs: ExpressionInputs) -> np.ndarray:
    return lfc_pearson_per_compound(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)


def _r_perturbed_mean(inputs: ExpressionInputs) -> np.ndarray:
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return lfc_pearson_per_compound(*profiles, centred=True)


def _nearer_to_own(inputs: ExpressionInputs) -> np.ndarray:
    return centroid_accuracy(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)


ROWS = (
    Metric(
        key="lfc_pearson",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="The paper's LFC correlation: training compounds, z-scored per gene, pooled; rewards a lookup table.",
        ranked=False,
        compute=lambda inputs: lfc_pearson(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds),
        resample=resample.pooled_lfc_replicates,
        count=compounds,
    ),
    Metric(
        key="lfc_pearson_vehicle",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="Correlation over genes of predicted and measured LFC from the vehicle, averaged over compounds.",
        compute=lambda inputs: defined_mean(_r_vehicle(inputs)),
        resample=resample.lfc_vehicle_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(_r_vehicle(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _r_vehicle(inputs)),
    ),
    Metric(
        key="lfc_pearson_perturbed_mean",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="The same after each side's mean over compounds is subtracted: what sets a compound apart.",
        compute=lambda inputs: defined_mean(_r_perturbed_mean(inputs)),
        resample=resample.lfc_perturbed_mean_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(_r_perturbed_mean(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _r_perturbed_mean(inputs)),
    ),
    Metric(
        key="centroid_accuracy",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="share of other compounds",
        smallest_n=2,
        summary="How often a predicted LFC is more like its own compound's measured one than another's; chance is 0.5.",
        compute=lambda inputs: defined_mean(_nearer_to_own(inputs)),
        resample=resample.centroid_replicates,
        count=compounds,
        undefined=lambda inputs: undefined_of(_nearer_to_own(inputs)),
        by_compound=lambda inputs: named(inputs.compounds, _nearer_to_own(inputs)),
    ),
)
