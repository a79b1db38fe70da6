"""Metrics: pure functions from arrays to numbers.

    from morphobench.metrics import frechet_distance
    frechet_distance(generated_features, real_features)

`registry.METRICS` lists what the benchmark computes of them, with intervals.
"""

from morphobench.metrics.bootstrap import (
    cluster_weights,
    few_clusters_widening,
    percentile_interval,
    recentred_interval,
)
from morphobench.metrics.expression import lfc_pearson, lfc_pearson_per_compound
from morphobench.metrics.frechet import FrechetReference, frechet_distance
from morphobench.metrics.inception_score import inception_score
from morphobench.metrics.inputs import (
    CopyInputs,
    ExpressionInputs,
    FeatureInputs,
    MemorisationInputs,
    MorphologyInputs,
    ProbabilityInputs,
    SeparabilityInputs,
    SwapInputs,
)
from morphobench.metrics.kernel import kernel_distance, kernel_distance_by_compound, kernel_distance_subsets
from morphobench.metrics.morphology import area_occupied_shift, area_occupied_shift_by_compound
from morphobench.metrics.neighbours import coverage, density, precision, recall
from morphobench.metrics.registry import METRICS, Metric, key_for, scaled
from morphobench.metrics.separability import lda_projection, lda_separability

__all__ = [
    "METRICS",
    "CopyInputs",
    "ExpressionInputs",
    "FeatureInputs",
    "FrechetReference",
    "MemorisationInputs",
    "Metric",
    "MorphologyInputs",
    "ProbabilityInputs",
    "SeparabilityInputs",
    "SwapInputs",
    "area_occupied_shift",
    "area_occupied_shift_by_compound",
    "cluster_weights",
    "coverage",
    "density",
    "few_clusters_widening",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "kernel_distance_by_compound",
    "kernel_distance_subsets",
    "key_for",
    "lda_projection",
    "lda_separability",
    "lfc_pearson",
    "lfc_pearson_per_compound",
    "percentile_interval",
    "precision",
    "recall",
    "recentred_interval",
    "scaled",
]
