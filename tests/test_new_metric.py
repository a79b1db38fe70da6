"""A row of METRICS is all that a new metric is made of: its score is in the report and on the board without more."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scored_track import scores_of
from synthetic_report import evaluation, manifest, report
from test_report import Page
from test_scoring import by_key, measurements
from tiny_tier import tiny_tier

from morphobench.datasets.tier import Tier
from morphobench.features.extractor import Features
from morphobench.leaderboard.board import build
from morphobench.leaderboard.ranking import rank_track
from morphobench.leaderboard.results import add_result, read_results
from morphobench.metrics import METRICS, CopyInputs, FeatureInputs, Metric
from morphobench.metrics.metric import Genuine
from morphobench.metrics.replicates import image_weights, row_weights
from morphobench.report.page import write_report
from morphobench.schema import Manifest, Report
from morphobench.scoring.measurements import Measurements

TOY = Metric(
    key="mean_offset",
    title="Mean offset",
    family="realism",
    named_after="extractor",
    genuine=Genuine("mean_offset_genuine", "Mean offset, genuine"),
    version=3,
    inputs=FeatureInputs,
    direction="min",
    unit="feature units",
    smallest_n=2,
    summary="Mean of generated features less that of real ones.",
    compute=lambda inputs: abs(inputs.generated.mean() - inputs.real.mean()),
    resample=lambda inputs, replicates, seed: abs(
        np.divide(*_weighted(inputs.generated.mean(axis=1), image_weights(inputs, replicates, seed)[0]))
        - inputs.real.mean()
    ),
    count=lambda inputs: len(inputs.generated),
)
"""One per extractor."""
OTHER = Metric(
    key="first_hash",
    title="First hash",
    family="memorisation",
    version=1,
    inputs=CopyInputs,
    direction="none",
    unit="share",
    smallest_n=2,
    ranked=False,
    summary="Share of images that are the first one.",
    compute=lambda inputs: (inputs.hashes == inputs.hashes[0]).mean(),
    resample=lambda inputs, replicates, seed: np.divide(
        *_weighted((inputs.hashes == inputs.hashes[0]).astype(float), row_weights(inputs, replicates, seed))
    ),
    count=lambda inputs: len(inputs.hashes),
    chance=lambda inputs: 1 / len(inputs.hashes),
)
"""Named after nothing, not ranked."""


def _weighted(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return weights @ values, weights.sum(axis=1)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (TOY, OTHER):
        monkeypatch.setitem(METRICS, row.key, row)


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


def offset(by: float) -> Measurements:
    """Generated features that lie this far from the real ones in every dimension."""
    measured = measurements()
    real = measured.features["x"]["real"]
    sides = {"generated": Features(real.embedding + by, None), "real": real}
    return dataclasses.replace(measured, features={"x": sides, "inception": sides})


def reported(measured: Measurements, tier: Tier, submission: Manifest) -> Report:
    """A report of the scores of one track."""
    return report(submission).model_copy(update={"scores": tuple(scores_of(measured, tier))})


def test_a_new_row_is_scored_once_for_each_extractor_and_named_after_it(tier: Tier) -> None:
    scores = by_key(scores_of(offset(0.25), tier))
    score = scores["mean_offset[x]"]
    assert score.value == pytest.approx(0.25)
    assert (score.version, score.n, score.unit, score.track) == (3, 36, "feature units", "id")
    assert score.interval is not None
    assert scores["mean_offset_genuine"].value == score.value
    assert "mean_offset" not in scores
    assert scores["first_hash"].value == pytest.approx(1 / 36)


def test_a_new_row_is_in_the_report_and_on_its_page(tier: Tier, tmp_path: Path) -> None:
    made = reported(offset(0.25), tier, manifest())
    (score,) = (s for s in json.loads(made.model_dump_json())["scores"] if s["key"] == "mean_offset[x]")
    assert score["value"] == pytest.approx(0.25)
    drawn = evaluation(compounds=2, images=2)
    track = dataclasses.replace(drawn.tracks[0], panel=())
    page = write_report(dataclasses.replace(drawn, report=made, tracks=(track,)), tmp_path / "out").read_text()
    words = " ".join(Page(page).words)
    for said in ("Mean offset (x)", "Mean offset, genuine", TOY.summary, "0.250", "First hash"):
        assert said in words


def test_a_new_row_is_on_the_board_and_ranks_submissions(tier: Tier, tmp_path: Path) -> None:
    for name, by in (("near", 0.25), ("far", 4.0)):
        add_result(reported(offset(by), tier, manifest(name)), tmp_path / "boards")
    build(tmp_path / "boards")
    for file in ("README.md", "site/index.html"):
        text = (tmp_path / "boards/sim" / file).read_text()
        for said in ("Mean offset (x)", "Mean offset, genuine", "First hash", "0.250", "4.00"):
            assert said in text, file
    table = (tmp_path / "boards/sim/leaderboard.csv").read_text().splitlines()
    assert len([line for line in table if ",mean_offset[x],3," in line]) == 2
    ranks = {s.report.submission.name: s.ranks for s in rank_track(read_results(tmp_path / "boards", "sim"), "id")}
    assert {name: each["mean_offset[x]"] for name, each in ranks.items()} == {"near": 1, "far": 2}
    assert not any("first_hash" in each for each in ranks.values())
