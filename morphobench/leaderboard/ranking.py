"""Who is ahead, as far as the intervals allow.

On one metric a submission's rank is one more than the number of submissions that are better beyond doubt, that is whose
whole 95% interval lies on the better side of its own; overlapping intervals tie. No submission ranks before one with a
better value, however wide its interval. Ranks are averaged within a family of metrics and then over families, so that
six AreaOccupied rows weigh as much as one separability row. Expression is optional in a submission and has a rank of
its own. A metric counts when every ranked submission reports it; a value that could not be computed comes last. Metrics
whose registry row is not `ranked`, the controls and submissions that copy are shown and never ranked. A submission that
draws no images is ranked on expression, changes no rank of images and has no place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean

from morphobench.report.copying import COPYING, copying_scores, too_many_copies
from morphobench.report.reading import FAMILIES, badness, badness_interval, read
from morphobench.schema import NO_IMAGES, Report, Score

CONTROL_GROUP = "morphobench-controls"
EXPRESSION = "expression"


@dataclass(frozen=True)
class Standing:
    """A submission on one track; `ranks` are per metric key.

    `place` is None for controls, and where `unplaced` says why.
    """

    report: Report
    scores: dict[str, Score]
    place: int | None
    images: float | None
    expression: float | None
    ranks: dict[str, int]
    unplaced: str = ""


def is_control(report: Report) -> bool:
    """Whether a row anchors the scale instead of competing."""
    return report.submission.group == CONTROL_GROUP


def keys_of(reports: list[Report], track: str) -> list[str]:
    """Metric keys of a track, by family, then in the order in which they were computed."""
    families = {s.key: read(s).family for report in reports for s in report.scores if s.track == track}
    return sorted(families, key=lambda key: FAMILIES.index(families[key]))


def rank_track(reports: list[Report], track: str) -> list[Standing]:
    """Submissions by place, those without one, then controls, by name. Equal mean ranks share a place."""
    reports = [report for report in reports if any(score.track == track for score in report.scores)]
    scores = {id(report): {s.key: s for s in report.scores if s.track == track} for report in reports}
    unplaced = _unplaced(reports, scores)
    ranked = [report for report in reports if not is_control(report) and not unplaced[id(report)]]
    ranks: dict[int, dict[str, int]] = {id(report): {} for report in reports}
    words = {key: read(score) for each in scores.values() for key, score in each.items()}
    for key in (key for key in keys_of(ranked, track) if words[key].ranked):
        asked = [report for report in ranked if report.draws_images or words[key].family == EXPRESSION]
        column = [scores[id(report)].get(key) for report in asked]
        present = [score for score in column if score is not None]
        if len(present) == len(asked):
            for report, rank in zip(asked, rank_metric(present), strict=True):
                if rank is not None:
                    ranks[id(report)][key] = rank
    standings = []
    for report in reports:
        mine = ranks[id(report)]
        by_family: dict[str, list[int]] = defaultdict(list)
        for key, rank in mine.items():
            by_family[words[key].family].append(rank)
        expression = _mean_rank([by_family.pop(EXPRESSION, [])])
        images = _mean_rank(list(by_family.values()))
        why = unplaced[id(report)] or ("" if report.draws_images else f"{NO_IMAGES}; its expression has a rank")
        why = "" if is_control(report) else why
        standings.append(Standing(report, scores[id(report)], None, images, expression, mine, why))
    return _placed(standings)


def rank_metric(scores: list[Score]) -> list[int | None]:
    """Rank of each score of one metric: 1 + the number that are better beyond their intervals; None where unranked.

    A score without an interval is never better beyond doubt, and is beaten by any interval on the better side of its
    value: nobody gains by uncertainty that is not told. Where no score has an interval nothing is known, and nobody is
    ranked. A rank is at least that of every better value, so that a wide interval lifts nobody over one.
    """
    spans = [badness_interval(score) for score in scores]
    if not any(span and score.interval for span, score in zip(spans, scores, strict=True)):
        return [None] * len(scores)
    surely = [span[1] for span, score in zip(spans, scores, strict=True) if span and score.interval]
    ranks: list[int | None] = [1 + sum(span is not None for span in spans)] * len(scores)
    values = [None if score.value is None else badness(score, score.value) for score in scores]
    best_first = sorted((value, place) for place, value in enumerate(values) if value is not None)
    floor = reached = 1
    before: float | None = None
    for value, place in best_first:
        if value != before:
            floor, before = reached, value
        span = spans[place]
        assert span is not None
        rank = max(floor, 1 + sum(worst < span[0] for worst in surely))
        ranks[place], reached = rank, max(reached, rank)
    return ranks


def _unplaced(reports: list[Report], scores: dict[int, dict[str, Score]]) -> dict[int, str]:
    """Why each report's submission has no place, '' where it may have one.

    Its images are copies, or it does not say how many are, nor why not, where that can be told: a control has a value
    for the row, or more than half of the submissions. What a few others say costs nobody a place.
    """
    copying = {id(report): copying_scores(scores[id(report)].values()) for report in reports}
    told = set()
    for row in COPYING:
        valued = [r for r in reports if (score := copying[id(r)].get(row)) is not None and score.value is not None]
        competing = sum(report.draws_images and not is_control(report) for report in reports)
        if any(map(is_control, valued)) or len(valued) > competing / 2:
            told.add(row)
    why = {}
    for key, mine in copying.items():
        silent = [
            words
            for row, (words, _) in COPYING.items()
            if row in told and (row not in mine or (mine[row].value is None and not mine[row].reason))
        ]
        why[key] = too_many_copies(mine.values()) or (
            f"its report does not say how many of its images are {' or '.join(silent)}" if silent else ""
        )
    return why


def _mean_rank(families: list[list[int]]) -> float | None:
    """Mean over families of the mean rank within the family; None without a rank."""
    means = [fmean(ranks) for ranks in families if ranks]
    return fmean(means) if means else None


def _placed(standings: list[Standing]) -> list[Standing]:
    """Give places by mean image rank to a tenth, the precision that is shown; others and controls follow, by name."""

    def name(row: Standing) -> tuple[str, str, str]:
        return row.report.submission.group, row.report.submission.name, row.report.submission.version

    def order(row: Standing) -> float:
        return float("inf") if row.images is None else round(row.images, 1)

    placed = [row for row in standings if not is_control(row.report) and not row.unplaced]
    ranked = sorted(placed, key=lambda row: (order(row), name(row)))
    others = sorted((row for row in standings if row.unplaced), key=name)
    controls = sorted((row for row in standings if is_control(row.report)), key=name)
    places = [replace(row, place=1 + sum(order(other) < order(row) for other in ranked)) for row in ranked]
    return places + others + controls
