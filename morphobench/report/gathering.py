"""What a report shows of a track besides its scores, gathered from its measurements: see `contents`, `enrichment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from morphobench.datasets.tier import Tier
from morphobench.ingest.submission import Submission
from morphobench.metrics.registry import METRICS
from morphobench.report.contents import DistanceFit, PanelColumn, TrackContents
from morphobench.report.enrichment import enrichment
from morphobench.schema import Enrichment
from morphobench.scoring.measurements import Measurements

PANEL_IMAGES = 2
"""Fields per drug in the image panel."""


def track_contents(submission: Submission, tier: Tier, measured: Measurements) -> TrackContents:
    """The arrays behind the figures of a track."""
    changes = measured.lfc
    nothing = np.zeros((0, 0))
    seen = ("generated", "real", "vehicle") if measured.drawn else ()
    areas = {name: measured.area(name) for name in seen}
    return TrackContents(
        track=measured.track,
        title=tier.track(measured.track).title,
        compounds=measured.compounds,
        doses=measured.doses,
        mechanisms=measured.mechanisms,
        generated_embedding=measured.embedding.get("generated", nothing),
        real_embedding=measured.embedding.get("real", nothing),
        real_compounds=measured.compounds,
        real_mechanisms=measured.mechanisms,
        vehicle_embedding=measured.embedding.get("vehicle", nothing),
        train_embedding=measured.embedding.get("train", nothing),
        train_mechanisms=measured.train_mechanisms,
        generated_area=areas.get("generated", {}),
        real_area=areas.get("real", {}),
        vehicle_area=areas.get("vehicle", {}),
        predicted_lfc=changes.predicted,
        measured_lfc=changes.measured if changes.predicted is not None else None,
        lfc_compounds=changes.compounds,
        panel=_panel(submission, tier, measured) if measured.drawn else (),
        fits=_fits(measured) if measured.drawn else (),
    )


def track_enrichment(measured: Measurements, gene_sets: Mapping[str, Sequence[str]], compound: str) -> list[Enrichment]:
    """Terms of a compound where this track holds it, of the measured and of the predicted change."""
    changes = measured.lfc
    if compound not in changes.compounds:
        return []
    row = changes.compounds.index(compound)
    terms = list(enrichment(changes.measured[row], measured.genes, gene_sets, compound, "measured"))
    if changes.predicted is not None:
        terms += enrichment(changes.predicted[row], measured.genes, gene_sets, compound, "predicted")
    return terms


def _fits(measured: Measurements) -> tuple[DistanceFit, ...]:
    """The lines behind `fd_infinity`, where there are images enough for the score."""
    row = METRICS["fd_infinity"]
    large_enough = {name: of for name, of in measured.feature_inputs.items() if row.count(of) >= row.smallest_n}
    lines = {name: of.extrapolation for name, of in large_enough.items()}
    return tuple(DistanceFit(n, e.sizes, e.distances, e.value, e.slope, e.r2) for n, e in lines.items())


def _panel(submission: Submission, tier: Tier, measured: Measurements) -> tuple[PanelColumn, ...]:
    """The first fields at each panel drug's highest dose: real, generated for the same conditions, vehicle."""
    rows = tier.test_rows(measured.track)
    vehicle = tier.rows("vehicle")
    vehicle = vehicle[vehicle["plate"].isin(set(rows["plate"]))]
    columns = []
    for number, compound in enumerate(name for name in tier.spec.panel_compounds if name in set(rows["compound"])):
        mine = rows[rows["compound"] == compound]
        top = mine[mine["dose_um"] == mine["dose_um"].max()].head(PANEL_IMAGES)
        # Other vehicle fields for each drug, from the start again where a small build runs out of them.
        vehicle_rows = [(number * PANEL_IMAGES + image) % len(vehicle) for image in range(len(top))]
        columns.append(
            PanelColumn(
                compound=compound,
                dose_um=float(top["dose_um"].iloc[0]),
                real=tier.images(top).take(range(len(top))),
                generated=submission.images[measured.track].take(top.index.tolist()),
                vehicle=tier.images(vehicle.iloc[vehicle_rows]).take(range(len(top))),
            )
        )
    return tuple(columns)
