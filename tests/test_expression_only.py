"""A model that predicts expression alone: from nothing to a row of a board, and what is no such submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_report import report as synthetic
from tiny_tier import SIZE, tiny_tier
from typer.testing import CliRunner

from morphobench import comparison, generation, run
from morphobench.cli import app
from morphobench.cli.tables import score_table, wide_console
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.registry import load_extractor
from morphobench.ingest.submission import open_submission, pack_submission
from morphobench.leaderboard.board import render
from morphobench.leaderboard.ranking import rank_track
from morphobench.leaderboard.results import add_result, read_results
from morphobench.report.reading import read
from morphobench.request import Request
from morphobench.schema import NO_IMAGES, Conditions, Manifest, Report
from morphobench.scoring import protocol

EXPRESSION = "expression"


class Shift:
    """Every gene of a compound one log2 up."""

    def __init__(self) -> None:
        self.manifest = {"method": "one log2 up"}

    def predict_expression(self, conditions: Conditions) -> np.ndarray:
        rises = [np.random.default_rng(list(record.compound.encode())).normal(size=978) for record in conditions]
        return conditions.g_pre + np.array(rises)


class Both(Shift):
    """The same with grey images."""

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        return np.full((len(conditions), SIZE, SIZE, 3), 80, np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("expression")


@pytest.fixture(scope="module")
def tier(place: Path) -> Tier:
    return tiny_tier(place / "tier")


def asked(model: object, tier: Tier, out: Path) -> Request:
    return Request(model=model, tier=tier, tracks=("id",), out=out, embedding="efficientnet_lite0")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scored(tier: Tier, place: Path) -> tuple[Report, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
        # No network is at hand, and none is needed.
        patch.setattr(protocol, "load_extractor", lambda *given: pytest.fail("no image is there to be measured"))
        return run.run(asked(Shift(), tier, place / "out"))


def test_it_is_scored_on_expression_and_says_why_on_nothing_else(scored: tuple[Report, Path]) -> None:
    report, _ = scored
    valued = {score.key for score in report.scores if score.value is not None}
    assert valued == {"lfc_pearson", "lfc_pearson_vehicle", "lfc_pearson_perturbed_mean", "centroid_accuracy"}
    absent = [score for score in report.scores if score.value is None]
    assert len(absent) > 20
    assert {(score.reason, score.n) for score in absent} == {(NO_IMAGES, 0)}
    assert all(read(score).family != EXPRESSION for score in absent)
    # The change that was planted is the tier's own, noise aside.
    assert next(s.value for s in report.scores if s.key == "lfc_pearson_vehicle") > 0.9  # type: ignore[operator]
    assert report.images_sha256 == ""
    assert not report.draws_images
    assert any("draws no images, and is scored on expression alone" in note for note in report.notes)


def test_the_page_and_the_console_show_what_there_is(scored: tuple[Report, Path]) -> None:
    report, folder = scored
    page = (folder / "report.html").read_text()
    assert "12 predicted profiles, and no images, of 2 compounds" in page
    assert "Expression: predicted beside measured" in page
    assert "What it draws" not in page
    assert "Maps and areas" not in page
    console = wide_console()
    with console.capture() as shown:
        console.print(score_table(report, "id"))
    assert "centroid_accuracy" in shown.get()


@pytest.mark.usefixtures("plain_page")
def test_the_same_keys_are_absent_that_a_submission_with_images_has(
    scored: tuple[Report, Path], tier: Tier, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
    drawn, _ = run.run(asked(Both(), tier, place / "both"))
    assert [score.key for score in drawn.scores] == [score.key for score in scored[0].scores]
    mine, theirs = ({s.key: s.value for s in r.scores if read(s).family == EXPRESSION} for r in (scored[0], drawn))
    assert mine == theirs
    out, both = place / "out/submission", place / "both/submission"
    rows = comparison.compare(out, both, tier=tier, tracks=["id"], embedding="efficientnet_lite0").differences
    by_key = {row.key: row for row in rows}
    assert by_key["centroid_accuracy"].difference == 0
    assert by_key["duplicates"].reason == f"A: {NO_IMAGES}"


def test_it_is_packed_and_validated(scored: tuple[Report, Path], tier: Tier, tmp_path: Path, monkeypatch) -> None:
    packed = pack_submission(scored[1] / "submission", tmp_path / "s.zip", tier, ["id"])
    opened = open_submission(packed, tier, ["id"])
    assert (opened.images, opened.images_sha256) == ({}, "")
    assert opened.expression is not None
    monkeypatch.setattr("morphobench.datasets.load_tier", lambda name: tier)
    said = CliRunner().invoke(app, ["submission", "validate", str(packed), "--track", "id"])
    assert "valid; no images: expression alone is predicted and will be scored" in said.stdout


def test_an_image_set_that_is_not_whole_is_refused_though_expression_is_there(tier: Tier, tmp_path: Path) -> None:
    folder = generation.generate(asked(Both(), tier, tmp_path / "out").resolve())
    images = sorted((folder / "images").rglob("*.png"))
    for image in images[1:]:
        image.unlink()
    with pytest.raises(
        BadInput, match=r"0001\.png is missing \(11 of 12 images are\); every condition needs its image"
    ):
        open_submission(folder, tier, ["id"])
    # Nor does a track without images pass beside one that has them.
    (folder / "images/ood").mkdir()
    images[0].rename(folder / "images/ood/0000.png")
    with pytest.raises(BadInput, match=r"0000\.png is missing \(12 of 12"):
        open_submission(folder, tier, ["id"])
    (folder / "images/ood/0000.png").unlink()
    assert open_submission(folder, tier, ["id"]).images == {}
    (folder / "expression.csv").unlink()
    with pytest.raises(BadInput, match=r"is missing \(12 of 12 images are\)"):
        open_submission(folder, tier, ["id"])


def test_a_model_with_neither_is_refused(tier: Tier, tmp_path: Path) -> None:
    class Mute:
        def __init__(self) -> None:
            self.manifest = {"method": "says nothing"}

    with pytest.raises(BadInput, match="'mute': has neither generate nor predict_expression; offer one of the two"):
        generation.generate(asked(Mute(), tier, tmp_path / "out").resolve())
    assert not (tmp_path / "out").exists()


def silent(report: Report, name: str) -> Report:
    """The same report of a submission that draws no images."""
    scores = tuple(
        score
        if read(score).family == EXPRESSION
        else score.model_copy(
            update={
                "value": None, "reason": NO_IMAGES, "n": 0, "nan": 0, "interval": None, "scaled": None,
                "by_compound": (),
            }
        )
        for score in report.scores
    )  # fmt: skip
    manifest = Manifest.model_validate(report.submission.model_dump() | {"name": name})
    return report.model_copy(update={"submission": manifest, "scores": scores, "images_sha256": ""})


def test_on_a_board_it_is_ranked_on_expression_and_changes_no_rank_of_images(tmp_path: Path) -> None:
    drawn = synthetic()
    other = drawn.model_copy(
        update={"submission": Manifest.model_validate(drawn.submission.model_dump() | {"name": "other"})}
    )
    rnaseq = silent(drawn, "rnaseq")
    track = drawn.scores[0].track
    before = {row.report.submission.name: row for row in rank_track([drawn, other], track)}
    after = {row.report.submission.name: row for row in rank_track([drawn, other, rnaseq], track)}
    mine = after.pop("rnaseq")
    assert {name: (row.place, row.images) for name, row in after.items()} == {
        name: (row.place, row.images) for name, row in before.items()
    }
    assert (mine.place, mine.images) == (None, None)
    assert mine.unplaced == f"{NO_IMAGES}; its expression has a rank"
    assert mine.expression is not None
    assert mine.expression == after["other"].expression

    for report in (drawn, rnaseq):
        add_result(report, tmp_path)
    files = render(drawn.tier, read_results(tmp_path, drawn.tier))
    row = next(line for line in files["README.md"].splitlines() if "rnaseq" in line)
    assert row.startswith("| not placed |")
    assert row.rstrip().endswith(f"| {mine.expression:.1f} |")


def test_a_network_that_is_not_there_is_only_missed_by_who_draws(tier: Tier, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="extractor 'nosuch': unknown"):
        load_extractor("nosuch")
    for model, refused in ((Shift(), False), (Both(), True)):
        plan = Request(model=model, tier=tier, tracks=("id",), out=tmp_path / str(refused), embedding="nosuch")  # type: ignore[arg-type]
        if refused:
            with pytest.raises(BadInput, match="extractor 'nosuch': unknown"):
                generation.generate(plan.resolve())
        else:
            generation.generate(plan.resolve())
