"""`submission.toml`: what a submission says of itself, written, and read and checked against a tier."""

from __future__ import annotations

from pydantic import ValidationError

from morphobench.datasets.tables import toml
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest.archive import Source, named
from morphobench.schema import OWN, Manifest, first_fault

MANIFEST = "submission.toml"
MANIFEST_BYTES = 64 << 10


def manifest_toml(manifest: Manifest) -> str:
    """`submission.toml` text of a manifest; fields that are unset are left out."""
    lines = []
    for key, value in manifest.model_dump().items():
        if isinstance(value, bool):
            lines.append(f"{key} = {str(value).lower()}")
        elif isinstance(value, int):
            lines.append(f"{key} = {value}")
        elif value is not None:
            lines.append(f"{key} = {_toml_string(value)}")
    return "\n".join(lines) + "\n"


def _toml_string(value: str) -> str:
    escaped = "".join(
        f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 else {"\\": "\\\\", '"': '\\"'}.get(char, char)
        for char in value
    )
    return f'"{escaped}"'


def read_manifest(source: Source, tier: Tier) -> Manifest:
    """The manifest of a submission; BadInput names the field that is wrong or was made for another tier or split."""
    where = f"{source.path}: {MANIFEST}"
    name = named(source.names(), MANIFEST)
    if name is None:
        raise BadInput(f"{where}: not there; start from `morphobench submission new`")
    content = toml(source.read(name, MANIFEST_BYTES), where)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"{where}: {first_fault(error)}") from error
    if manifest.tier != tier.spec.name:
        raise BadInput(f"{where}: made for tier {manifest.tier!r}, not {tier.spec.name!r}; give --tier {manifest.tier}")
    if manifest.tier_version != tier.spec.version or manifest.split_sha256 != tier.split_sha256:
        raise BadInput(
            f"{where}: made for {manifest.tier} {manifest.tier_version}, split {manifest.split_sha256[:12]}; "
            f"here is {tier.spec.version}, split {tier.split_sha256[:12]}; generate for the new conditions"
        )
    if manifest.training_set not in ("", OWN, *tier.spec.tracks):
        tracks = ", ".join(tier.spec.tracks)
        raise BadInput(
            f"{where}: training_set: {manifest.training_set!r} is no track of {manifest.tier}; name one of {tracks}, "
            f"or {OWN!r} where each track's images come from a model trained for it"
        )
    return manifest
