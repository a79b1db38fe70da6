"""Build the morphogene tier from BBBC021 and L1000 files on disk.

Splits are drawn between plates, or between wells, before any image is made. BBBC021's plates come in layouts of two or
three replicates that hold the same compounds (17 threes and 2 pairs). Plates of a layout, by (replicate, name):

- three plates built: the first trains, the second tests, the third gives the replicates that set the floor;
- two: the first trains; the wells of the second are dealt in turn to test and replicates;
- one: its wells are dealt in turn to training, test and replicates.

Wells are dealt per compound in the order of sha256(plate, well). Training wells of OOD compounds are left out: no test
plate of either track may have been seen. Vehicle wells of every plate are the split `vehicle`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets import bbbc021, l1000
from morphobench.datasets.built import built_path, image_name, load_built, template, verify
from morphobench.datasets.manifest import load_compounds, load_landmarks
from morphobench.datasets.tier import SAMPLE_COLUMNS, SPLITS, TierSpec
from morphobench.errors import BadInput

__all__ = ["build", "built_path", "deal_splits", "load_built", "verify"]

COLUMNS = (*SAMPLE_COLUMNS, "site", "mechanism")
"""Of a built tier's samples: `mechanism` is BBBC021's for that compound at that dose, empty where it gives none."""
ALL_PLATES, ALL_FIELDS = 55, 11_888  # of the 98 compounds and the vehicle; the image table has 13,200 fields
L1000_ADDRESS = "https://s3.amazonaws.com/macchiato.clue.io/builds/LINCS2020/"
_COHORT_SPLITS = {
    "ID": {"train": "train", "test": "id", "replicate": "id_replicate"},
    "OOD": {"train": "", "test": "ood", "replicate": "ood_replicate"},
}

_DEALT = {
    1: (("train", "test", "replicate"),),
    2: (("train",), ("test", "replicate")),
    3: (("train",), ("test",), ("replicate",)),
}
"""Plates of a layout that are built -> for each, the roles its wells are dealt to in turn."""


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
    samples = _samples(name, fields)
    folder = out or built_path(name)
    with storage.lock(folder), storage.atomic_dir(folder) as temporary:
        contrast, sums = _write_images(temporary, images, samples, progress)
        _write(temporary, sums, "samples.csv", samples[list(COLUMNS)].to_csv(index=False).encode())
        _write(temporary, sums, "expression.npz", _expression_bytes(profiles))
        about = _provenance(images, profiles, cell, hours) | {"contrast": contrast}
        _write(temporary, sums, "build.json", (json.dumps(about, indent=1) + "\n").encode())
        _write(temporary, sums, "tier.toml", _toml(_spec(spec, samples, len(fields), cell, hours)).encode())
        table = "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
        (temporary / "SHA256SUMS").write_text(table, encoding="utf-8")
    return folder


def deal_splits(fields: pd.DataFrame, layouts: dict[str, str], cohorts: dict[str, str]) -> pd.Series:
    """The split of each field by the rule at the top of this file; "" where a field is left out.

    fields: columns plate, well, replicate, compound. layouts: plate -> its layout. cohorts: compound -> ID, OOD.
    """
    roles = _well_roles(fields, layouts)

    def split(compound: str, plate: str, well: str) -> str:
        return "vehicle" if compound == bbbc021.VEHICLE else _COHORT_SPLITS[cohorts[compound]][roles[plate, well]]

    wells = zip(fields["compound"], fields["plate"], fields["well"], strict=True)
    return pd.Series([split(*well) for well in wells], index=fields.index, dtype=str)


def _well_roles(fields: pd.DataFrame, layouts: dict[str, str]) -> dict[tuple[str, str], str]:
    plates = fields.drop_duplicates("plate").assign(layout=lambda table: table["plate"].map(layouts))
    roles: dict[tuple[str, str], str] = {}
    for _, layout in plates.sort_values(["replicate", "plate"]).groupby("layout"):
        names = layout["plate"].tolist()
        dealt = _DEALT.get(len(names), _DEALT[3])
        for rank, plate in enumerate(names):
            turn = dealt[rank % len(dealt)]
            wells = fields[fields["plate"] == plate].drop_duplicates("well")
            for _, of_compound in wells.groupby("compound"):
                order = sorted(of_compound["well"], key=lambda well: storage.sha256_text(plate, well))
                roles |= {(plate, well): turn[position % len(turn)] for position, well in enumerate(order)}
    return roles


def _choose_fields(images: Path, plates: Sequence[str] | None, compounds: Sequence[str] | None) -> pd.DataFrame:
    table = bbbc021.read_image_table(images)
    table["mechanism"] = bbbc021.mechanism_of(table, bbbc021.read_mechanisms(images))
    layouts = table.groupby("plate")["compound"].agg(lambda names: "|".join(sorted(set(names))))
    table["layout"] = table["plate"].map(layouts)
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
    return table[keep].reset_index(drop=True)


def _samples(name: str, fields: pd.DataFrame) -> pd.DataFrame:
    compounds = load_compounds()
    cohorts = dict(zip(compounds["compound"], compounds["cohort"], strict=True))
    layouts = dict(zip(fields["plate"], fields["layout"], strict=True))
    samples = fields.assign(split=deal_splits(fields, layouts, cohorts))
    samples = samples[samples["split"] != ""]
    order = {compound: place for place, compound in enumerate(compounds["compound"])} | {
        bbbc021.VEHICLE: len(compounds)
    }
    samples = samples.assign(_split=samples["split"].map(SPLITS.index), _compound=samples["compound"].map(order))
    samples = samples.sort_values(["_split", "_compound", "plate", "well", "site"], ignore_index=True)
    samples["index"] = samples.groupby(["split", "compound"]).cumcount()
    samples["sample_id"] = [f"{name}-{row.plate}-{row.well}-s{row.site}" for row in samples.itertuples()]
    found = set(samples["split"])
    if not {"train", "vehicle"} <= found or not found & {"id", "ood"}:
        raise BadInput(
            f"the chosen plates and compounds give only the splits {', '.join(sorted(found))}; add plates or compounds "
            "until there are training, test and vehicle wells"
        )
    return samples


def _write_images(
    folder: Path, images: Path, samples: pd.DataFrame, progress: Callable[[str], None]
) -> tuple[dict[str, dict[str, list[float]]], dict[str, str]]:
    contrast: dict[str, dict[str, list[float]]] = {}
    sums: dict[str, str] = {}
    first: dict[str, pd.Series] = {}
    groups = samples.groupby("plate", sort=True)
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
            _write(folder, sums, image_name(row["plate"], row["sample_id"]), png)
        del plate  # before the next is read: one in memory
        progress(f"plate {number} of {groups.ngroups}: {name}, {len(rows)} images")
    return contrast, sums


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
            "tracks": {name: track for name, track in spec.tracks.items() if track.split in counts},
            "counts": {split: int(counts[split]) for split in SPLITS if split in counts},
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
