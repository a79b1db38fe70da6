"""Predicted beside measured expression: heatmaps of log2 fold changes, and the gene sets of one drug."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage

from morphobench.report.contents import TrackContents
from morphobench.report.drawing import FAINT, GENERATED, INK, REAL, WIDTH, Picture, blank, encode_figure, finite_rows
from morphobench.report.enrichment import SIGNIFICANT, overlaps
from morphobench.report.reading import number, read, span_text, standing_beside
from morphobench.schema import Enrichment, Score

TERMS_PER_SOURCE = 5
_ACCESSION = re.compile(r"\s*\((GO:\d+)\)\s*$")


@dataclass(frozen=True)
class PredictorRow:
    """One line of the table of predictors: its name and a cell of (value, what stands below it) per score."""

    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PredictorTable:
    """The expression scores of a submission and, below it, of predictions that learn nothing."""

    titles: tuple[str, ...]
    rows: tuple[PredictorRow, ...]


def predictor_table(scores: list[Score], name: str) -> PredictorTable | None:
    """The table of a track, the submission's row first; None where no trivial prediction was scored.

    Below a trivial prediction's value stands whether the submission beats it, with the paired interval.
    """
    columns = [score for score in scores if score.value is not None and score.trivial]
    if not columns:
        return None
    names = dict.fromkeys(trivial.name for score in columns for trivial in score.trivial)
    rows = [PredictorRow(name, tuple((number(score.value), span_text(score)) for score in columns))]
    for each in names:
        rows.append(PredictorRow(each, tuple(_predictor_cell(score, each) for score in columns)))
    return PredictorTable(tuple(read(score).title for score in columns), tuple(rows))


def _predictor_cell(score: Score, name: str) -> tuple[str, str]:
    trivial = next((trivial for trivial in score.trivial if trivial.name == name), None)
    if trivial is None or trivial.value is None:
        return number(None), trivial.reason if trivial else ""
    words = {"better": "beaten", "worse": "better than the model", "unclear": "not clearly beaten", None: ""}
    said = words[standing_beside(score, trivial)]
    if trivial.difference is not None:
        said += f": {number(trivial.difference[0])} to {number(trivial.difference[1])}"
    return number(trivial.value), said


def lfc_heatmaps(track: TrackContents, simulated: bool) -> list[Picture]:
    """[measured, predicted]: compounds x genes, ordered by clustering the measured; [] without both."""
    if track.predicted_lfc is None or track.measured_lfc is None:
        return []
    keep = finite_rows(track.measured_lfc) & finite_rows(track.predicted_lfc)
    measured, predicted = track.measured_lfc[keep], track.predicted_lfc[keep]
    names = np.asarray(track.lfc_compounds)[keep]
    if not len(names):
        return []
    rows, columns = _cluster(measured), _cluster(measured.T)
    measured, predicted, names = measured[rows][:, columns], predicted[rows][:, columns], names[rows]
    limit = float(np.quantile(np.abs(measured), 0.98)) or 1.0
    agreement = np.array([_pearson(a, b) for a, b in zip(predicted, measured, strict=True)])
    compounds, genes = measured.shape
    shared = f"{compounds} compounds by {genes} genes, in the order that clusters the measured changes"
    return [
        encode_figure(
            _heatmap(measured, names, limit, None),
            simulated,
            f"Heatmap of measured log2 fold changes, {track.title}: {shared}.",
            f"Measured change in expression: {shared}. Red: up; blue: down against vehicle.",
        ),
        encode_figure(
            _heatmap(predicted, names, limit, agreement),
            simulated,
            f"Heatmap of predicted log2 fold changes, {track.title}: {shared}. Median correlation with the measured "
            f"profile of a compound: {np.nanmedian(agreement) if np.isfinite(agreement).any() else float('nan'):.2f}.",
            "Predicted change, same rows, columns and colours: stripes should match. Rows that all look alike "
            "mean one answer for every drug. Bars: Pearson r of each row with the measured one.",
        ),
    ]


def enrichment_chart(rows: tuple[Enrichment, ...], compound: str, simulated: bool) -> Picture | None:
    """Adjusted p of the leading gene sets of one compound, measured and predicted on one line; None without rows."""
    mine = [row for row in rows if row.compound == compound]
    blocks = [(direction, _leading(mine, direction)) for direction in ("up", "down")]
    blocks = [(direction, terms) for direction, terms in blocks if terms]
    if not blocks:
        return None
    lines = sum(len(terms) for _, terms in blocks)
    figure = blank(1.1 + 0.34 * lines + 0.3 * len(blocks), 1.5 * WIDTH)
    panels = figure.subplots(
        len(blocks), 1, squeeze=False, sharex=True, height_ratios=[len(terms) + 0.6 for _, terms in blocks]
    )[:, 0]
    for axes, (direction, terms) in zip(panels, blocks, strict=True):
        for place, term in enumerate(terms):
            axes.axhline(place, color="#E8ECF0", linewidth=1, zorder=0)
            for source, colour, marker in (("measured", REAL, "o"), ("predicted", GENERATED, "^")):
                hits = [r.p_adjusted for r in mine if (r.term, r.direction, r.source) == (term, direction, source)]
                if hits:
                    q = min(hits)
                    fill = colour if q <= SIGNIFICANT else "white"
                    axes.scatter(
                        -np.log10(max(q, 1e-300)),
                        place,
                        s=48,
                        facecolor=fill,
                        edgecolor=colour,
                        marker=marker,
                        zorder=2,
                    )
        axes.axvline(-np.log10(SIGNIFICANT), color=FAINT, linestyle="--", linewidth=1)
        axes.set(title=f"{direction} genes", yticks=range(len(terms)), ylim=(len(terms) - 0.4, -0.6), xlim=(0, None))
        axes.set_yticklabels([_wrap(_ACCESSION.sub("", term)) for term in terms])
        axes.tick_params(length=0)
    panels[-1].set_xlabel(f"−log10 adjusted p (dashed: {SIGNIFICANT}; open marks: not significant)")
    handles = [
        panels[0].scatter([], [], s=48, color=colour, marker=marker, label=name)
        for name, colour, marker in (("measured", REAL, "o"), ("predicted", GENERATED, "^"))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    caption = (
        f"Gene sets enriched among {compound}'s changed genes. Where circle and triangle agree, the model predicts the "
        f"biology that was measured; a lone mark is in one profile only; an open one is not significant "
        f"(adjusted p > {SIGNIFICANT}). {lines} leading sets of {len(mine)} rows. {_overlap_text(mine)}"
    )
    alt = f"Enriched gene sets of {compound}: " + "; ".join(
        f"{direction}: {', '.join(_ACCESSION.sub('', term) for term in terms)}" for direction, terms in blocks
    )
    return encode_figure(figure, simulated, alt, caption)


def _overlap_text(rows: list[Enrichment]) -> str:
    """How many significant gene sets of one compound are in both profiles, in words; '' without predicted rows."""
    if not any(row.source == "predicted" for row in rows):
        return ""
    told = [
        f"{each.direction}: {each.measured} measured, {each.predicted} predicted, {each.shared} shared"
        for each in overlaps(rows)
    ]
    return f"Significant sets, {'; '.join(told)}."


def _heatmap(values: np.ndarray, names: np.ndarray, limit: float, agreement: np.ndarray | None) -> Figure:
    figure = blank(1.35 + 0.125 * max(len(names), 8))
    side = 0.001 if agreement is None else 0.16
    axes, bars = figure.subplots(1, 2, width_ratios=[1, side])
    drawn = axes.imshow(
        values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="antialiased", rasterized=True
    )
    size = 6.5 if len(names) > 12 else 8
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set(xticks=[], xlabel=f"{values.shape[1]} genes")
    axes.set_title("Measured" if agreement is None else "Predicted")
    axes.tick_params(length=0)
    bars.set_axis_off()
    if agreement is not None:
        bars.set_axis_on()
        bars.barh(range(len(names)), np.nan_to_num(agreement), color=[GENERATED if r > 0 else INK for r in agreement])
        bars.set(ylim=axes.get_ylim(), xlim=(min(0.0, float(np.nanmin([*agreement, 0]))), 1), yticks=[], xticks=[0, 1])
        bars.set_title("r", fontsize=8)
        bars.tick_params(length=0, labelsize=7)
    figure.colorbar(
        drawn, ax=[axes, bars], location="bottom", label="log2 fold change", shrink=0.6, aspect=30, extend="both"
    )
    return figure


def _cluster(rows: np.ndarray) -> np.ndarray:
    """Leaf order of Ward's clustering of the rows, which puts like beside like."""
    return leaves_list(linkage(rows, "ward")) if len(rows) > 2 else np.arange(len(rows))


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-12 else float("nan")


def _leading(rows: list[Enrichment], direction: str) -> list[str]:
    """Terms of one direction: the strongest of each source, measured first, without repeats."""
    terms: dict[str, None] = {}
    for source in ("measured", "predicted"):
        mine = [row for row in rows if (row.direction, row.source) == (direction, source)]
        for row in sorted(mine, key=lambda row: (row.p_adjusted, row.term))[:TERMS_PER_SOURCE]:
            terms.setdefault(row.term)
    return list(terms)


def _wrap(term: str, width: int = 44) -> str:
    return term if len(term) <= width else f"{term[: width - 1].rstrip()}…"
