"""Planted programmes are found in the truth and in measured profiles, and not where there is no drug."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from morphobench.datasets import load_gene_sets, load_tier
from morphobench.datasets.simulate.expression import load_landmark_sets, planted_programmes, response, symbols
from morphobench.datasets.simulate.mechanisms import INACTIVE, MECHANISMS, main_mechanism
from morphobench.report.enrichment import GeneSets, changed_genes, enrichment

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from planted_programmes import recovery

TIER = load_tier("sim")
COMPOUNDS = tuple(sorted(set(TIER.rows("id")["compound"])))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Noiseless change of each trained compound at its highest test dose."""
    doses = TIER.rows("id").groupby("compound")["dose_um"].max()
    return np.stack([response(TIER.spec.version, compound, float(doses[compound])) for compound in COMPOUNDS])


def test_the_truth_recovers_its_programmes(truth: np.ndarray) -> None:
    found = recovery(truth, COMPOUNDS)
    assert found.recall.mean() > 0.98
    assert found.precision.mean() > 0.85
    assert found.compounds == tuple(name for name in COMPOUNDS if main_mechanism(name) != INACTIVE)


def test_planted_terms_alone_would_call_most_of_the_truth_wrong(truth: np.ndarray) -> None:
    """Why precision takes the terms that the planted genes reach, and not only those that were named."""
    sets, shares = GeneSets(load_landmark_sets(), len(symbols())), []
    for lfc, compound in zip(truth, COMPOUNDS, strict=True):
        if main_mechanism(compound) != INACTIVE:
            found = {d: sets.significant(chosen) for d, chosen in changed_genes(lfc).items()}
            planted = planted_programmes(main_mechanism(compound))
            shares.append(sum(len(found[d] & set(planted[d])) for d in found) / sum(map(len, found.values())))
    assert np.mean(shares) < 0.15


def test_a_programme_alone_is_recovered_without_an_error() -> None:
    sets = load_landmark_sets()
    for mechanism in MECHANISMS:
        compound = next((name for name in TIER.compounds["compound"] if main_mechanism(name) == mechanism), None)
        if compound is None:
            continue
        lfc = np.zeros(len(symbols()))
        for term in planted_programmes(mechanism)["up"]:
            lfc[sets[term]] = 1.0
        found = recovery(lfc[None], [compound])
        planted = planted_programmes(mechanism)
        assert found.precision.tolist() == [1.0]
        assert found.recall[0] == pytest.approx(len(planted["up"]) / (len(planted["up"]) + len(planted["down"])))


def test_no_change_recovers_nothing_and_one_answer_nothing_of_its_own(truth: np.ndarray) -> None:
    nothing = recovery(np.zeros_like(truth), COMPOUNDS)
    assert (nothing.precision == 0).all()
    assert (nothing.recall == 0).all()
    mean = np.tile(truth.mean(axis=0), (len(truth), 1))
    assert recovery(mean, COMPOUNDS).recall.mean() < 0.3
    beyond = recovery(mean - mean.mean(axis=0), COMPOUNDS)
    assert beyond.precision.max() == beyond.recall.max() == 0
    own = recovery(truth - truth.mean(axis=0), COMPOUNDS)
    assert own.recall.mean() > 0.85


def test_swapped_and_reversed_drugs_are_wrong(truth: np.ndarray) -> None:
    # From every compound to one of another mechanism.
    mechanisms = [main_mechanism(name) for name in COMPOUNDS]
    other = [
        next(j for j in np.roll(range(len(truth)), -i - 1) if mechanisms[j] != m) for i, m in enumerate(mechanisms)
    ]
    swapped, reversed_ = recovery(truth[other], COMPOUNDS), recovery(-truth, COMPOUNDS)
    assert swapped.recall.mean() < 0.25
    assert reversed_.recall.mean() < 0.1
    assert reversed_.precision.mean() < 0.35


def test_many_tests_at_once_give_gseapys_p_values(truth: np.ndarray) -> None:
    row = COMPOUNDS.index("docetaxel")
    sets = GeneSets(load_landmark_sets(), len(symbols()))
    gseapys = enrichment(truth[row], symbols(), load_gene_sets(), "docetaxel", "measured")
    for direction, chosen in changed_genes(truth[row]).items():
        ours = sets.adjusted_p(chosen)
        mine = [each for each in gseapys if each.direction == direction]
        assert len(mine) >= 8
        assert [ours[each.term] for each in mine] == pytest.approx([each.p_adjusted for each in mine], rel=1e-9)
        assert sets.significant(chosen) == {each.term for each in mine if each.p_adjusted <= 0.05}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        recovery(np.zeros((2, 978)), ["docetaxel"])
