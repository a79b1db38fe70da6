"""One request: what contradicts itself is refused before anything is loaded, and a default stands in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from tiny_tier import tiny_tier
from typer.testing import CliRunner

import morphobench
from morphobench import comparison
from morphobench.cli import app, data, score
from morphobench.errors import BadInput
from morphobench.request import Request

LITE = "efficientnet_lite0"
NAMES = {"folder": "out", "track": "tracks", "extractor": "extractors"}
"""What a public function or the command line calls a field of `Request`."""


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "m", "submission": Path("s")}, "give --model NAME or --submission PATH, one of the two"),
        ({"submission": Path("s"), "checkpoint": Path("c")}, "--checkpoint c: is read by an installed model; give --"),
        ({"model": object(), "checkpoint": Path("c")}, "--checkpoint c: is read by an installed model; give --model"),
        ({"model": "m", "tracks": "id"}, "tracks 'id': a text where a list of names is wanted; give ['id']"),
        ({"model": "m", "seed": -1}, "--seed -1: give a whole number from 0 on"),
        ({"model": "m", "engine": "ilastik"}, "--engine 'ilastik': unknown; choose builtin, cellprofiler, "),
        ({"model": "m", "weights": {"inception": Path("w")}}, "--weights inception=w: w is not a file"),
        ({"model": "m", "out": Path(__file__)}, "is a file; name a folder"),
    ],
)
def test_what_contradicts_itself_is_refused_at_once(asked: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as error:
        Request(**asked)  # type: ignore[arg-type]
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "give --model NAME or --submission PATH, one of the two"),
        ({"model": "m", "tracks": ("nosuch",)}, "track 'nosuch': tier tiny has id, ood"),
        ({"model": "m", "enrich": ("alpah",)}, "--enrich 'alpah': no test compound of id, ood; nearest names: alpha"),
    ],
)
def test_names_are_looked_up_once_before_anything_runs(asked: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        Request(tier=tiny_tier(tmp_path), **asked).resolve()  # type: ignore[arg-type]
    assert says in str(error.value)


@pytest.mark.parametrize(
    "function", [morphobench.evaluate, morphobench.compare, score.evaluate, score.compare, data.data_controls]
)
def test_every_default_is_the_requests(function: Callable[..., object]) -> None:
    known = {field.name: field.default for field in fields(Request) if field.default is not MISSING}
    found = {NAMES.get(name, name): parameter for name, parameter in inspect.signature(function).parameters.items()}
    shared = {"tier", "out", "seed", "device", "embedding", "engine"}
    assert shared <= set(found)
    for name, parameter in found.items():
        if name in known and parameter.default is not inspect.Parameter.empty:
            # Typer gives a list that may be absent as None; the request has an empty tuple.
            assert (parameter.default or None) == (known[name] or None), name


def test_one_plan_serves_several_models_each_in_its_folder(tmp_path: Path) -> None:
    tier = tiny_tier(tmp_path / "tier")
    plan = Request(model="one", tier=tier, embedding=LITE, out=tmp_path / "out", checkpoint=tmp_path).resolve()
    assert plan.folder() == tmp_path / "out"
    other = plan.each("two")
    assert (other.request.model, other.request.checkpoint, other.folder()) == ("two", None, tmp_path / "out" / "two")
    assert other.protocol is plan.protocol
    given = plan.each(tmp_path / "made.zip")
    assert (given.request.model, given.request.submission) == (None, tmp_path / "made.zip")
    assert Request(model="one", tier=tier).resolve().folder() == Path("runs/tiny/one")


def test_compare_hands_the_engine_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def stop(*sides: object, **options: object) -> None:
        asked.update(options)
        raise BadInput("far enough")

    monkeypatch.setattr(comparison, "compare", stop)
    words = ["compare", "--model", "vehicle", "--model", "copycat", "--engine", "cellprofiler-memory"]
    CliRunner().invoke(app, words)
    assert asked["engine"] == "cellprofiler-memory"
