"""A result that anyone may propose: where it may be written, and numbers that no evaluation gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from synthetic_report import manifest, report

from morphobench.errors import BadInput
from morphobench.leaderboard.board import build
from morphobench.leaderboard.results import add_result, read_result
from morphobench.schema import Manifest, Report, Score

ESCAPES = ("../../escaped", "/escaped", "..", ".", "a/b", "a\\b", "sim\n", "")


@pytest.mark.parametrize("field", ["tier", "name", "group", "version"])
@pytest.mark.parametrize("value", ESCAPES)
def test_no_part_of_a_path_leaves_the_folder(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Manifest.model_validate(manifest().model_dump() | {field: value})


def test_a_report_that_would_be_written_elsewhere_is_refused(tmp_path: Path) -> None:
    text = report().model_dump_json().replace('"tier":"sim"', '"tier":"../../escaped"')
    path = tmp_path / "boards" / "report.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BadInput, match=r"report.json: submission.tier: String should match"):
        add_result(read_result(path), path.parent)
    assert [item.name for item in tmp_path.iterdir()] == ["boards"]


def _score(value: float, interval: tuple[float, float]) -> Score:
    return Score(
        key="fd[efficientnet_lite0]", version=1, track="id", value=value, n=704, interval=interval, direction="min",
        unit="",
    )  # fmt: skip


def _with(score: Score) -> Report:
    return report().model_copy(update={"scores": (score,)})


def test_an_interval_runs_upwards() -> None:
    with pytest.raises(ValidationError, match="ends below its start"):
        _score(1.0, (2.0, 0.5))


@pytest.mark.parametrize(("value", "interval"), [(1.0, (5.0, 6.0)), (9.0, (5.0, 6.0)), (5.1, (5.0, 5.0))])
def test_a_value_far_from_its_interval_is_refused(tmp_path: Path, value: float, interval: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match=r"fd\[efficientnet_lite0\] \(id\) is .* far outside its interval"):
        add_result(_with(_score(value, interval)), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "interval"), [(5.5, (5.0, 6.0)), (4.9, (5.0, 6.0)), (5.0, (5.0, 5.0))])
def test_a_percentile_interval_may_just_miss_its_value(
    tmp_path: Path, value: float, interval: tuple[float, float]
) -> None:
    assert add_result(_with(_score(value, interval)), tmp_path).is_file()


def test_rows_scored_with_other_weights_are_refused(tmp_path: Path) -> None:
    add_result(report(), tmp_path)
    name = next(iter(report().protocol))
    changed = {**report().protocol, name: "f" * 64}
    other = report(manifest("other")).model_copy(update={"protocol": changed})
    with pytest.raises(BadInput, match=f"protocol: {name} is ffffffff"):
        add_result(other, tmp_path)


def test_the_check_sees_stray_files_and_boards_without_results(tmp_path: Path) -> None:
    add_result(report(), tmp_path)
    built = build(tmp_path)
    assert build(tmp_path, check=True) == built
    (tmp_path / "sim" / "site" / "old.html").write_text("stale")
    with pytest.raises(BadInput, match=r"sim/site/old.html: not what the results give"):
        build(tmp_path, check=True)
    (tmp_path / "sim" / "site" / "old.html").unlink()
    for path in (tmp_path / "sim" / "results").rglob("*.json"):
        path.unlink()
    with pytest.raises(BadInput, match="a board without results"):
        build(tmp_path, check=True)
