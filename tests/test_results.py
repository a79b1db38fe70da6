"""A result that anyone may propose: where it may be written, and numbers that no evaluation gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from synthetic_report import manifest, report

from morphobench.errors import BadInput
from morphobench.leaderboard.board import build
from morphobench.leaderboard.results import add_result, read_result
from morphobench.leaderboard.version_1 import fields_of
from morphobench.metrics.registry import row_of
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
        key="fd[efficientnet_lite0]", metric="fd", features="efficientnet_lite0", version=1, track="id", value=value,
        n=704, interval=interval, direction="min", unit="",
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


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("fid", ("fd", "", "inception", "")),
        ("precision", ("precision", "", "inception", "")),
        ("precision[x]", ("precision", "", "x", "")),
        ("fd_per_compound[timm:vit_b]", ("fd_per_compound", "", "timm:vit_b", "")),
        ("nsc", ("nsc", "", "", "")),
        ("nsc[dinov2]", ("nsc", "", "dinov2", "")),
        ("area_occupied_shift[cells_no_edge]", ("area_occupied_shift", "cells_no_edge", "", "")),
        ("area_occupied_shift[cells][cellprofiler]", ("area_occupied_shift", "cells", "", "cellprofiler")),
        ("profile_correlation[cellprofiler]", ("profile_correlation", "", "", "cellprofiler")),
        ("of_another_release[x]", ("of_another_release[x]", "", "", "")),
    ],
)
def test_a_key_of_the_first_schema_gives_the_fields_of_today(key: str, fields: tuple[str, str, str, str]) -> None:
    given = fields_of(key)
    assert tuple(given.get(name, "") for name in ("metric", "part", "features", "engine")) == fields
    row = row_of(fields[0], fields[1])
    assert row is None or row.printed_key(*fields[2:]) == key


def test_reports_of_the_first_schema_are_read_as_those_of_today(tmp_path: Path) -> None:
    made = report()
    old = json.loads(made.model_dump_json()) | {"schema_version": 1}
    for score in old["scores"]:
        for name in ("metric", "part", "features", "engine"):
            del score[name]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    assert read_result(path) == made
    del old["scores"][0]["key"]
    path.write_text(json.dumps(old))
    with pytest.raises(BadInput, match=r"old.json: scores.0.key: Field required"):
        read_result(path)


def test_committed_results_carry_rows_that_are_known() -> None:
    paths = sorted((Path(__file__).parents[1] / "leaderboards").rglob("results/*/*.json"))
    assert len(paths) >= 6
    for path in paths:
        for score in read_result(path).scores:
            row = row_of(score.metric, score.part)
            assert row is not None, score.key
            assert row.printed_key(score.features, score.engine) == score.key


@pytest.mark.parametrize(
    "fields",
    [{"features": "inception"}, {"features": ""}, {"metric": "kd"}, {"metric": "of_no_row"}, {"part": "cells"}],
)
def test_a_score_under_the_key_of_another_one_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    score = _score(5.5, (5.0, 6.0))
    add_result(_with(score), tmp_path)
    with pytest.raises(BadInput, match=r"'fd\[efficientnet_lite0\]' is (not )?the key of") as refusal:
        add_result(_with(score.model_copy(update=fields)), tmp_path)
    assert "\n" not in str(refusal.value)
