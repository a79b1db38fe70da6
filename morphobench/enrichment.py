"""Gene Ontology terms over-represented among a compound's most changed genes, predicted against measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from morphobench.metrics.expression import CONSTANT
from morphobench.schema import Enrichment

Source = Literal["predicted", "measured"]

TOP = 100
"""Genes taken as up (and as down): about the tenth of the 978 landmarks that changed most."""
TERMS = 8
"""Terms kept per direction."""
ROUNDING = CONSTANT * 15
"""Changes below this are rounding: 15 is about the largest log2 expression of an L1000 profile."""


def enrichment(
    lfc: np.ndarray, genes: Sequence[str], gene_sets: Mapping[str, Sequence[str]], compound: str, source: Source
) -> tuple[Enrichment, ...]:
    """Hypergeometric over-representation of gene sets among the at most TOP genes that rise and that fall most.

    lfc: (978,) log2 fold change of one compound. Only a gene that rises counts as up, only one that falls as down; a
    profile whose spread is rounding has no terms. The background is the landmark genes, as only they could be found.
    p values are adjusted by Benjamini and Hochberg within a direction. Computed by gseapy's `enrich`, which is the
    offline form of Enrichr (Kuleshov et al. 2016).
    """
    # gseapy takes a second to import; only a report needs it.
    import gseapy

    if lfc.shape != (len(genes),):
        raise ValueError(f"{lfc.shape=} != {(len(genes),)}")
    if lfc.std() <= ROUNDING:
        return ()
    order = np.argsort(lfc, kind="stable")
    up, down = order[::-1][:TOP], order[:TOP]
    found: list[Enrichment] = []
    sides: dict[Literal["up", "down"], np.ndarray] = {"up": up[lfc[up] > ROUNDING], "down": down[lfc[down] < -ROUNDING]}
    for direction, chosen in sides.items():
        if not len(chosen):
            continue
        result = gseapy.enrich(
            gene_list=[genes[gene] for gene in chosen],
            gene_sets={term: list(members) for term, members in gene_sets.items()},
            background=list(genes),
            outdir=None,
            no_plot=True,
        ).results
        best = result.sort_values(["Adjusted P-value", "P-value", "Term"], kind="stable").head(TERMS)
        found += [
            Enrichment(
                compound=compound, direction=direction, source=source, term=row["Term"], overlap=row["Overlap"],
                p_adjusted=float(row["Adjusted P-value"]),
            )
            for _, row in best.iterrows()
        ]  # fmt: skip
    return tuple(found)
