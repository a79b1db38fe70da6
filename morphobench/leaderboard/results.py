"""The results folder: one report per submission, read with suspicion, since anyone may propose a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import ValidationError

from morphobench import storage
from morphobench.errors import BadInput
from morphobench.leaderboard.version_1 import names_a_row, upgraded
from morphobench.metrics.registry import row_of
from morphobench.schema import Manifest, Report

LARGEST = 4 << 20
"""Bytes; a report of two tracks of `sim` takes about 350 kB, most of it `by_compound`."""


def result_path(root: Path, submission: Manifest) -> Path:
    """Where a submission's report lives below the leaderboards folder."""
    folder = f"{submission.group}__{submission.name}"
    return root / submission.tier / "results" / folder / f"{submission.version}.json"


def add_result(report: Report, root: Path) -> Path:
    """Write a report into the leaderboards folder `root` and return its path; the same submission is replaced.

    Raises BadInput where the file already belongs to another submission, the report does not fit the tier's rows, or a
    row is of another metric version than METRICS'.
    """
    path = result_path(root, report.submission)
    _check_self(report, path)
    if path.is_file():
        held = read_result(path).submission
        if (held.group, held.name) != (report.submission.group, report.submission.name):
            raise BadInput(f"{path}: holds {held.group}'s {held.name}; choose another group or model name")
    folder = root / report.tier / "results"
    files = _files(folder) if folder.is_dir() else []
    others = [(file, read_result(file)) for file in files if file != path]
    for file, other in others:
        _check_versions(other, file)
    _check_together([*others, (path, report)])
    storage.atomic_write_text(path, report.model_dump_json(indent=2) + "\n")
    return path


def read_results(root: Path, tier: str) -> list[Report]:
    """All reports of a tier, in the order of their file names.

    Raises BadInput that names the file and the field: not JSON, an unknown or missing key, a file name that is not the
    manifest's group, name and version, another tier or split than the other rows, another metric version than METRICS'.
    """
    reports = []
    for path in _files(root / tier / "results"):
        report = read_result(path)
        expected = result_path(root, report.submission)
        if path != expected:
            raise BadInput(f"{path}: the manifest inside says {expected.relative_to(root)}; rename the file")
        _check_self(report, path)
        reports.append((path, report))
    _check_together(reports)
    return [report for _, report in reports]


def read_result(path: Path) -> Report:
    """One report from its JSON file; BadInput names the file and the first wrong field."""
    if path.stat().st_size > LARGEST:
        raise BadInput(f"{path}: {path.stat().st_size:,} bytes, a report has at most {LARGEST:,}")
    try:
        return Report.model_validate_json(upgraded(path.read_bytes()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path}: {field}: {first['msg']}; write it with `morphobench evaluate`") from error


def _files(folder: Path) -> list[Path]:
    """Result files in a fixed order; anything that is not <folder>/<version>.json is refused, dot files are ignored."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if not path.name.startswith(".")):
        if path.is_symlink():
            raise BadInput(f"{path}: a link; put the file itself there")
        if path.is_dir():
            continue
        if path.suffix != ".json" or len(path.relative_to(folder).parts) != 2:
            raise BadInput(f"{path}: not a result; only <group>__<model>/<version>.json belongs here")
        files.append(path)
    return files


def _check_self(report: Report, path: Path) -> None:
    """The report agrees with its own manifest and says everything once."""
    for field in ("tier", "tier_version", "split_sha256"):
        outer, inner = getattr(report, field), getattr(report.submission, field)
        if outer != inner:
            raise BadInput(f"{path}: {field}: the report says {outer}, its manifest {inner}; evaluate again")
    twice = [place for place, count in Counter((s.track, s.key) for s in report.scores).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: scores: {twice[0][1]} stands twice for track {twice[0][0]}; evaluate again")
    _check_keys(report, path)
    _check_versions(report, path)
    for score in report.scores:
        if score.value is not None and score.interval is not None and not _plausible(score.value, *score.interval):
            raise BadInput(
                f"{path}: scores: {score.key} ({score.track}) is {score.value:g}, far outside its interval "
                f"{score.interval[0]:g} to {score.interval[1]:g}; evaluate again"
            )


def _check_versions(report: Report, path: Path) -> None:
    """Every score is of the version of its row that the board describes; a score of no row is shown under its key."""
    for score in report.scores:
        row = row_of(score.metric, score.part)
        if row is not None and score.version != row.version:
            raise BadInput(
                f"{path}: scores: {score.key} ({score.track}) is version {score.version}, this release computes and "
                f"describes version {row.version}; score it again"
            )


def _check_keys(report: Report, path: Path) -> None:
    """Every key is the one that its row gives, and none of no row passes for one of another row."""
    for score in report.scores:
        row = row_of(score.metric, score.part)
        named = {"metric": score.metric, "part": score.part, "features": score.features, "engine": score.engine}
        if row is not None and score.key != row.printed_key(score.features, score.engine):
            raise BadInput(f"{path}: scores: {score.key!r} is not the key of {named}; evaluate again")
        if row is None and names_a_row(score.key):
            raise BadInput(f"{path}: scores: {score.key!r} is the key of another row than {named}; evaluate again")


def _plausible(value: float, low: float, high: float) -> bool:
    """Whether a bootstrap can have given this interval: deviations of replicates from their mean, laid around the
    value, may just miss it where they are skewed, by less than their width; farther off was not computed with it."""
    slack = (high - low) + 1e-9 * max(1.0, abs(value))
    return low - slack <= value <= high + slack


def _check_together(reports: list[tuple[Path, Report]]) -> None:
    """All rows of a tier were scored on the same splits, with the same weights, by the same versions of the metrics."""
    if not reports:
        return
    first_path, first = reports[0]
    versions = {(score.track, score.key): score for score in first.scores}
    protocol = dict(first.protocol)
    for path, report in reports[1:]:
        for field in ("tier_version", "split_sha256", "simulated"):
            ours, theirs = getattr(report, field), getattr(first, field)
            if ours != theirs:
                raise BadInput(
                    f"{path}: {field}: {ours}, but {theirs} in {first_path.name} of {first_path.parent.name}"
                )
        for name, used in report.protocol.items():
            if protocol.setdefault(name, used) != used:
                raise BadInput(
                    f"{path}: protocol: {name} is {used[:24]}, other rows have {protocol[name][:24]}; evaluate again"
                )
        for score in report.scores:
            before = versions.setdefault((score.track, score.key), score)
            if (score.version, score.direction, score.target) != (before.version, before.direction, before.target):
                raise BadInput(
                    f"{path}: scores: {score.key} is version {score.version} ({score.direction}), other rows have "
                    f"{before.version} ({before.direction}); evaluate again"
                )
