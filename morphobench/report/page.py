"""`report.html`: one self-contained page of scores, words and pictures; it loads nothing and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from morphobench import provenance, storage
from morphobench.report import reading
from morphobench.report.compounds import CompoundTable, compound_table
from morphobench.report.contents import Evaluation, TrackContents
from morphobench.report.distributions import area_by_compound, area_violins
from morphobench.report.drawing import Picture, house_type
from morphobench.report.enrichment import SIGNIFICANT
from morphobench.report.expression import PredictorTable, enrichment_chart, lfc_heatmaps, predictor_table
from morphobench.report.extrapolation import fit_chart
from morphobench.report.maps import lda_map, umap_map
from morphobench.report.panel import panel_pictures
from morphobench.report.templates import environment
from morphobench.report.verdict import Sentence, verdict
from morphobench.schema import Report, Score
from morphobench.scoring.controls import FLOOR, VEHICLE

BAR = (-0.5, 1.5)
"""Ends of the scaled bar; a value outside is an arrow at the end, and its number is printed in full."""


@dataclass(frozen=True)
class Row:
    """One line of the score table, as text and as places (0 to 100) on the scaled bar."""

    family: str
    title: str
    key: str
    summary: str
    arrow: str
    reading: str
    value: str
    interval: str
    n: str
    nan: int
    floor: str
    controls: tuple[tuple[str, str], ...]
    reason: str
    scaled: str
    place: float | None
    off: str
    marks: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TrackPage:
    """Everything the template shows of one track."""

    name: str
    title: str
    images: str
    verdict: list[Sentence]
    rows: list[Row]
    compounds: CompoundTable | None
    panel: list[Picture]
    maps: list[Picture]
    predictors: PredictorTable | None
    heatmaps: list[Picture]


def write_report(evaluation: Evaluation, out: Path) -> Path:
    """Write `out/report.html` and return its path.

    The page is one file: pictures are data URIs, the style is inline, there is no script and a content policy forbids
    any request. Pictures of a simulated tier carry the word SIMULATED inside the picture.
    """
    path = out / "report.html"
    storage.atomic_write_text(path, render(evaluation))
    return path


def render(evaluation: Evaluation) -> str:
    """The page as HTML text."""
    report = evaluation.report
    with mpl.rc_context(house_type()):
        tracks = [_track(evaluation, track) for track in evaluation.tracks]
        compounds = list(dict.fromkeys(row.compound for row in report.enrichment))
        charts = [enrichment_chart(report.enrichment, compound, report.simulated) for compound in compounds]
    template = environment("morphobench.report").get_template("report.html.j2")
    return template.render(
        report=report,
        submission=report.submission,
        facts=_facts(report),
        tracks=tracks,
        enrichment=[chart for chart in charts if chart],
        terms=[row for row in report.enrichment if row.p_adjusted <= SIGNIFICANT],
        channels=evaluation.channels,
        number=reading.number,
        version=provenance.versions()["morphobench"],
    )


def _track(evaluation: Evaluation, track: TrackContents) -> TrackPage:
    report, simulated = evaluation.report, evaluation.report.simulated
    scores = [score for score in report.scores if score.track == track.track]
    scores.sort(key=lambda score: reading.FAMILIES.index(reading.read(score).family))
    maps: list[Picture | None] = []
    if track.drawn:
        maps += [lda_map(track, simulated), umap_map(track, simulated), area_violins(track, simulated)]
        maps.append(area_by_compound(track, simulated))
        maps += [fit_chart(fit, track, simulated) for fit in track.fits]
    answers = "generated images" if track.drawn else "predicted profiles, and no images,"
    return TrackPage(
        name=track.track,
        title=track.title,
        images=f"{len(track.compounds):,} {answers} of {len(set(track.compounds.tolist()))} compounds",
        verdict=verdict(report, track.track),
        rows=[_row(score) for score in scores],
        compounds=compound_table(scores),
        panel=panel_pictures(evaluation, track),
        maps=[picture for picture in maps if picture],
        predictors=predictor_table(scores, report.submission.name),
        heatmaps=lfc_heatmaps(track, simulated),
    )


def _row(score: Score) -> Row:
    words = reading.read(score)
    position = score.scaled
    # the replicates have a column and the end of the bar to themselves, the vehicle its other end
    controls = {name: value for name, value in score.controls.items() if name != FLOOR}
    marks = ((name, reading.scale(score, value)) for name, value in controls.items() if name != VEHICLE)
    return Row(
        family=words.family,
        title=words.title,
        key=score.key,
        summary=words.summary,
        arrow=reading.ARROWS[score.direction],
        reading=reading.reading_text(score, words.ranked),
        value=reading.number(score.value),
        interval=reading.span_text(score),
        n=f"{score.n:,}",
        nan=score.nan,
        floor=reading.number(score.floor),
        controls=tuple((name, reading.number(value)) for name, value in controls.items()),
        reason=score.reason,
        scaled=reading.number(position),
        place=None if position is None else _place(min(max(position, BAR[0]), BAR[1])),
        off="" if position is None or BAR[0] <= position <= BAR[1] else ("left" if position < BAR[0] else "right"),
        marks=tuple((name, _place(at)) for name, at in marks if at is not None and BAR[0] <= at <= BAR[1]),
    )


def _place(scaled: float) -> float:
    """A scaled value as per cent of the bar's width."""
    return round(100 * (scaled - BAR[0]) / (BAR[1] - BAR[0]), 1)


def _facts(report: Report) -> list[tuple[str, str]]:
    """What made the numbers, for the foot of the page."""
    submission = report.submission
    facts = [
        ("Method", submission.method),
        ("Trained weights", f"{submission.parameters:,}" if submission.parameters is not None else "not stated"),
        ("Weights file", submission.weights_sha256),
        (
            "Sampler",
            ", ".join(filter(None, (submission.sampler, f"{submission.steps} steps" if submission.steps else ""))),
        ),
        ("Training data", submission.training_data),
        ("Measured RNA after treatment used at test time", "yes" if submission.uses_measured_g_post else "no"),
        ("Licence", submission.licence),
        ("Code", submission.code),
        ("Paper", submission.paper),
        ("Seeds", f"sampling {submission.seed}, evaluation {report.seed}"),
        ("Splits", report.split_sha256),
        ("Images", report.images_sha256),
    ]
    facts += [(f"Protocol: {name}", value) for name, value in sorted(report.protocol.items())]
    facts.append(("Versions", ", ".join(f"{name} {value}" for name, value in sorted(report.versions.items()))))
    facts.append(("Hardware", ", ".join(f"{name}: {value}" for name, value in sorted(report.hardware.items()))))
    facts.append(("Seconds", ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())))
    return [(name, value) for name, value in facts if value]
