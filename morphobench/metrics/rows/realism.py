"""Rows on how realistic images are: distances between sets of features, Inception score, neighbourhoods."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from morphobench.metrics import replicates as resample
from morphobench.metrics.frechet import frechet_distance
from morphobench.metrics.frechet_compounds import frechet_distance_by_compound, frechet_intervals_by_compound
from morphobench.metrics.inception_score import inception_score
from morphobench.metrics.inputs import FeatureInputs, ProbabilityInputs
from morphobench.metrics.kernel import kernel_distance, kernel_distance_by_compound
from morphobench.metrics.metric import Metric
from morphobench.metrics.rows.counts import named, smaller_side


def _distances(inputs: FeatureInputs) -> np.ndarray:
    sides = (inputs.generated, inputs.generated_compounds, inputs.real, inputs.real_compounds)
    return frechet_distance_by_compound(*sides)


def _distance_intervals(inputs: FeatureInputs, replicates: int, seed: int) -> Mapping[str, tuple[float, float] | None]:
    generated = (inputs.generated, inputs.generated_compounds, inputs.generated_plates)
    real = (inputs.real, inputs.real_compounds, inputs.real_plates)
    return frechet_intervals_by_compound(*generated, *real, replicates, seed)


def _kernel_distances(inputs: FeatureInputs) -> np.ndarray:
    sides = (inputs.generated, inputs.generated_compounds, inputs.real, inputs.real_compounds)
    return kernel_distance_by_compound(*sides)


ROWS = (
    Metric(
        key="fd",
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=16,
        summary="Frechet distance between Gaussians fitted to generated and real features; biased up at small N.",
        ranked=False,
        compute=lambda inputs: frechet_distance(inputs.generated, inputs.real),
        resample=resample.frechet_replicates,
        count=smaller_side,
    ),
    Metric(
        key="kd",
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared MMD",
        smallest_n=8,
        summary="Unbiased kernel distance between generated and real features; the ranking metric at small N.",
        compute=lambda inputs: kernel_distance(inputs.generated, inputs.real),
        resample=resample.kernel_replicates,
        count=smaller_side,
    ),
    Metric(
        key="kd_per_compound",
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared MMD",
        smallest_n=8,
        summary="Kernel distance between generated and real images of the same compound, averaged over compounds.",
        compute=lambda inputs: _kernel_distances(inputs).mean(),
        resample=resample.kernel_by_compound_replicates,
        count=smaller_side,
        by_compound=lambda inputs: named(inputs.real_compounds, _kernel_distances(inputs)),
    ),
    Metric(
        key="fd_infinity",
        version=2,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=256,
        summary="Frechet distance extrapolated to infinitely many images, by a line in 1 / N; not biased by few.",
        ranked=False,
        compute=lambda inputs: inputs.extrapolation.value,
        resample=resample.frechet_infinity_replicates,
        count=smaller_side,
    ),
    Metric(
        key="fd_per_compound",
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=8,
        summary="Frechet distance of each compound's images, averaged; biased up as few images make a compound.",
        ranked=False,
        compute=lambda inputs: _distances(inputs).mean(),
        resample=resample.frechet_by_compound_replicates,
        count=smaller_side,
        by_compound=lambda inputs: named(inputs.real_compounds, _distances(inputs)),
        compound_intervals=_distance_intervals,
    ),
    Metric(
        key="is",
        version=1,
        inputs=ProbabilityInputs,
        direction="none",
        ranked=False,
        unit="effective classes",
        smallest_n=20,
        summary="Inception score of the generated images; read beside the real images' value, ranks nothing.",
        compute=lambda inputs: inception_score(inputs.probabilities),
        resample=resample.inception_replicates,
        count=lambda inputs: len(inputs.probabilities),
    ),
    Metric(
        key="precision",
        version=2,
        inputs=FeatureInputs,
        direction="max",
        unit="share of generated images",
        smallest_n=16,
        summary="Share of generated images that lie among real ones; repeating one good image wins it.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.precise.mean(),
        resample=resample.precision_replicates,
        count=smaller_side,
    ),
    Metric(
        key="recall",
        version=2,
        inputs=FeatureInputs,
        direction="max",
        unit="share of real images",
        smallest_n=16,
        summary="Share of real images that lie among generated ones; scattered outliers win it.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.recalled.mean(),
        resample=resample.recall_replicates,
        count=smaller_side,
    ),
    Metric(
        key="density",
        version=2,
        inputs=FeatureInputs,
        # Samples of the real law have 1; one image repeated where real ones are densest exceeds it without bound.
        direction="target",
        target=1.0,
        unit="real neighbourhoods per image",
        smallest_n=16,
        summary="How densely real images lie where generated ones do; the real law has 1, and more is no better.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.dense.mean(),
        resample=resample.density_replicates,
        count=smaller_side,
    ),
    Metric(
        key="coverage",
        version=2,
        inputs=FeatureInputs,
        direction="max",
        unit="share of real images",
        smallest_n=16,
        summary="Share of real images with a generated neighbour; dropped modes and repeated images lower it.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.covered.mean(),
        resample=resample.coverage_replicates,
        count=smaller_side,
    ),
)
