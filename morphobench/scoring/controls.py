"""Scores of the controls of a tier: the floors and scales of every other score, shipped or made on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from morphobench.errors import BadInput
from morphobench.schema import Score
from morphobench.storage import atomic_write_text, cache_dir, verify_listed

if TYPE_CHECKING:  # pandas, which whoever only names a control does without
    from morphobench.datasets.tier import Tier

FLOOR = "real-replicates"
VEHICLE = "vehicle"
WRONG = "wrong-compound"
CONTROLS = (FLOOR, "copycat", VEHICLE, WRONG, "mean-image")
"""Submissions made of real images, by the names that `morphobench.models` knows them by."""
ControlScores = dict[str, dict[str, dict[str, float | None]]]
"""control -> track -> score key -> value; one compound's value has the key of `compound_key`."""
Intervals = dict[str, dict[str, tuple[float, float] | None]]
"""track -> score key -> 95% interval."""


class OtherControls(BadInput):
    """Control scores of another tier version, other splits, weights or another segmentation than those in use."""


@dataclass(frozen=True)
class Controls:
    """Scores of the controls, and of FLOOR the intervals too: what chance makes of the scale from VEHICLE to it.

    protocol: extractor or engine -> hash or version that a file's scores were made with.
    """

    scores: ControlScores = field(default_factory=dict)
    floor_intervals: Intervals = field(default_factory=dict)
    protocol: dict[str, str] = field(default_factory=dict)

    def update(self, other: Controls) -> None:
        """Add the scores of another file; they replace those of the same control, track and key."""
        for control, tracks in other.scores.items():
            for track, values in tracks.items():
                self.scores.setdefault(control, {}).setdefault(track, {}).update(values)
        for track, intervals in other.floor_intervals.items():
            self.floor_intervals.setdefault(track, {}).update(intervals)

    def add(self, control: str, scores: Iterable[Score]) -> None:
        """Add the scores of a control's report."""
        for score in scores:
            of_track = self.scores.setdefault(control, {}).setdefault(score.track, {})
            of_track[score.key] = score.value
            of_track |= {compound_key(score.key, part.compound): part.value for part in score.by_compound}
            if control == FLOOR:
                self.floor_intervals.setdefault(score.track, {})[score.key] = score.interval


def compound_key(key: str, compound: str) -> str:
    """The key that a control's value for one compound is filed under."""
    return f"{key}@{compound}"


def shipped_controls_path(tier: Tier) -> Path:
    """Where the control scores that come with a tier lie."""
    return tier.folder / "controls" / f"{tier.spec.name}.json"


def own_controls_path(tier: Tier) -> Path:
    """Where `morphobench data controls` files what it scored on this machine, for this version and these splits."""
    return cache_dir() / "controls" / f"{tier.spec.name}-{tier.spec.version}-{tier.split_sha256[:12]}.json"


def write_controls(tier: Tier, controls: Controls, protocol: Mapping[str, str], path: Path) -> Path:
    """File the scores of the controls of a tier, whole or not at all."""
    content = {
        "simulated": tier.spec.simulated,
        "tier_version": tier.spec.version,
        "split_sha256": tier.split_sha256,
        "protocol": dict(protocol),
        "scores": controls.scores,
        "floor_intervals": controls.floor_intervals,
    }
    atomic_write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def read_controls(tier: Tier, protocol: Mapping[str, str]) -> Controls:
    """Scores of the controls on a tier: the shipped ones, and under other keys those scored on this machine.

    protocol: extractor or engine -> hash or version now in use. Empty where no controls were scored. OtherControls for
    a file of another tier version, other splits or weights. Shipped ones of that kind, which no command mends, are left
    out where this machine has its own.
    """
    own, shipped = own_controls_path(tier), shipped_controls_path(tier)
    controls = Controls()
    if own.is_file():
        controls.update(read_controls_file(own, tier, protocol))
    if shipped.is_file():
        try:
            controls.update(read_controls_file(shipped, tier, protocol))
        except OtherControls:
            if not own.is_file():
                raise
    return controls


def read_controls_file(path: Path, tier: Tier, protocol: Mapping[str, str]) -> Controls:
    """Control scores of one file; BadInput where it is damaged, OtherControls where it does not fit what is in use."""
    try:
        content = json.loads(verify_listed(tier.folder, path).read_text(encoding="utf-8"))
        version, split, made = (content[key] for key in ("tier_version", "split_sha256", "protocol"))
        intervals = {
            track: {key: None if ends is None else (float(ends[0]), float(ends[1])) for key, ends in of.items()}
            for track, of in content["floor_intervals"].items()
        }
        controls = Controls(content["scores"], intervals, dict(made))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadInput(f"{path}: not a file of control scores ({error}); delete it and score them again") from error
    mend = f"score the controls again: `morphobench data controls --tier {tier.spec.name}`"
    if (version, split) != (tier.spec.version, tier.split_sha256):
        raise OtherControls(f"{path}: made for {tier.spec.name} {version}, split {split[:12]}; {mend}")
    other = [name for name, value in protocol.items() if made.get(name, value) != value]
    if other:
        what = other[0] if other[0].startswith("segmentation") else f"weights of {other[0]}"
        raise OtherControls(f"{path}: scored with other {what}; {mend}")
    return controls
