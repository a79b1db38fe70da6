"""Rows on how realistic images are: distances between sets of features, Inception score, neighbourhoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from morphobench.metrics.compounds import counted_mean
from morphobench.metrics.frechet import frechet_distance, frechet_resamples
from morphobench.metrics.frechet_compounds import (
    frechet_distance_by_compound,
    frechet_intervals_by_compound,
    frechet_resamples_by_compound,
)
from morphobench.metrics.inception_score import inception_resamples, inception_score
from morphobench.metrics.inputs import FeatureInputs, ProbabilityInputs
from morphobench.metrics.kernel import (
    kernel_distance,
    kernel_distance_by_compound,
    kernel_resamples,
    kernel_resamples_by_compound,
)
from morphobench.metrics.metric import Genuine, Metric, Seen
from morphobench.metrics.neighbours import weighted_means
from morphobench.metrics.replicates import feature_draws, image_weights, row_weights
from morphobench.metrics.rows.counts import named, smaller_side

_DISTANCE: tuple[Seen, ...] = ("dose", "blur", "noise", "JPEG", "brighter", "dropped")
"""What every distance of features sees."""


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


def _frechet_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Frechet distance."""
    return frechet_resamples(inputs.generated, inputs.real, *image_weights(inputs, replicates, seed))


def _frechet_infinity_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Frechet distance extrapolated to infinitely many images; the parts stay as cut."""
    return inputs.extrapolation.resamples(*image_weights(inputs, replicates, seed))


def _frechet_by_compound_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Frechet distance per compound, averaged."""
    return _averaged_by_compound(frechet_resamples_by_compound, inputs, replicates, seed)


def _kernel_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Kernel distance over all images."""
    return kernel_resamples(inputs.generated, inputs.real, *image_weights(inputs, replicates, seed))


def _kernel_by_compound_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Kernel distance per compound, averaged."""
    return _averaged_by_compound(kernel_resamples_by_compound, inputs, replicates, seed)


def _precision_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Precision; here, for recall and for coverage the verdicts on single images stay, and the images are drawn."""
    return weighted_means(inputs.neighbourhoods.precise, image_weights(inputs, replicates, seed)[0])


def _recall_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Recall."""
    return weighted_means(inputs.neighbourhoods.recalled, image_weights(inputs, replicates, seed)[1])


def _density_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Density, to first order: as a mean over generated images and as one over real ones, whose balls they lie in."""
    near, (generated, real) = inputs.neighbourhoods, image_weights(inputs, replicates, seed)
    return weighted_means(near.dense, generated) + weighted_means(near.holding, real) - near.dense.mean()


def _coverage_replicates(inputs: FeatureInputs, replicates: int, seed: int) -> np.ndarray:
    """Coverage."""
    return weighted_means(inputs.neighbourhoods.covered, image_weights(inputs, replicates, seed)[1])


def _inception_replicates(inputs: ProbabilityInputs, replicates: int, seed: int) -> np.ndarray:
    """Inception score of all images in one chunk: its spread stands for that of the chunked score."""
    return inception_resamples(inputs.probabilities, row_weights(inputs, replicates, seed))


def _averaged_by_compound(
    resample: Callable[..., dict[str, np.ndarray]], inputs: FeatureInputs, replicates: int, seed: int
) -> np.ndarray:
    draws = feature_draws(inputs, replicates, seed)
    values = resample(
        inputs.generated,
        inputs.generated_compounds,
        inputs.real,
        inputs.real_compounds,
        draws.plate_weights(inputs.generated_plates),
        draws.plate_weights(inputs.real_plates),
    )
    return counted_mean(values, draws.compound_counts)


ROWS = (
    Metric(
        key="fd",
        title="Fréchet distance",
        family="realism",
        named_after="extractor",
        genuine=Genuine("fid", "FID"),
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=16,
        summary="Frechet distance between Gaussians fitted to generated and real features; biased up at small N.",
        ranked=False,
        sees=(*_DISTANCE, "duplicated"),
        compute=lambda inputs: frechet_distance(inputs.generated, inputs.real),
        resample=_frechet_replicates,
        count=smaller_side,
    ),
    Metric(
        key="fd_infinity",
        title="Fréchet distance, infinite N",
        family="realism",
        named_after="extractor",
        genuine=Genuine("fid_infinity", "FID, infinite N"),
        version=2,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=256,
        summary="Frechet distance extrapolated to infinitely many images, by a line in 1 / N; not biased by few.",
        ranked=False,
        sees=(*_DISTANCE, "duplicated"),
        compute=lambda inputs: inputs.extrapolation.value,
        resample=_frechet_infinity_replicates,
        count=smaller_side,
    ),
    Metric(
        key="fd_per_compound",
        title="Fréchet distance per compound",
        family="per compound",
        named_after="extractor",
        genuine=Genuine("fid_per_compound", "FID per compound"),
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=8,
        summary="Frechet distance of each compound's images, averaged; biased up as few images make a compound.",
        ranked=False,
        sees=(*_DISTANCE, "wrong compound", "duplicated"),
        compute=lambda inputs: _distances(inputs).mean(),
        resample=_frechet_by_compound_replicates,
        count=smaller_side,
        by_compound=lambda inputs: named(inputs.real_compounds, _distances(inputs)),
        compound_intervals=_distance_intervals,
    ),
    Metric(
        key="kd",
        title="Kernel distance",
        family="realism",
        named_after="extractor",
        genuine=Genuine("kid", "KID"),
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared MMD",
        smallest_n=8,
        summary="Unbiased kernel distance between generated and real features; the ranking metric at small N.",
        sees=_DISTANCE,
        compute=lambda inputs: kernel_distance(inputs.generated, inputs.real),
        resample=_kernel_replicates,
        count=smaller_side,
    ),
    Metric(
        key="kd_per_compound",
        title="Kernel distance per compound",
        family="per compound",
        named_after="extractor",
        genuine=Genuine("kid_per_compound", "KID per compound"),
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared MMD",
        smallest_n=8,
        summary="Kernel distance between generated and real images of the same compound, averaged over compounds.",
        sees=(*_DISTANCE, "wrong compound"),
        compute=lambda inputs: _kernel_distances(inputs).mean(),
        resample=_kernel_by_compound_replicates,
        count=smaller_side,
        by_compound=lambda inputs: named(inputs.real_compounds, _kernel_distances(inputs)),
    ),
    Metric(
        key="precision",
        title="Precision",
        family="realism",
        named_after="extractor",
        genuine=Genuine("precision", "Precision"),
        version=2,
        inputs=FeatureInputs,
        direction="max",
        unit="share of generated images",
        smallest_n=16,
        summary="Share of generated images that lie among real ones; repeating one good image wins it.",
        ranked=False,
        sees=("blur", "noise", "JPEG"),
        compute=lambda inputs: inputs.neighbourhoods.precise.mean(),
        resample=_precision_replicates,
        count=smaller_side,
    ),
    Metric(
        key="recall",
        title="Recall",
        family="realism",
        named_after="extractor",
        genuine=Genuine("recall", "Recall"),
        version=2,
        inputs=FeatureInputs,
        direction="max",
        unit="share of real images",
        smallest_n=16,
        summary="Share of real images that lie among generated ones; scattered outliers win it.",
        ranked=False,
        sees=("duplicated", "dropped"),
        compute=lambda inputs: inputs.neighbourhoods.recalled.mean(),
        resample=_recall_replicates,
        count=smaller_side,
    ),
    Metric(
        key="density",
        title="Density",
        family="realism",
        named_after="extractor",
        genuine=Genuine("density", "Density"),
        version=2,
        inputs=FeatureInputs,
        # Samples of the real law have 1; one image repeated where real ones are densest exceeds it without bound.
        direction="target",
        target=1.0,
        unit="real neighbourhoods per image",
        smallest_n=16,
        summary="How densely real images lie where generated ones do; the real law has 1, and more is no better.",
        ranked=False,
        sees=("blur", "noise", "JPEG"),
        compute=lambda inputs: inputs.neighbourhoods.dense.mean(),
        resample=_density_replicates,
        count=smaller_side,
    ),
    Metric(
        key="coverage",
        title="Coverage",
        family="realism",
        named_after="extractor",
        genuine=Genuine("coverage", "Coverage"),
        version=2,
        inputs=FeatureInputs,
        direction="max",
        unit="share of real images",
        smallest_n=16,
        summary="Share of real images with a generated neighbour; dropped modes and repeated images lower it.",
        ranked=False,
        sees=("blur", "noise", "JPEG", "duplicated", "dropped"),
        compute=lambda inputs: inputs.neighbourhoods.covered.mean(),
        resample=_coverage_replicates,
        count=smaller_side,
    ),
    Metric(
        key="is",
        title="Inception score",
        family="realism",
        named_after="extractor",
        genuine=Genuine("inception_score", "Inception score"),
        version=1,
        inputs=ProbabilityInputs,
        direction="none",
        ranked=False,
        unit="effective classes",
        smallest_n=20,
        summary="Inception score of the generated images; read beside the real images' value, ranks nothing.",
        compute=lambda inputs: inception_score(inputs.probabilities),
        resample=_inception_replicates,
        count=lambda inputs: len(inputs.probabilities),
    ),
)
