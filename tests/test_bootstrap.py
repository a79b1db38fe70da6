"""The cluster bootstrap: what is drawn, and how often its intervals hold the truth in a simulation that knows it."""

import numpy as np
import pytest
from scipy.stats import norm, t

from morphobench.metrics import (
    METRICS,
    FeatureInputs,
    clustered_interval,
    few_clusters_widening,
    percentile_interval,
    recentred_interval,
)
from morphobench.metrics.bootstrap import draw_clusters

COMPOUNDS = np.repeat(["a", "b", "c", "d", "e"], 6)
PLATES = np.tile(np.repeat(["p", "q", "r"], 2), 5)


def test_a_weight_is_the_product_of_two_multinomial_counts():
    weights = draw_clusters([COMPOUNDS], [PLATES], 2000, seed=0).weights(COMPOUNDS, PLATES)
    assert weights.shape == (2000, 30)
    assert (weights.sum(axis=1) == 30).all()  # balanced: 5 compounds x 3 plates x 2 images
    table = weights.reshape(2000, 5, 3, 2)
    assert (table[..., 0] == table[..., 1]).all()
    # Every replicate is the outer product of its compound and plate counts.
    cells = table[..., 0]
    outer = cells.sum(axis=2)[:, :, None] * cells.sum(axis=1)[:, None, :]
    assert (cells * cells.sum(axis=(1, 2))[:, None, None] == outer).all()
    assert cells.mean(axis=0) == pytest.approx(np.ones((5, 3)), abs=0.1)


def test_equal_labels_and_seed_give_paired_draws():
    first, again, other = (
        draw_clusters([names], [PLATES[::step]], 50, seed)
        for names, step, seed in ((COMPOUNDS, 1, 3), (COMPOUNDS[::-1], -1, 3), (COMPOUNDS, 1, 4))
    )
    weights = first.weights(COMPOUNDS, PLATES)
    assert (weights == again.weights(COMPOUNDS[::-1], PLATES[::-1])[:, ::-1]).all()
    assert (weights != other.weights(COMPOUNDS, PLATES)).any()


def test_sets_share_the_labels_they_have_in_common_and_no_others():
    draws = draw_clusters([COMPOUNDS, COMPOUNDS], [PLATES, np.array(["p", "x", "y"])], 100, seed=0)
    assert sorted(draws.plate_counts) == ["p", "q", "r", "x", "y"]
    assert (sum(draws.plate_counts[p] for p in "pqr") == 3).all()
    assert (sum(draws.plate_counts[p] for p in "xy") == 2).all()
    assert (draws.plate_weights(np.array(["x", "x"])) == draws.plate_counts["x"][:, None]).all()


def test_a_single_cluster_is_kept():
    names, places = np.array(["a"] * 4), np.array(["p"] * 4)
    assert (draw_clusters([names], [places], 20, seed=0).weights(names, places) == 1).all()


def test_counts_are_whole_and_no_rows_have_no_weights():
    draws = draw_clusters([COMPOUNDS], [PLATES], 30, seed=1)
    for each in (draws, draws.each_way()):
        assert each.weights(COMPOUNDS, PLATES).dtype.kind == "i"
        assert each.weights(COMPOUNDS[:0], PLATES[:0]).shape == (each.replicates, 0)


def test_each_way_takes_the_same_draws_alone():
    draws = draw_clusters([COMPOUNDS], [PLATES], 40, seed=5)
    weights = draws.each_way().weights(COMPOUNDS, PLATES)
    both, by_compound, by_plate = np.split(weights, 3)
    assert (both == draws.weights(COMPOUNDS, PLATES)).all()
    assert (both == by_compound * by_plate).all()
    assert (by_plate == draws.plate_weights(PLATES)).all()


def test_the_spread_of_a_mean_is_that_of_the_analysis_of_variance():
    """Balanced two-way layout: variance of the grand mean = (MS_c + MS_p - MS_cp) / cells, by its textbook sums."""
    random, (c, p) = np.random.default_rng(2), (12, 5)
    table = random.normal(size=c)[:, None] + 0.8 * random.normal(size=p) + 0.5 * random.normal(size=(c, p))
    rows, columns = table.mean(axis=1) - table.mean(), table.mean(axis=0) - table.mean()
    rest = table - table.mean() - rows[:, None] - columns
    square_c, square_p = p * (rows @ rows) / (c - 1), c * (columns @ columns) / (p - 1)
    square_cp = (rest**2).sum() / ((c - 1) * (p - 1))
    parts = np.array([square_c - square_cp, square_p - square_cp, square_cp]) / (c * p)
    assert parts.min() > 0
    degrees = parts.sum() ** 2 / (parts**2 / [c - 1, p - 1, (c - 1) * (p - 1)]).sum()
    half = t.ppf(0.975, degrees) * np.sqrt(parts.sum())
    names, places = np.repeat(np.arange(c), p).astype(str), np.tile(np.arange(p), c).astype(str)
    weights = draw_clusters([names], [places], 40_000, seed=0).each_way().weights(names, places)
    low, high = clustered_interval(table.mean(), weights @ table.ravel() / weights.sum(axis=1), (c, p))
    # The quantiles of the replicates, of five plates' draws, have tails a little lighter than the normal law's.
    assert high - low == pytest.approx(2 * half, rel=0.04)


@pytest.mark.parametrize(
    ("spreads", "variance", "degrees"),
    [
        # Variances of the arms (both, compounds, plates) for 5 compounds on 3 plates; by hand, with the arms times 5/4,
        # 3/2 and the product: the variance of the value, and the degrees of freedom.
        ((4.0, 0.0, 0.0), 4 * 15 / 8, 4 * 2),  # all of it each image's own: the product of the two
        ((4.0, 4.0, 0.0), 4 * 5 / 4, 4),  # compounds alone
        ((4.0, 0.0, 4.0), 4 * 3 / 2, 2),  # plates alone
        # rest 1 * 15/8, compounds 8 * 5/4 - 15/8 = 65/8, plates 5 * 3/2 - 15/8 = 45/8
        ((14.0, 8.0, 5.0), 125 / 8, 125**2 / (65**2 / 4 + 45**2 / 2 + 15**2 / 8)),
        ((10.0, 8.0, 5.0), 8 * 5 / 4 + 5 * 3 / 2, 17.5**2 / (10**2 / 4 + 7.5**2 / 2)),  # a rest below 0 is none
    ],
)
def test_the_width_is_that_of_students_t_with_satterthwaites_degrees_of_freedom(spreads, variance, degrees):
    shape = np.random.default_rng(0).gamma(2, size=999)
    shape = (shape - shape.mean()) / shape.std()
    arms = [7 + np.sqrt(spread) * shape for spread in spreads]
    found = clustered_interval(3.0, np.concatenate(arms), (5, 3))
    widening = np.sqrt(variance) * t.ppf(0.975, degrees) / norm.ppf(0.975)
    assert found == pytest.approx(tuple(3 + widening * np.quantile(shape, [0.025, 0.975])), rel=1e-9)


def test_a_mean_without_effects_has_the_spread_of_its_images():
    """Independent images: about s / sqrt(N), not the three variances that draws both ways count."""
    random, ratios = np.random.default_rng(3), []
    names, places = np.repeat(np.arange(40), 6).astype(str), np.tile(np.arange(6), 40).astype(str)
    for trial in range(40):
        values = random.normal(size=240)
        weights = draw_clusters([names], [places], 300, seed=trial).each_way().weights(names, places)
        low, high = clustered_interval(values.mean(), weights @ values / weights.sum(axis=1), (40, 6))
        ratios.append((high - low) / (2 * 1.96 / np.sqrt(240)))
    assert 0.95 < np.mean(ratios) < 1.4


def test_nothing_is_said_of_an_unknown_spread():
    random = np.random.default_rng(0)
    values = random.normal(size=300)
    assert clustered_interval(0.0, values, (5, 1)) is None
    assert clustered_interval(0.0, np.full(300, 3.0), (5, 4)) is None
    assert clustered_interval(0.0, 1e-12 * values, (5, 4), scale=1.0) is None
    assert clustered_interval(0.0, 1e-12 * values, (5, 4)) is not None
    assert clustered_interval(0.0, np.where(np.arange(300) < 60, np.nan, values), (5, 4)) is None
    assert clustered_interval(0.0, np.where(np.arange(300) < 40, np.nan, values), (5, 4)) is not None
    assert clustered_interval(0.0, 1e200 * values, (5, 4)) is None
    with pytest.raises(ValueError, match="three arms"):
        clustered_interval(0.0, values[:-1], (5, 4))


def test_intervals():
    values = np.arange(1001) / 1000
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert percentile_interval(np.r_[values, np.nan]) == pytest.approx((0.025, 0.975))
    assert recentred_interval(2.0, values) == pytest.approx((1.525, 2.475))
    with pytest.raises(ValueError, match="1 of 3 replicates"):
        percentile_interval(np.array([1.0, np.nan, np.nan]))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="replicates=0"):
        draw_clusters([COMPOUNDS], [PLATES], 0, seed=0)


def crossed(random, shift, dimension=24, compounds=30, plates=4, images=2):
    """Real and generated features with compound and plate effects that the two sides share in part."""
    c = np.repeat(np.arange(compounds), plates * images)
    p = np.tile(np.repeat(np.arange(plates), images), compounds)
    scale = np.arange(1, dimension + 1) ** -0.5
    compound, plate = random.normal(size=(compounds, dimension)), random.normal(size=(plates, dimension))
    noise = random.normal(size=(2, len(c), dimension))
    real = (compound[c] + 0.5 * plate[p] + noise[0]) * scale
    generated = (0.7 * compound[c] + 0.4 * plate[p] + 0.9 * noise[1]) * scale + shift
    labels = (c.astype(str), p.astype(str))
    return FeatureInputs(generated, real, *labels, *labels)


@pytest.mark.parametrize(
    ("key", "shift"),
    [
        ("fd", 0.1), ("kd", 0.1), ("kd_per_compound", 0.1), ("precision", 0.1), ("recall", 0.1), ("density", 0.1),
        ("coverage", 0.6),
    ],
)  # fmt: skip
def test_intervals_hold_the_expected_score_at_this_n(key, shift):
    random, metric = np.random.default_rng(0), METRICS[key]
    scores, intervals = [], []
    for trial in range(60):
        inputs = crossed(random, shift)
        scores.append(metric.score(inputs))
        intervals.append(metric.interval(inputs, replicates=200, seed=trial))
    low, high = np.array(intervals).T
    truth = np.mean(scores)
    assert ((low <= truth) & (truth <= high)).mean() >= 0.87  # 0.9, and what 60 trials leave open
    # An interval that knew the standard error would be 3.9 of it wide.
    assert (high - low).mean() < 7 * np.std(scores)


@pytest.mark.parametrize(("compounds", "plates", "plate_sd"), [(44, 4, 1.0), (5, 3, 0.3), (44, 4, 0.0)])
def test_intervals_of_a_mean_hold_the_truth(compounds, plates, plate_sd):
    """Truth 0: compound, plate and image effects are normal; `benchmarks/interval_coverage.py` has the table."""
    random, trials = np.random.default_rng(0), 200
    names, places = np.repeat(np.arange(compounds), plates).astype(str), np.tile(np.arange(plates), compounds)
    places, hits = places.astype(str), 0
    for trial in range(trials):
        effects = 0.5 * random.normal(size=compounds), plate_sd * random.normal(size=plates)
        values = np.add.outer(*effects).ravel() + 0.5 * random.normal(size=compounds * plates)
        weights = draw_clusters([names], [places], 200, trial).each_way().weights(names, places)
        low, high = clustered_interval(values.mean(), weights @ values / weights.sum(axis=1), (compounds, plates))
        hits += low <= 0 <= high
    assert 0.9 <= hits / trials <= 0.99


def test_widening_for_few_clusters():
    assert few_clusters_widening(4) == pytest.approx(3.18245 / 1.95996 * (4 / 3) ** 0.5, rel=1e-4)
    assert few_clusters_widening(2) == pytest.approx(12.7062 / 1.95996 * 2**0.5, rel=1e-4)
    assert few_clusters_widening(10**6) == pytest.approx(1, abs=1e-5)
    assert recentred_interval(2.0, np.arange(1001) / 1000, widening=2) == pytest.approx((1.05, 2.95))
    with pytest.raises(ValueError, match="clusters=1"):
        few_clusters_widening(1)


def arms(spread: float, size: float = 1.0) -> np.ndarray:
    """Three arms of eight replicates, the first around 1 and the others around `size`, of this spread."""
    steps = spread * np.tile([0.0, 1.0], 4)
    return np.concatenate([1 + steps, size + steps / 2, size + steps / 2])


def test_a_spread_is_rounding_by_the_size_of_the_first_arm_or_of_the_scale():
    assert clustered_interval(1.0, arms(3e-10), (5, 4), scale=0.0) is None
    low, high = clustered_interval(1.0, arms(3e-9), (5, 4), scale=0.0)
    assert 0 < high - low < 1e-7
    assert clustered_interval(1.0, arms(3e-9), (5, 4), scale=100.0) is None
    assert clustered_interval(1.0, arms(1e-4, size=1e6), (5, 4), scale=0.0) is not None
