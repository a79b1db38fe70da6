"""A good submission of the tiny tier, for the tests of what may be wrong with one."""

from __future__ import annotations

from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.ingest.submission import write_submission
from morphobench.schema import Manifest


def manifest_of(against: Tier, **changes: str) -> Manifest:
    """A manifest for a tier; `changes` replace any of its values."""
    fields = {
        "name": "m", "group": "g", "version": "1", "tier": against.spec.name, "tier_version": against.spec.version,
        "split_sha256": against.split_sha256, "method": 'quotes " and \\ and \n survive',
    }  # fmt: skip
    return Manifest.model_validate(fields | changes)


def good_submission(folder: Path, tier: Tier) -> Path:
    """The real images and profiles themselves, submitted."""
    images, expression = {}, {}
    for track in tier.spec.tracks:
        rows = tier.rows(track)
        images[track] = (tier.conditions(track), tier.images(rows).take(range(len(rows))))
        expression[track] = (tier.conditions(track), tier.expression(rows)[1])
    write_submission(folder, manifest_of(tier), images, expression)
    return folder
