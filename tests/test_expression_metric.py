"""LFC correlations against scipy and on predictions whose worth is known."""

import numpy as np
import pytest
from scipy.stats import pearsonr, zscore

from morphobench.metrics import centroid_accuracy, lfc_pearson, lfc_pearson_per_compound
from morphobench.metrics.expression import centroid_resamples, per_compound_resamples, pooled_resamples

C, REPEATS, G = 6, 4, 50


@pytest.fixture
def profiles():
    """(pre, measured post, compounds): a change shared by all compounds, one of each compound's own, and noise."""
    random = np.random.default_rng(0)
    compounds = np.repeat([f"c{i}" for i in range(C)], REPEATS)
    pre = 8 + random.normal(size=(len(compounds), G)) * 0.1 + random.normal(size=G)
    lfc = np.repeat(random.normal(size=(C, G)), REPEATS, axis=0) + 2 * random.normal(size=G)
    return pre, pre + lfc + 0.1 * random.normal(size=pre.shape), compounds


def compound_means(values, compounds):
    return np.array([values[compounds == name].mean(axis=0) for name in np.unique(compounds)])


def test_pooled_equals_scipy_on_z_scores(profiles):
    pre, post, compounds = profiles
    predicted = post + np.random.default_rng(1).normal(size=post.shape)
    z = [zscore(compound_means(p - pre, compounds), axis=0).ravel() for p in (predicted, post)]
    assert lfc_pearson(predicted, pre, post, compounds) == pytest.approx(pearsonr(*z)[0])


def test_a_lookup_table_scores_one_and_its_negative_minus_one(profiles):
    pre, post, compounds = profiles
    assert lfc_pearson(post, pre, post, compounds) == pytest.approx(1)
    assert lfc_pearson(2 * pre - post, pre, post, compounds) == pytest.approx(-1)


def test_per_compound_equals_scipy(profiles):
    pre, post, compounds = profiles
    predicted = post + 3 * np.random.default_rng(1).normal(size=post.shape)
    changes = [compound_means(p - pre, compounds) for p in (predicted, post)]
    expected = [pearsonr(p, m)[0] for p, m in zip(*changes, strict=True)]
    assert lfc_pearson_per_compound(predicted, pre, post, compounds) == pytest.approx(expected)
    expected = [pearsonr(p, m)[0] for p, m in zip(*(c - c.mean(axis=0) for c in changes), strict=True)]
    assert lfc_pearson_per_compound(predicted, pre, post, compounds, centred=True) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_mean_for_every_compound_looks_good_against_vehicle_only(profiles, dtype):
    pre, post, compounds = (x.astype(dtype) if x.dtype.kind == "f" else x for x in profiles)
    mean = (post - pre).mean(axis=0)
    predicted = pre + mean
    assert np.nanmean(lfc_pearson_per_compound(predicted, pre, post, compounds)) > 0.7
    with pytest.raises(ValueError, match="the same for all 6 compounds"):
        lfc_pearson(predicted, pre, post, compounds)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_drug_free_prediction_has_a_score_beyond_the_mean(profiles, share, dtype):
    """Also where the training mean is not that of the asked compounds, and rounding must not pass for a pattern."""
    pre, post, compounds = (x.astype(dtype) if x.dtype.kind == "f" else x for x in profiles)
    training_mean = (post - pre)[compounds < "c3"].mean(axis=0)
    predicted = (pre + share * training_mean).astype(dtype)
    assert (lfc_pearson_per_compound(predicted, pre, post, compounds, centred=True) == 0).all()
    weights, counts = np.ones((1, len(compounds))), {f"c{i}": np.array([i % 3]) for i in range(C)}
    assert (per_compound_resamples(predicted, pre, post, compounds, True, weights, counts) == 0).all()


def test_raw_profiles_would_flatter_an_empty_prediction(profiles):
    pre, post, compounds = profiles
    assert (lfc_pearson_per_compound(pre, pre, post, compounds) == 0).all()


def test_a_flat_answer_for_hard_compounds_costs_their_score(profiles):
    """Leaving out the compounds one is bad at must not raise the mean."""
    pre, post, compounds = profiles
    predicted = post + 3 * np.random.default_rng(1).normal(size=post.shape)
    each = lfc_pearson_per_compound(predicted, pre, post, compounds)
    hard = np.unique(compounds)[np.argmin(each)]
    dropped = np.where((compounds == hard)[:, None], pre, predicted)
    again = lfc_pearson_per_compound(dropped, pre, post, compounds)
    np.testing.assert_allclose(again, np.where(np.unique(compounds) == hard, 0, each))


@pytest.mark.parametrize("largest", [1.0, 12.0])
def test_a_pattern_counts_from_five_millionths_of_the_largest_value(largest):
    """Four decimals, as in `expression.csv`, leave 2.9e-5 of rounding: of the largest log2 value, 12 or so, 2.4e-6."""
    pattern = np.tile([1.0, -1.0], G // 2)  # spread 1 over genes, and over two compounds of opposite sign
    pre = np.full((2, G), largest) - 1e-4 * largest
    pre[0, 0] = largest
    measured = pre + np.outer([1, -1], np.where(np.arange(G) > 1, pattern, 0)) * 1e-3
    for spread, seen in ((4.9e-6, False), (5.2e-6, True)):
        predicted = pre + np.outer([1, -1], pattern) * spread * largest
        each = lfc_pearson_per_compound(predicted, pre, measured, np.array(["a", "b"]))
        assert (each > 0.9).all() if seen else (each == 0).all()
        faint = lfc_pearson_per_compound(measured, pre, predicted, np.array(["a", "b"]))
        assert (faint > 0.9).all() if seen else np.isnan(faint).all()
        assert centroid_accuracy(predicted, pre, measured, np.array(["a", "b"])) == pytest.approx(1 if seen else 0.5)
        if seen:
            assert lfc_pearson(predicted, pre, measured, np.array(["a", "b"])) > 0.9
        else:
            with pytest.raises(ValueError, match="the same for all 2 compounds"):
                lfc_pearson(predicted, pre, measured, np.array(["a", "b"]))


def test_a_huge_prediction_does_not_silence_the_truth(profiles):
    pre, post, compounds = profiles
    weak = pre + 0.01 * (post - pre)
    predicted = post.copy()
    predicted[0, 0] = 1e6
    assert np.isfinite(lfc_pearson_per_compound(predicted, pre, weak, compounds)).all()


def test_a_gene_constant_over_compounds_adds_nothing(profiles):
    pre, post, compounds = profiles
    predicted = post + np.random.default_rng(1).normal(size=post.shape)
    flat = np.full((len(pre), 1), 5.0)
    padded = [np.hstack([x, flat]) for x in (predicted, pre, post)]
    assert lfc_pearson(*padded, compounds) == pytest.approx(lfc_pearson(predicted, pre, post, compounds))


def test_replicates_equal_the_score_on_repeated_rows(profiles):
    pre, post, compounds = profiles
    predicted = post + np.random.default_rng(1).normal(size=post.shape)
    rows = np.tile([2, 0, 1, 1], C)
    counts = {f"c{i}": np.array([1, count]) for i, count in enumerate([0, 1, 2, 1, 1, 1])}
    weights = np.stack([np.ones(len(rows)), rows])
    taken = np.repeat(np.arange(len(rows)), rows)
    r = lfc_pearson_per_compound(predicted[taken], pre[taken], post[taken], compounds[taken])
    means = per_compound_resamples(predicted, pre, post, compounds, False, weights, counts)
    assert means[0] == pytest.approx(lfc_pearson_per_compound(predicted, pre, post, compounds).mean())
    assert means[1] == pytest.approx(np.average(r, weights=[0, 1, 2, 1, 1, 1]))
    drawn = np.concatenate([np.flatnonzero(compounds[taken] == f"c{i}") for i in (1, 2, 2, 3, 4, 5)])
    names = np.repeat([f"d{i}" for i in range(6)], REPEATS)
    repeated = (predicted[taken][drawn], pre[taken][drawn], post[taken][drawn], names)
    own = per_compound_resamples(predicted, pre, post, compounds, True, weights, counts)
    assert own[0] == pytest.approx(lfc_pearson_per_compound(predicted, pre, post, compounds, centred=True).mean())
    assert own[1] == pytest.approx(lfc_pearson_per_compound(*repeated, centred=True).mean())
    pooled = pooled_resamples(predicted, pre, post, compounds, weights, counts)
    assert pooled == pytest.approx([lfc_pearson(predicted, pre, post, compounds), lfc_pearson(*repeated)])


def test_centroid_accuracy_equals_a_count_of_rivals_by_scipy(profiles):
    pre, post, compounds = profiles
    predicted = post + 9 * np.random.default_rng(2).normal(size=post.shape)
    changes, truths = (compound_means(p - pre, compounds) for p in (predicted, post))
    r = np.array([[pearsonr(change, truth)[0] for truth in truths] for change in changes])
    expected = [np.mean(np.delete(row, own) < row[own]) for own, row in enumerate(r)]
    found = centroid_accuracy(predicted, pre, post, compounds)
    assert found == pytest.approx(expected)
    assert 0.5 < found.mean() < 1
    assert (centroid_accuracy(post, pre, post, compounds) == 1).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, -1.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_centroid_accuracy_of_a_drug_free_prediction_is_a_half(profiles, share, dtype):
    pre, post, compounds = (x.astype(dtype) if x.dtype.kind == "f" else x for x in profiles)
    predicted = (pre + share * (post - pre)[compounds < "c3"].mean(axis=0)).astype(dtype)
    assert centroid_accuracy(predicted, pre, post, compounds).mean() == pytest.approx(0.5, abs=1e-12)


def test_a_compound_measured_flat_is_no_rival(profiles):
    pre, post, compounds = profiles
    predicted = post + 9 * np.random.default_rng(2).normal(size=post.shape)
    flat = compounds == "c2"
    found = centroid_accuracy(predicted, pre, np.where(flat[:, None], pre, post), compounds)
    rest = centroid_accuracy(predicted[~flat], pre[~flat], post[~flat], compounds[~flat])
    assert np.isnan(found[2])
    assert np.delete(found, 2) == pytest.approx(rest)


def test_centroid_replicates_count_a_repeated_compound_as_two_rivals_of_others(profiles):
    pre, post, compounds = profiles
    predicted = post + 9 * np.random.default_rng(2).normal(size=post.shape)
    counts = {f"c{i}": np.array([1, count]) for i, count in enumerate([0, 1, 2, 1, 1, 1])}
    found = centroid_resamples(predicted, pre, post, compounds, np.ones((2, len(compounds))), counts)
    assert found[0] == pytest.approx(centroid_accuracy(predicted, pre, post, compounds).mean())
    changes, truths = (compound_means(p - pre, compounds) for p in (predicted, post))
    r = np.array([[pearsonr(change, truth)[0] for truth in truths] for change in changes])
    drawn = [1, 2, 2, 3, 4, 5]
    expected = [np.mean([r[own, rival] < r[own, own] for rival in drawn if rival != own]) for own in drawn]
    assert found[1] == pytest.approx(np.mean(expected))


def test_a_replicate_without_a_compound_has_no_value(profiles):
    pre, post, compounds = profiles
    counts = {f"c{i}": np.zeros(1, int) for i in range(C)}
    weights = np.ones((1, len(compounds)))
    for resample in (pooled_resamples, centroid_resamples):
        assert np.isnan(resample(post, pre, post, compounds, weights, counts)).all()
    assert np.isnan(per_compound_resamples(post, pre, post, compounds, True, weights, counts)).all()


def test_a_compound_whose_wells_were_not_drawn_is_left_out_of_a_replicate(profiles):
    pre, post, compounds = profiles
    predicted = post + 9 * np.random.default_rng(2).normal(size=post.shape)
    kept = compounds != "c2"
    counts = {f"c{i}": np.ones(1, int) for i in range(C)}
    weights = kept[None].astype(int)
    rest = (predicted[kept], pre[kept], post[kept], compounds[kept])
    assert pooled_resamples(predicted, pre, post, compounds, weights, counts) == pytest.approx(lfc_pearson(*rest))
    assert centroid_resamples(predicted, pre, post, compounds, weights, counts) == pytest.approx(
        centroid_accuracy(*rest).mean()
    )
    for centred in (False, True):
        found = per_compound_resamples(predicted, pre, post, compounds, centred, weights, counts)
        assert found == pytest.approx(lfc_pearson_per_compound(*rest, centred=centred).mean())


def test_bad_input_is_named(profiles):
    pre, post, compounds = profiles
    with pytest.raises(ValueError, match=r"predicted_post.shape=\(24, 49\)"):
        lfc_pearson(post[:, 1:], pre, post, compounds)
    with pytest.raises(ValueError, match="predicted_post: 50 values are not finite"):
        lfc_pearson(np.where(np.arange(24)[:, None] == 0, np.nan, post), pre, post, compounds)


def test_a_table_without_a_value_is_refused_and_one_of_a_single_value_has_no_correlation():
    for shape in ((0, 3), (2, 0)):
        nothing = np.zeros(shape)
        with pytest.raises(ValueError, match=r"\(profiles, genes\) is needed"):
            lfc_pearson(nothing, nothing, nothing, np.full(shape[0], "a"))
    one = np.ones((1, 1))
    assert np.isnan(lfc_pearson_per_compound(2 * one, one, 3 * one, np.array(["a"]))).all()
