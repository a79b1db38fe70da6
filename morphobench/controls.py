"""Scores of the controls of a tier: the floors and scales of every other score, shipped or made on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.storage import atomic_write_text, cache_dir, verify_listed

FLOOR = "real-replicates"
VEHICLE = "vehicle"
ControlScores = dict[str, dict[str, dict[str, float | None]]]
"""control -> track -> score key -> value; one compound's value has the key of `compound_key`."""


def compound_key(key: str, compound: str) -> str:
    """The key that a control's value for one compound is filed under."""
    return f"{key}@{compound}"


def shipped_controls_path(tier: Tier) -> Path:
    """Where the control scores that come with a tier lie."""
    return tier.folder / "controls" / f"{tier.spec.name}.json"


def own_controls_path(tier: Tier) -> Path:
    """Where `morphobench data controls` files what it scored on this machine, for this version and these splits."""
    return cache_dir() / "controls" / f"{tier.spec.name}-{tier.spec.version}-{tier.split_sha256[:12]}.json"


def write_controls(tier: Tier, scores: ControlScores, protocol: Mapping[str, str], path: Path) -> Path:
    """File the scores of the controls of a tier, whole or not at all."""
    content = {
        "simulated": tier.spec.simulated,
        "tier_version": tier.spec.version,
        "split_sha256": tier.split_sha256,
        "protocol": dict(protocol),
        "scores": scores,
    }
    atomic_write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def read_controls(tier: Tier, protocol: Mapping[str, str]) -> ControlScores:
    """Scores of the controls on a tier: the shipped ones, and under other keys those scored on this machine.

    protocol: extractor or engine -> hash or version now in use. Empty where no controls were scored. BadInput for one
    of another tier version, other splits or other weights.
    """
    scores: ControlScores = {}
    for path in (own_controls_path(tier), shipped_controls_path(tier)):
        if path.is_file():
            for control, tracks in read_controls_file(path, tier, protocol).items():
                for track, values in tracks.items():
                    scores.setdefault(control, {}).setdefault(track, {}).update(values)
    return scores


def read_controls_file(path: Path, tier: Tier, protocol: Mapping[str, str]) -> ControlScores:
    """Control scores of one file; BadInput where it is damaged, or of another version, other splits or weights."""
    try:
        content = json.loads(verify_listed(tier.folder, path).read_text(encoding="utf-8"))
        version, split, made, scores = (content[key] for key in ("tier_version", "split_sha256", "protocol", "scores"))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not a file of control scores ({error}); delete it and score them again") from error
    if (version, split) != (tier.spec.version, tier.split_sha256):
        raise BadInput(f"{path}: made for {tier.spec.name} {version}, split {split[:12]}; score the controls again")
    other = [name for name, value in protocol.items() if made.get(name, value) != value]
    if other:
        raise BadInput(f"{path}: scored with other weights of {other[0]}; delete it and score the controls again")
    return scores
