"""Conditions -> submission -> features -> scores: the one path for a model and for a stranger's folder.

The module is not called `evaluate` because the function of that name is part of the package's public namespace.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from morphobench import models, provenance
from morphobench.datasets import load_tier
from morphobench.datasets.frozen import load_gene_sets
from morphobench.datasets.swaps import place as swap_place
from morphobench.datasets.swaps import swaps
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.engine import BUILTIN
from morphobench.ingest.expression import not_log2
from morphobench.ingest.submission import Submission, open_submission, write_submission
from morphobench.report.contents import Evaluation, TrackContents
from morphobench.report.gathering import track_contents, track_enrichment
from morphobench.schema import Conditions, Enrichment, Manifest, Report, Score, first_fault
from morphobench.scoring.controls import Controls, read_controls
from morphobench.scoring.measurements import Measurements, Protocol, measure_track
from morphobench.scoring.notes import floor_note, track_notes, training_note
from morphobench.scoring.scores import score_track
from morphobench.storage import atomic_write_text, cache_dir, check_folder, folder_sha256, sha256_text

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
    model: str | models.Model | None = None,
    submission: Path | None = None,
    tier: str | Tier = "sim",
    tracks: Sequence[str] = (),
    folder: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    extractors: Sequence[str] = (),
    embedding: str | None = None,
    weights: Mapping[str, Path] | None = None,
    engine: str = BUILTIN,
    enrich: Sequence[str] = (),
) -> Evaluation:
    """Score a model or a submission on a tier.

    model: an installed model's name or any object with the members of `models.Model`; it generates into
    `folder`/submission, which is then scored as anyone's would be. submission: a folder or zip to score instead.
    tracks: the tier's default ones if none is named. extractors, embedding, weights, engine: see `Protocol`. enrich:
    compounds whose gene sets are reported beside CASE_STUDY's.
    Returns the report with the arrays behind its figures. Raises BadInput or Unavailable in one line.
    """
    if (model is None) == (submission is None):
        raise BadInput("give a model or a submission, one of the two")
    loaded = load_tier(tier) if isinstance(tier, str) else tier
    names = chosen_tracks(loaded, tracks)
    check_compounds(loaded, names, enrich)
    watch = Stopwatch()
    protocol = chosen_protocol(loaded, extractors, embedding, weights or {}, device, engine)
    if model is not None:
        with watch.stage("generate"):
            submission = generate(model, loaded, names, folder or Path("runs") / loaded.spec.name, seed, protocol)
    assert submission is not None
    with watch.stage("check submission"):
        opened = open_submission(submission, loaded, names)
    return score(opened, loaded, names, protocol, seed, watch, enrich)


def check_compounds(tier: Tier, tracks: Sequence[str], compounds: Sequence[str]) -> None:
    """BadInput for a compound that none of the tracks tests."""
    tested = {compound for track in tracks for compound in tier.test_rows(track)["compound"]}
    unknown = next((compound for compound in compounds if compound not in tested), None)
    if unknown is not None:
        near = ", ".join(get_close_matches(unknown, sorted(tested), n=3)) or "`morphobench data info` lists them"
        raise BadInput(f"--enrich {unknown!r}: no test compound of {', '.join(tracks)}; nearest names: {near}")


def chosen_tracks(tier: Tier, names: Sequence[str]) -> tuple[str, ...]:
    """These tracks of a tier, each once, or its default ones; BadInput for one that it has not."""
    chosen = tuple(dict.fromkeys(names)) or tier.default_tracks
    for name in chosen:
        tier.track(name)
    return chosen


def chosen_protocol(
    tier: Tier,
    extractors: Sequence[str],
    embedding: str | None,
    weights: Mapping[str, Path],
    device: str,
    engine: str = BUILTIN,
) -> Protocol:
    """The tier's protocol with what the user asked for; BadInput for weights of an extractor that would not run."""
    protocol = Protocol.of(tier, extractors, embedding, weights, device, engine)
    used = tuple(dict.fromkeys((*protocol.extractors, protocol.embedding)))
    idle = next((name for name in weights if name not in used), None)
    if idle is not None:
        raise BadInput(f"--weights {idle}=...: no such extractor runs here; those that do are {', '.join(used)}")
    return protocol


@cache
def code_sha256() -> str:
    """Hash of what computes: this package and the releases of those that it calls."""
    return sha256_text(folder_sha256(Path(__file__).parent), *(f"{k}={v}" for k, v in provenance.versions().items()))


def generate(
    model: str | models.Model, tier: Tier, tracks: Sequence[str], folder: Path, seed: int, protocol: Protocol
) -> Path:
    """Let a model answer the conditions of the tracks; returns the submission folder, `folder`/submission.

    The swapped conditions of each track are asked for as well, see `datasets.swaps`.

    The extractors and the engine of `protocol` are loaded first: what is missing is better known before minutes of
    generation.

    A submission that is already there is kept if an installed model's package, this one, the tier, the seed and the
    tracks are the same. A model given as an object always generates: nothing tells whether its weights changed.
    A folder that holds a submission from elsewhere is refused: it would be replaced.
    """
    place, stamp = folder / "submission", folder / "generation.sha256"
    check_folder(place)
    if place.exists() and not stamp.is_file():
        raise BadInput(f"{place}: not made by this command; choose another --out")
    key = "object"
    if isinstance(model, str):
        key = sha256_text(
            model, models.model_sha256(model, tier), tier.spec.name, tier.spec.version, tier.split_sha256, str(seed),
            protocol.device, code_sha256(), *tracks,
        )  # fmt: skip
        if place.is_dir() and stamp.is_file() and stamp.read_text().strip() == key:
            return place
    _ = protocol.loaded, protocol.segmentation
    name = model if isinstance(model, str) else type(model).__name__.lower()
    loaded = models.load_model(model, tier, protocol.device) if isinstance(model, str) else model
    manifest = _manifest(name, loaded.manifest, tier, seed)
    images, expression = {}, {}
    for track in tracks:
        conditions = tier.conditions(track)
        images[track] = (conditions, _generated(name, loaded, conditions, tier.spec.image_size, seed))
        for kind, swap in swaps(tier, conditions).items():
            if len(swap):
                pixels = _generated(name, loaded, swap.conditions, tier.spec.image_size, seed)
                images[swap_place(track, kind)] = (swap.conditions, pixels)
        if isinstance(loaded, models.PredictsExpression):
            expression[track] = _predicted(name, loaded, conditions)
    # The stamp says from here on that the folder is ours, and by its key only when all of it is there.
    atomic_write_text(stamp, "unfinished\n")
    write_submission(place, manifest, images, expression or None)
    atomic_write_text(stamp, key + "\n")
    return place


def _generated(name: str, model: models.Model, conditions: Conditions, size: int, seed: int) -> np.ndarray:
    pixels = np.asarray(model.generate(conditions, seed))
    expected = (len(conditions), size, size, 3)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise BadInput(f"model {name!r}: generate gave {pixels.dtype} {pixels.shape}; uint8 {expected} is wanted")
    return pixels


def _predicted(name: str, model: models.PredictsExpression, conditions: Conditions) -> np.ndarray:
    values = np.asarray(model.predict_expression(conditions))
    expected = (len(conditions), len(conditions.genes))
    if values.shape != expected or values.dtype.kind not in "fiu":
        raise BadInput(
            f"model {name!r}: predict_expression gave {values.dtype} {values.shape}; numbers {expected} are wanted"
        )
    if (fault := not_log2(values)) is not None:
        row, gene, why = fault
        about = f"{conditions.records[row].compound}, gene {conditions.genes[gene]}"
        raise BadInput(f"model {name!r}: predict_expression: {about}: {why}")
    return values


def score(
    submission: Submission,
    tier: Tier,
    tracks: Sequence[str],
    protocol: Protocol,
    seed: int,
    watch: Stopwatch,
    enrich: Sequence[str] = (),
    controls: Controls | None = None,
) -> Evaluation:
    """Measure a checked submission and compute every score of METRICS that its measurements allow.

    controls: what stands beside the scores; None for those that are filed for the tier.
    """
    gene_sets = load_gene_sets()
    scores: list[Score] = []
    terms: list[Enrichment] = []
    contents: list[TrackContents] = []
    notes: list[str] = []
    measured: Measurements | None = None
    known = controls
    for track in tracks:
        measured = measure_track(submission, tier, track, protocol, cache_dir(), watch.stage)
        with watch.stage("scores"):
            known = known or read_controls(tier, measured.protocol)
            scores += score_track(measured, tier, known)
        with watch.stage("enrichment"):
            for compound in dict.fromkeys((CASE_STUDY, *enrich)):
                terms += track_enrichment(measured, gene_sets, compound)
        notes += track_notes(measured, tier)
        notes += [
            f"{track}: {compound} has no measured expression, so no gene sets"
            for compound in enrich
            if compound in set(measured.compounds) - set(measured.lfc.compounds)
        ]
        notes += training_note(tier, track, submission.manifest.training_set)
        contents.append(track_contents(submission, tier, measured))
    assert measured is not None
    assert known is not None
    report = Report(
        submission=submission.manifest,
        tier=tier.spec.name,
        tier_version=tier.spec.version,
        simulated=tier.spec.simulated,
        split_sha256=tier.split_sha256,
        images_sha256=submission.images_sha256,
        scores=tuple(scores),
        enrichment=tuple(terms),
        notes=(*floor_note(scores, known.floor_intervals), *notes),
        seed=seed,
        protocol=measured.protocol,
        versions=provenance.versions(),
        hardware=provenance.hardware(protocol.device),
        seconds=watch.seconds,
    )
    return Evaluation(report, tuple(contents), tier.spec.channels, tier.spec.um_per_pixel)


def _manifest(name: str, known: Mapping[str, Any], tier: Tier, seed: int) -> Manifest:
    fields: dict[str, Any] = {
        "name": name, "group": "morphobench", "version": f"v{provenance.versions()['morphobench']}", **known,
        "tier": tier.spec.name, "tier_version": tier.spec.version, "split_sha256": tier.split_sha256, "seed": seed,
    }  # fmt: skip
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        raise BadInput(f"model {name!r}: manifest: {first_fault(error)}") from error
