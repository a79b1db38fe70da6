"""Gene Ontology terms: only genes that move in a direction count for it, and no change has no terms."""

from __future__ import annotations

import numpy as np
import pytest

from morphobench.enrichment import enrichment

GENES = tuple(f"G{i}" for i in range(200))
SETS = {"risers": GENES[:20], "fallers": GENES[-20:], "others": GENES[90:110]}


def terms(lfc: np.ndarray) -> dict[tuple[str, str], float]:
    rows = enrichment(lfc, GENES, SETS, "docetaxel", "measured")
    return {(row.direction, row.term): row.p_adjusted for row in rows}


def test_planted_sets_lead_their_own_direction() -> None:
    lfc = np.random.default_rng(0).normal(size=200) * 0.01
    lfc[:20] += 2
    lfc[-20:] -= 2
    found = terms(lfc)
    assert found["up", "risers"] < 1e-4
    assert found["down", "fallers"] < 1e-4
    assert found.get(("up", "fallers"), 1.0) > 0.05


@pytest.mark.parametrize("lfc", [np.zeros(200), np.full(200, 0.5), 1e-5 * np.random.default_rng(0).normal(size=200)])
def test_no_change_has_no_terms(lfc: np.ndarray) -> None:
    assert terms(lfc) == {}


def test_a_gene_that_rises_is_never_down() -> None:
    rising = np.linspace(3, 0.1, 200)
    assert {direction for direction, _ in terms(rising)} == {"up"}
    some = np.zeros(200)
    some[:20], some[-3:] = 1.0, -1.0
    found = terms(some)
    # 20 of 20 genes and 3 of 3 genes, where a fixed hundred would dilute both with genes that do not move
    assert found["up", "risers"] < 1e-20
    assert found["down", "fallers"] < 1e-2


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        enrichment(np.zeros(3), GENES, SETS, "docetaxel", "measured")
