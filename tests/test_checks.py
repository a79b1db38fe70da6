"""What a table of numbers must be, at the limits themselves."""

import numpy as np
import pytest

from morphobench.metrics.checks import LARGEST, array, table


def test_values_up_to_the_largest_are_taken_and_those_beyond_are_counted_by_row():
    """The kernel's sixth power of 1e50 is 1e300: sums of ten million of them stay below 1.8e308."""
    assert LARGEST == 1e50
    assert LARGEST**6 * 1e7 < np.finfo(float).max < (10 * LARGEST) ** 6 * 1e7
    most = np.full((3, 2, 2), LARGEST)
    np.testing.assert_array_equal(table(most), most)
    np.testing.assert_array_equal(table(-most), -most)
    for sign in (1, -1):
        wrong = np.zeros((3, 2, 2))
        wrong[0], wrong[2, 1, 1] = sign * 2e50, sign * 2e50
        wrong[1, 0, 0] = sign * LARGEST
        with pytest.raises(ValueError, match=r"^2 of 3 rows hold values beyond"):
            table(wrong)


def test_rows_that_are_not_finite_are_counted_once_each():
    wrong = np.zeros((4, 3))
    wrong[1], wrong[3, 0] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"^2 of 4 rows"):
        table(wrong)
    assert table(np.zeros((0, 3))).shape == (0, 3)


def test_a_tensor_keeps_its_digits_but_for_bfloat16_which_numpy_lacks():
    torch = pytest.importorskip("torch")
    fine = torch.tensor([1 + 2.0**-40], dtype=torch.float64)
    assert array(fine).tolist() == [1 + 2.0**-40]
    assert array(torch.ones(1, dtype=torch.float16)).dtype == np.float16
    assert array(torch.ones(1, dtype=torch.bfloat16)).dtype == np.float32
