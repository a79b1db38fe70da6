"""One command's work on a tiny tier: what is done again, what is refused, and what is left when it is stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from tiny_tier import SIZE, tiny_tier

from morphobench import evaluation, generation, models, provenance, run
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.engine import BUILTIN
from morphobench.ingest.submission import Submission
from morphobench.report import page
from morphobench.request import Plan, Request
from morphobench.schema import GENES, Conditions
from morphobench.scoring.controls import (
    CONTROLS,
    Controls,
    own_controls_path,
    read_controls,
    shipped_controls_path,
    write_controls,
)
from morphobench.scoring.protocol import Protocol
from morphobench.storage import sha256_bytes

LITE = "efficientnet_lite0"


class Noise:
    """A model of noise; `predict` is what it returns as expression."""

    def __init__(self, predict: Callable[[Conditions], object] | None = None) -> None:
        self.manifest = {"method": "noise"}
        self.calls = 0
        if predict is not None:
            self.predict_expression = predict

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        self.calls += 1
        rng = np.random.default_rng(seed)
        return rng.integers(0, 255, (len(conditions), SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tier:
    made = tiny_tier(tmp_path / "tier")
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    return made


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Noise:
    """The only installed model."""
    noise = Noise()
    monkeypatch.setattr(models, "load_model", lambda *given: noise)
    monkeypatch.setattr(models, "model_sha256", lambda *given: "0")
    monkeypatch.setattr(models, "weights_sha256", lambda *given: "")
    return noise


@pytest.fixture(scope="module")
def scored() -> dict[tuple[object, ...], evaluation.Evaluation]:
    """What was scored beside no controls, by the images, for all tests of the module."""
    return {}


@pytest.fixture
def scored_once(scored: dict[tuple[object, ...], evaluation.Evaluation], monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal images are scored once: five controls that are one model of noise have one score."""
    real = evaluation.score

    def score(submission: Submission, plan: Plan, watch: evaluation.Stopwatch, controls: Controls | None = None):
        if controls != Controls():
            return real(submission, plan, watch, controls)
        key = (submission.images_sha256, plan.tracks, plan.protocol.embedding)
        if key not in scored:
            scored[key] = real(submission, plan, watch, controls)
        return scored[key]

    monkeypatch.setattr(evaluation, "score", score)


def _generate(model: object, tier: Tier, folder: Path, seed: int = 0) -> Path:
    return generation.generate(Request(model=model, tier=tier, tracks=("id",), out=folder, seed=seed).resolve())


def test_nothing_is_done_twice_and_an_edited_report_is_made_again(
    tier: Tier, model: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(tier=tier, model="noise", out=tmp_path / "out", tracks=("id", "id"), embedding=LITE)
    real_score, scored = evaluation.score, []
    score = cache(lambda: real_score(*scored[0]))
    monkeypatch.setattr(evaluation, "score", lambda *given: scored.append(given) or score())
    # A page is drawn as it is here, once: it is the same page for the same evaluation.
    real_render = page.render
    draw = cache(lambda: real_render(score()))
    monkeypatch.setattr(page, "render", lambda evaluation: draw())
    first, folder = run.run(request)
    assert {s.track for s in first.scores} == {"id"}
    assert len({(s.track, s.key) for s in first.scores}) == len(first.scores)
    assert run.run(request) == (first, folder)
    assert (model.calls, len(scored)) == (1, 1)

    path = folder / "report.json"
    honest = path.read_bytes()
    edited = json.loads(honest)
    edited["seed"] = 7
    path.write_text(json.dumps(edited))
    again, _ = run.run(request)
    assert (model.calls, len(scored), again.seed) == (1, 2, 0)
    (folder / "report.html").write_text("<html>better</html>")
    run.run(request)
    assert len(scored) == 3

    assert (folder / "report.html").read_text().startswith("<!doctype html>")

    # Another release of a package that computes: generated and scored again.
    generation.code_sha256.cache_clear()
    known = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: known | {"numpy": "0"})
    run.run(request)
    generation.code_sha256.cache_clear()
    assert (model.calls, len(scored)) == (2, 4)


def test_a_folder_of_somebody_else_is_not_replaced(tier: Tier, tmp_path: Path) -> None:
    precious = tmp_path / "out" / "submission" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    with pytest.raises(BadInput, match=r"submission: not made by this command; choose another --out"):
        _generate(Noise(), tier, tmp_path / "out")
    assert precious.read_text() == "years of work"


def test_a_folder_of_ours_is_replaced_even_if_writing_it_was_stopped(
    tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _generate(Noise(), tier, tmp_path / "out")
    first = (place / "images/id/alpha/0000.png").read_bytes()

    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generation, "write_submission", stop)
        with pytest.raises(KeyboardInterrupt):
            _generate(Noise(), tier, tmp_path / "out", seed=1)
    assert (place / "images/id/alpha/0000.png").read_bytes() == first
    assert _generate(Noise(), tier, tmp_path / "out", seed=1) == place
    assert (place / "images/id/alpha/0000.png").read_bytes() != first


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda c: np.zeros((len(c), 3)), r"float64 \(12, 3\); numbers \(12, 978\) are wanted"),
        (lambda c: None, r"object \(\)"),
        (lambda c: np.full((len(c), GENES), "x"), r"<U1 \(12, 978\)"),
        (lambda c: np.full((len(c), GENES), np.nan), "alpha, gene G0: not a finite number"),
        (lambda c: np.full((len(c), GENES), 1000.0), "alpha, gene G0: 1000 is beyond 64"),
    ],
    ids=["shape", "none", "text", "nan", "linear"],
)
def test_a_wrong_prediction_of_expression_is_named(
    tier: Tier, tmp_path: Path, values: Callable[[Conditions], object], words: str
) -> None:
    with pytest.raises(BadInput, match=rf"model 'noise': predict_expression.*{words}"):
        _generate(Noise(values), tier, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_stamp_is_a_reason_to_generate_again(tier: Tier, model: Noise, tmp_path: Path) -> None:
    _generate("noise", tier, tmp_path / "out")
    once, stamp = model.calls, tmp_path / "out" / "generation.sha256"
    kept = stamp.read_bytes()
    _generate("noise", tier, tmp_path / "out")
    assert model.calls == once > 0
    stamp.write_bytes(b"\xff\xfe\x00")  # no text in any encoding that a file of ours has
    _generate("noise", tier, tmp_path / "out")
    assert model.calls == 2 * once
    assert stamp.read_bytes() == kept


def test_weights_that_nothing_would_use_are_refused(tier: Tier, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    request = Request(
        tier=tier, model="noise", out=tmp_path / "out", embedding=LITE, weights={"inceptoin": tmp_path / "w.pth"}
    )
    with pytest.raises(BadInput, match=rf"--weights inceptoin=...: no such extractor runs here; .* are {LITE}$"):
        run.run(request)
    with pytest.raises(BadInput, match="--weights inceptoin"):
        run.run_controls(request)


@pytest.mark.usefixtures("plain_page", "scored_once")
@pytest.mark.parametrize("place", [own_controls_path, shipped_controls_path], ids=["own", "shipped"])
def test_controls_of_another_segmentation_are_mended_by_the_command(
    tier: Tier, model: Noise, tmp_path: Path, place: Callable[[Tier], Path]
) -> None:
    tier.folder.mkdir(exist_ok=True)
    asked = Request(tier=tier, tracks=("id",), embedding=LITE, out=tmp_path / "out")
    stale = Controls({"vehicle": {"id": {"nsc": 5.0, "of_before": 1.0}}})
    write_controls(tier, stale, {"segmentation": "morphobench-segment-0"}, place(tier))
    shipped = shipped_controls_path(tier).read_bytes() if shipped_controls_path(tier).is_file() else None
    scored = dataclasses.replace(asked, model="noise")
    with pytest.raises(BadInput, match="other segmentation; score the controls again: `morphobench data controls"):
        run.run(scored)
    assert run.run_controls(asked) == own_controls_path(tier)
    protocol = Protocol.of(tier, (), LITE, {}, "cpu", BUILTIN)
    known = read_controls(tier, {"segmentation": protocol.segmentation.version})
    assert set(known.scores) == set(CONTROLS)
    assert "of_before" not in known.scores["vehicle"]["id"]
    report, _ = run.run(scored)
    found = {score.key: score for score in report.scores}
    key = f"kd[{LITE}]"
    # The five controls are one model of noise here, as is the submission: its score is its own floor.
    assert found[key].value is not None
    assert found[key].floor == found[key].value == known.scores["vehicle"]["id"][key]
    assert shipped is None or shipped_controls_path(tier).read_bytes() == shipped


@pytest.mark.usefixtures("scored_once")
def test_scores_of_an_extractor_that_is_not_asked_for_stay_with_their_weights(
    tier: Tier, model: Noise, tmp_path: Path
) -> None:
    before = Controls({"vehicle": {"id": {"fid": 5.0}}})
    engine = Protocol.of(tier, (), LITE, {}, "cpu", BUILTIN).segmentation
    write_controls(tier, before, {"segmentation": engine.version, "inception": "one"}, own_controls_path(tier))
    run.run_controls(Request(tier=tier, tracks=("id",), embedding=LITE, out=tmp_path / "out"))
    assert read_controls(tier, {"inception": "one"}).scores["vehicle"]["id"]["fid"] == 5.0
    with pytest.raises(BadInput, match="other weights of inception"):
        read_controls(tier, {"inception": "two"})


def test_a_report_is_not_written_into_the_submission(tier: Tier, tmp_path: Path) -> None:
    place = _generate(Noise(), tier, tmp_path / "made")
    before = sorted(place.rglob("*"))
    for out in (place, place / "images"):
        with pytest.raises(BadInput, match="in the submission's own folder"):
            run.run(Request(tier=tier, submission=place, out=out, tracks=("id",), embedding=LITE))
    assert sorted(place.rglob("*")) == before


def test_out_that_is_a_file_is_refused_before_anything_runs(tier: Tier, model: Noise, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BadInput, match="out: is a file; name a folder"):
        run.run(Request(tier=tier, model="noise", out=tmp_path / "out", embedding=LITE))
    assert model.calls == 0
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.usefixtures("plain_page")
def test_another_checkpoint_is_another_generation_and_another_report(
    tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is found by its entry point and draws what its checkpoint holds."""
    read: list[Path | None] = []

    class Grey(Noise):
        def __init__(self, weights: Path | None) -> None:
            super().__init__()
            read.append(weights)
            self.level = 90 if weights is None else int(weights.read_text())

        def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
            return np.full((len(conditions), SIZE, SIZE, 3), self.level, np.uint8)

    point = EntryPoint("grey", "numpy:load", models.GROUP)
    monkeypatch.setattr(models, "entry_points", lambda group: [point][: group == models.GROUP])
    monkeypatch.setattr(models, "_imported", lambda point: lambda tier, device, weights=None: Grey(weights))
    one, two = tmp_path / "one.bin", tmp_path / "two.bin"
    one.write_text("30")
    two.write_text("200")

    def asked(checkpoint: Path | None) -> Request:
        return Request(
            model="grey", checkpoint=checkpoint, tier=tier, tracks=("id",), embedding=LITE, out=tmp_path / "out"
        )

    shipped, folder = run.run(asked(None))
    first, _ = run.run(asked(one))
    again, _ = run.run(asked(one))
    assert read == [None, one], "the second time the generation is found again"
    assert again == first
    second, _ = run.run(asked(two))
    assert read == [None, one, two]
    assert shipped.submission.weights_sha256 == ""
    assert first.submission.weights_sha256 == sha256_bytes(b"30")
    assert f'weights_sha256 = "{sha256_bytes(b"200")}"' in (folder / "submission/submission.toml").read_text()
    assert len({report.images_sha256 for report in (shipped, first, second)}) == 3
