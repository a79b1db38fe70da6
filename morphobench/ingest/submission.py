"""A submission: written, packed, opened and checked. Ours and everyone else's go through here."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.datasets.swaps import KINDS, Kind, Swap, place, swapped_conditions, swaps
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest.archive import Source, named, open_source
from morphobench.ingest.expression import EXPRESSION, EXPRESSION_BYTES, G_PRE, read_expression, write_expression
from morphobench.ingest.image_set import SubmissionImages, check_images, image_bytes
from morphobench.ingest.images import encode_png
from morphobench.ingest.manifest import MANIFEST, MANIFEST_BYTES, manifest_toml, read_manifest
from morphobench.schema import Condition, Conditions, Manifest
from morphobench.storage import (
    atomic_dir,
    atomic_path,
    atomic_write_text,
    check_file,
    check_folder,
    left_behind,
    sha256_text,
)

CONDITIONS = "conditions.csv"
IMAGES = "images/"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)

Answers = Mapping[str, tuple[Conditions, np.ndarray]]
"""What was asked under a name, and an array with a row for each of these conditions."""


def image_name(condition: Condition, folder: str = "") -> str:
    """Where a condition's image lies: images/<track>/<compound>/<index>.png, the name in file-name characters.

    folder: instead of the track's name, for the swapped conditions of a track.
    """
    compound = re.sub(r"[^A-Za-z0-9.-]+", "_", condition.compound)
    return f"images/{folder or condition.track}/{compound}/{condition.index:04d}.png"


@dataclass(frozen=True)
class Submission:
    """A checked submission: every condition has its image, or none has one, and there is nothing else.

    images: by track; empty where the submission predicts expression alone. swapped: images of swapped conditions by
    `swaps.place`, those that are there. swaps: what was swapped, by track.
    """

    manifest: Manifest
    images: Mapping[str, SubmissionImages]
    expression: Mapping[str, np.ndarray] | None
    expression_sha256: str
    swapped: Mapping[str, SubmissionImages]
    swaps: Mapping[str, Mapping[Kind, Swap]]

    @property
    def images_sha256(self) -> str:
        """Hash of all images of all opened tracks; "" where there is none."""
        if not self.images:
            return ""
        both = {**self.images, **self.swapped}
        return sha256_text(*(f"{name}:{images.sha256}" for name, images in sorted(both.items())))


def open_submission(path: Path, tier: Tier, tracks: Sequence[str] | None = None) -> Submission:
    """Open and check a submission folder or zip against a tier.

    tracks: the tracks to score; the tier's default ones if none is named. Other tracks may be absent. A submission
    without any image whose expression is there draws none; where one image is there, all must be.
    Raises BadInput that names the first file or value that is wrong.
    """
    source = open_source(path)
    manifest = read_manifest(source, tier)
    wanted = {track: tier.conditions(track) for track in (tracks or tier.default_tracks)}
    names, size = set(source.names()), tier.spec.image_size
    predicts = named(names, EXPRESSION) is not None
    drawn = {} if predicts and not any(name.startswith(IMAGES) for name in names) else wanted
    planned = {track: swaps(tier, conditions) for track, conditions in drawn.items()}
    folders = {"/".join(name.split("/")[:2]) for name in names if name.count("/") > 1}
    swapped = {
        name: conditions
        for track in drawn
        for name, conditions in swapped_conditions(track, planned[track]).items()
        if f"{IMAGES}{name}" in folders
    }
    _check_names(source, names, tier, drawn | swapped)
    images, others = (
        {
            name: check_images(source, tuple(image_name(condition, name) for condition in conditions), size)
            for name, conditions in asked.items()
        }
        for asked in (drawn, swapped)
    )
    expression, expression_sha256 = None, ""
    if predicts:
        expression, expression_sha256 = read_expression(source, tier, wanted)
    return Submission(manifest, images, expression, expression_sha256, others, planned)


def write_submission(
    folder: Path,
    manifest: Manifest,
    images: Answers,
    expression: Answers,
) -> None:
    """Write a submission folder, whole or not at all.

    images: by track, or `place` of a swap, uint8 (N, H, W, 3); expression: by track, (N, 978) predicted log2 G_post.
    """
    with atomic_dir(folder) as place:
        (place / MANIFEST).write_text(manifest_toml(manifest), encoding="utf-8")
        for folder_name, (conditions, pixels) in images.items():
            if len(pixels) != len(conditions):
                raise ValueError(f"{len(pixels)=} != {len(conditions)=}")
            names = [image_name(condition, folder_name) for condition in conditions]
            for parent in {(place / name).parent for name in names}:
                parent.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda name, image: (place / name).write_bytes(encode_png(image)), names, pixels))
        if expression:
            write_expression(place / EXPRESSION, expression)


def new_submission(folder: Path, tier: Tier, tracks: Sequence[str] = (), swapped: bool = False) -> None:
    """Start a submission: a `submission.toml` to fill in, and the conditions of every track as CSV.

    tracks: the tier's default ones if none is named. swapped: with their swapped conditions, see `datasets.swaps`.

    `conditions.csv` has one row per wanted image with its file name; `g_pre_row` points into `g_pre.csv`, which holds
    the 978 vehicle expression values of that condition. Raises BadInput where the folder already holds something.
    """
    check_folder(folder)
    if folder.exists() and not all(left_behind(Path(entry.name)) for entry in folder.iterdir()):
        raise BadInput(f"{folder}: not empty; name a new folder")
    manifest = Manifest(
        name="my-model", group="my-group", version="v1", tier=tier.spec.name, tier_version=tier.spec.version,
        split_sha256=tier.split_sha256, method="one line: what the model is and what it was trained on",
    )  # fmt: skip
    atomic_write_text(folder / MANIFEST, manifest_toml(manifest))
    rows: list[dict[str, object]] = []
    profiles: dict[bytes, tuple[int, np.ndarray]] = {}
    for track in tracks or tier.default_tracks:
        conditions = tier.conditions(track)
        sets = {track: conditions}
        if swapped:
            sets |= swapped_conditions(track, swaps(tier, conditions))
        for name, asked in sets.items():
            for condition, profile in zip(asked, asked.g_pre, strict=True):
                row = profiles.setdefault(profile.tobytes(), (len(profiles), profile))[0]
                rows.append({**condition.model_dump(), "g_pre_row": row, "file": image_name(condition, name)})
    with atomic_path(folder / CONDITIONS) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    table = pd.DataFrame([profile for _, profile in profiles.values()], columns=list(conditions.genes))
    with atomic_path(folder / G_PRE) as temporary:
        table.to_csv(temporary, index_label="g_pre_row", float_format="%.4f")


def pack_submission(folder: Path, out: Path, tier: Tier, tracks: Sequence[str] | None = None) -> Path:
    """Check a submission folder and write it as one zip, the same bytes for the same files."""
    check_file(out)
    refuse_inside(out, folder)
    open_submission(folder, tier, tracks)
    source = open_source(folder)
    limits = {MANIFEST: MANIFEST_BYTES, EXPRESSION: EXPRESSION_BYTES}
    spelt = {name.casefold() if name.casefold() in limits else name: name for name in source.names()}
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, spelling in sorted(spelt.items()):
            if name.casefold() in (CONDITIONS, G_PRE):
                continue
            # PNG bytes are compressed already.
            method = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            data = source.read(spelling, limits.get(name, image_bytes(tier.spec.image_size)))
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), data, compress_type=method)
    return out


def refuse_inside(out: Path, submission: Path) -> None:
    """BadInput where `out` is a submission's folder or lies in it: what is written there would answer no condition."""
    place, folder = out.resolve(), submission.resolve()
    if folder.is_dir() and (place == folder or folder in place.parents):
        raise BadInput(f"{out}: in the submission's own folder {submission}; name a place outside it")


def _check_names(source: Source, names: set[str], tier: Tier, wanted: Mapping[str, Conditions]) -> None:
    """wanted: track, or `place` of a swap that the submission answers -> its conditions."""
    expected = {image_name(condition, name) for name, conditions in wanted.items() for condition in conditions}
    missing = sorted(expected - names)
    if missing:
        count = f"{len(missing):,} of {len(expected):,} images are"
        raise BadInput(f"{source.path}: {missing[0]} is missing ({count}); every condition needs its image")
    allowed = {named(names, file) for file in (MANIFEST, EXPRESSION, CONDITIONS, G_PRE)}
    folders = ((track, *(place(track, kind) for kind in KINDS)) for track in tier.spec.tracks if track not in wanted)
    others = tuple(f"images/{name}/" for group in folders for name in group)
    extra = sorted(name for name in names - expected - allowed if not (others and name.startswith(others)))
    if extra:
        raise BadInput(f"{source.path}: {extra[0]} answers no condition ({len(extra)} such files); remove it")
