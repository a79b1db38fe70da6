"""AreaOccupied shift against scipy's Wasserstein distance and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from morphobench.metrics import area_occupied_shift, area_occupied_shift_by_compound
from morphobench.metrics.morphology import (
    bare,
    composition_of,
    matched,
    samples,
    shift_resamples,
    wasserstein_resamples,
)

REAL = np.array([0.1, 0.2, 0.3])


def shift(generated, compounds, real, real_compounds, vehicle):
    """The score of images that all lie on one plate."""
    plates = [np.full(len(side), "p") for side in (generated, vehicle)]
    return area_occupied_shift_by_compound(generated, compounds, plates[0], real, real_compounds, vehicle, plates[1])


@pytest.mark.parametrize(
    ("generated", "expected"),
    [(REAL, 1.0), (REAL + 0.4, 0.0), (REAL + 0.1, 0.75), (REAL - 0.1, 0.75), (REAL + 0.8, -1.0)],
)
def test_share_of_the_gap(generated, expected):
    assert area_occupied_shift(generated, REAL, REAL + 0.4) == pytest.approx(expected)


def test_no_gap_is_an_error_with_its_reason():
    with pytest.raises(ValueError, match="no gap to close"):
        area_occupied_shift(REAL + 1, REAL, REAL)
    names = np.array(["x", "x", "y"])
    with pytest.raises(ValueError, match="for every compound"):
        shift(REAL, names, np.full(3, 0.5), names, np.full(4, 0.5))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10**6))
def test_weighted_distance_is_scipys(n, m, seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 9, n) / 10, random.integers(0, 9, m) / 10  # ties on purpose
    u, v = random.integers(0, 4, (3, n)), random.integers(0, 4, (3, m))
    u[:, 0] += 1
    v[:, 0] += 1
    expected = [wasserstein_distance(a, b, *weights) for weights in zip(u, v, strict=True)]
    assert wasserstein_resamples(a, b, u, v) == pytest.approx(expected, abs=1e-12)


def test_compounds_weigh_by_their_gap_and_inactive_ones_do_not_swamp():
    names = np.repeat(["active", "inert"], 3)
    real = np.r_[REAL, REAL + 0.4]
    vehicle = REAL + 0.4  # "inert" has no gap at all
    generated = np.r_[REAL, REAL + 0.45]
    assert shift(generated, names, real, names, vehicle) == pytest.approx(1 - 0.05 / 0.4)
    swapped = np.r_[REAL + 0.4, REAL]  # the pooled distribution is perfect, every compound is wrong
    assert area_occupied_shift(swapped, real, np.tile(vehicle, 2)) == pytest.approx(1)
    assert shift(swapped, names, real, names, vehicle) == pytest.approx(-1)


def test_replicates_equal_the_score_on_repeated_rows():
    names = np.array(["x", "x", "x", "y", "y"])
    plates = np.array(["p", "p", "q", "p", "q"])
    generated, real = np.array([0.1, 0.4, 0.2, 0.5, 0.9]), np.array([0.3, 0.3, 0.1, 0.8, 0.7])
    vehicle, beside = np.array([0.0, 0.05, 0.02, 0.3, 0.2]), np.array(["p", "p", "p", "q", "q"])
    rows = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 1, 3], [0, 0, 0, 1, 1]])
    counts = {"x": np.array([1, 1, 1, 1]), "y": np.array([1, 2, 0, 1])}
    drawn = np.array([[1, 1, 1, 1, 1], [1, 2, 0, 0, 3], [1, 1, 1, 1, 1]])
    which = np.array([0, 1, 2, 0])
    sides = (generated, names, plates, real, names, vehicle, beside)
    values = shift_resamples(*sides, rows, rows, drawn, which, counts)
    take_x, take_y = [0, 0, 2], [3, 4, 4, 4]
    missed = [wasserstein_distance(generated[take], real[take]) for take in (take_x, take_y)]
    dealt = [samples(beside, composition_of(on, beside)) for on in (plates[:3], plates[3:])]
    assert [len(each) for each in dealt] == [1, 2]
    gap = [
        np.mean([wasserstein_distance(vehicle[k], real[take], drawn[1, k]) for k in each if drawn[1, k].any()])
        for each, take in zip(dealt, (take_x, take_y), strict=True)
    ]
    assert values[0] == values[3] == pytest.approx(area_occupied_shift_by_compound(*sides))
    assert values[1] == pytest.approx(1 - (missed[0] + 2 * missed[1]) / (gap[0] + 2 * gap[1]))
    assert np.isnan(values[2])  # "x" has no row and "y" was not drawn


def test_replicates_of_cut_down_samples_are_means_of_weighted_distances():
    """Two generated images of p and four of q make two samples beside one and two vehicle images; r has none."""
    random = np.random.default_rng(0)
    plates, beside = np.array(["p", "p", "q", "q", "q", "q", "r"]), np.array(["p", "q", "q"])
    names, generated, real, vehicle = np.full(7, "x"), random.random(7), random.random(9), random.random(3) + 1
    weights = np.array([[1] * 7, [2, 2, 1, 1, 1, 1, 3]]), random.integers(1, 4, (2, 9)), np.array([[1] * 3, [2, 1, 1]])
    counts, which = {"x": np.array([1, 2])}, np.array([0, 1])
    values = shift_resamples(generated, names, plates, real, np.full(9, "x"), vehicle, beside, *weights, which, counts)
    dealt = samples(plates, {"p": 1, "q": 2})
    assert [sorted(plates[rows]) for rows in dealt] == [["p", "q", "q"]] * 2
    for row in which:
        own, true, other = (side[row] for side in weights)
        missed = np.mean([wasserstein_distance(generated[k], real, own[k], true) for k in dealt])
        assert values[row] == pytest.approx(1 - missed / wasserstein_distance(vehicle, real, other, true))


def test_samples_are_disjoint_and_composed_as_asked():
    plates, beside = np.repeat(["p", "q"], [3, 1]), np.repeat(["q", "p", "r"], [4, 11, 50])
    assert composition_of(plates, beside) == {"p": 3, "q": 1}
    dealt = samples(beside, {"p": 3, "q": 1})
    assert len(dealt) == 3  # of p
    assert all(sorted(beside[rows]) == sorted(plates) for rows in dealt)
    assert len(np.unique(np.concatenate(dealt))) == 12
    np.testing.assert_array_equal(samples(plates, {"p": 3, "q": 1}), [[0, 1, 2, 3]])
    assert matched(plates, beside)
    few = beside[3:]  # one image of q is left, two are asked for, and none of s
    plates = np.append(plates, ["q", "s"])
    assert not matched(plates, few)
    assert composition_of(plates, few) == {"p": 3, "q": 1}
    assert [sorted(few[rows]) for rows in samples(few, {"p": 3, "q": 1})] == [["p", "p", "p", "q"]]
    (dealt,) = samples(plates, {"p": 3, "q": 1})
    assert sorted(plates[dealt]) == ["p", "p", "p", "q"]
    assert list(bare(np.array(list("ababc")), np.array(list("pqrrr")), np.array(["q", "x"]))) == ["a", "c"]


def test_a_compound_without_vehicle_images_on_its_plates_is_left_out_and_never_compared_with_other_plates():
    names, plates = np.repeat(["x", "y"], 3), np.repeat(["p", "q"], 3)
    real, generated, vehicle = np.r_[REAL, REAL + 5], np.r_[REAL + 0.1, REAL], REAL + 0.4
    on = np.full(3, "p")
    assert area_occupied_shift_by_compound(generated, names, plates, real, names, vehicle, on) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="no vehicle images of these plates"):
        area_occupied_shift_by_compound(generated, names, plates, real, names, vehicle, np.full(3, "z"))


def layout(effect, random):
    """44 compounds x 4 plates x 4 images and 64 vehicle images a plate, which differ as much as images do.

    Images that show the vehicle's law, real ones, and vehicle ones.
    """
    compounds, plates = np.repeat(np.arange(44), 16), np.tile(np.repeat(np.arange(4), 4), 44)
    plate = random.normal(size=4)
    real = plate[plates] + effect * random.normal(size=44)[compounds] + random.normal(size=704)
    generated = plate[plates] + random.normal(size=704)
    beside = np.repeat(np.arange(4), 64)
    return generated, compounds, plates, real, compounds, plate[beside] + random.normal(size=256), beside


@pytest.mark.parametrize("effect", [0.0, 0.5, 2.0])
def test_0_is_the_vehicle_whatever_the_compounds_do_and_1_the_real_images(effect):
    """With all 256 vehicle images at once the law of the vehicle scored -0.30, -0.15 and -0.02."""
    sets = [layout(effect, np.random.default_rng(seed)) for seed in range(40)]
    values = [area_occupied_shift_by_compound(*sides) for sides in sets]
    assert np.mean(values) == pytest.approx(0, abs=0.005 + 3 * np.std(values) / np.sqrt(len(values)))
    assert np.std(values) < 0.08
    _, compounds, plates, real, *others = sets[0]
    assert area_occupied_shift_by_compound(real, compounds, plates, real, *others) == 1


def uneven(apart, images, random):
    """Four compounds on each three of 15 plates, `images` on each plate, which has 24 vehicle images.

    Plates differ by `apart` image deviations. Images of the vehicle's law, and the rest of the arguments.
    """
    compounds = np.repeat(np.arange(20), 3 * images)
    plates = 3 * (compounds // 4) + np.tile(np.repeat(np.arange(3), images), 20)
    beside, level = np.repeat(np.arange(15), 24), apart * random.normal(size=15)
    real = level[plates] + random.normal(size=20)[compounds] + random.normal(size=len(plates))
    generated = level[plates] + random.normal(size=len(plates))
    return generated, compounds, plates, real, compounds, level[beside] + random.normal(size=len(beside)), beside


@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0])
def test_0_is_the_vehicle_where_a_plate_has_fewer_vehicle_images_than_a_compound(apart):
    """Against vehicle images of all plates together the vehicle's law scored 0.002, 0.032 and 0.129."""
    values = [area_occupied_shift_by_compound(*uneven(apart, 48, np.random.default_rng(seed))) for seed in range(60)]
    error = np.std(values) / np.sqrt(len(values))
    assert error < 0.01
    assert np.mean(values) == pytest.approx(0, abs=3 * error)
    for images, low, high in ((24, 1, 1), (48, 0.75, 0.95)):  # half of the images are not quite all of them
        _, compounds, plates, real, *others = uneven(apart, images, np.random.default_rng(0))
        assert low <= area_occupied_shift_by_compound(real, compounds, plates, real, *others) <= high


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"generated: sample.shape=\(3,\), 1 not finite"):
        area_occupied_shift(np.array([0.1, np.nan, 0.2]), REAL, REAL + 1)
    with pytest.raises(ValueError, match="there are no vehicle images of these plates"):
        area_occupied_shift(REAL, REAL, np.array([]))
    with pytest.raises(ValueError, match=r"generated: sample.shape=\(0,\)"):
        area_occupied_shift(np.array([]), REAL, REAL)
    assert area_occupied_shift(list(REAL), list(REAL), list(REAL + 1)) == 1
    with pytest.raises(ValueError, match="1 compounds are in only one"):
        shift(REAL, np.array(["x", "x", "y"]), REAL, np.array(["x", "x", "x"]), REAL + 1)
