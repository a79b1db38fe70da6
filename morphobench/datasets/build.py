"""Build a tier of MorphoGene from BBBC021 and L1000 files on disk; `split_rules` says which field is in which split."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets import bbbc021, l1000, paper_recipe, split_rules
from morphobench.datasets.built import built_path, image_name, load_built, template, verify
from morphobench.datasets.manifest import load_compounds, load_landmarks
from morphobench.datasets.tier import SAMPLE_COLUMNS, TierSpec
from morphobench.errors import BadInput

__all__ = ["build", "built_path", "load_built", "verify"]

COLUMNS = (*SAMPLE_COLUMNS, "site", "view", "mechanism")
"""Of a built tier's samples: `view` only where images are augmented (morphogene-paper); `mechanism` is BBBC021's for
that compound at that dose, empty where it gives none."""
ALL_PLATES, ALL_FIELDS = 55, 11_888  # of the 98 compounds and the vehicle; the image table has 13,200 fields
L1000_ADDRESS = "https://s3.amazonaws.com/macchiato.clue.io/builds/LINCS2020/"


def build(
    name: str,
    images: Path | None,
    l1000_folder: Path | None,
    out: Path | None = None,
    plates: Sequence[str] | None = None,
    compounds: Sequence[str] | None = None,
    cell: str = "MCF7",
    hours: float = 24.0,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Build a tier from files on disk; return its folder (`out`, or `built_path(name)`), replaced only when complete.

    images: folder of BBBC021's tables and plate zips (or unpacked plates). l1000_folder: Level 3 GCTX or GCT files, of
    which the wells of one `cell` line and time (`hours`) are used. plates: by default those on disk. compounds: by
    default all of the tier. `progress` is called with one line per step. A partial build says in its title that it is.

    Raises BadInput for anything wrong with a name, a table or a file; what was built before then stays as it was.
    """
    spec = template(name)
    if images is None or l1000_folder is None:
        raise BadInput(
            f"data build {name}: give --images DIR (BBBC021, from {bbbc021.ADDRESS}) and --l1000 DIR (Level 3, from "
            f"{L1000_ADDRESS})"
        )
    fields = _choose_fields(images, plates, compounds)
    progress(f"{len(fields)} fields on {fields['plate'].nunique()} plates")
    bbbc021.check_files(images, fields)
    manifest = load_compounds()
    profiles = l1000.read_profiles(l1000_folder, manifest, load_landmarks()["entrez_id"].to_numpy(), cell, hours)
    progress(f"expression of {(profiles.treated_wells > 0).sum()} compounds from {', '.join(profiles.files)}")
    for file, why in profiles.passed_over:
        progress(f"passed over {file}: {why}")
    samples = split_rules.part_of(split_rules.frozen_samples(name), fields)
    for line in split_rules.check_part(samples):
        progress(line)
    fields = fields.assign(field=split_rules.field_ids(name, fields))
    if name == paper_recipe.NAME:
        fields["split"] = "any"  # a field's views are dealt to train and test: that is the recipe
    folder = out or built_path(name)
    with storage.lock(folder), storage.atomic_dir(folder) as temporary:
        contrast, sums, duplicates = _write_images(temporary, images, fields, progress)
        columns = [column for column in COLUMNS if column in samples]
        _write(temporary, sums, "samples.csv", samples[columns].to_csv(index=False).encode())
        _write(temporary, sums, "expression.npz", _expression_bytes(profiles))
        about = _provenance(images, profiles, cell, hours) | {"contrast": contrast, "duplicates": duplicates}
        _write(temporary, sums, "build.json", (json.dumps(about, indent=1) + "\n").encode())
        _write(temporary, sums, "tier.toml", _toml(_spec(spec, samples, len(fields), cell, hours)).encode())
        table = "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
        (temporary / "SHA256SUMS").write_text(table, encoding="utf-8")
    return folder


def _choose_fields(images: Path, plates: Sequence[str] | None, compounds: Sequence[str] | None) -> pd.DataFrame:
    table = bbbc021.read_image_table(images)
    table["mechanism"] = bbbc021.mechanism_of(table, bbbc021.read_mechanisms(images))
    known = load_compounds()["compound"].tolist()
    for compound in compounds or ():
        if compound not in known:
            raise BadInput(f"--compounds {compound!r}: not one of the {len(known)} in compounds.csv")
    for plate in plates or ():
        if plate not in set(table["plate"]):
            raise BadInput(f"--plates {plate!r}: not in the image table, which has names like {table['plate'].iloc[0]}")
    plates = plates or bbbc021.plates_on_disk(images, table)
    if not plates:
        raise BadInput(
            f"{images}: no BBBC021_v1_images_PLATE.zip and no unpacked plate; download from {bbbc021.ADDRESS}"
        )
    keep = table["plate"].isin(plates) & table["compound"].isin([bbbc021.VEHICLE, *(compounds or known)])
    return split_rules.with_splits(bbbc021.image_table_path(images), table[keep].reset_index(drop=True))


def _write_images(
    folder: Path, images: Path, fields: pd.DataFrame, progress: Callable[[str], None]
) -> tuple[dict[str, dict[str, list[float]]], dict[str, str], list[list[str]]]:
    """One PNG per field; returns contrast by plate, hash by file, and pairs of fields of one split with equal pixels."""
    contrast: dict[str, dict[str, list[float]]] = {}
    sums: dict[str, str] = {}
    first: dict[str, pd.Series] = {}
    duplicates: list[list[str]] = []
    groups = fields.groupby("plate", sort=True)
    for number, (name, rows) in enumerate(groups, start=1):
        plate = bbbc021.read_plate(images, rows)
        contrast[str(name)] = {"low": plate.low.tolist(), "high": plate.high.tolist()}
        for position, (png, crop_sha256) in enumerate(bbbc021.encode(plate)):
            row = rows.iloc[position]
            twin = first.setdefault(crop_sha256, row)
            if twin["split"] != row["split"]:
                raise BadInput(
                    f"{row['plate']}/{row['dna']} (image table line {row['line']}) has the pixels of {twin['plate']}/"
                    f"{twin['dna']} (line {twin['line']}) of another split; download both plates again"
                )
            if twin["field"] != row["field"]:
                duplicates.append([twin["field"], row["field"]])
                progress(f"{row['field']} has the pixels of {twin['field']}, of the same split; both are kept")
            _write(folder, sums, image_name(row["plate"], row["field"]), png)
        progress(f"plate {number} of {groups.ngroups}: {name}, {len(rows)} images")
    return contrast, sums, duplicates


def _write(folder: Path, sums: dict[str, str], name: str, data: bytes) -> None:
    path = folder / name  # inside atomic_dir: the folder as a whole appears or does not
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    sums[name] = storage.sha256_bytes(data)


def _provenance(images: Path, profiles: l1000.Profiles, cell: str, hours: float) -> dict[str, object]:
    return {
        "image_table_sha256": storage.sha256_file(bbbc021.image_table_path(images)),
        "l1000_files": list(profiles.files),
        "l1000_passed_over": dict(profiles.passed_over),
        "cell": cell,
        "hours": hours,
        "treated_wells": dict(zip(profiles.compounds, map(int, profiles.treated_wells), strict=True)),
    }


def _expression_bytes(profiles: l1000.Profiles) -> bytes:
    stream = io.BytesIO()
    vehicle = profiles.vehicle[None]
    np.savez(
        stream,
        compounds=np.array([*profiles.compounds, bbbc021.VEHICLE]),
        g_pre=np.concatenate([profiles.g_pre, vehicle]),
        g_post=np.concatenate([profiles.g_post, vehicle]),
    )
    return stream.getvalue()


def _spec(spec: TierSpec, samples: pd.DataFrame, n_fields: int, cell: str, hours: float) -> TierSpec:
    built = [compound for compound in samples["compound"].unique() if compound != bbbc021.VEHICLE]
    title = spec.title
    if n_fields != ALL_FIELDS:
        title += (
            f" (PARTIAL BUILD: {samples['plate'].nunique()} of {ALL_PLATES} plates, {len(built)} of "
            f"{len(load_compounds())} compounds, {n_fields:,} of {ALL_FIELDS:,} fields)"
        )
    if (cell, hours) != ("MCF7", 24.0):
        title += f", expression of {cell} at {hours:g} h"
    counts = samples["split"].value_counts()
    panel = [name for name in spec.panel_compounds if name in built]
    return spec.model_copy(
        update={
            "title": title,
            "tracks": {name: track for name, track in spec.tracks.items() if track.tests(samples).any()},
            "counts": {split: int(counts[split]) for split in split_rules.SPLITS if split in counts},
            "panel_compounds": tuple(dict.fromkeys([*panel, *built]))[: len(spec.panel_compounds)],
        }
    )


def _toml(spec: TierSpec) -> str:
    # a JSON string, number, boolean or list is the same thing in TOML
    values = spec.model_dump(mode="json")
    tracks, counts = values.pop("tracks"), values.pop("counts")
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    lines += ["", "[counts]", *(f"{key} = {value}" for key, value in counts.items())]
    for name, track in tracks.items():
        lines += ["", f"[tracks.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in track.items())]
    return "\n".join(lines) + "\n"
