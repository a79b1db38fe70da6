"""The scores and the notes of a track from its measurements alone, as an evaluation makes them."""

from __future__ import annotations

from morphobench.datasets.tier import Tier
from morphobench.schema import Score
from morphobench.scoring.controls import read_controls
from morphobench.scoring.measurements import Measurements
from morphobench.scoring.notes import track_notes
from morphobench.scoring.scores import score_track
from morphobench.scoring.tasks import tasks


def scores_of(measured: Measurements, tier: Tier) -> list[Score]:
    """Every score, beside the controls that are filed for the tier."""
    return score_track(measured, list(tasks(measured, tier)), read_controls(tier, measured.protocol))


def notes_of(measured: Measurements, tier: Tier) -> tuple[str, ...]:
    """What a reader is told of the track."""
    return track_notes(measured, list(tasks(measured, tier)))
