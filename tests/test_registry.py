"""Every row scores, gives an interval around its score, refuses too few, and names itself."""

import dataclasses

import numpy as np
import pytest

from morphobench.metrics import (
    METRICS,
    CopyInputs,
    ExpressionInputs,
    FeatureInputs,
    MechanismInputs,
    MemorisationInputs,
    MorphologyInputs,
    MorphologyProfileInputs,
    ProbabilityInputs,
    ProfileInputs,
    SeparabilityInputs,
    clustered_interval,
    key_for,
    scaled,
)
from morphobench.metrics.inputs import SwapInputs
from morphobench.scoring.tasks import BUNDLES

COMPOUNDS = np.repeat(["a", "b", "c", "d"], 8)
PLATES = np.tile(np.repeat(["p", "q"], 4), 4)


def bundle(kind, rows=slice(None), replicate_plates=False):
    """A small bundle of each kind; `rows` cuts the generated side."""
    random = np.random.default_rng(0)
    n = len(COMPOUNDS)
    real_plates = np.char.add(PLATES, "2") if replicate_plates else PLATES
    effect = np.repeat(random.normal(size=(4, 12)), 8, axis=0)
    features = effect + random.normal(size=(n, 12)) + 0.8
    others = effect + random.normal(size=(n, 12))
    compounds, plates = COMPOUNDS[rows], PLATES[rows]
    if kind is FeatureInputs:
        return FeatureInputs(features[rows], others, compounds, plates, COMPOUNDS, real_plates)
    if kind is CopyInputs:
        hashes = np.where(np.arange(n) % 3, np.arange(n), 0).astype(str)
        return CopyInputs(hashes[rows], compounds, plates)
    if kind is MemorisationInputs:
        near, real = random.random(n), random.random(n)
        return MemorisationInputs(near[rows], real[rows], 0.5 * near[rows], real[rows], compounds, plates)
    if issubclass(kind, SwapInputs):
        toward = dict(zip("abcd", "bcda", strict=True))
        means = np.array([effect[toward[name] == COMPOUNDS][0] for name in COMPOUNDS]) - effect
        moved = 0.5 * means + random.normal(size=(n, 12))
        # What was swapped has the effect: where it is the plate, the labels change places.
        turn = slice(None, None, 1 if kind.by == "compounds" else -1)
        labels, real_labels = (compounds, plates)[turn], (COMPOUNDS, PLATES)[turn]
        return kind(moved[rows], *labels, others, *real_labels, toward, (0.8 * means)[rows])
    if kind is ProbabilityInputs:
        return ProbabilityInputs(random.dirichlet(np.ones(5), size=n)[rows], compounds, plates)
    if kind is SeparabilityInputs:
        return SeparabilityInputs(others, COMPOUNDS, features[rows], compounds, compounds, plates)
    if issubclass(kind, ProfileInputs):
        vehicle, vehicle_plates = random.normal(size=(20, 12)), np.repeat(["p", "q"], 10)
        profiles = (features[rows], others[rows], vehicle, compounds, plates, vehicle_plates)
        doses, mechanisms = np.tile(np.repeat([1.0, 2.0], 2), 8), np.where(np.isin(COMPOUNDS, ["a", "b"]), "one", "two")
        return kind(*profiles, *((doses[rows], mechanisms[rows], plates) if issubclass(kind, MechanismInputs) else ()))
    if kind is MorphologyProfileInputs:
        vehicle, vehicle_plates = random.normal(size=(20, 12)), np.repeat(["p", "q"], 10)
        return MorphologyProfileInputs(features[rows], others[rows], vehicle, compounds, plates, vehicle_plates)
    if kind is MorphologyInputs:
        area = np.abs(features[:, 0])[rows], np.abs(others[:, 0]), np.full(10, 3.0) + random.normal(size=10)
        vehicle_plates = np.repeat(["p", "v"], 5)
        return MorphologyInputs(*area, compounds, plates, COMPOUNDS, real_plates, vehicle_plates, dropped=3)
    # A weak answer: the centroid accuracy of a good one is 1 in every replicate.
    guess = 0.3 * effect + np.repeat(random.normal(size=(4, 12)), 8, axis=0) + random.normal(size=(n, 12))
    profiles = guess[rows], (features - 0.5 * others)[rows], np.zeros((n, 12))[rows]
    return ExpressionInputs(*profiles, compounds, plates)


def enough(inputs, metric):
    """The bundle, or a larger one of the same kind for a row that asks for more images than it holds."""
    times = -(-metric.smallest_n // metric.count(inputs))
    if times == 1:
        return inputs
    sides = {field.name: np.concatenate([getattr(inputs, field.name)] * times) for field in dataclasses.fields(inputs)}
    random = np.random.default_rng(1)
    noisy = {name: sides[name] + random.normal(size=sides[name].shape) for name in ("generated", "real")}
    return type(inputs)(**sides | noisy)


@pytest.mark.parametrize("key", METRICS)
@pytest.mark.parametrize("replicate_plates", [False, True])
def test_interval_is_reproducible_and_holds_the_score(key, replicate_plates):
    metric = METRICS[key]
    inputs = enough(bundle(metric.inputs, replicate_plates=replicate_plates), metric)
    value = metric.score(inputs)
    low, high = metric.interval(inputs, replicates=100, seed=1)
    assert low < value < high
    assert (low, high) == metric.interval(inputs, replicates=100, seed=1)


@pytest.mark.parametrize("key", METRICS)
def test_too_few_is_refused_with_the_reason(key):
    metric = METRICS[key]
    few = bundle(metric.inputs, rows=slice(0, min(7, metric.smallest_n - 1)))
    with pytest.raises(ValueError, match=rf"at least {metric.smallest_n} are needed"):
        metric.score(few)


@pytest.mark.parametrize("key", METRICS)
def test_rows_are_whole(key):
    metric = METRICS[key]
    assert metric.printed_key() == key
    assert metric.inputs in BUNDLES
    assert (metric.named_after == "extractor") == (metric.inputs in (FeatureInputs, ProbabilityInputs))
    assert metric.summary.endswith(".")
    assert len(metric.summary) < 121
    assert metric.version >= 1
    assert metric.count(bundle(metric.inputs)) in (32, 4)
    with pytest.raises(TypeError, match=f"{metric.inputs.__name__}, not int"):
        metric.score(3)


def test_undefined_items_are_counted():
    assert METRICS["fd"].undefined(bundle(FeatureInputs)) == 0
    assert METRICS["area_occupied_shift[cells]"].undefined(bundle(MorphologyInputs)) == 3
    inputs = bundle(ExpressionInputs)
    measured = np.where((COMPOUNDS == "b")[:, None], inputs.pre, inputs.measured_post)
    flat = ExpressionInputs(inputs.predicted_post, measured, inputs.pre, COMPOUNDS, PLATES)
    metric = METRICS["lfc_pearson_vehicle"]
    assert metric.undefined(flat) == 1
    kept = COMPOUNDS != "b"
    rest = (inputs.predicted_post[kept], inputs.measured_post[kept], inputs.pre[kept])
    without = ExpressionInputs(*rest, COMPOUNDS[kept], PLATES[kept])
    assert metric.score(flat) == pytest.approx(metric.score(without))


def test_one_compound_on_one_plate_has_no_interval():
    random = np.random.default_rng(0)
    labels = (np.array(["a"] * 20), np.array(["p"] * 20))
    inputs = FeatureInputs(random.normal(size=(20, 5)), random.normal(size=(20, 5)), *labels, *labels)
    assert METRICS["kd"].interval(inputs, replicates=50, seed=0) is None


def test_no_change_predicted_scores_nothing():
    inputs = bundle(ExpressionInputs)
    none = ExpressionInputs(inputs.pre, inputs.measured_post, inputs.pre, COMPOUNDS, PLATES)
    assert METRICS["lfc_pearson_vehicle"].score(none) == 0
    assert METRICS["lfc_pearson_perturbed_mean"].score(none) == 0
    with pytest.raises(ValueError, match="the same for all"):
        METRICS["lfc_pearson"].score(none)


def test_labels_must_pair_up():
    with pytest.raises(ValueError, match="one per row"):
        ProbabilityInputs(np.ones((3, 1)), np.array(["a"]), np.array(["p"] * 3))


def test_only_genuine_inception_features_take_the_published_names():
    assert [key_for(row, "inception") for row in ("fd", "kd", "is")] == ["fid", "kid", "inception_score"]
    assert key_for("fd", "efficientnet_lite0") == "fd[efficientnet_lite0]"
    assert key_for("kd_per_compound", "inception") == "kid_per_compound"
    assert key_for("coverage", "inception") == "coverage"
    assert key_for("coverage", "efficientnet_lite0") == "coverage[efficientnet_lite0]"
    assert key_for("kd_per_compound", "dinov2") == "kd_per_compound[dinov2]"
    assert key_for("nsc", "dinov2") == "nsc[dinov2]"
    assert key_for("area_occupied_shift[cells]", engine="cellprofiler") == "area_occupied_shift[cells][cellprofiler]"
    with pytest.raises(KeyError):
        key_for("no_row", "inception")


def test_scaled_is_not_clipped_and_works_in_both_directions():
    assert scaled(5.0, vehicle=10.0, ceiling=0.0, interval=(-1, 1), direction="min") == 0.5
    assert scaled(12.0, vehicle=10.0, ceiling=0.0, interval=(-1, 9.9), direction="min") == pytest.approx(-0.2)
    assert scaled(0.9, vehicle=0.1, ceiling=0.5, interval=(0.2, 0.6), direction="max") == pytest.approx(2)


@pytest.mark.parametrize(
    ("vehicle", "ceiling", "direction"),
    [(2.0, 2.0, "min"), (0.0, 10.0, "min"), (0.5, 0.1, "max"), (0.1, 0.5, "none"), (0.1, 0.5, "target")],
)
def test_nothing_is_scaled_unless_replicates_beat_the_vehicle(vehicle, ceiling, direction):
    interval = (ceiling - 0.01, ceiling + 0.01)
    assert scaled(1.0, vehicle=vehicle, ceiling=ceiling, interval=interval, direction=direction) is None


@pytest.mark.parametrize("interval", [(-1.0, 10.5), None], ids=["vehicle inside", "nothing known"])
def test_nothing_is_scaled_where_replicates_beat_the_vehicle_by_chance_alone(interval):
    assert scaled(5.0, vehicle=10.0, ceiling=0.0, interval=interval, direction="min") is None
    if interval:
        mirrored = (-interval[1], -interval[0])
        assert scaled(-5.0, vehicle=-10.0, ceiling=0.0, interval=mirrored, direction="max") is None


def test_rows_of_which_no_more_is_better_have_a_target():
    for key, target in {"density": 1.0, "near_copies": 0.05, "rna_swap_error": 0.0}.items():
        assert (METRICS[key].direction, METRICS[key].target) == ("target", target)
    assert all((metric.direction == "target") == (metric.target is not None) for metric in METRICS.values())


def test_biased_blind_and_one_sided_rows_are_shown_and_not_ranked():
    one_sided = {"precision", "recall", "density", "coverage", "duplicates"}
    reliance = {f"{what}_swap_{row}" for what in ("drug", "rna") for row in ("gap", "error")}
    memorised = {"train_copies", "near_copies", "nearest_train_distance"}
    shown = {"fd", "fd_infinity", "fd_per_compound", "is", "lfc_pearson", "profile_correlation"}
    assert not any(METRICS[key].ranked for key in shown | one_sided | reliance | memorised)
    ranked = {"kd", "kd_per_compound", "lda_separability", "nsc", "nscb", "replicate_map", "discrimination_rank"}
    ranked |= {"area_occupied_shift[cells]", "lfc_pearson_vehicle", "lfc_pearson_perturbed_mean", "centroid_accuracy"}
    assert all(METRICS[key].ranked for key in ranked)
    assert not any(metric.ranked for metric in METRICS.values() if metric.direction == "none")


def test_an_interval_is_that_of_its_replicates_and_clusters():
    inputs = bundle(FeatureInputs)
    assert inputs.clusters == (4, 2)
    metric = METRICS["kd"]
    expected = clustered_interval(metric.score(inputs), metric.resample(inputs, 100, 1), (4, 2))
    assert metric.interval(inputs, replicates=100, seed=1) == expected
    assert expected[0] < metric.score(inputs) < expected[1]


def test_one_plate_has_no_interval_however_many_compounds():
    inputs = bundle(ProbabilityInputs)
    alone = ProbabilityInputs(inputs.probabilities, COMPOUNDS, np.full(len(COMPOUNDS), "p"))
    assert METRICS["is"].interval(alone, replicates=50, seed=0) is None
