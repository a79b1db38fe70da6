"""One command's work: generate or open, score, and leave report.json and report.html; nothing is done twice."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from morphobench import evaluation
from morphobench.errors import BadInput
from morphobench.generation import code_sha256
from morphobench.ingest.submission import Submission, refuse_inside
from morphobench.report.page import write_report
from morphobench.request import Plan, Request
from morphobench.schema import Report
from morphobench.scoring import controls
from morphobench.storage import atomic_write_text, check_writable, sha256_file, sha256_text


def run(request: Request) -> tuple[Report, Path]:
    """Score a model or a submission; returns the report and the folder that holds report.json and report.html.

    A report already there is returned as it is if nothing that it was made from has changed.
    """
    plan, watch = request.resolve(), evaluation.Stopwatch()
    submission = evaluation.answered(plan, watch)
    folder = plan.folder(submission.manifest)
    if request.submission is not None:
        refuse_inside(folder, request.submission)
    key = _key(submission, plan)
    finished = _finished(folder, key)
    if finished is not None:
        return finished, folder
    check_writable(folder)
    (folder / "report.sha256").unlink(missing_ok=True)
    result = evaluation.score(submission, plan, watch)
    atomic_write_text(folder / "report.json", result.report.model_dump_json(indent=1) + "\n")
    write_report(result, folder)
    atomic_write_text(folder / "report.sha256", _stamp(folder, key))
    return result.report, folder


def run_controls(request: Request) -> Path:
    """Score every control on a tier and file their scores on this machine as its floors; returns the file.

    The request's model or submission is of no account: the controls take its place, each in its folder below `out`.
    Scores filed before for other tracks or under other extractors stay.
    """
    plan = replace(request, model=controls.CONTROLS[0], submission=None, checkpoint=None).resolve()
    tier, protocol = plan.tier, plan.protocol
    engine = protocol.segmentation
    hashes = {name: extractor.weights_sha256 for name, extractor in protocol.loaded.items()}
    hashes[f"segmentation{engine.suffix}"] = engine.version
    filed = controls.own_controls_path(tier)
    scored = controls.Controls()
    if filed.is_file():
        # Damaged, or scored with other weights: this command is the mend, and replaces it at the end.
        with suppress(BadInput):
            scored = controls.read_controls_file(filed, tier, hashes)
    for control in controls.CONTROLS:
        each, watch = plan.each(control), evaluation.Stopwatch()
        # Beside no controls: those that are filed may not fit, and this is what makes them again.
        report = evaluation.score(evaluation.answered(each, watch), each, watch, controls.Controls()).report
        hashes |= report.protocol
        scored.add(control, report.scores)
    # What scores of extractors that were not asked for this time were made with is still to be checked.
    return controls.write_controls(tier, scored, scored.protocol | hashes, filed)


def _key(submission: Submission, plan: Plan) -> str:
    """Hash of everything a report is made from: the submission, the tier, the protocol, what was asked, the code."""
    tier, protocol, request = plan.tier, plan.protocol, plan.request
    floors = (controls.shipped_controls_path(tier), controls.own_controls_path(tier))
    return sha256_text(
        submission.manifest.model_dump_json(),
        submission.images_sha256,
        submission.expression_sha256,
        tier.spec.model_dump_json(),
        tier.split_sha256,
        *(sha256_file(path) if path.is_file() else "" for path in floors),
        *plan.tracks,
        *protocol.extractors,
        protocol.embedding,
        *(f"{name}={sha256_file(path)}" for name, path in sorted(protocol.weights.items())),
        protocol.device,
        protocol.segmentation.version,
        str(request.seed),
        *(f"enrich={compound}" for compound in dict.fromkeys(request.enrich)),
        code_sha256(),
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
