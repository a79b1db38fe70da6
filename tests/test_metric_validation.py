"""The metrics follow known doses and corruptions of simulated images; benchmarks/metric_validation.py is the whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from morphobench.datasets import load_tier
from morphobench.metrics import METRICS
from morphobench.metrics.inputs import SwapInputs
from morphobench.metrics.metric import Seen

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import metric_validation as validation
from validation_ladders import (
    CORRUPTIONS,
    FIRST_ORDER,
    Experiment,
    Ladder,
    Scored,
    asked,
    corrupted,
    key_for_row,
    ladders,
    scores,
    without,
)
from validation_sets import DOSES, Design

ELSEWHERE = {key for key, metric in METRICS.items() if issubclass(metric.inputs, SwapInputs)}
"""Rows that need a model which answers conditions: test_reliance."""
MECHANISMS = ("Cholesterol-lowering", "DNA damage", "Microtubule stabilizers")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiment]:
    """Three mechanisms, 12 images each, on four plates; the small network alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        # So few images are done before the workers have started.
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        yield Experiment(Design(load_tier("sim"), MECHANISMS, plates=4, images=3, extractors=("sim_vit",)))


@pytest.fixture(scope="module")
def doses(experiment: Experiment) -> dict[str, Ladder]:
    rows = np.arange(len(experiment.design.compounds))
    return ladders(scores(experiment, [experiment.dose(dose) for dose in DOSES], rows), rising=True)


@pytest.mark.parametrize("key", ["kd[sim_vit]", "kd_per_compound[sim_vit]", "fd[sim_vit]", "lda_separability"])
def test_a_nearer_dose_is_a_better_set(doses: dict[str, Ladder], key: str) -> None:
    assert doses[key].monotone, (doses[key].values, doses[key].steps)


@pytest.mark.parametrize("key", ["area_occupied_shift[cells]", "lfc_pearson_vehicle", "lfc_pearson_perturbed_mean"])
def test_a_nearer_dose_moves_areas_and_genes(doses: dict[str, Ladder], key: str) -> None:
    values = [scored.value for scored in doses[key].scores]
    assert values == sorted(values)
    assert not doses[key].back
    assert abs(values[0]) < 0.45 < values[-1]


@pytest.mark.parametrize(
    ("corruption", "key"),
    [
        ("wrong compound", "kd_per_compound[sim_vit]"),
        ("wrong compound", "fd_per_compound[sim_vit]"),
        ("wrong compound", "lda_separability"),
        ("wrong compound", "replicate_map"),
        ("wrong compound", "area_occupied_shift[cells]"),
        ("wrong compound", "lfc_pearson_perturbed_mean"),
        ("noise", "kd[sim_vit]"),  # `sim_vit` is trained to overlook blur
        ("duplicated", "duplicates"),
        ("duplicated", "recall[sim_vit]"),
        ("duplicated", "coverage[sim_vit]"),
        ("wrong compound", "nsc"),
        ("wrong compound", "nscb"),
        ("copied", "train_copies"),
        ("copied", "nearest_train_distance"),
        ("copied, disguised", "train_copies"),
        ("copied, disguised", "near_copies"),
    ],
)
def test_a_corruption_is_seen_by_who_claims_to(experiment: Experiment, corruption: str, key: str) -> None:
    assert key_for_row(key) in validation.CLAIMS[corruption]
    rows = np.arange(len(experiment.design.compounds))
    sets = [experiment.dose(1.0), *(corrupted(experiment, corruption, share) for share in (0.5, 1.0))]
    ladder = ladders(scores(experiment, sets, rows, key.__eq__), rising=False)[key]
    clean, half, whole = (float(scored.worth(np.array(scored.value))) for scored in ladder.scores)
    assert clean > half > whole, ladder.values


def test_swapped_compounds_leave_every_pooled_score_as_it_was(experiment: Experiment) -> None:
    """The mixture is the same, so what is blind to compounds must not move at all."""
    rows = np.arange(len(experiment.design.compounds))
    pooled = ("fd", "kd", "precision", "recall", "density", "coverage", "duplicates")
    sets = [experiment.dose(1.0), corrupted(experiment, "wrong compound", 1.0)]
    clean, swapped = scores(experiment, sets, rows, lambda key: key_for_row(key) in pooled)
    for key, scored in swapped.items():
        assert scored.value == pytest.approx(clean[key].value, rel=1e-6, abs=1e-9), key


def test_every_image_score_is_in_the_experiment(doses: dict[str, Ladder]) -> None:
    """A new row of the registry cannot stay unvalidated; the small network has no classes for `is`.

    `fd_infinity` needs more images than the experiment has; `tests/test_frechet_infinity.py` knows its truth.
    """
    left_out = {"is", "fd_infinity"} | ELSEWHERE
    assert {key_for_row(key) for key in doses} == set(METRICS) - left_out
    claims = {key for claims in validation.CLAIMS.values() for key in claims}
    assert claims == set(METRICS) - {"is"} - ELSEWHERE
    assert set(get_args(Seen)) == {"dose", *CORRUPTIONS}


def test_a_plate_is_left_out_as_if_it_had_never_been_there(experiment: Experiment) -> None:
    generated, rows = experiment.dose(0.5), np.arange(len(experiment.design.compounds))
    plates = experiment.design.row_plates()

    def exact(key: str) -> bool:
        return key_for_row(key) not in FIRST_ORDER

    (scored,) = scores(experiment, [generated], rows, exact)
    for number, plate in enumerate(np.unique(plates)):
        (less,) = scores(experiment, [generated], rows[plates != plate], exact)
        for key, found in scored.items():
            assert found.left_out[number] == pytest.approx(less[key].value), key


@pytest.mark.parametrize("dose", [0.25, 0.5])
def test_influences_give_the_error_that_leaving_plates_out_gives(experiment: Experiment, dose: float) -> None:
    plates = np.unique(experiment.design.row_plates())
    rows = np.arange(len(experiment.design.compounds))
    task = next(task for task in asked(experiment, experiment.dose(dose), rows) if task.key == "fd[sim_vit]")
    exact = [task.metric.score(without(task.inputs, plate)) for plate in plates]
    assert np.std(FIRST_ORDER["fd"](task.inputs, plates)) == pytest.approx(np.std(exact), rel=0.2)


def test_a_ladder_that_leads_back_or_nowhere_fails() -> None:
    def scored(value: float, noise: float = 0.01) -> Scored:
        return Scored(value, value + noise * np.array([-1.0, 1.0, -1.0, 1.0]) * (1 + value), "max")

    good = Ladder((scored(0.0), scored(0.3), scored(1.0)), rising=True)
    assert good.monotone
    assert good.signs == "↑↑"
    back = Ladder((scored(0.0), scored(1.0), scored(0.3)), rising=True)
    assert back.back
    assert back.signs == "↑↓"
    flat = Ladder((scored(0.0), scored(0.001), scored(0.002)), rising=True)
    assert flat.signs == "↑↑" or not flat.monotone
    effects = {"m": {"number": -3.0, "cells": -3.0, "nuclei": 0.1}}
    cells, nuclei = "area_occupied_shift[cells]", "area_occupied_shift[nuclei]"
    still = Ladder((scored(0.5), scored(0.5), scored(0.5)), rising=True)
    found = validation.failures({"m": {cells: still, nuclei: still}}, {}, effects)
    assert [cells in line for line in found] == [True]
    falling = Ladder((scored(0.5), scored(0.5)), rising=False)
    found = validation.failures({}, {"blur": {"kd[efficientnet_lite0]": falling, "kd[x]": falling}}, {})
    assert [line.split()[:2] for line in found] == [["blur:", "kd[efficientnet_lite0]"]]


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n")
    validation.write_between(page, "x", ["| new |"])
    assert page.read_text() == "a\n<!-- x -->\n\n| new |\n\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="0 pairs of markers y"):
        validation.write_between(page, "y", [])
