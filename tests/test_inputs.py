"""Bundles of a row's arrays: what they check, and the counts and chances that they know in closed form."""

import numpy as np
import pytest
from test_registry import bundle

from morphobench.metrics.compounds import by_compound, counted_mean
from morphobench.metrics.inputs import DrugSwapInputs, MorphologyInputs
from morphobench.metrics.profile_inputs import BatchMechanismInputs


def test_a_true_change_may_be_unknown_and_is_one_per_image_where_it_is_known():
    known = bundle(DrugSwapInputs)
    fields = {name: getattr(known, name) for name in ("moved", "compounds", "plates", "real", "real_compounds")}
    fields |= {"real_plates": known.real_plates, "toward": known.toward}
    assert DrugSwapInputs(**fields).truth is None
    with pytest.raises(ValueError, match="one per row is needed"):
        DrugSwapInputs(**fields, truth=known.truth[1:])


def test_compounds_with_fewer_vehicle_images_on_a_plate_than_their_own_are_counted():
    compounds, plates = np.array(list("aabcc")), np.array(list("ppqpp"))
    values, vehicle = np.linspace(0, 1, 5), np.linspace(0, 1, 2)
    inputs = MorphologyInputs(values, values, vehicle, compounds, plates, compounds, plates, np.array(["p", "p"]))
    assert inputs.unmatched == 1  # b, on a plate without a vehicle image


def test_blind_neighbours_are_right_in_a_third_and_without_those_of_the_batch_in_half():
    """Two compounds of each of two mechanisms; each batch holds one of either."""
    profiles, names = np.random.default_rng(0).normal(size=(4, 3)), np.array(list("abcd"))
    plates, mechanisms = np.array(["p", "q", "p", "q"]), np.array(["one", "one", "two", "two"])
    vehicle = np.random.default_rng(1).normal(size=(8, 3)), np.repeat(["p", "q"], 4)
    inputs = BatchMechanismInputs(
        profiles, profiles, vehicle[0], names, plates, vehicle[1], np.ones(4), mechanisms, plates
    )
    assert inputs.mechanism_chance() == pytest.approx(1 / 3)
    assert inputs.mechanism_chance(batched=True) == pytest.approx(1 / 2)


def test_a_compound_drawn_once_alone_is_the_mean_and_the_first_with_a_single_image_is_named():
    values = {"a": np.array([3.0, 3.0, 5.0]), "b": np.array([7.0, np.nan, 1.0])}
    counts = {"a": np.array([1, 0, 1]), "b": np.array([0, 2, 3])}
    np.testing.assert_allclose(counted_mean(values, counts), [3.0, np.nan, 2.0])
    rows, names = np.arange(10.0).reshape(5, 2), np.array(list("aabcc"))
    with pytest.raises(ValueError, match="'b'"):
        by_compound(lambda a, b: 0.0, rows, names, rows, names)
