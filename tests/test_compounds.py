"""Means over compounds, and which compounds can be compared: by hand."""

import numpy as np
import pytest

from morphobench.metrics.compounds import counted_mean, paired_compounds


def test_a_mean_counts_each_compound_as_drawn_and_leaves_out_what_has_no_value():
    values = {"a": np.array([1.0, np.nan, np.nan, 5.0]), "b": np.array([3.0, 3.0, np.nan, 7.0])}
    counts = {"a": np.array([1.0, 2.0, 1.0, 0.0]), "b": np.array([3.0, 1.0, 1.0, 0.0])}
    np.testing.assert_array_equal(counted_mean(values, counts), [(1 + 3 * 3) / 4, 3, np.nan, np.nan])


def test_the_first_compound_with_a_single_image_is_named():
    a, b = np.repeat(["a", "b", "c"], [2, 3, 1]), np.repeat(["a", "b", "c"], [3, 2, 4])
    with pytest.raises(ValueError, match=r"^1 compounds have fewer than two images .* 'c' \(1 against 4\)$"):
        paired_compounds(a, b)
    assert paired_compounds(a[:5], b[:5]).tolist() == ["a", "b"]
