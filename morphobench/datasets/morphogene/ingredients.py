"""What the parts of a MorphoGene tier are made of: the images of a plate, and the expression of the compounds.

Each has a key over all that it is made from, so that it is made again when one of these changes, and not before.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets import bbbc021, l1000
from morphobench.datasets.frozen import HERE, load_landmarks
from morphobench.datasets.l1000.matching import MatchingMode
from morphobench.datasets.morphogene.folder import image_name
from morphobench.datasets.morphogene.parts import Kept, Parts
from morphobench.errors import BadInput

Progress = Callable[[str], None]


def plate_parts(
    parts: Parts, images: Path, fields: pd.DataFrame, table: pd.DataFrame, progress: Progress
) -> tuple[dict[str, Kept], list[list[str]]]:
    """The images of each plate of `fields`, found or made; and the pairs of fields of a split that have equal pixels.

    fields: rows of the image table with `split`, and `field`, the name of each in the tier. table: the image table; all
    its fields of a plate count towards that plate's illumination, so that a part of a tier has the pixels of the whole.
    Raises BadInput as `bbbc021.read_plate` does, and for fields of different splits with the same pixels.
    """
    kept_plates: dict[str, Kept] = {}
    twins = _Twins(progress)
    groups = fields.sort_values(["plate", "well", "site"]).groupby("plate", sort=True)
    for number, (name, rows) in enumerate(groups, start=1):
        plate = str(name)
        further = table[(table["plate"] == plate) & ~table["line"].isin(rows["line"])]
        key = _plate_key(images, rows, further)
        kept = parts.find(plate, key)
        again = ", kept from before" if kept else ""
        kept_plates[plate] = kept or parts.make(plate, key, partial(_make_plate, images, rows, further))
        twins.add(rows, kept_plates[plate].part.about["crops"])
        progress(f"plate {number} of {groups.ngroups}: {plate}, {len(rows)} images{again}")
    return kept_plates, twins.duplicates


class _Twins:
    """Fields with the same pixels: refused in different splits, listed in the same one."""

    def __init__(self, progress: Progress) -> None:
        self._first: dict[str, pd.Series] = {}
        self._progress = progress
        self.duplicates: list[list[str]] = []

    def add(self, rows: pd.DataFrame, crops: dict[str, str]) -> None:
        """Take the fields of a plate and the hashes of their 16-bit crops, by field; BadInput names two that clash."""
        for _, row in rows.iterrows():
            twin = self._first.setdefault(crops[row["field"]], row)
            if twin["split"] != row["split"]:
                raise BadInput(
                    f"{row['plate']}/{row['dna']} (image table line {row['line']}) has the pixels of {twin['plate']}/"
                    f"{twin['dna']} (line {twin['line']}) of another split; download both plates again"
                )
            if twin["field"] != row["field"]:
                self.duplicates.append([twin["field"], row["field"]])
                self._progress(f"{row['field']} has the pixels of {twin['field']}, of the same split; both are kept")


@dataclass(frozen=True)
class ExpressionChoice:
    """Which wells of L1000 a tier's expression is made of; see `l1000.read_profiles`."""

    cell: str
    hours: float
    matching: MatchingMode
    dose: float | None

    @property
    def title(self) -> str:
        """What to add to the title of a tier whose expression is not the standard one."""
        title = "" if (self.cell, self.hours) == ("MCF7", 24.0) else f", expression of {self.cell} at {self.hours:g} h"
        title += "" if self.matching == "structure" else f", expression matched by {self.matching}"
        return title + ("" if self.dose is None else f", expression at the dose nearest to {self.dose:g} uM")


def expression_part(
    parts: Parts, folder: Path, compounds: pd.DataFrame, choice: ExpressionChoice, progress: Progress
) -> Kept:
    """The expression of `compounds` (rows of compounds.csv) from the L1000 files of `folder`, found or made.

    Raises BadInput as `l1000.read_profiles` does.
    """
    key = _expression_key(folder, compounds, choice)
    kept = parts.find("expression", key)
    again = ", kept from before" if kept else ""
    kept = kept or parts.make("expression", key, partial(_make_expression, folder, compounds, choice))
    about = kept.part.about
    counts = about["treated_wells"].values()
    progress(
        f"expression of {sum(count > 0 for count in counts)} compounds, {sum(counts)} treated wells, matched by "
        f"{choice.matching}, from {', '.join(about['l1000_files'])}{again}"
    )
    for file, why in about["l1000_passed_over"].items():
        progress(f"passed over {file}: {why}")
    for remark in about["l1000_remarks"]:
        progress(remark)
    return kept


def _plate_key(images: Path, rows: pd.DataFrame, further: pd.DataFrame) -> str:
    table = rows[["field", "compound", *bbbc021.FILE_COLUMNS]].to_csv(index=False)
    everything = pd.concat([rows, further], ignore_index=True)
    # the reader's own text: a changed reader never finds images of an older one
    reader = storage.folder_sha256(HERE / "bbbc021")
    return storage.sha256_text(table, bbbc021.plate_identity(images, everything), reader)


def _make_plate(
    images: Path, rows: pd.DataFrame, further: pd.DataFrame, about: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    plate = bbbc021.read_plate(images, rows, further)
    about["contrast"] = {"low": plate.low.tolist(), "high": plate.high.tolist()}
    about["crops"] = {}
    for row, (png, crop_sha256) in zip(rows.itertuples(), bbbc021.encode(plate), strict=True):
        about["crops"][row.field] = crop_sha256
        yield image_name(row.plate, row.field), png


def _expression_key(folder: Path, compounds: pd.DataFrame, choice: ExpressionChoice) -> str:
    """A matrix of 100 GB is known by its size and time of change, and so are the tables beside it."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: not a folder; give the folder of L1000 Level 3 files with --l1000")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    stamps = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    ours = [storage.sha256_file(path) for path in (HERE / "SHA256SUMS", *sorted(HERE.rglob("*.py")))]
    return storage.sha256_text(repr(choice), compounds.to_csv(index=False), *stamps, *ours)


def _make_expression(
    folder: Path, compounds: pd.DataFrame, choice: ExpressionChoice, about: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    landmarks = load_landmarks()["entrez_id"].to_numpy()
    profiles = l1000.read_profiles(
        folder, compounds, landmarks, choice.cell, choice.hours, choice.matching, choice.dose
    )
    about |= {
        "l1000_files": list(profiles.files),
        "l1000_passed_over": dict(profiles.passed_over),
        "l1000_remarks": list(profiles.remarks),
        "cell": choice.cell,
        "hours": choice.hours,
        "matching": choice.matching,
        "dose_um": choice.dose,
        "treated_wells": dict(zip(profiles.compounds, map(int, profiles.treated_wells), strict=True)),
    }
    stream = io.BytesIO()
    vehicle = profiles.vehicle[None]
    np.savez(
        stream,
        compounds=np.array([*profiles.compounds, bbbc021.VEHICLE]),
        g_pre=np.concatenate([profiles.g_pre, vehicle]),
        g_post=np.concatenate([profiles.g_post, vehicle]),
    )
    yield "expression.npz", stream.getvalue()
    yield "matches.csv", profiles.matches.to_csv(index=False).encode()
