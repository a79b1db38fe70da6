"""The tables that LINCS ships beside its matrices: wells, signatures, compounds, genes and cell lines.

Two generations with other column names: the expanded CMap release LINCS2020 (`instinfo_beta.txt`, ...) and the first
GEO series, GSE92742 (`GSE92742_Broad_LINCS_inst_info.txt`, ...). COLUMNS holds what each is called here and there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.datasets import tables
from morphobench.datasets.l1000.gctx import ExpressionFile
from morphobench.errors import BadInput

COLUMNS: dict[str, tuple[str, ...]] = {
    # ours           LINCS2020          GSE92742, and the annotation inside GCTX and GCT files
    "id": ("id", "sample_id", "sig_id", "inst_id"),
    "pert_type": ("pert_type",),  #     trt_cp: a compound; ctl_vehicle: the vehicle
    "pert_id": ("pert_id",),  #         BRD-K86858124
    "pert_iname": ("cmap_name", "pert_iname"),
    "cell_id": ("cell_iname", "cell_id"),
    "plate": ("rna_plate", "det_plate"),
    "time": ("pert_time", "pert_itime"),  # 24, or "24 h"
    "time_unit": ("pert_time_unit",),
    "dose": ("pert_dose", "pert_idose"),  # 10, or "10 uM"
    "dose_unit": ("pert_dose_unit",),
    "qc_pass": ("qc_pass",),  #         LINCS2020 only: 1 or 0
    "tas": ("tas",),  #                 transcriptional activity score, 0 to 1; in GSE92742 in sig_metrics
    "replicate_correlation": ("cc_q75", "distil_cc_q75"),
    "wells": ("nsample", "distil_nsample"),
    "quality": ("is_hiq", "is_gold"),  # 1: reproducible and distinct
    "smiles": ("canonical_smiles",),
    "inchi_key": ("inchi_key",),
    "alias": ("compound_aliases",),
    "entrez_id": ("gene_id", "pr_gene_id"),
    "symbol": ("gene_symbol", "pr_gene_symbol"),
    "feature_space": ("feature_space",),  # LINCS2020: landmark, best inferred, inferred
    "is_landmark": ("pr_is_lm",),  #        GSE92742: 1 or 0
    "cell_alias": ("cell_alias",),
}
"""Our column -> theirs, LINCS2020 before GSE92742; of several in one file the first counts."""
TABLES = {
    "wells": ("instinfo_beta.txt", "GSE92742_Broad_LINCS_inst_info.txt"),
    "signatures": ("siginfo_beta.txt", "GSE92742_Broad_LINCS_sig_info.txt"),
    "metrics": ("GSE92742_Broad_LINCS_sig_metrics.txt",),
    "compounds": ("compoundinfo_beta.txt", "GSE92742_Broad_LINCS_pert_info.txt"),
    "genes": ("geneinfo_beta.txt", "GSE92742_Broad_LINCS_gene_info.txt"),
    "cells": ("cellinfo_beta.txt", "GSE92742_Broad_LINCS_cell_info.txt"),
}
"""Kind of table -> its file names, each plain or with .gz."""
_NEEDED = {
    "wells": ("id", "pert_type", "pert_id", "pert_iname", "cell_id", "plate", "time"),
    "signatures": ("id", "pert_type", "pert_id", "pert_iname", "cell_id", "time"),
    "metrics": ("id", "tas"),
    "compounds": ("pert_id", "pert_iname"),
    "genes": ("entrez_id", "symbol"),
    "cells": ("cell_id",),
}
_ABSENT = ("-666", "-666.0", "-666.000000")
"""How LINCS writes an absent value."""
_NO_VALUE = ("nan", "NaN", "NA", "restricted", '""')
"""Further ways, of columns that are no name; `restricted` stands for a structure that is not public."""
_NAMES = ("id", "pert_id", "pert_iname", "cell_id", "plate", "entrez_id", "symbol")
"""A plate may be called NA, and a gene NaN or Inf."""
_FLAGS = ("qc_pass", "quality", "is_landmark")
_NUMBERS = ("time", "dose", "tas", "replicate_correlation", "wells")
_LONG = ("id", "smiles", "inchi_key", "alias")  # nearly every value is another one; the rest are kept as categories
_HOURS = {"": 1.0, "h": 1.0}
_MICROMOLAR = {"um": 1.0, "\u00b5m": 1.0, "\u03bcm": 1.0, "\ufffdm": 1.0, "<b5>m": 1.0, "nm": 1e-3, "mm": 1e3}
"""Two signs are in use for micro; the others are what tools leave of one that is not UTF-8."""


def table_paths(folder: Path, kind: str) -> list[Path]:
    """The tables of one kind (a key of TABLES) that are in `folder`, LINCS2020 first; the plain one before a .gz."""
    paths = (tables.find_file(folder, name) for name in TABLES[kind])
    return [path for path in paths if path is not None]


def read_table(path: Path, kind: str) -> pd.DataFrame:
    """A table under our column names (those of COLUMNS that it has), all text; "" where a value is absent.

    Only the named columns are read: the well table has 30 columns and three million rows. Raises BadInput for a
    damaged file or one without a needed column.
    """
    few = [name for name in COLUMNS if name not in _LONG]
    table = tables.read_table(
        path, COLUMNS, _NEEDED[kind], "give the table as LINCS ships it", numbers=_NUMBERS, few=few, errors="replace"
    )
    return _meant(table, str(path), "line").reset_index(drop=True)


def _meant(table: pd.DataFrame, where: str, row: str) -> pd.DataFrame:
    """Absent values as "" and flags as "1" and "0"; the index says which `row` of `where` is wrong."""
    renamed = pd.DataFrame(index=table.index)
    for name, column in table.items():
        absent = _ABSENT if name in _NAMES else (*_ABSENT, *_NO_VALUE)
        if column.dtype == "category":
            renamed[name] = tables.mapped(column, partial(_present, absent))
        else:
            renamed[name] = column.where(~column.isin(absent), "")
    for name in (name for name in _FLAGS if name in renamed):
        renamed[name] = tables.flags(renamed[name], " or ".join(COLUMNS[name]), where, row)
    return renamed


def _present(absent: tuple[str, ...], text: str) -> str:
    return "" if text in absent else text


def annotate(file: ExpressionFile, kind: str, already_read: dict[Path, pd.DataFrame]) -> pd.DataFrame | None:
    """What a table says of each sample of a file, in its order, under our column names; None if that is not enough.

    Taken from the file if it has all that a table of this kind (wells, signatures) needs, or for upstream's bare files
    from the first table of the kind beside it that knows its ids. already_read: tables that were read, filled here.
    Raises BadInput if that table lacks some of the ids, or says two things of one.
    """
    own = with_our_names(file)
    if all(name in own for name in _NEEDED[kind]):
        return own
    for path in table_paths(file.path.parent, kind):
        if path not in already_read:
            already_read[path] = read_table(path, kind).drop_duplicates()
        about = already_read[path]
        place = _places(path, about["id"], own["id"])
        if (place < 0).all():
            continue
        if (place < 0).any():
            raise BadInput(
                f"{file.path}: {(place < 0).sum():,} of {len(own):,} sample ids are not in {path.name} (first: "
                f"{own['id'].iloc[int(np.argmax(place < 0))]}); give the table of the same release"
            )
        return about.iloc[place].reset_index(drop=True)
    return None


def _places(path: Path, table: pd.Series, ids: pd.Series) -> np.ndarray:
    """Row of each id in a table's ids, -1 where it has none; BadInput if there are two."""
    index = pd.Index(table.to_numpy(object))  # hashed once: text columns are searched anew for each question
    wanted = ids.to_numpy(object)
    if not index.is_unique:
        doubled = index[index.duplicated()].intersection(pd.Index(wanted))
        if len(doubled):
            raise BadInput(f"{path}: id {doubled[0]} stands in two unlike rows; download it again")
        once = np.flatnonzero(~index.duplicated(keep=False))
        place = index[once].get_indexer(wanted)
        return np.where(place < 0, -1, once[place])
    return index.get_indexer(wanted)


def with_our_names(file: ExpressionFile) -> pd.DataFrame:
    """The columns of a file's own annotation that are in COLUMNS, under our names; "" where a value is absent.

    Raises BadInput for a flag that is none.
    """
    chosen = tables.choose(list(file.samples), COLUMNS, str(file.path))
    table = pd.DataFrame({ours: file.samples.iloc[:, place] for ours, place in chosen.items()})
    return _meant(table.set_index(file.samples["id"]), str(file.path), "sample").reset_index(drop=True)


def hours(table: pd.DataFrame) -> pd.Series:
    """Hours of treatment from the columns time and time_unit (24 and h, or "24 h"); NaN where unknown."""
    return _quantity(table, "time", _HOURS)


def dose_um(table: pd.DataFrame) -> pd.Series:
    """Dose in micromolar from the columns dose and dose_unit (500 and nM, or "500 nM"); NaN where unknown."""
    return _quantity(table, "dose", _MICROMOLAR)


def _quantity(table: pd.DataFrame, name: str, scales: dict[str, float]) -> pd.Series:
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    text = table[name].astype(str)
    if f"{name}_unit" in table:
        bare = pd.to_numeric(text, errors="coerce").notna()
        text = text.where(~bare, text + " " + table[f"{name}_unit"].astype(str))
    codes, values = pd.factorize(text)  # a handful of doses and times in millions of rows
    parts = pd.Series(values, dtype=str).str.extract(r"^\s*([-+0-9.eE]+)\s*(\S*)\s*$").fillna("")
    number = pd.to_numeric(parts[0], errors="coerce") * parts[1].str.lower().map(scales)
    return pd.Series(number.to_numpy()[codes], index=table.index)


def landmark_genes(path: Path) -> pd.DataFrame:
    """Landmark genes of a gene table of either generation: entrez_id (int) and symbol, in its order.

    Raises BadInput if the table does not say which genes are landmarks, or gives one of them no Entrez id.
    """
    table = read_table(path, "genes")
    if "feature_space" in table:
        table = table[table["feature_space"] == "landmark"]
    elif "is_landmark" in table:
        table = table[table["is_landmark"] == "1"]
    else:
        raise BadInput(f"{path}: column feature_space or pr_is_lm is missing; give the table as LINCS ships it")
    table = table.astype({"entrez_id": str, "symbol": str})
    genes = table["entrez_id"].map(tables.whole)
    if genes.isna().any():
        row = table[genes.isna()].iloc[0]
        raise BadInput(
            f"{path}: landmark gene {row['symbol']}: {' or '.join(COLUMNS['entrez_id'])} is {row['entrez_id']!r}, no "
            "Entrez id; give the table as LINCS ships it"
        )
    return table.assign(entrez_id=genes.astype(int))[["entrez_id", "symbol"]]
