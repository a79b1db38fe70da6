"""Expression as AnnData: one observation per sample, one variable per landmark gene."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from morphobench.datasets.frozen import load_landmarks
from morphobench.datasets.tier import Tier
from morphobench.export.metadata import sample_table

if TYPE_CHECKING:
    from anndata import AnnData

EXPRESSION = "expression.h5ad"
CATEGORIES = ("split", "compound", "plate", "well", "smiles", "moa", "pert_type")


def to_anndata(tier: Tier, rows: pd.DataFrame) -> AnnData:
    """Expression of the samples, (N, 978).

    X: measured G_post, float32 log2; NaN where a compound has no measured expression.
    layers: G_pre, the matched vehicle, and LFC = G_post - G_pre.
    obs: `sample_table`, indexed by sample_id, names as categories.
    var: symbols, with `entrez_id` where the genes are the L1000 landmarks.
    uns: tier, version, split hash, simulated, licence, unit.
    """
    import anndata

    pre, post = (matrix.astype(np.float32, copy=False) for matrix in tier.expression(rows))
    obs = sample_table(tier, rows).set_index("sample_id")
    for column in obs:
        # Python strings: anndata 0.12.6 and older write no pandas 3 string.
        if column in CATEGORIES:
            obs[column] = pd.Categorical(obs[column].astype(object))
    var = pd.DataFrame(index=pd.Index(list(tier.genes), dtype=object, name="symbol"))
    landmarks = load_landmarks()
    if tuple(landmarks["symbol"]) == tier.genes:
        var["entrez_id"] = landmarks["entrez_id"].to_numpy()
    obs.index = obs.index.astype(object)
    return anndata.AnnData(
        X=post,
        obs=obs,
        var=var,
        layers={"G_pre": pre, "LFC": post - pre},
        uns={
            "tier": tier.spec.name,
            "tier_version": tier.spec.version,
            "split_sha256": tier.split_sha256,
            "simulated": tier.spec.simulated,
            "licence": tier.spec.licence,
            "unit": "log2",
        },
    )


def write_anndata(tier: Tier, rows: pd.DataFrame, folder: Path) -> None:
    """Write `to_anndata` as expression.h5ad."""
    to_anndata(tier, rows).write_h5ad(folder / EXPRESSION, compression="gzip")
