"""Paired differences: nothing for equal submissions, a planted shift found, words that follow the direction."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_track import scores_of
from test_scoring import measurements
from tiny_tier import tiny_tier

import morphobench
from morphobench.comparison import Difference, _interval, compare_track
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.extractor import Features
from morphobench.ingest.submission import write_submission
from morphobench.schema import Manifest
from morphobench.scoring.measurements import Measurements
from morphobench.scoring.tasks import Task, tasks


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path)


def by_key(rows: list[Difference]) -> dict[str, Difference]:
    return {row.key: row for row in rows}


def shifted(measured: Measurements, by: float) -> Measurements:
    """The same generated features, all moved away from the real ones."""
    sides = measured.features["x"]
    away = Features(sides["generated"].embedding + by, None)
    return dataclasses.replace(measured, features={"x": {"generated": away, "real": sides["real"]}})


def test_equal_submissions_differ_by_nothing_at_all(tier: Tier) -> None:
    rows = compare_track(measurements(), measurements(), tier)
    valued = [row for row in rows if row.a is not None]
    assert len(valued) > 10
    assert all(row.difference == 0 for row in valued)
    judged = [row for row in valued if row.interval is not None]
    assert len(judged) > 8
    assert all(row.interval == (0.0, 0.0) and row.verdict == "the same" for row in judged)
    assert all(row.reason == "too few compounds or plates" for row in valued if row.interval is None)


def test_a_planted_shift_is_found_and_turned_round_with_the_sides(tier: Tier) -> None:
    good = measurements()
    bad = shifted(good, 6.0)
    rows, turned = by_key(compare_track(good, bad, tier)), by_key(compare_track(bad, good, tier))
    for key in ("fd[x]", "fd_per_compound[x]", "precision[x]"):
        assert rows[key].verdict == "A better", key
        assert turned[key].verdict == "B better"
        interval, other = rows[key].interval, turned[key].interval
        assert interval is not None
        assert other is not None
        assert interval == pytest.approx((-other[1], -other[0]))
    assert rows["lda_separability"].verdict == "not judged"
    assert rows["area_occupied_shift[nuclei]"].verdict == "the same"


def test_the_paired_interval_is_narrower_than_the_two_apart(tier: Tier) -> None:
    """What a draw of compounds and plates does to both, cancels."""
    good = measurements()
    bad = shifted(good, 0.05)
    row = by_key(compare_track(good, bad, tier))["fd[x]"]
    apart = [by_key(scores_of(side, tier))["fd[x]"].interval for side in (good, bad)]  # type: ignore[arg-type]
    assert row.interval is not None
    assert apart[0] is not None
    assert apart[1] is not None
    assert row.interval[1] - row.interval[0] < 0.3 * (apart[0][1] - apart[0][0])


def test_noise_alone_is_seldom_called_a_difference(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two draws of one model, 12 times."""
    monkeypatch.setattr("morphobench.comparison.REPLICATES", 100)
    calls = 0
    random = np.random.default_rng(0)
    good = measurements(plates=4)
    for _ in range(12):
        pair = []
        for _ in range(2):
            noise = random.normal(size=good.features["x"]["generated"].embedding.shape)
            sides = {"generated": Features(noise, None), "real": good.features["x"]["real"]}
            pair.append(dataclasses.replace(good, features={"x": sides}))
        calls += by_key(compare_track(*pair, tier))["kd[x]"].verdict != "no difference seen"
    assert calls <= 2


def test_what_cannot_be_compared_says_why(tier: Tier) -> None:
    good = measurements()
    silent = dataclasses.replace(good, expression={k: v for k, v in good.expression.items() if k != "predicted"})
    row = by_key(compare_track(good, silent, tier))["lfc_pearson_vehicle"]
    assert (row.a is None, row.b, row.difference, row.verdict) == (False, None, None, "not compared")
    assert row.reason == "B: the submission predicts no expression"
    areas = {name: dict(columns) for name, columns in good.profiles.items()}
    column = "AreaOccupied_AreaOccupied_Cells"
    areas["generated"][column] = np.where(good.compounds == "a", np.nan, areas["generated"][column])
    row = by_key(compare_track(good, dataclasses.replace(good, profiles=areas), tier))["area_occupied_shift[cells]"]
    assert row.difference is not None
    assert row.interval is None
    assert "other compounds or plates" in row.reason
    with pytest.raises(BadInput, match="'id' and 'ood'"):
        compare_track(good, dataclasses.replace(good, track="ood"), tier)


@pytest.mark.parametrize("arm", [0, 1, 2])
def test_an_arm_without_values_is_the_reason_and_not_a_constant_difference(tier: Tier, arm: int) -> None:
    """Two thirds of all replicates have a value, and hardly one of the draws of one kind."""
    (task,) = (task for task in tasks(measurements(), tier) if task.key == "kd[x]")

    def moved(by: float, hole: bool) -> Task:
        def resample(inputs: Any, replicates: int, seed: int) -> np.ndarray:
            found = np.random.default_rng(seed).normal(size=(3, replicates)) * by
            found[arm, 9:] = np.nan if hole else found[arm, 9:]
            return found.ravel()

        return dataclasses.replace(task, metric=dataclasses.replace(task.metric, resample=resample))

    interval, reason = _interval(moved(2.0, True), moved(1.0, False), 1.0)
    assert (interval, reason) == (None, "fewer than half of the draws of compounds, of plates or of both have a value")
    assert _interval(moved(1.0, True), moved(1.0, False), 0.0) == (None, reason), "not called the same"
    assert _interval(moved(1.0, False), moved(1.0, False), 1.0) == (None, "all replicates differ by the same")
    assert _interval(moved(2.0, False), moved(1.0, False), 1.0)[0] is not None


def test_a_row_with_a_target_is_judged_by_the_distance_from_it(tier: Tier) -> None:
    """Images far away have density 0; images that crowd where real ones are dense have more than 1."""
    plain = measurements()
    sides = plain.features["x"]

    def drawn(embedding: np.ndarray) -> Measurements:
        return dataclasses.replace(
            plain, features={"x": {"generated": Features(embedding, None), "real": sides["real"]}}
        )

    real = sides["real"].embedding
    densest = real[np.argsort(((real[:, None] - real) ** 2).sum(axis=2).mean(axis=1))[0]]
    far, crowd = drawn(sides["generated"].embedding + 50), drawn(np.tile(densest, (len(real), 1)))
    row = by_key(compare_track(plain, far, tier))["density[x]"]
    assert (row.b, row.verdict) == (0, "A better")
    row = by_key(compare_track(crowd, plain, tier))["density[x]"]
    assert row.a > 3 > row.b
    assert row.interval[0] > 0
    assert row.verdict == "B better"


def test_two_models_of_one_name_do_not_take_each_others_folder(tmp_path: Path) -> None:
    class Grey:
        def __init__(self, level: int) -> None:
            self.manifest = {"method": f"grey of level {level}"}

    with pytest.raises(BadInput, match="A and B are both called 'grey' and share a folder; `evaluate` each"):
        morphobench.compare(Grey(1), Grey(2), tier=tiny_tier(tmp_path / "tier"), folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_submissions_from_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    tier = tiny_tier(tmp_path / "tier")
    fields = {"group": "tests", "version": "1", "tier": "tiny", "tier_version": "1", "split_sha256": tier.split_sha256}
    conditions, pixels = tier.conditions("id"), tier.images(tier.test_rows("id"))
    real = pixels.take(range(len(pixels)))
    for name, images in (("real", real), ("dark", real // 4)):
        manifest = Manifest.model_validate({"name": name, "method": "made", **fields})
        write_submission(tmp_path / name, manifest, {"id": (conditions, images)}, {})
    found = morphobench.compare(tmp_path / "dark", tmp_path / "real", tier=tier, tracks=["id"])
    fd = by_key(list(found.differences))["kd[efficientnet_lite0]"]
    assert fd.a is not None
    assert fd.b is not None
    assert fd.a > fd.b
    assert (fd.verdict, fd.reason) == ("not judged", "too few compounds or plates")
    again = json.loads(found.as_json())
    assert (again["a"]["name"], again["b"]["name"], again["simulated"]) == ("dark", "real", True)
    assert len(again["differences"]) == len(found.differences)
