"""How many of the gene programmes that the simulator planted an enrichment analysis finds again: sim tier only.

A compound's right answers are the programmes of its main mechanism (`planted_programmes`).

- Recall: the share of its planted GO terms that are significant, in their direction.
- Precision: the share of its significant terms that are right. Gene sets overlap, so whoever moves the genes of a
  planted term moves those of its parents too; a term is right if the same test finds it over-represented among the
  genes of the compound's planted terms of that direction. Terms that it finds among those of the stress
  response, which all active compounds share, are neither right nor wrong. A profile without significant
  terms has precision 0.

Both are averaged over compounds; compounds without a mechanism have no right answer and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from morphobench.datasets.simulate.expression import STRESS, load_landmark_sets, planted_programmes, symbols
from morphobench.datasets.simulate.mechanisms import INACTIVE, main_mechanism
from morphobench.report.enrichment import Direction, GeneSets, changed_genes

DIRECTIONS: tuple[Direction, ...] = ("up", "down")


@dataclass(frozen=True)
class Recovery:
    """Of the compounds that have a mechanism, in the order given: names, precision (C,) and recall (C,)."""

    compounds: tuple[str, ...]
    precision: np.ndarray
    recall: np.ndarray


def recovery(lfc: np.ndarray, compounds: Sequence[str]) -> Recovery:
    """Precision and recall of the planted programmes for log2 fold changes (C, 978), one row per compound.

    Raises ValueError for another shape, and BadInput for a compound that the simulator does not know.
    """
    if lfc.shape != (len(compounds), len(symbols())):
        raise ValueError(f"{lfc.shape=} != {(len(compounds), len(symbols()))}")
    active = [row for row, compound in enumerate(compounds) if main_mechanism(compound) != INACTIVE]
    each = [_one(lfc[row], main_mechanism(compounds[row])) for row in active]
    precision, recall = np.array(each, dtype=float).reshape(len(each), 2).T
    return Recovery(tuple(compounds[row] for row in active), precision, recall)


def _one(lfc: np.ndarray, mechanism: str) -> tuple[float, float]:
    planted, stress = planted_programmes(mechanism), {"up": STRESS.up, "down": STRESS.down}
    found = right = hits = 0
    for direction, chosen in changed_genes(lfc).items():
        significant = _gene_sets().significant(chosen)
        correct = _moved(planted[direction])
        shared = _moved(stress[direction]) - correct
        found += len(significant - shared)
        right += len(significant & correct)
        hits += len(significant & set(planted[direction]))
    return right / found if found else 0.0, hits / sum(len(planted[direction]) for direction in DIRECTIONS)


@cache
def _moved(terms: tuple[str, ...]) -> frozenset[str]:
    """Terms that are over-represented among the genes of these."""
    sets: Mapping[str, np.ndarray] = load_landmark_sets()
    return _gene_sets().significant(np.unique(np.concatenate([sets[term] for term in terms])))


@cache
def _gene_sets() -> GeneSets:
    return GeneSets(load_landmark_sets(), len(symbols()))
