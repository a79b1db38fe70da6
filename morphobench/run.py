"""One command's work: generate or open, score, and leave report.json and report.html; nothing is done twice."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from morphobench import evaluation
from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.engine import BUILTIN
from morphobench.ingest.submission import Submission, open_submission, refuse_inside
from morphobench.report.page import write_report
from morphobench.schema import Report
from morphobench.scoring import controls
from morphobench.scoring.measurements import Protocol
from morphobench.storage import atomic_write_text, check_folder, sha256_file, sha256_text


@dataclass(frozen=True)
class Request:
    """What `morphobench evaluate` was asked for."""

    model: str | None = None
    submission: Path | None = None
    tier: str = "sim"
    tracks: tuple[str, ...] = ()
    out: Path | None = None
    seed: int = 0
    device: str = "cpu"
    extractors: tuple[str, ...] = ()
    embedding: str | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    engine: str = BUILTIN
    enrich: tuple[str, ...] = ()


def run(request: Request) -> tuple[Report, Path]:
    """Score a model or a submission; returns the report and the folder that holds report.json and report.html.

    A report already there is returned as it is if nothing that it was made from has changed.
    """
    if (request.model is None) == (request.submission is None):
        raise BadInput("give --model NAME or --submission PATH, one of the two")
    tier = load_tier(request.tier)
    tracks = evaluation.chosen_tracks(tier, request.tracks)
    evaluation.check_compounds(tier, tracks, request.enrich)
    watch = evaluation.Stopwatch()
    protocol = _protocol(tier, request)
    folder = request.out
    path = request.submission
    if folder is not None:
        check_folder(folder)
    if request.model is not None:
        folder = folder or Path("runs") / tier.spec.name / request.model
        with watch.stage("generate"):
            path = evaluation.generate(request.model, tier, tracks, folder, request.seed, protocol)
    assert path is not None
    with watch.stage("check submission"):
        submission = open_submission(path, tier, tracks)
    folder = folder or Path("runs") / tier.spec.name / f"{submission.manifest.group}__{submission.manifest.name}"
    refuse_inside(folder, path)
    key = _key(submission, tier, tracks, protocol, request)
    known = _finished(folder, key)
    if known is not None:
        return known, folder
    (folder / "report.sha256").unlink(missing_ok=True)
    result = evaluation.score(submission, tier, tracks, protocol, request.seed, watch, request.enrich)
    atomic_write_text(folder / "report.json", result.report.model_dump_json(indent=1) + "\n")
    write_report(result, folder)
    atomic_write_text(folder / "report.sha256", _stamp(folder, key))
    return result.report, folder


def run_controls(request: Request) -> Path:
    """Score every control on a tier and file their scores on this machine as its floors; returns the file.

    `request` gives the tier, the tracks, the device and the extractors. Scores filed before for other tracks or under
    other extractors stay.
    """
    tier = load_tier(request.tier)
    protocol = _protocol(tier, request)
    tracks = evaluation.chosen_tracks(tier, request.tracks)
    engine = protocol.segmentation
    hashes = {name: extractor.weights_sha256 for name, extractor in protocol.loaded.items()}
    hashes[f"segmentation{engine.suffix}"] = engine.version
    filed = controls.own_controls_path(tier)
    found = controls.Controls()
    if filed.is_file():
        # Damaged, or scored with other weights: this command is the mend, and replaces it at the end.
        with suppress(BadInput):
            found = controls.read_controls_file(filed, tier, hashes)
    for control in controls.CONTROLS:
        folder = (request.out or Path("runs") / tier.spec.name) / control
        path = evaluation.generate(control, tier, tracks, folder, request.seed, protocol)
        submission = open_submission(path, tier, tracks)
        # Beside no controls: those that are filed may not fit, and this is what makes them again.
        report = evaluation.score(
            submission, tier, tracks, protocol, request.seed, evaluation.Stopwatch(), controls=controls.Controls()
        ).report
        hashes |= report.protocol
        found.add(control, report.scores)
    # What scores of extractors that were not asked for this time were made with is still to be checked.
    return controls.write_controls(tier, found, found.protocol | hashes, filed)


def _protocol(tier: Tier, request: Request) -> Protocol:
    return evaluation.chosen_protocol(
        tier, request.extractors, request.embedding, request.weights, request.device, request.engine
    )


def _key(submission: Submission, tier: Tier, tracks: tuple[str, ...], protocol: Protocol, request: Request) -> str:
    """Hash of everything a report is made from: the submission, the tier, the protocol, what was asked, the code."""
    floors = (controls.shipped_controls_path(tier), controls.own_controls_path(tier))
    return sha256_text(
        submission.manifest.model_dump_json(),
        submission.images_sha256,
        submission.expression_sha256,
        tier.spec.model_dump_json(),
        tier.split_sha256,
        *(sha256_file(path) if path.is_file() else "" for path in floors),
        *tracks,
        *protocol.extractors,
        protocol.embedding,
        *(f"{name}={sha256_file(path)}" for name, path in sorted(protocol.weights.items())),
        protocol.device,
        protocol.segmentation.version,
        str(request.seed),
        *(f"enrich={compound}" for compound in dict.fromkeys(request.enrich)),
        evaluation.code_sha256(),
    )


def _stamp(folder: Path, key: str) -> str:
    """What `report.sha256` says: the key, and the hashes of both files, so that an edited one is made again."""
    return f"{key}\n{sha256_file(folder / 'report.json')}\n{sha256_file(folder / 'report.html')}\n"


def _finished(folder: Path, key: str) -> Report | None:
    stamp, report = folder / "report.sha256", folder / "report.json"
    if not (stamp.is_file() and report.is_file() and (folder / "report.html").is_file()):
        return None
    if stamp.read_text(encoding="utf-8", errors="replace") != _stamp(folder, key):
        return None
    return Report.model_validate_json(report.read_bytes())
