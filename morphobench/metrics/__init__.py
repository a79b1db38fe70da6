"""Metrics: pure functions from arrays to numbers.

    from morphobench.metrics import frechet_distance
    frechet_distance(generated_features, real_features)

`registry.METRICS` lists what the benchmark computes of them, with intervals.
"""

from morphobench.metrics.bootstrap import (
    clustered_interval,
    few_clusters_widening,
    percentile_interval,
    recentred_interval,
)
from morphobench.metrics.expression import centroid_accuracy, lfc_pearson, lfc_pearson_per_compound
from morphobench.metrics.frechet import FrechetReference, frechet_distance
from morphobench.metrics.frechet_compounds import (
    FrechetGram,
    frechet_distance_by_compound,
    frechet_intervals_by_compound,
)
from morphobench.metrics.frechet_infinity import Extrapolation, fd_infinity
from morphobench.metrics.inception_score import inception_score
from morphobench.metrics.inputs import (
    CopyInputs,
    DrugSwapInputs,
    ExpressionInputs,
    FeatureInputs,
    MemorisationInputs,
    MorphologyInputs,
    ProbabilityInputs,
    RnaSwapInputs,
    SeparabilityInputs,
)
from morphobench.metrics.kernel import kernel_distance, kernel_distance_by_compound, kernel_distance_subsets
from morphobench.metrics.mechanism import average_precision, discrimination, mechanism_matches
from morphobench.metrics.morphology import (
    area_occupied_shift,
    area_occupied_shift_by_compound,
    profile_correlation,
)
from morphobench.metrics.neighbours import coverage, density, precision, recall
from morphobench.metrics.profile_inputs import (
    BatchMechanismInputs,
    MechanismInputs,
    MorphologyProfileInputs,
    ProfileInputs,
)
from morphobench.metrics.registry import METRICS, Metric, key_for, scaled
from morphobench.metrics.separability import lda_projection, lda_separability
from morphobench.metrics.vehicle_correction import scale_by_vehicle, typical_variation_normalization

__all__ = [
    "METRICS",
    "BatchMechanismInputs",
    "CopyInputs",
    "DrugSwapInputs",
    "ExpressionInputs",
    "Extrapolation",
    "FeatureInputs",
    "FrechetGram",
    "FrechetReference",
    "MechanismInputs",
    "MemorisationInputs",
    "Metric",
    "MorphologyInputs",
    "MorphologyProfileInputs",
    "ProbabilityInputs",
    "ProfileInputs",
    "RnaSwapInputs",
    "SeparabilityInputs",
    "area_occupied_shift",
    "area_occupied_shift_by_compound",
    "average_precision",
    "centroid_accuracy",
    "clustered_interval",
    "coverage",
    "density",
    "discrimination",
    "fd_infinity",
    "few_clusters_widening",
    "frechet_distance",
    "frechet_distance_by_compound",
    "frechet_intervals_by_compound",
    "inception_score",
    "kernel_distance",
    "kernel_distance_by_compound",
    "kernel_distance_subsets",
    "key_for",
    "lda_projection",
    "lda_separability",
    "lfc_pearson",
    "lfc_pearson_per_compound",
    "mechanism_matches",
    "percentile_interval",
    "precision",
    "profile_correlation",
    "recall",
    "recentred_interval",
    "scale_by_vehicle",
    "scaled",
    "typical_variation_normalization",
]
