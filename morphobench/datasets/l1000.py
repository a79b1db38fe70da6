"""LINCS L1000 expression: GCTX 1.0 and GCT files, and the profiles of a set of compounds in them.

Level 3 only: log2 intensities of single wells, from which G_pre (vehicle) and G_post (treated) are means. Rules:

- wells of one cell line and one time, which the caller names (MCF7, 24 h for MorphoGene);
- a well belongs to a compound by its BRD id, or by its name where the id is not in the compound table;
- G_post is the mean of all treated wells of a compound, whatever the dose (L1000 doses do not match the imaged ones);
- G_pre is the mean of the vehicle wells on the same plates, each plate weighted by its treated wells; where a plate has
  no vehicle well, and for a compound without any profile, it is the mean of all vehicle wells.

Format: GCTX stores /0/DATA/0/matrix as (samples, genes); Enache et al., Bioinformatics 2019, 35:1427.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from morphobench.errors import BadInput

TREATED, VEHICLE = "trt_cp", "ctl_vehicle"
WELL_COLUMNS = ("pert_type", "pert_id", "pert_iname", "cell_id", "hours", "plate")
"""What must be known of each sample before it can be used; `ExpressionFile.samples` has these and `id`."""
_SYNONYMS = {
    "sample_id": "id",
    "inst_id": "id",
    "cell_iname": "cell_id",
    "cmap_name": "pert_iname",
    "rna_plate": "plate",
    "det_plate": "plate",
    "pert_time": "hours",
    "pert_itime": "hours",
}
"""Column names of LINCS2020 and GSE92742 files and tables -> ours; the first that a file has counts."""
SAMPLE_TABLES = ("instinfo_beta.txt", "GSE92742_Broad_LINCS_inst_info.txt", "GSE92742_Broad_LINCS_inst_info.txt.gz")
_BLOCK = 512  # samples read at once: 25 MB of a 12,328-gene matrix


@dataclass(frozen=True)
class ExpressionFile:
    """An opened GCTX or GCT file: what its columns and rows are, and a way to read some of them.

    samples: one row per profile, column `id` and whatever the file says of it (text), in file order.
    entrez: int64 (genes,), Entrez id of each row; 0 where the file gives none.
    """

    path: Path
    samples: pd.DataFrame
    entrez: np.ndarray
    read_rows: Callable[[np.ndarray], np.ndarray]

    def read(self, rows: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """float32 (len(rows), len(landmarks)): expression of the samples at `rows` (ascending), in landmark order.

        Raises BadInput if a landmark is not in the file or a value is not a number.
        """
        place = {int(gene): position for position, gene in enumerate(self.entrez) if gene}
        absent = [int(gene) for gene in landmarks if int(gene) not in place]
        if absent:
            raise BadInput(
                f"{self.path}: {len(absent)} of the {len(landmarks)} landmark genes are not in it (first: Entrez "
                f"{absent[0]}); give a Level 3 file with all of them"
            )
        genes = np.array([place[int(gene)] for gene in landmarks])
        values = np.empty((len(rows), len(genes)), np.float32)
        for start in range(0, len(rows), _BLOCK):
            values[start : start + _BLOCK] = self.read_rows(rows[start : start + _BLOCK])[:, genes]
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            sample, gene = self.samples["id"].iloc[rows[bad[0, 0]]], int(landmarks[bad[0, 1]])
            raise BadInput(f"{self.path}: sample {sample}, Entrez {gene} is not a number; download the file again")
        return values


def open_expression(path: Path) -> ExpressionFile:
    """Open a `.gctx` (HDF5, read in slices) or `.gct` (text) file.

    Raises BadInput that names the file for another format under that name, a file cut short, or a transposed matrix.
    """
    if not path.is_file():
        raise BadInput(f"{path}: not there; give an existing .gctx or .gct file")
    return _open_gctx(path) if path.suffix.lower() == ".gctx" else _read_gct(path)


def _open_gctx(path: Path) -> ExpressionFile:
    with path.open("rb") as stream:
        if stream.read(2) == b"#1":
            raise BadInput(f"{path}: GCT text under a .gctx name; rename it to .gct")
    try:
        with h5py.File(path) as file:
            matrix = file["0/DATA/0/matrix"]
            if not isinstance(matrix, h5py.Dataset) or matrix.dtype.kind not in "fiu":
                raise BadInput(f"{path}: 0/DATA/0/matrix is no array of numbers; give a GCTX 1.0 file")
            shape = matrix.shape
            samples = _metadata(path, file, "0/META/COL")
            genes = _metadata(path, file, "0/META/ROW")
    except OSError as error:
        raise BadInput(f"{path}: cut short, or not HDF5 ({' '.join(str(error).split())}); download it again") from error
    except KeyError as error:
        raise BadInput(f"{path}: HDF5 but not GCTX 1.0 ({' '.join(str(error.args[0]).split())})") from error
    _check_shape(path, shape, samples, genes)

    def read_rows(rows: np.ndarray) -> np.ndarray:
        try:
            with h5py.File(path) as file:
                return file["0/DATA/0/matrix"][rows, :]
        except OSError as error:
            raise BadInput(f"{path}: the matrix cannot be read ({error}); download the file again") from error

    return ExpressionFile(path, samples, _entrez(genes), read_rows)


def _metadata(path: Path, file: h5py.File, name: str) -> pd.DataFrame:
    group = file[name]
    if not isinstance(group, h5py.Group):
        raise BadInput(f"{path}: {name} is no group of columns; give a GCTX 1.0 file")
    for column, values in group.items():
        if not isinstance(values, h5py.Dataset) or values.ndim != 1:
            raise BadInput(f"{path}: {name}/{column} is no column of values; give a GCTX 1.0 file")
    lengths = {column: len(values) for column, values in group.items()}
    if len(set(lengths.values())) > 1:
        raise BadInput(f"{path}: the columns of {name} differ in length ({lengths}); download the file again")
    # fixed-length strings are Latin-1 upstream (micromolar has its sign in that code)
    columns = {name: np.asarray(values) for name, values in group.items()}
    return pd.DataFrame(
        {
            name: np.char.decode(values, "latin-1") if values.dtype.kind == "S" else [_text(value) for value in values]
            for name, values in columns.items()
        }
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _check_shape(path: Path, shape: tuple[int, ...], samples: pd.DataFrame, genes: pd.DataFrame) -> None:
    for name, table in (("META/COL", samples), ("META/ROW", genes)):
        if "id" not in table:
            raise BadInput(f"{path}: {name}/id is missing; give a GCTX 1.0 file")
    expected = (len(samples), len(genes))
    if shape != expected and shape == expected[::-1]:
        raise BadInput(f"{path}: matrix {shape} is transposed; GCTX keeps (samples, genes) = {expected}")
    if shape != expected:
        raise BadInput(f"{path}: matrix {shape} does not fit {expected} (samples, genes); download the file again")
    if not _entrez(genes).any() and samples["id"].str.fullmatch(r"\d+").all():
        raise BadInput(f"{path}: transposed: genes stand in META/COL; give the file with samples as columns")


def _entrez(genes: pd.DataFrame) -> np.ndarray:
    column = "pr_gene_id" if "pr_gene_id" in genes else "id"
    return pd.to_numeric(genes[column], errors="coerce").fillna(0).astype(np.int64).to_numpy()


def _read_gct(path: Path) -> ExpressionFile:
    # the text format has no random access and its files are small: all of it is read
    with path.open("rb") as stream:
        if stream.read(4) == b"\x89HDF":
            raise BadInput(f"{path}: HDF5 under a .gct name; rename it to .gctx")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        version, counts = lines[0].strip(), [int(part) for part in lines[1].split("\t")]
        n_genes, n_samples, n_gene_columns, n_sample_rows = {"#1.3": counts, "#1.2": [*counts[:2], 1, 0]}[version][:4]
    except (IndexError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: not GCT 1.2 or 1.3 text; give a .gct or .gctx file") from error
    first = 1 + n_gene_columns
    if len(lines) < 3 + n_sample_rows + n_genes:
        raise BadInput(f"{path}: {len(lines)} lines, {3 + n_sample_rows + n_genes} announced; download it again")
    cells = [line.split("\t") for line in lines[2 : 3 + n_sample_rows + n_genes]]
    for number, row in enumerate(cells, start=3):
        if len(row) != first + n_samples:
            raise BadInput(
                f"{path}: line {number}: {len(row)} columns, {first + n_samples} announced; download it again"
            )
    body = cells[1 + n_sample_rows :]
    genes = pd.DataFrame([row[:first] for row in body], columns=["id", *cells[0][1:first]])
    samples = pd.DataFrame({"id": cells[0][first:]} | {row[0]: row[first:] for row in cells[1 : 1 + n_sample_rows]})
    try:
        matrix = np.array([row[first:] for row in body], dtype=np.float32).T
    except ValueError as error:
        raise BadInput(f"{path}: {error}; download it again") from error
    return ExpressionFile(path, samples, _entrez(genes), lambda rows: matrix[rows])


def wells(file: ExpressionFile) -> pd.DataFrame | None:
    """What is known of each sample of a file, columns `id` and WELL_COLUMNS; None if the file holds no single wells.

    Taken from the file, or for upstream's bare files from the sample table beside it (SAMPLE_TABLES).
    """
    samples = _with_our_names(file.samples)
    if samples.columns.equals(pd.Index(["id"])):
        table = next((file.path.parent / name for name in SAMPLE_TABLES if (file.path.parent / name).is_file()), None)
        if table is not None:
            about = _with_our_names(pd.read_csv(table, sep="\t", dtype=str, low_memory=False))
            samples = samples.merge(about.drop_duplicates("id"), on="id", how="left")
    if any(column not in samples for column in WELL_COLUMNS):
        return None
    samples = samples[["id", *WELL_COLUMNS]].copy()
    samples["hours"] = pd.to_numeric(samples["hours"].astype(str).str.removesuffix(" h"), errors="coerce")
    return samples


def _with_our_names(table: pd.DataFrame) -> pd.DataFrame:
    chosen: dict[str, str] = {}
    for theirs, ours in _SYNONYMS.items():
        if theirs in table and ours not in table and ours not in chosen.values():
            chosen[theirs] = ours
    return table.rename(columns=chosen)


@dataclass(frozen=True)
class Profiles:
    """Mean expression of compounds, (K, 978) float32 log2 each, in the order of `compounds`.

    vehicle: (978,), mean of all vehicle wells. g_post is NaN for a compound without a profile.
    treated_wells: (K,) wells behind each G_post. files: used; passed_over: (file, why) of the rest.
    """

    compounds: tuple[str, ...]
    vehicle: np.ndarray
    g_pre: np.ndarray
    g_post: np.ndarray
    treated_wells: np.ndarray
    files: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]


def read_profiles(folder: Path, compounds: pd.DataFrame, landmarks: np.ndarray, cell: str, hours: float) -> Profiles:
    """Vehicle and treated means of `compounds` from every GCTX and GCT file of a folder, by the rules of this module.

    compounds: columns compound, l1000_pert_ids, l1000_names ("|" between several). landmarks: Entrez ids (978,).
    Raises BadInput for a damaged file, for values below zero, which Level 3 never has, or if no vehicle or no treated
    well of `cell` at `hours` is there (the message lists what is).
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".gctx", ".gct"))
    if not paths:
        raise BadInput(f"{folder}: no .gctx or .gct file in it; give the folder of L1000 Level 3 files with --l1000")
    names = _compound_names(compounds)
    found, values, passed_over, seen = [], [], [], set()
    for path in paths:
        file = open_expression(path)
        about = wells(file)
        if about is None:
            passed_over.append((path.name, "no plate, cell, time or treatment of single wells"))
            continue
        known = about["pert_type"].isin([TREATED, VEHICLE])
        seen |= set(zip(about.loc[known, "cell_id"], about.loc[known, "hours"], strict=True))
        about["compound"] = [names.get(row.pert_id, names.get(_key(row.pert_iname), "")) for row in about.itertuples()]
        wanted = known & (about["cell_id"] == cell) & (about["hours"] == hours)
        wanted &= (about["pert_type"] == VEHICLE) | (about["compound"] != "")
        if not wanted.any():
            passed_over.append((path.name, f"no {cell} {hours:g} h well of a vehicle or of these compounds"))
            continue
        rows = np.flatnonzero(wanted)
        values.append(file.read(rows, landmarks))
        if values[-1].min() < 0:
            raise BadInput(f"{path}: values below 0: z-scores (Level 5?), not Level 3 log2 intensities; move it away")
        found.append(about.iloc[rows].assign(file=path.name))
    choices = ", ".join(sorted(f"--cell {name} --hours {time:g}" for name, time in seen)) or "nothing usable"
    if not found:
        raise BadInput(f"{folder}: no Level 3 well of {cell} at {hours:g} h; its files hold {choices}")
    table = pd.concat(found, ignore_index=True)
    for kind in (VEHICLE, TREATED):
        if not (table["pert_type"] == kind).any():
            raise BadInput(f"{folder}: no {kind} well of {cell} at {hours:g} h; its files hold {choices}")
    return _means(table, np.concatenate(values), tuple(compounds["compound"]), tuple(passed_over))


def _compound_names(compounds: pd.DataFrame) -> dict[str, str]:
    names: dict[str, str] = {}
    for row in compounds.itertuples():
        keys = [*row.l1000_pert_ids.split("|"), *map(_key, row.l1000_names.split("|")), _key(row.compound)]
        names |= {key: row.compound for key in keys if key}
    return names


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _means(
    table: pd.DataFrame, values: np.ndarray, compounds: tuple[str, ...], passed_over: tuple[tuple[str, str], ...]
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
        files=tuple(dict.fromkeys(table["file"])),
        passed_over=passed_over,
    )
