"""Build a tier of MorphoGene from BBBC021 and L1000 files; `split_rules` says which field is in which split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from morphobench import storage
from morphobench.datasets import bbbc021, structures
from morphobench.datasets.downloads.sources import DEFAULT_RELEASE, Fetcher, download_folder, load_catalogue
from morphobench.datasets.frozen import load_compounds
from morphobench.datasets.l1000.matching import MatchingMode
from morphobench.datasets.morphogene import paper_recipe, split_rules
from morphobench.datasets.morphogene.folder import built_path, check_place, load_built, template, verify
from morphobench.datasets.morphogene.ingredients import ExpressionChoice, expression_part, plate_parts
from morphobench.datasets.morphogene.parts import Parts
from morphobench.datasets.tier import SAMPLE_COLUMNS, TierSpec
from morphobench.errors import BadInput

__all__ = ["build", "built_path", "load_built", "verify"]

COLUMNS = (*SAMPLE_COLUMNS, "site", "view", "mechanism")
"""Of a built tier's samples: `view` only where images are augmented (morphogene-paper); `mechanism` is BBBC021's for
that compound at that dose, empty where it gives none."""
ALL_PLATES, ALL_FIELDS = 55, 11_888  # of the 98 compounds and the vehicle; the image table has 13,200 fields


def build(
    name: str,
    images: Path | None = None,
    l1000_folder: Path | None = None,
    out: Path | None = None,
    plates: Sequence[str] | None = None,
    compounds: Sequence[str] | None = None,
    cell: str = "MCF7",
    hours: float = 24.0,
    matching: MatchingMode = "structure",
    dose: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
    fetcher: Fetcher | None = None,
    l1000_source: str | None = None,
) -> Path:
    """Build a tier; return its folder (`out`, or `built_path(name)`), which is replaced at once and only when complete.

    images: folder of BBBC021's tables and plate zips (or unpacked plates); None: `fetcher` brings what is needed.
    l1000_folder: Level 3 GCTX or GCT files, of which the wells of one `cell` line and time (`hours`) are used; None:
    `fetcher` brings the release `l1000_source`, by default DEFAULT_RELEASE. They are matched to the compounds by
    structure or by name (`matching`), at all doses or at those nearest to `dose` micromolar. plates: by default those
    that hold one of `compounds` (by default all of the tier) and, with `images`, are on disk. `progress` is called with
    one line per step. A partial build says in its title that it is, and how many fields of its plates the image table
    has.

    It can be stopped at any point: each plate is kept when it is done, and the next call goes on from there. A call
    with nothing changed changes nothing; a changed input makes again what depends on it.

    Raises BadInput for anything wrong with a name, a table or a file and for an `out` that holds anything but this
    tier, and Unavailable for a download that fails and a full disk; the tier that was built before then stays as it
    was.
    """
    spec = template(name)
    if l1000_folder is not None and l1000_source is not None:
        raise BadInput(
            f"--l1000-source {l1000_source} and --l1000 {l1000_folder}: one is downloaded, the other is there; give one"
        )
    folder = out or built_path(name)
    check_place(name, folder)
    fetcher = fetcher or Fetcher(download_folder(), load_catalogue(), progress=progress)
    image_folder = images or fetcher.tables()
    table = bbbc021.read_image_table(image_folder)
    rows = _choose_plates(image_folder, table, plates, compounds, on_disk=images is not None)
    lacking = _lacking(rows, progress)
    wanted_compounds = [bbbc021.VEHICLE, *(compounds or load_compounds()["compound"])]
    fields = rows[rows["compound"].isin(wanted_compounds)].reset_index(drop=True)
    fields = fields.assign(field=split_rules.field_ids(name, fields))
    if name == paper_recipe.NAME:
        fields["split"] = "any"  # a field's views are dealt to train and test: that is the recipe
    samples = split_rules.part_of(split_rules.frozen_samples(name), fields)
    for line in split_rules.check_part(samples):
        progress(line)
    wanted = fields if images is None else None
    if l1000_folder is None:
        l1000_folder = fetcher.everything(wanted, l1000_source or DEFAULT_RELEASE)
    elif wanted is not None:
        fetcher.plates(wanted)
    progress(f"{len(fields)} fields on {fields['plate'].nunique()} plates")
    table = table[table["plate"].isin(fields["plate"])]
    bbbc021.check_files(image_folder, table)
    manifest = _with_structures(image_folder, progress)
    choice = ExpressionChoice(cell, hours, matching, dose)
    parts = Parts(folder)
    with parts.building():
        expression = expression_part(parts, l1000_folder, manifest, choice, progress)
        of_plates, duplicates = plate_parts(parts, image_folder, fields, table, progress)
        about = {
            "image_table_sha256": storage.sha256_file(bbbc021.image_table_path(image_folder)),
            **expression.part.about,
            "contrast": {plate: kept.part.about["contrast"] for plate, kept in of_plates.items()},
            "duplicates": duplicates,
        }
        columns = [column for column in COLUMNS if column in samples]
        others = {
            "samples.csv": samples[columns].to_csv(index=False).encode(),
            "compounds.csv": manifest.to_csv(index=False).encode(),
            "build.json": (json.dumps(about, indent=1) + "\n").encode(),
            "tier.toml": _toml(_spec(spec, samples, len(fields), lacking, choice.title)).encode(),
        }
        if not parts.assemble({"expression": expression} | of_plates, others):
            progress(f"{folder}: nothing has changed since it was built, and every file is as recorded")
    return folder


def _choose_plates(
    images: Path, table: pd.DataFrame, plates: Sequence[str] | None, compounds: Sequence[str] | None, on_disk: bool
) -> pd.DataFrame:
    """Every field of the tier that the image table has on the chosen plates, compared with the frozen splits."""
    table = table.assign(mechanism=bbbc021.mechanism_of(table, bbbc021.read_mechanisms(images)))
    all_compounds = load_compounds()["compound"].tolist()
    for compound in compounds or ():
        if compound not in all_compounds:
            raise BadInput(f"--compounds {compound!r}: not one of the {len(all_compounds)} in compounds.csv")
    for plate in plates or ():
        if plate not in set(table["plate"]):
            raise BadInput(f"--plates {plate!r}: not in the image table, which has names like {table['plate'].iloc[0]}")
    if not plates:
        there = bbbc021.plates_on_disk(images, table) if on_disk else sorted(set(table["plate"]))
        if not there:
            raise BadInput(
                f"{images}: no BBBC021_v1_images_PLATE.zip and no unpacked plate; download from {bbbc021.ADDRESS}"
            )
        # by the frozen table: a compound renamed in the image table must be seen, not passed over
        holding = split_rules.plates_with(compounds or all_compounds, split_rules.SPLITS)
        plates = [plate for plate in there if plate in holding]
        if not plates:
            raise BadInput(
                f"{images}: no plate with {' or '.join(compounds or all_compounds)}; add one of {', '.join(holding)}"
            )
    return split_rules.with_splits(bbbc021.image_table_path(images), table[table["plate"].isin(plates)])


def _lacking(rows: pd.DataFrame, progress: Callable[[str], None]) -> str:
    """What the title says of frozen fields that the image table has not; "" where it has all of its plates."""
    absent, whole = split_rules.absent_fields(rows)
    if absent.empty:
        return ""
    first = absent.iloc[0]
    share = f"{whole - len(absent):,} of {whole:,} fields of these plates are in the image table"
    progress(
        f"PARTIAL: {share}; the first absent is plate {first['plate']} well {first['well']} site {first['site']} "
        f"({first['compound']})"
    )
    return f"; {share}"


def _with_structures(images: Path, progress: Callable[[str], None]) -> pd.DataFrame:
    """compounds.csv with the structures that only BBBC021's own table may tell, where that is among the images."""
    manifest = load_compounds()
    path = structures.compound_table(images)
    filled = structures.fill_structures(manifest, path) if path else manifest
    before, after = ((table["smiles"] == "").sum() for table in (manifest, filled))
    source = path.name if path else f"compounds.csv alone: no {structures.COMPOUND_TABLE} in {images}"
    progress(f"structures from {source}: {before - after} filled, {after} compounds without")
    return filled


def _spec(spec: TierSpec, samples: pd.DataFrame, n_fields: int, lacking: str, expression: str) -> TierSpec:
    built = [compound for compound in samples["compound"].unique() if compound != bbbc021.VEHICLE]
    title = spec.title
    if n_fields != ALL_FIELDS:
        title += (
            f" (PARTIAL BUILD: {samples['plate'].nunique()} of {ALL_PLATES} plates, {len(built)} of "
            f"{len(load_compounds())} compounds, {n_fields:,} of {ALL_FIELDS:,} fields{lacking})"
        )
    title += expression
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
