"""Gene Ontology terms over-represented among a compound's most changed genes, predicted against measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control, hypergeom

from morphobench.metrics.checks import array
from morphobench.metrics.expression import CONSTANT
from morphobench.schema import Enrichment

Source = Literal["predicted", "measured"]
Direction = Literal["up", "down"]

TOP = 100
"""Genes taken as up (and as down): about the tenth of the 978 landmarks that changed most."""
TERMS = 8
"""Terms kept per direction at least, significant or not."""
SIGNIFICANT = 0.05
"""Adjusted p up to which a term counts as over-represented."""
ROUNDING = CONSTANT * 15
"""Changes below this are rounding: 15 is about the largest log2 expression of an L1000 profile."""


def enrichment(
    lfc: np.ndarray, genes: Sequence[str], gene_sets: Mapping[str, Sequence[str]], compound: str, source: Source
) -> tuple[Enrichment, ...]:
    """Hypergeometric over-representation of gene sets among the at most TOP genes that rise and that fall most.

    lfc: (978,) log2 fold change of one compound. Only a gene that rises counts as up, only one that falls as down; a
    profile whose spread is rounding has no terms. All significant terms of a direction are given, and at least TERMS
    of them. The background is the landmark genes, as only they are measured.
    p values are adjusted by Benjamini and Hochberg within a direction. Computed by gseapy's `enrich`, which is the
    offline form of Enrichr (Kuleshov et al. 2016).
    """
    # gseapy takes a second to import; only a report needs it.
    import gseapy

    if lfc.shape != (len(genes),):
        raise ValueError(f"{lfc.shape=} != {(len(genes),)}")
    rows: list[Enrichment] = []
    for direction, chosen in changed_genes(lfc).items():
        if not len(chosen):
            continue
        result = gseapy.enrich(
            gene_list=[genes[gene] for gene in chosen],
            gene_sets={term: list(members) for term, members in gene_sets.items()},
            background=list(genes),
            outdir=None,
            no_plot=True,
        ).results
        ranked = result.sort_values(["Adjusted P-value", "P-value", "Term"], kind="stable")
        best = ranked.head(max(TERMS, int((ranked["Adjusted P-value"] <= SIGNIFICANT).sum())))
        rows += [
            Enrichment(
                compound=compound, direction=direction, source=source, term=row["Term"], overlap=row["Overlap"],
                p_adjusted=float(row["Adjusted P-value"]),
            )
            for _, row in best.iterrows()
        ]  # fmt: skip
    return tuple(rows)


def changed_genes(lfc: np.ndarray) -> dict[Direction, np.ndarray]:
    """Positions of the at most TOP genes that rise, and that fall, most; none where the spread of `lfc` is rounding.

    Raises ValueError for a change that is not finite: such a gene neither rises nor falls, and would take the place of
    one that does.
    """
    lfc = array(lfc)
    unknown = int((~np.isfinite(lfc)).sum())
    if unknown:
        raise ValueError(f"{unknown} of {len(lfc)} genes have a change that is not finite; leave them out")
    order = np.argsort(lfc, kind="stable")
    up, down = order[::-1][:TOP], order[:TOP]
    if lfc.std() <= ROUNDING:
        up = down = order[:0]
    return {"up": up[lfc[up] > ROUNDING], "down": down[lfc[down] < -ROUNDING]}


@dataclass(frozen=True)
class GeneSets:
    """Gene sets on the genes of a profile, for many tests: gseapy's `enrich` takes a second for each.

    members: term -> positions in a profile of `genes` genes.
    """

    members: Mapping[str, np.ndarray]
    genes: int

    @cached_property
    def _terms(self) -> tuple[np.ndarray, np.ndarray]:
        """Terms (T,), and which genes they hold, bool (T, genes)."""
        holds = np.zeros((len(self.members), self.genes), dtype=bool)
        for row, positions in enumerate(self.members.values()):
            holds[row, positions] = True
        return np.array(list(self.members)), holds

    def adjusted_p(self, chosen: np.ndarray) -> dict[str, float]:
        """Term -> adjusted p of its over-representation among the genes at `chosen` positions; the test of `enrich`.

        Terms without a chosen gene are left out, and not counted in the adjustment, as gseapy does.
        """
        terms, holds = self._terms
        overlap = holds[:, chosen].sum(axis=1)
        hit = overlap > 0
        if not hit.any():
            return {}
        p = hypergeom.sf(overlap[hit] - 1, self.genes, holds[hit].sum(axis=1), len(chosen))
        return dict(zip(terms[hit].tolist(), false_discovery_control(p).tolist(), strict=True))

    def significant(self, chosen: np.ndarray) -> frozenset[str]:
        """Terms with an adjusted p of at most SIGNIFICANT among the genes at positions `chosen`."""
        return frozenset(term for term, p in self.adjusted_p(chosen).items() if p <= SIGNIFICANT)


@dataclass(frozen=True)
class Overlap:
    """Significant terms of one compound and direction: how many are measured, predicted, and both."""

    compound: str
    direction: Direction
    measured: int
    predicted: int
    shared: int

    @property
    def jaccard(self) -> float | None:
        """Shared terms over all terms; None where there are none."""
        union = self.measured + self.predicted - self.shared
        return self.shared / union if union else None


def overlaps(rows: Iterable[Enrichment]) -> tuple[Overlap, ...]:
    """Of each compound with rows, the overlap of its significant terms, up then down."""
    by_compound: dict[str, list[Enrichment]] = {}
    for row in rows:
        by_compound.setdefault(row.compound, []).append(row)
    directions: tuple[Direction, ...] = ("up", "down")
    overlapping = []
    for compound, mine in by_compound.items():
        for direction in directions:
            measured, predicted = (
                {
                    row.term
                    for row in mine
                    if (row.source, row.direction) == (source, direction) and row.p_adjusted <= SIGNIFICANT
                }
                for source in ("measured", "predicted")
            )
            overlapping.append(Overlap(compound, direction, len(measured), len(predicted), len(measured & predicted)))
    return tuple(overlapping)
