"""`morphobench leaderboard build`: results in; README.md, leaderboard.csv and a page out, always the same bytes."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from morphobench import storage
from morphobench.errors import BadInput
from morphobench.leaderboard.ranking import Standing, is_control, keys_of, rank_track
from morphobench.leaderboard.results import read_results
from morphobench.metrics.registry import METRICS
from morphobench.report.copying import COPIED
from morphobench.report.reading import ARROWS, Reading, foremost, number, read, reading_text, span_text
from morphobench.report.templates import environment
from morphobench.schema import Report, Score

HEADLINES = ("kd", "kd_per_compound", "lda_separability", "area_occupied_shift[cells]", "lfc_pearson_vehicle")
"""Rows of METRICS whose foremost scores are the columns of the first table; every score follows."""
CSV_COLUMNS = (
    "tier", "tier_version", "simulated", "track", "group", "submission", "version", "control", "place", "unplaced",
    "metric", "metric_version", "value", "low", "high", "n", "nan", "direction", "unit", "rank", "floor", "scaled",
)  # fmt: skip
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?(?:/[A-Za-z0-9._~%/?=&#+:@-]*)?")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


@dataclass(frozen=True)
class Cell:
    """A value with its interval as text, and the number that a column is sorted by."""

    value: str
    interval: str
    sort: str
    rank: int | None


@dataclass(frozen=True)
class Line:
    """A submission in a table; `unplaced` says why it has no place though it is no control."""

    place: int | None
    name: str
    version: str
    group: str
    method: str
    links: tuple[tuple[str, str], ...]
    measured_rna: bool
    control: bool
    unplaced: str
    images: str
    expression: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """A metric heading."""

    key: str
    words: Reading
    arrow: str
    reading: str


@dataclass(frozen=True)
class TrackBoard:
    """Both tables of a track: lines with the headline columns, and every score (one list of cells per column)."""

    name: str
    images: str
    headlines: tuple[Column, ...]
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    full: tuple[Line, ...]


def build(root: Path, check: bool = False) -> list[str]:
    """Write the board of every tier below the leaderboards folder `root`; return the files, relative to `root`.

    With `check` nothing is written: BadInput lists the files whose bytes are not what the results give.
    """
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder; give the leaderboards folder of the repository")
    tiers = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    files: dict[Path, str] = {}
    for tier in tiers:
        reports = read_results(root, tier) if (root / tier / "results").is_dir() else []
        if not reports:
            raise BadInput(f"{root / tier}: a board without results; add one or remove the folder")
        files |= {root / tier / name: text for name, text in render(tier, reports).items()}
    names = [str(path.relative_to(root)) for path in files]
    if check:
        drifted = [
            name for name, (path, text) in zip(names, files.items(), strict=True)
            if not path.is_file() or path.read_bytes() != text.encode()
        ]  # fmt: skip
        stray = [
            str(path.relative_to(root)) for path in sorted(root.rglob("*"))
            if path.is_file() and path not in files and "results" not in path.relative_to(root).parts
        ]  # fmt: skip
        if drifted or stray:
            listed = ", ".join(drifted + stray)
            raise BadInput(f"{root}: {listed}: not what the results give; run `morphobench leaderboard build`")
        return names
    for path, text in files.items():
        storage.atomic_write_text(path, text)
    return names


def render(tier: str, reports: list[Report]) -> dict[str, str]:
    """{file name: text} of one tier's board."""
    names = list(dict.fromkeys(score.track for report in reports for score in report.scores))
    standings = {name: rank_track(reports, name) for name in sorted(names)}
    tracks = [_track(name, rows) for name, rows in standings.items()]
    templates = environment("morphobench.leaderboard")
    templates.filters["markdown"] = markdown
    page = {
        "tier": tier,
        "first": reports[0],
        "tracks": tracks,
        "copied": f"{COPIED:.0%}",
        "entries": sum(not is_control(report) for report in reports),
        "controls": sum(is_control(report) for report in reports),
    }
    return {
        "README.md": templates.get_template("board.md.j2").render(page),
        "leaderboard.csv": _csv(tier, standings),
        "site/index.html": templates.get_template("board.html.j2").render(page),
    }


def markdown(text: str) -> str:
    """Text that a Markdown table shows as it is: one line, every mark escaped."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _track(name: str, standings: list[Standing]) -> TrackBoard:
    reports = [row.report for row in standings]
    keys = keys_of(reports, name)
    columns = [next(row.scores[key] for row in standings if key in row.scores) for key in keys]
    headlines = [foremost(columns, METRICS[row].key, METRICS[row].part) for row in HEADLINES]
    shown = [score for score in headlines if score is not None]
    count = max((score.n for row in standings for score in row.scores.values()), default=0)
    return TrackBoard(
        name=name,
        images=f"{count:,}",
        headlines=tuple(map(_column, shown)),
        lines=tuple(_line(row, [score.key for score in shown]) for row in standings),
        columns=tuple(map(_column, columns)),
        full=tuple(_line(row, keys) for row in standings),
    )


def _column(score: Score) -> Column:
    words = read(score)
    return Column(score.key, words, ARROWS[score.direction], reading_text(score, words.ranked))


def _line(row: Standing, keys: list[str]) -> Line:
    submission = row.report.submission
    links = (("code", submission.code), ("paper", submission.paper))
    return Line(
        place=row.place,
        name=submission.name,
        version=submission.version,
        group=submission.group,
        method=submission.method,
        links=tuple((word, address) for word, address in links if _LINK.fullmatch(address)),
        measured_rna=submission.uses_measured_g_post,
        control=is_control(row.report),
        unplaced=row.unplaced,
        images="–" if row.images is None else f"{row.images:.1f}",
        expression="–" if row.expression is None else f"{row.expression:.1f}",
        cells=tuple(_cell(row.scores.get(key), row.ranks.get(key)) for key in keys),
    )


def _cell(score: Score | None, rank: int | None) -> Cell:
    if score is None or score.value is None:
        return Cell("–", score.reason if score else "", "", rank)
    return Cell(number(score.value), span_text(score), repr(score.value), rank)


def _csv(tier: str, standings: dict[str, list[Standing]]) -> str:
    """Tidy rows: one per submission, track and metric; numbers in full, empty where there is none."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for track, rows in standings.items():
        for row in rows:
            for key in keys_of([row.report], track):
                writer.writerow(_csv_row(tier, track, row, row.scores[key]))
    return stream.getvalue()


def _csv_row(tier: str, track: str, row: Standing, score: Score) -> dict[str, object]:
    submission = row.report.submission
    low, high = score.interval or (None, None)
    return {
        "tier": tier,
        "tier_version": row.report.tier_version,
        "simulated": row.report.simulated,
        "track": track,
        "group": submission.group,
        "submission": submission.name,
        "version": submission.version,
        "control": is_control(row.report),
        "place": row.place,
        "unplaced": row.unplaced,
        "metric": score.key,
        "metric_version": score.version,
        "value": score.value,
        "low": low,
        "high": high,
        "n": score.n,
        "nan": score.nan,
        "direction": score.direction,
        "unit": score.unit,
        "rank": row.ranks.get(score.key),
        "floor": score.floor,
        "scaled": score.scaled,
    }
