"""One row per score: METRICS is the only list of what the benchmark computes.

A row is a pure function of one bundle of arrays, its replicates under the cluster bootstrap, and what a reader must
know of it. Rows whose key is a family (a key of GENUINE) are printed under the name of the features they saw:
`key_for`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from morphobench.metrics import replicates as resample
from morphobench.metrics.bootstrap import clustered_interval
from morphobench.metrics.expression import centroid_accuracy, lfc_pearson, lfc_pearson_per_compound
from morphobench.metrics.frechet import frechet_distance
from morphobench.metrics.frechet_compounds import frechet_distance_by_compound
from morphobench.metrics.inception_score import inception_score
from morphobench.metrics.inputs import (
    CopyInputs,
    ExpressionInputs,
    FeatureInputs,
    MechanismInputs,
    MemorisationInputs,
    MorphologyInputs,
    ProbabilityInputs,
    ProfileInputs,
    SeparabilityInputs,
    SwapInputs,
)
from morphobench.metrics.kernel import kernel_distance, kernel_distance_by_compound
from morphobench.metrics.morphology import area_occupied_shift_by_compound
from morphobench.metrics.reliance import swap_error, swap_gap
from morphobench.metrics.separability import lda_separability


@dataclass(frozen=True)
class Metric:
    """A row.

    `compute` and `resample` are the score and its replicates; `count` is the N of the smaller side; `undefined` how
    many items have no value (they are left out, never counted as 0); `ranked` whether the board orders by it.
    """

    key: str
    version: int
    inputs: type
    direction: Literal["min", "max", "target", "none"]
    unit: str
    smallest_n: int
    summary: str
    compute: Callable[[Any], float]
    resample: Callable[[Any, int, int], np.ndarray]
    count: Callable[[Any], int]
    undefined: Callable[[Any], int] = lambda inputs: 0
    target: float | None = None
    ranked: bool = True

    def score(self, inputs: Any) -> float:
        """The value for one bundle. Raises ValueError, with the reason, where there is none; never returns NaN."""
        if not isinstance(inputs, self.inputs):
            raise TypeError(f"{self.key} takes {self.inputs.__name__}, not {type(inputs).__name__}")
        n = self.count(inputs)
        if n < self.smallest_n:
            raise ValueError(f"too few for {self.key}: {n}, at least {self.smallest_n} are needed")
        value = float(self.compute(inputs))
        if not np.isfinite(value):
            raise ValueError(f"{self.key} is not a finite number for these {n}")
        return value

    def interval(self, inputs: Any, replicates: int, seed: int) -> tuple[float, float] | None:
        """95% interval around `score`; None where nothing is known of its spread (see `clustered_interval`)."""
        if min(inputs.clusters) < 2:
            return None
        return clustered_interval(self.score(inputs), self.resample(inputs, replicates, seed), inputs.clusters)


def key_for(family: str, extractor: str) -> str:
    """The key a family's score is printed under: `fid`, `kid`, ... for genuine Inception features, else `fd[name]`, ...

    Raises KeyError for a row that is not a family.
    """
    genuine = GENUINE[family]
    return genuine if extractor == "inception" else f"{family}[{extractor}]"


def scaled(
    value: float, vehicle: float, ceiling: float, direction: Literal["min", "max", "target", "none"]
) -> float | None:
    """(value - vehicle) / (ceiling - vehicle): 0 for the vehicle control, 1 for real replicates, not clipped.

    None unless the ceiling is better than the vehicle in a `direction` of min or max: where real replicates do no
    better than the vehicle, the quotient would call worse values better.
    """
    gain = {"min": vehicle - ceiling, "max": ceiling - vehicle}.get(direction, 0.0)
    if gain <= 0:
        return None
    return (value - vehicle) / (ceiling - vehicle)


def _fd_per_compound(inputs: FeatureInputs) -> float:
    sides = (inputs.generated, inputs.generated_compounds, inputs.real, inputs.real_compounds)
    return float(frechet_distance_by_compound(*sides).mean())


def _kd_per_compound(inputs: FeatureInputs) -> float:
    sides = (inputs.generated, inputs.generated_compounds, inputs.real, inputs.real_compounds)
    return float(kernel_distance_by_compound(*sides).mean())


def _shift(inputs: MorphologyInputs) -> float:
    sides = (inputs.generated, inputs.generated_compounds, inputs.real, inputs.real_compounds)
    return area_occupied_shift_by_compound(*sides, inputs.vehicle)


def _r_vehicle(inputs: ExpressionInputs) -> np.ndarray:
    return lfc_pearson_per_compound(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)


def _r_perturbed_mean(inputs: ExpressionInputs) -> np.ndarray:
    profiles = (inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)
    return lfc_pearson_per_compound(*profiles, centred=True)


def _nearer_to_own(inputs: ExpressionInputs) -> np.ndarray:
    return centroid_accuracy(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds)


def _defined_mean(values: np.ndarray) -> float:
    if np.isnan(values).all():
        raise ValueError(f"r is undefined for all {len(values)} compounds: prediction or truth is constant over genes")
    return float(np.nanmean(values))


def _retrieved(inputs: ProfileInputs) -> float:
    precision = inputs.retrieval[0]
    if np.isnan(precision).all():
        raise ValueError("no compound has real images on two plates: there is nothing to find on another one")
    return float(np.nanmean(precision))


def _undefined(values: np.ndarray) -> int:
    return int(np.isnan(values).sum())


def _smaller_side(inputs: FeatureInputs | MorphologyInputs) -> int:
    return min(len(inputs.generated), len(inputs.real))


def _compounds(inputs: ExpressionInputs | ProfileInputs) -> int:
    return len(np.unique(inputs.compounds))


def _area_row(compartment: str, suffix: str, border: str) -> Metric:
    return Metric(
        key=f"area_occupied_shift[{compartment}{suffix}]",
        version=1,
        inputs=MorphologyInputs,
        direction="max",
        unit="share of the gap closed",
        smallest_n=10,
        summary=f"How much of the real shift from vehicle in area of {compartment} is made; border objects {border}.",
        compute=_shift,
        resample=resample.shift_replicates,
        count=_smaller_side,
        undefined=lambda inputs: inputs.dropped,
    )


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


def _distance_ratio(inputs: MemorisationInputs) -> float:
    common = inputs.real_distance.mean()
    if common == 0:
        raise ValueError("the real test images are training images themselves")
    return float(inputs.distance.mean() / common)


def _swap_error(inputs: SwapInputs) -> float:
    if inputs.truth is None:
        raise ValueError("the true change is known of simulated images alone")
    return swap_error(inputs.moved, inputs.truth, inputs.units)


GENUINE = {
    "fd": "fid",
    "fd_infinity": "fid_infinity",
    "fd_per_compound": "fid_per_compound",
    "kd": "kid",
    "kd_per_compound": "kid_per_compound",
    "is": "inception_score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
"""Families, and their names when the features are the genuine Inception's."""

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
        count=_smaller_side,
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
        count=_smaller_side,
    ),
    Metric(
        key="kd_per_compound",
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared MMD",
        smallest_n=8,
        summary="Kernel distance between generated and real images of the same compound, averaged over compounds.",
        compute=_kd_per_compound,
        resample=resample.kernel_by_compound_replicates,
        count=_smaller_side,
    ),
    Metric(
        key="fd_infinity",
        version=1,
        inputs=FeatureInputs,
        direction="min",
        unit="squared feature units",
        smallest_n=256,
        summary="Frechet distance extrapolated to infinitely many images, by a line in 1 / N; not biased by few.",
        ranked=False,
        compute=lambda inputs: inputs.extrapolation.value,
        resample=resample.frechet_infinity_replicates,
        count=_smaller_side,
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
        compute=_fd_per_compound,
        resample=resample.frechet_by_compound_replicates,
        count=_smaller_side,
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
        version=1,
        inputs=FeatureInputs,
        direction="max",
        unit="share of generated images",
        smallest_n=16,
        summary="Share of generated images that lie among real ones; repeating one good image wins it.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.precise.mean(),
        resample=resample.precision_replicates,
        count=_smaller_side,
    ),
    Metric(
        key="recall",
        version=1,
        inputs=FeatureInputs,
        direction="max",
        unit="share of real images",
        smallest_n=16,
        summary="Share of real images that lie among generated ones; scattered outliers win it.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.recalled.mean(),
        resample=resample.recall_replicates,
        count=_smaller_side,
    ),
    Metric(
        key="density",
        version=1,
        inputs=FeatureInputs,
        direction="max",
        unit="real neighbourhoods per image",
        smallest_n=16,
        summary="How densely real images lie where generated ones do; the real law has 1, and more is no better.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.dense.mean(),
        resample=resample.density_replicates,
        count=_smaller_side,
    ),
    Metric(
        key="coverage",
        version=1,
        inputs=FeatureInputs,
        direction="max",
        unit="share of real images",
        smallest_n=16,
        summary="Share of real images with a generated neighbour; dropped modes and repeated images lower it.",
        ranked=False,
        compute=lambda inputs: inputs.neighbourhoods.covered.mean(),
        resample=resample.coverage_replicates,
        count=_smaller_side,
    ),
    Metric(
        key="lda_separability",
        version=1,
        inputs=SeparabilityInputs,
        direction="max",
        unit="balanced accuracy",
        smallest_n=10,
        summary="Share of a mechanism's images that an LDA of real ones names, averaged; chance is 1 / mechanisms.",
        compute=lambda inputs: lda_separability(inputs.train_x, inputs.train_y, inputs.generated_x, inputs.generated_y),
        resample=resample.separability_replicates,
        count=lambda inputs: len(inputs.generated_x),
    ),
    Metric(
        key="nsc",
        version=1,
        inputs=MechanismInputs,
        direction="max",
        unit="share of treatments",
        smallest_n=4,
        summary="Share of generated treatments whose nearest real profile of another compound has their mechanism.",
        compute=lambda inputs: np.nanmean(inputs.matches()[0]),
        resample=resample.nsc_replicates,
        count=lambda inputs: len(inputs.asked()),
        undefined=lambda inputs: _undefined(inputs.matches()[0]),
    ),
    Metric(
        key="nscb",
        version=1,
        inputs=MechanismInputs,
        direction="max",
        unit="share of treatments on plates",
        smallest_n=4,
        summary="The same for profiles of single plates, with neighbours of other compounds on other plates only.",
        compute=lambda inputs: np.nanmean(inputs.batch_matches[0]),
        resample=resample.nscb_replicates,
        count=lambda inputs: len(inputs.asked(batched=True)),
        undefined=lambda inputs: _undefined(inputs.batch_matches[0]),
    ),
    Metric(
        key="replicate_map",
        version=1,
        inputs=ProfileInputs,
        direction="max",
        unit="mean average precision",
        smallest_n=2,
        summary="How early generated profiles find real ones of their compound on other plates among all compounds'.",
        compute=_retrieved,
        resample=resample.replicate_map_replicates,
        count=_compounds,
        undefined=lambda inputs: _undefined(inputs.retrieval[0]),
    ),
    Metric(
        key="discrimination_rank",
        version=1,
        inputs=ProfileInputs,
        direction="max",
        unit="share of other compounds",
        smallest_n=2,
        summary="Share of other compounds whose real profile is farther than the true one's, averaged; chance is 0.5.",
        compute=lambda inputs: inputs.discrimination().mean(),
        resample=resample.discrimination_replicates,
        count=_compounds,
    ),
    *(
        _area_row(compartment, suffix, border)
        for compartment in ("cells", "cytoplasm", "nuclei")
        for suffix, border in (("", "kept"), ("_no_edge", "discarded"))
    ),
    Metric(
        key="lfc_pearson",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="The paper's LFC correlation: training compounds, z-scored per gene, pooled; rewards a lookup table.",
        compute=lambda inputs: lfc_pearson(inputs.predicted_post, inputs.pre, inputs.measured_post, inputs.compounds),
        resample=resample.pooled_lfc_replicates,
        count=_compounds,
    ),
    Metric(
        key="lfc_pearson_vehicle",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="Correlation over genes of predicted and measured LFC from the vehicle, averaged over compounds.",
        compute=lambda inputs: _defined_mean(_r_vehicle(inputs)),
        resample=resample.lfc_vehicle_replicates,
        count=_compounds,
        undefined=lambda inputs: _undefined(_r_vehicle(inputs)),
    ),
    Metric(
        key="lfc_pearson_perturbed_mean",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="correlation",
        smallest_n=2,
        summary="The same after each side's mean over compounds is subtracted: what sets a compound apart.",
        compute=lambda inputs: _defined_mean(_r_perturbed_mean(inputs)),
        resample=resample.lfc_perturbed_mean_replicates,
        count=_compounds,
        undefined=lambda inputs: _undefined(_r_perturbed_mean(inputs)),
    ),
    Metric(
        key="centroid_accuracy",
        version=1,
        inputs=ExpressionInputs,
        direction="max",
        unit="share of other compounds",
        smallest_n=2,
        summary="How often a predicted LFC is more like its own compound's measured one than another's; chance is 0.5.",
        compute=lambda inputs: _defined_mean(_nearer_to_own(inputs)),
        resample=resample.centroid_replicates,
        count=_compounds,
        undefined=lambda inputs: _undefined(_nearer_to_own(inputs)),
    ),
    Metric(
        key="duplicates",
        version=1,
        inputs=CopyInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=2,
        summary="Share of generated images that copy another one, in any of eight views, or a training image.",
        ranked=False,
        compute=lambda inputs: inputs.copied.mean(),
        resample=resample.duplicate_replicates,
        count=lambda inputs: len(inputs.hashes),
    ),
    Metric(
        key="train_copies",
        version=1,
        inputs=MemorisationInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=2,
        summary="Share of generated images that are training images, turned or mirrored ones included.",
        ranked=False,
        compute=lambda inputs: inputs.copied.mean(),
        resample=resample.train_copy_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    Metric(
        key="near_copies",
        version=1,
        inputs=MemorisationInputs,
        direction="min",
        unit="share of generated images",
        smallest_n=16,
        summary="Share of generated images nearer to a training image than 95% of held-out real ones; 0.05 is honest.",
        ranked=False,
        compute=lambda inputs: inputs.near.mean(),
        resample=resample.near_copy_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    Metric(
        key="nearest_train_distance",
        version=1,
        inputs=MemorisationInputs,
        direction="none",
        unit="ratio to held-out real images",
        smallest_n=8,
        summary="Mean distance to the nearest training image over that of held-out real images; 0 for copies.",
        ranked=False,
        compute=_distance_ratio,
        resample=resample.train_distance_replicates,
        count=lambda inputs: len(inputs.distance),
    ),
    *(
        row(kind, what)
        for kind, what in (("drug", "the drug"), ("rna", "G_pre"))
        for row in (_swap_gap_row, _swap_error_row)
    ),
)

METRICS: dict[str, Metric] = {metric.key: metric for metric in ROWS}
