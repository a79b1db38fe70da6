"""Lines for the reader beside the numbers: what a score lacks, what blind guesses would score, what is suspicious."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from morphobench.datasets.tier import Tier
from morphobench.metrics.inputs import MorphologyInputs
from morphobench.metrics.memorisation import feature_copies
from morphobench.metrics.morphology import bare
from morphobench.metrics.registry import row_of
from morphobench.schema import NO_IMAGES, OWN, Score
from morphobench.scoring.controls import VEHICLE, Intervals
from morphobench.scoring.measurements import Measurements
from morphobench.scoring.tasks import MIN_COMPOUNDS, MIN_PLATES, Task


def floor_note(scores: Iterable[Score], intervals: Intervals) -> tuple[str, ...]:
    """Lines for the reader where scores lack their floor, or their floor is too near the vehicle for a scale.

    intervals: those of the floors, for the rows that ought to have a scale: the ranked ones.
    """
    valued = [score for score in scores if score.value is not None]
    lines = []
    floorless = [score for score in valued if score.floor is None]
    if floorless:
        engine = " and --engine" if any(score.engine for score in floorless) else ""
        lines.append(
            "some scores have no floor: run `morphobench data controls` for this tier with the same "
            f"extractors{engine} first"
        )
    near: list[str] = []
    unknown: list[str] = []
    for score in valued:
        if score.scaled is not None or score.floor is None or score.controls.get(VEHICLE) is None or not _scales(score):
            continue
        floor_interval = intervals.get(score.track, {}).get(score.key)
        (unknown if floor_interval is None else near).append(f"{score.key} ({score.track})")
    if near:
        lines.append(
            f"not scaled, as real replicates are not better than the vehicle beyond chance there: {', '.join(near)}"
        )
    if unknown:
        lines.append(f"not scaled, as the score of real replicates has no interval there: {', '.join(unknown)}")
    return tuple(lines)


def track_notes(measured: Measurements, track_tasks: Sequence[Task]) -> tuple[str, ...]:
    """What a reader must know of a track beside the numbers; track_tasks: its `tasks`.

    Scores with too few clusters for an interval, chance levels, what rows of areas leave out, copies of real images,
    images that the segmentation mistrusts; of a submission without images that it has none.
    """
    filled = [task for task in track_tasks if task.inputs is not None]
    lines = [*_too_few_clusters(filled), *_chance_levels(filled)]
    if measured.drawn:
        lines += [*_areas(measured, filled), *_copies(measured), *_flags(measured)]
    else:
        lines.append(f"{NO_IMAGES}, and is scored on expression alone")
    return tuple(f"{measured.track}: {line}" for line in lines)


def _too_few_clusters(filled: Sequence[Task]) -> list[str]:
    few: dict[tuple[int, int], list[str]] = {}
    for task in filled:
        if not task.clustered:
            few.setdefault(task.inputs.clusters, []).append(task.key)
    return [
        f"no intervals for {', '.join(keys)}: {compounds} compounds on {plates} plates; "
        f"{MIN_COMPOUNDS} on {MIN_PLATES} are needed"
        for (compounds, plates), keys in few.items()
    ]


def _chance_levels(filled: Sequence[Task]) -> list[str]:
    """What blind neighbours would score, of the rows whose level depends on the track, and what one answer would."""
    levels = {
        task.key: task.metric.chance(task.inputs)
        for task in filled
        if task.metric.chance is not None and task.metric.count(task.inputs) >= task.metric.smallest_n
    }
    shown = [f"{key} {level:.3f}" for key, level in levels.items() if np.isfinite(level)]
    lines = [f"neighbours drawn blindly score {', '.join(shown)}"] if shown else []
    for task in filled:
        if task.metric.answers is not None:
            several = task.metric.answers(task.inputs)
            one = 1 / several
            lines.append(f"{task.key} asks for {several} mechanisms; one answer for all scores at most {one:.3f}")
    return lines


def _areas(measured: Measurements, filled: Sequence[Task]) -> list[str]:
    """What the rows of areas leave out or ask otherwise."""
    # The first speaks for all: areas that are not numbers aside, they are of the same images.
    shift = next((task.inputs for task in filled if isinstance(task.inputs, MorphologyInputs)), None)
    if shift is None:
        return []
    lines = []
    if shift.unmatched:
        lines.append(
            f"{shift.unmatched} compounds have more images on a plate than it has vehicle images: "
            "area_occupied_shift asks their generated images in samples of as many as both have"
        )
    left_out = bare(measured.compounds, measured.plates, measured.vehicle_plates)
    if len(left_out):
        lines.append(
            f"area_occupied_shift leaves out {len(left_out)} compounds, the first is {str(left_out[0])!r}: none of "
            "their plates has vehicle images"
        )
    return lines


def _copies(measured: Measurements) -> list[str]:
    """A line per set of real images that generated ones are copied from, or why its copies cannot be told.

    By features, the same way up; training images also as `train_copies` counts them, in eight views, where it can.
    """
    if not measured.thumbnails:
        return []
    inputs = measured.memorisation_inputs
    ways: dict[str, tuple[Callable[[], np.ndarray], ...]] = {
        "test": (lambda: feature_copies(measured.test_distance, inputs.real_distance),),
        "training": (lambda: feature_copies(inputs.distance, inputs.real_distance), lambda: inputs.copied),
    }
    n, lines = len(measured.compounds), []
    for name, verdicts in ways.items():
        told, reason = np.zeros((0, n), dtype=bool), ""
        for verdict in verdicts:
            try:
                told = np.vstack([told, verdict()])
            except ValueError as error:
                reason = str(error)
        if not len(told):
            lines.append(f"copies of real {name} images are not counted: {reason}")
        elif count := int(told.any(axis=0).sum()):
            lines.append(f"{count} of {n} generated images copy real {name} images")
    return lines


def _flags(measured: Measurements) -> list[str]:
    """How many generated images the segmentation mistrusts, by flag."""
    flags = {
        column.removeprefix("ImageQuality_Flag").lower(): int(values.sum())
        for column, values in measured.profiles["generated"].items()
        if column.startswith("ImageQuality_Flag")
    }
    return [
        f"{count} of {len(measured.compounds)} generated images are flagged as {flag} by the segmentation; "
        "their areas are not to be read as biology"
        for flag, count in flags.items()
        if count
    ]


def training_note(tier: Tier, track: str, declared: str) -> list[str]:
    """A line for the reader where a model's declared training set is not that of the track it is scored on.

    declared: see `Manifest.training_set`. Where none is declared, a default track is taken at its word.
    """
    if declared == OWN or (not declared and track in tier.default_tracks):
        return []
    used = tier.training_rows(declared or tier.default_tracks[0])
    if used["sample_id"].tolist() == tier.training_rows(track)["sample_id"].tolist():
        return []
    said = f"training_set = {declared!r}, not this track's training set" if declared else "no training_set"
    seen = [compound for compound in tier.held_out(track) if compound in set(used["compound"])]
    which = "that set" if declared else "the train split"
    held = f"{which} holds {len(seen)} of the {len(tier.held_out(track))} compounds held out here"
    return [f"{track}: the submission declares {said}; {held}{': ' + ', '.join(seen) if seen else ''}"]


def _scales(score: Score) -> bool:
    """Whether a score belongs on the scale from the vehicle to real replicates: its row is ranked, not to a target."""
    row = row_of(score.metric, score.part)
    return score.direction in ("min", "max") and row is not None and row.ranked
