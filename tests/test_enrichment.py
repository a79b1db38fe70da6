"""Gene Ontology terms: only genes that move in a direction count for it, and no change has no terms."""

from __future__ import annotations

import numpy as np
import pytest

from morphobench.report.enrichment import TERMS, enrichment, overlaps
from morphobench.schema import Enrichment

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


def test_every_significant_term_is_given() -> None:
    lfc = np.random.default_rng(0).normal(size=200) * 0.01
    lfc[:20] += 2
    nested = {f"risers {size}": GENES[:size] for size in range(8, 20)} | SETS
    rows = enrichment(lfc, GENES, nested, "docetaxel", "measured")
    assert len(nested) > TERMS
    assert set(nested) - {"fallers", "others"} <= {row.term for row in rows if row.direction == "up"}


def row(source: str, term: str, p: float, direction: str = "up", compound: str = "a") -> Enrichment:
    return Enrichment.model_validate(
        {"compound": compound, "direction": direction, "source": source, "term": term, "overlap": "1/2"}
        | {"p_adjusted": p}
    )


def test_overlap_counts_significant_terms_of_both_profiles() -> None:
    rows = [
        row("measured", "x", 0.01), row("measured", "y", 0.05), row("measured", "z", 0.2),
        row("predicted", "y", 0.001), row("predicted", "z", 0.01), row("predicted", "x", 0.01, "down"),
    ]  # fmt: skip
    up, down = overlaps(rows)
    assert (up.measured, up.predicted, up.shared) == (2, 2, 1)
    assert up.jaccard == pytest.approx(1 / 3)
    assert (down.measured, down.predicted, down.shared, down.jaccard) == (0, 1, 0, 0)
    nothing = overlaps([row("measured", "x", 0.9)])
    assert all(each.jaccard is None for each in nothing)
