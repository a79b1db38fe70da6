"""On real L1000 profiles the leave-one-out mean reaches what is known of it, and raw profiles flatter no change."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from morphobench.metrics import METRICS

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import expression_real as real


@pytest.fixture(scope="module")
def ht115(shared_data: Path) -> real.Wells:
    return real.read_ht115(shared_data / "l1000", "all")


@pytest.fixture(scope="module")
def mcf7(shared_data: Path) -> real.Wells:
    return real.read_mcf7(shared_data / "l1000")


def test_the_mean_of_the_other_compounds_reaches_the_known_correlation(ht115: real.Wells, mcf7: real.Wells) -> None:
    for wells, count, expected in ((ht115, 14, 0.30), (mcf7, 10, 0.24)):
        found = real.scores(real.left_out(wells)["training mean"])["lfc_pearson_vehicle"]
        assert len(np.unique(wells.compounds)) == count
        assert found == pytest.approx(expected, abs=0.005)


def test_the_metric_is_plain_correlation(ht115: real.Wells) -> None:
    change = ht115.post - ht115.pre
    means = np.array([change[ht115.compounds == name].mean(axis=0) for name in np.unique(ht115.compounds)])
    plain = [
        np.corrcoef(means[place], np.delete(means, place, axis=0).mean(axis=0))[0, 1] for place in range(len(means))
    ]
    assert real.scores(real.left_out(ht115)["training mean"])["lfc_pearson_vehicle"] == pytest.approx(np.mean(plain))


def test_a_single_control_well_costs_correlation(shared_data: Path, ht115: real.Wells) -> None:
    """One well's noise is in every change that is taken against it."""
    paired = real.read_ht115(shared_data / "l1000", "paired")
    r = [real.scores(real.left_out(wells)["training mean"])["lfc_pearson_vehicle"] for wells in (paired, ht115)]
    assert r[0] < r[1] - 0.03


def test_raw_profiles_correlate_whatever_is_predicted(ht115: real.Wells, mcf7: real.Wells) -> None:
    for wells, expected in ((ht115, 0.93), (mcf7, 0.96)):
        assert wells.raw == pytest.approx(expected, abs=0.005)
        nothing = real.scores(real.left_out(wells)["no change"])
        assert nothing["lfc_pearson"] is None
        assert (nothing["lfc_pearson_vehicle"], nothing["lfc_pearson_perturbed_mean"]) == (0, 0)
        assert nothing["centroid_accuracy"] == 0.5


def test_a_lookup_of_the_same_wells_is_perfect(ht115: real.Wells) -> None:
    inputs = real.left_out(ht115)["no change"]
    found = real.scores(type(inputs)(ht115.post, ht115.post, ht115.pre, ht115.compounds, ht115.plates))
    assert set(found) == set(real.ROWS) <= set(METRICS)
    assert list(found.values()) == pytest.approx([1, 1, 1, 1])
