"""Conditions -> submission -> features -> scores: the one path for a model and for a stranger's folder.

The module is not called `evaluate` because the function of that name is part of the package's public namespace.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from morphobench import generation, provenance
from morphobench.datasets.frozen import load_gene_sets
from morphobench.datasets.tier import Tier
from morphobench.ingest.submission import Submission, open_submission
from morphobench.models import Model
from morphobench.report.contents import Evaluation, TrackContents
from morphobench.report.gathering import track_contents, track_enrichment
from morphobench.request import Plan, Request
from morphobench.schema import Enrichment, Report, Score
from morphobench.scoring.controls import Controls, read_controls
from morphobench.scoring.measurements import Measurements, measure_track
from morphobench.scoring.notes import floor_note, track_notes, training_note
from morphobench.scoring.scores import score_track
from morphobench.scoring.tasks import tasks
from morphobench.storage import cache_dir

CASE_STUDY = "docetaxel"
"""The compound of the paper's enrichment figure (Figure 5b)."""


@dataclass
class Stopwatch:
    """Seconds by stage, for the report."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 2)


def evaluate(
    model: str | Model | None = Request.model,
    submission: Path | None = Request.submission,
    tier: str | Tier = Request.tier,
    tracks: Sequence[str] = Request.tracks,
    folder: Path | None = Request.out,
    seed: int = Request.seed,
    device: str = Request.device,
    extractors: Sequence[str] = Request.extractors,
    embedding: str | None = Request.embedding,
    weights: Mapping[str, Path] | None = None,
    engine: str = Request.engine,
    enrich: Sequence[str] = Request.enrich,
    checkpoint: Path | None = Request.checkpoint,
) -> Evaluation:
    """Score a model or a submission on a tier.

    folder: `out` of `Request`, which says what the others are. A model generates into `folder`/submission, which is
    then scored as anyone's would be.
    Returns the report with the arrays behind its figures. Raises BadInput or Unavailable in one line.
    """
    plan = Request(
        model=model, submission=submission, checkpoint=checkpoint, tier=tier, tracks=tracks, out=folder, seed=seed,
        device=device, extractors=extractors, embedding=embedding, weights=weights or {}, engine=engine, enrich=enrich,
    ).resolve()  # fmt: skip
    watch = Stopwatch()
    return score(answered(plan, watch), plan, watch)


def answered(plan: Plan, watch: Stopwatch) -> Submission:
    """The plan's submission, checked; its model writes it first."""
    path = plan.request.submission
    if path is None:
        with watch.stage("generate"):
            path = generation.generate(plan)
    with watch.stage("check submission"):
        return open_submission(path, plan.tier, plan.tracks)


def score(submission: Submission, plan: Plan, watch: Stopwatch, controls: Controls | None = None) -> Evaluation:
    """Measure a checked submission and compute every score of METRICS that its measurements allow.

    controls: what stands beside the scores; None for those that are filed for the tier.
    """
    tier, protocol, enrich = plan.tier, plan.protocol, plan.request.enrich
    gene_sets = load_gene_sets()
    scores: list[Score] = []
    terms: list[Enrichment] = []
    contents: list[TrackContents] = []
    notes: list[str] = []
    measured: Measurements | None = None
    anchors = controls
    for track in plan.tracks:
        measured = measure_track(submission, tier, track, protocol, cache_dir(), watch.stage)
        with watch.stage("scores"):
            anchors = anchors or read_controls(tier, measured.protocol)
            track_tasks = list(tasks(measured, tier))
            scores += score_track(measured, track_tasks, anchors)
        with watch.stage("enrichment"):
            for compound in dict.fromkeys((CASE_STUDY, *enrich)):
                terms += track_enrichment(measured, gene_sets, compound)
        notes += track_notes(measured, track_tasks)
        notes += [
            f"{track}: {compound} has no measured expression, so no gene sets"
            for compound in enrich
            if compound in set(measured.compounds) - set(measured.lfc.compounds)
        ]
        notes += training_note(tier, track, submission.manifest.training_set)
        contents.append(track_contents(submission, tier, measured))
    assert measured is not None
    assert anchors is not None
    report = Report(
        submission=submission.manifest,
        tier=tier.spec.name,
        tier_version=tier.spec.version,
        simulated=tier.spec.simulated,
        split_sha256=tier.split_sha256,
        images_sha256=submission.images_sha256,
        scores=tuple(scores),
        enrichment=tuple(terms),
        notes=(*floor_note(scores, anchors.floor_intervals), *notes),
        seed=plan.request.seed,
        protocol=measured.protocol,
        versions=provenance.versions(),
        hardware=provenance.hardware(protocol.device),
        seconds=watch.seconds,
    )
    return Evaluation(report, tuple(contents), tier.spec.channels, tier.spec.um_per_pixel)
