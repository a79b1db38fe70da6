"""Level 5 of L1000: one signature per treatment, as z-scores.

A signature is the replicate-weighted mean (MODZ) of wells' z-scores against their plate, clipped at 10. It says which
genes moved and how surely, not by how many log2 units: it may stand beside LFC and be compared with it by correlation,
but it never becomes G_pre or G_post. Source: Subramanian et al., Cell 2017, 171:1437.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.datasets.l1000 import lincs
from morphobench.datasets.l1000.gctx import ExpressionFile, expression_files, open_expression
from morphobench.datasets.l1000.matching import MatchingMode, match
from morphobench.errors import BadInput

SIGNATURE_COLUMNS = (
    "compound",
    "id",
    "pert_id",
    "pert_iname",
    "cell_id",
    "hours",
    "dose_um",
    "tas",
    "replicate_correlation",
    "wells",
    "quality",
    "file",
)
"""Of a signature: compound of the tier, LINCS's ids and names, treatment, transcriptional activity score (0 to 1), 75th
percentile of its replicates' correlations, wells behind it, 1 where LINCS calls it reproducible and distinct; NaN where
unknown."""
_NUMBERS = ("tas", "replicate_correlation", "wells", "quality")


@dataclass(frozen=True)
class Signatures:
    """Level 5 signatures. table: one row each, SIGNATURE_COLUMNS. z: float32 (rows, 978), z-scores; see this module."""

    table: pd.DataFrame
    z: np.ndarray


def read_signatures(
    folder: Path,
    compounds: pd.DataFrame,
    landmarks: np.ndarray,
    cell: str,
    hours: float | None = None,
    matching: MatchingMode = "structure",
) -> Signatures:
    """Signatures of `compounds` in one cell line (and at one time) from the Level 5 files of a folder.

    compounds: rows of compounds.csv. landmarks: Entrez ids (978,). Files of single wells are passed over.
    Raises BadInput for a damaged file or table, for a Level 5 file whose values are no z-scores, or if there is no such
    signature.
    """
    matched = match(compounds, folder, matching)
    tables: dict[Path, pd.DataFrame] = {}
    chosen, values = [], []
    for path in expression_files(folder):
        file = open_expression(path)
        about = _signatures(file, tables)
        if about is None:
            continue
        names = zip(about["pert_id"].astype(str), about["pert_iname"].astype(str), strict=True)
        about["compound"] = [matched.compound_of(pert_id, name) for pert_id, name in names]
        wanted = (about["pert_type"] == "trt_cp") & (about["cell_id"] == cell) & (about["compound"] != "")
        if hours is not None:
            wanted &= about["hours"] == hours
        rows = np.flatnonzero(wanted)
        if len(rows):
            values.append(file.read(rows, landmarks))
            chosen.append(about.iloc[rows].assign(file=path.name))
            _check(file, values[-1])
    if not chosen:
        at = "" if hours is None else f" at {hours:g} h"
        raise BadInput(
            f"{folder}: no Level 5 signature of these compounds in {cell}{at}; give a folder of Level 5 files"
        )
    table = pd.concat(chosen, ignore_index=True)
    return Signatures(table.reindex(columns=list(SIGNATURE_COLUMNS)), np.concatenate(values))


def _signatures(file: ExpressionFile, tables: dict[Path, pd.DataFrame]) -> pd.DataFrame | None:
    about = lincs.annotate(file, "signatures", tables)
    if about is None or "plate" in about:  # what is of one plate is a well
        return None
    if "tas" not in about:
        for path in lincs.table_paths(file.path.parent, "metrics"):
            if path not in tables:
                tables[path] = lincs.read_table(path, "metrics").drop_duplicates("id")
            further = tables[path].drop(columns=[name for name in tables[path] if name in about and name != "id"])
            about = about.merge(further, on="id", how="left")
    about = about.assign(hours=lincs.hours(about), dose_um=lincs.dose_um(about))
    for name in _NUMBERS:
        about[name] = pd.to_numeric(about[name].astype(str), errors="coerce") if name in about else np.nan
    return about.astype(dict.fromkeys(("pert_id", "pert_iname", "cell_id"), str))


def _check(file: ExpressionFile, values: np.ndarray) -> None:
    if values.min() >= 0:
        raise BadInput(f"{file.path}: no value below 0: not z-scores; give Level 5, or read Level 3 as wells")
