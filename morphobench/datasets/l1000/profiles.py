"""LINCS L1000 expression of a set of compounds: wells, and G_pre and G_post from them.

Level 3 only: log2 intensities of single wells, which lie between 0 and about 15. Rules:

- wells of one cell line and one time, which the caller names (MCF7, 24 h for MorphoGene); those that LINCS2020 marks
  as failed (`qc_pass` 0) are left out;
- which well is of which compound: `matching`;
- G_post is the mean of all treated wells of a compound, whatever the dose (L1000 doses do not match the imaged ones),
  or of those at the dose that lies nearest to a named one on a log scale (10 uM is LINCS's standard);
- G_pre is the mean of the vehicle wells on the same plates, each plate weighted by its treated wells; where a plate has
  no vehicle well, and for a compound without any profile, it is the mean of all vehicle wells;
- LFC is G_post - G_pre. Level 5 is z-scores, an LFC of another unit: see `signatures`; it is never G_pre or G_post.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.datasets.l1000 import lincs
from morphobench.datasets.l1000.gctx import ExpressionFile, expression_files, open_expression
from morphobench.datasets.l1000.matching import Matching, MatchingMode, match, match_table
from morphobench.errors import BadInput

TREATED, VEHICLE = "trt_cp", "ctl_vehicle"
HIGHEST = 20.0  # log2; a 16-bit scanner ends at 16, and upstream's normalised values at about 15
SAME_DOSE = 0.05  # of the nominal dose, by which dispensed ones differ


@dataclass(frozen=True)
class Profiles:
    """Mean expression of compounds, (K, 978) float32 log2 each, in the order of `compounds`.

    vehicle: (978,), mean of all vehicle wells. g_post is NaN for a compound without a profile.
    treated_wells: (K,) wells behind each G_post. matches: how each compound was matched, see `match_table`.
    files: used; passed_over: (file, why) of the rest; remarks: what a user should know of this result, a line each.
    """

    compounds: tuple[str, ...]
    vehicle: np.ndarray
    g_pre: np.ndarray
    g_post: np.ndarray
    treated_wells: np.ndarray
    matches: pd.DataFrame
    files: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]

    @property
    def lfc(self) -> np.ndarray:
        """(K, 978) log2 fold change, G_post - G_pre; NaN for a compound without a profile."""
        return self.g_post - self.g_pre


def read_profiles(
    folder: Path,
    compounds: pd.DataFrame,
    landmarks: np.ndarray,
    cell: str,
    hours: float,
    matching: MatchingMode = "structure",
    dose: float | None = None,
) -> Profiles:
    """Vehicle and treated means of `compounds` from every GCTX and GCT file of a folder, by the rules of this module.

    compounds: rows of compounds.csv. landmarks: Entrez ids (978,). dose: micromolar, of which each compound's nearest
    is taken; None takes all.
    Raises BadInput for a damaged file or table, for values that Level 3 never has, or if no vehicle or no treated well
    of `cell` at `hours` is there (the message lists what is).
    """
    if dose is not None and not dose > 0:
        raise BadInput(f"--dose {dose:g}: give a dose above 0, in micromolar, or leave it out to take all wells")
    paths = expression_files(folder)
    if not paths:
        raise BadInput(f"{folder}: no .gctx or .gct file in it; give the folder of L1000 Level 3 files with --l1000")
    matched = match(compounds, folder, matching)
    tables: dict[Path, pd.DataFrame] = {}
    files, kept, passed_over, seen = {}, [], [], set()
    for path in paths:
        file = open_expression(path)
        about = wells(file, tables)
        if about is None:
            passed_over.append((path.name, _why_no_wells(file)))
            continue
        complete = about["pert_type"].isin([TREATED, VEHICLE]) & about["hours"].notna()
        seen |= set(about.loc[complete, ["cell_id", "hours"]].drop_duplicates().itertuples(index=False, name=None))
        chosen = _of_compounds(about[complete & (about["cell_id"] == cell) & (about["hours"] == hours)], matched)
        if chosen.empty:
            passed_over.append((path.name, f"no {cell} {hours:g} h well of a vehicle or of these compounds"))
            continue
        files[path.name] = file
        kept.append(chosen.assign(file=path.name))
    choices = ", ".join(sorted(f"--cell {name} --hours {time:g}" for name, time in seen)) or "nothing usable"
    told = f"its files hold {choices}{_other_name(folder, cell)}{_told(passed_over)}"
    if not kept:
        raise BadInput(f"{folder}: no Level 3 well of {cell} at {hours:g} h; {told}")
    together = pd.concat(kept, ignore_index=True)
    _check_doubled(folder, together)
    table, failed = _passed(together)
    table = table if dose is None else _at_dose(table, dose)
    for kind in (VEHICLE, TREATED):
        if not (table["pert_type"] == kind).any():
            raise BadInput(f"{folder}: no {kind} well of {cell} at {hours:g} h; {told}")
    table = table.sort_values(["file", "row"], ignore_index=True)
    values = np.concatenate([_values(files[name], rows, landmarks) for name, rows in table.groupby("file")["row"]])
    remarks = [*_remarks(table, failed, matched), *_gene_remarks(folder, landmarks)]
    matches = match_table(matched, compounds, table[table["pert_type"] == TREATED])
    return _means(table, values, tuple(compounds["compound"]), matches, tuple(passed_over), tuple(remarks))


def wells(file: ExpressionFile, tables: dict[Path, pd.DataFrame]) -> pd.DataFrame | None:
    """What is known of each sample of a file, in its order; None if the file holds no single wells.

    Columns: row (position in the file), id, pert_type, pert_id, pert_iname, cell_id, plate, hours, dose_um, qc_pass
    ("" where not given). tables: of LINCS that were read, see `lincs.annotate`. Raises BadInput as that does.
    """
    about = lincs.annotate(file, "wells", tables)
    if about is None:
        return None
    about = about.assign(hours=lincs.hours(about), dose_um=lincs.dose_um(about), row=np.arange(len(about)))
    about["qc_pass"] = about["qc_pass"].astype(str) if "qc_pass" in about else ""
    columns = ["row", "id", "pert_type", "pert_id", "pert_iname", "cell_id", "plate", "hours", "dose_um", "qc_pass"]
    return about[columns]


def _of_compounds(about: pd.DataFrame, matched: Matching) -> pd.DataFrame:
    about = about.astype(dict.fromkeys(("pert_type", "pert_id", "pert_iname", "plate"), str))
    treated = about["pert_type"] == TREATED
    kinds = about.loc[treated, ["pert_id", "pert_iname"]].drop_duplicates()
    of = {key: matched.compound_of(*key) for key in kinds.itertuples(index=False, name=None)}
    keys = zip(about["pert_id"], about["pert_iname"], treated, strict=True)
    about = about.assign(compound=[of[pert_id, name] if drug else "" for pert_id, name, drug in keys])
    return about[~treated | (about["compound"] != "")]


def _check_doubled(folder: Path, table: pd.DataFrame) -> None:
    """A well that two files hold, or one holds twice, would count twice in a mean."""
    doubled = table["id"].astype(str).duplicated(keep=False)
    if doubled.any():
        rows = table[doubled & (table["id"] == table.loc[doubled, "id"].iloc[0])]
        first, second = rows["file"].iloc[:2]
        count = table.loc[doubled, "id"].nunique()
        if first == second:
            raise BadInput(f"{folder / first}: the well {rows['id'].iloc[0]} stands twice in it; download it again")
        raise BadInput(
            f"{folder / first} and {second} both hold the well {rows['id'].iloc[0]} ({count} wells that stand twice in "
            "all), which would count twice; move one of the files away"
        )


def _passed(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    failed = pd.to_numeric(table["qc_pass"], errors="coerce") == 0
    return table[~failed], int(failed.sum())


def _at_dose(table: pd.DataFrame, dose: float) -> pd.DataFrame:
    treated = table[table["pert_type"] == TREATED]
    if treated["dose_um"].isna().all() and len(treated):
        raise BadInput(
            f"--dose {dose:g}: no treated well has a dose in its file or table; leave it out to take all wells"
        )
    away = np.log(treated["dose_um"].where(treated["dose_um"] > 0) / dose).abs()
    nearest = treated["dose_um"].loc[away.groupby(treated["compound"]).transform("min") == away]
    nearest = treated["compound"].map(nearest.groupby(treated["compound"].loc[nearest.index]).min())
    kept = treated[(treated["dose_um"] / nearest - 1).abs() <= SAME_DOSE]
    return pd.concat([table[table["pert_type"] == VEHICLE], kept])


def _values(file: ExpressionFile, rows: pd.Series, landmarks: np.ndarray) -> np.ndarray:
    values = file.read(rows.to_numpy(), landmarks)
    for wrong, what, mend in (
        (values < 0, "below 0: z-scores (Level 5?), not Level 3 log2 intensities", "move it away"),
        (
            values > HIGHEST,
            f"above {HIGHEST:g}: raw intensities, not log2",
            "give Level 3, which is log2 and normalised",
        ),
    ):
        bad = np.argwhere(wrong)
        if len(bad):
            sample, gene = file.samples["id"].iloc[rows.iloc[bad[0, 0]]], int(landmarks[bad[0, 1]])
            value = values[tuple(bad[0])]
            raise BadInput(f"{file.path}: values {what} (sample {sample}, Entrez {gene}: {value:g}); {mend}")
    return values


def _why_no_wells(file: ExpressionFile) -> str:
    start = file.read_block(np.arange(min(20, len(file.samples))), np.arange(len(file.entrez)))
    if (start < 0).any():
        return "values below 0: Level 5 signatures (z-scores), not Level 3 wells"
    tables = [path.name for path in lincs.table_paths(file.path.parent, "wells")]
    if tables:
        return f"none of its samples is in {' or '.join(tables)}"
    return (
        "no plate, cell, time or treatment of single wells, in the file or in a table beside it "
        f"({' or '.join(lincs.TABLES['wells'])})"
    )


def _told(passed_over: list[tuple[str, str]]) -> str:
    reasons: dict[str, list[str]] = {}
    for name, why in passed_over:
        reasons.setdefault(why, []).append(name)
    return "".join(
        f"; {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}"
        for why, names in reasons.items()
    )


def _other_name(folder: Path, cell: str) -> str:
    """What a cell line is called in LINCS, if its cell table knows it under the name that was given."""

    def key(name: str) -> str:
        return "".join(filter(str.isalnum, name)).upper()

    for path in lincs.table_paths(folder, "cells"):
        table = lincs.read_table(path, "cells").astype(str)
        aliases = table["cell_alias"] if "cell_alias" in table else pd.Series("", table.index)
        same_cell = [
            key(cell) in {key(name), *map(key, alias.split("|"))}
            for name, alias in zip(table["cell_id"], aliases, strict=True)
        ]
        names = set(table.loc[same_cell, "cell_id"]) - {cell}
        if names:
            return f" ({path.name} calls {cell} {' or '.join(sorted(names))})"
    return ""


def _remarks(table: pd.DataFrame, failed: int, matched: Matching) -> list[str]:
    remarks = []
    plates = set(table.loc[table["pert_type"] == VEHICLE, "plate"])
    alone = table[(table["pert_type"] == TREATED) & ~table["plate"].isin(plates)]
    if len(alone):
        remarks.append(
            f"{len(alone)} treated wells on {alone['plate'].nunique()} plates without a vehicle well: their G_pre is "
            "the mean of all vehicle wells"
        )
    if failed:
        remarks.append(f"{failed} wells left out that the table marks as failed (qc_pass 0)")
    doubtful = matched.disagreements()
    if doubtful:
        remarks.append(f"matching and compounds.csv disagree on {', '.join(doubtful)}: see the notes in matches.csv")
    return remarks


def _gene_remarks(folder: Path, landmarks: np.ndarray) -> list[str]:
    remarks = []
    for path in lincs.table_paths(folder, "genes"):
        theirs = set(lincs.landmark_genes(path)["entrez_id"])
        ours = set(landmarks.tolist())
        if theirs != ours:
            remarks.append(
                f"{path.name}: {len(theirs - ours)} landmark genes that are not ours, {len(ours - theirs)} of ours "
                "that it does not mark; ours are read"
            )
    return remarks


def _means(
    table: pd.DataFrame,
    values: np.ndarray,
    compounds: tuple[str, ...],
    matches: pd.DataFrame,
    passed_over: tuple[tuple[str, str], ...],
    remarks: tuple[str, ...],
) -> Profiles:
    is_vehicle = (table["pert_type"] == VEHICLE).to_numpy()
    overall = values[is_vehicle].mean(axis=0, dtype=np.float64)
    plates = table["plate"].to_numpy()
    of_plate = {
        plate: values[is_vehicle & (plates == plate)].mean(axis=0, dtype=np.float64)
        for plate in set(plates[is_vehicle])
    }
    g_pre = np.tile(overall, (len(compounds), 1))
    g_post = np.full(g_pre.shape, np.nan)
    count = np.zeros(len(compounds), np.int64)
    for position, compound in enumerate(compounds):
        treated = ~is_vehicle & (table["compound"] == compound).to_numpy()
        count[position] = treated.sum()
        if count[position]:
            g_post[position] = values[treated].mean(axis=0, dtype=np.float64)
            g_pre[position] = np.mean([of_plate.get(plate, overall) for plate in plates[treated]], axis=0)
    return Profiles(
        compounds=compounds,
        vehicle=overall.astype(np.float32),
        g_pre=g_pre.astype(np.float32),
        g_post=g_post.astype(np.float32),
        treated_wells=count,
        matches=matches,
        files=tuple(dict.fromkeys(table["file"])),
        passed_over=passed_over,
        remarks=remarks,
    )
