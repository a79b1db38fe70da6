"""Mechanisms and expression of the sim tier, held to their own truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from morphobench.datasets import load_compounds, load_gene_sets, load_tier
from morphobench.datasets.frozen import doses
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.mechanisms import (
    INACTIVE,
    MECHANISMS,
    activities,
    main_mechanism,
    mechanism_table,
)
from morphobench.errors import BadInput

VERSION = "2"


@pytest.fixture(scope="module")
def compounds() -> pd.DataFrame:
    return load_compounds()


def test_mechanisms_are_those_of_bbbc021(compounds: pd.DataFrame) -> None:
    assert set(MECHANISMS) == set(load_compounds()["moa"]) - {""}


def test_every_compound_has_a_mechanism_or_is_inactive(compounds: pd.DataFrame) -> None:
    table = mechanism_table()
    assert set(table["compound"]) == set(compounds["compound"])
    assert set(table["mechanism"]) == {INACTIVE, *MECHANISMS}
    assert table["weight"].between(0, 1).all()
    assert (table["ec50_um"] > 0).all()


def test_activities_grow_with_dose_and_stay_in_range(compounds: pd.DataFrame) -> None:
    for compound in compounds["compound"]:
        ladder = [list(activities(compound, dose).values()) for dose in doses(compounds, compound)]
        assert (np.diff(ladder, axis=0) >= 0).all()
        assert (np.array(ladder) >= 0).all()
        assert (np.array(ladder) <= 1).all()


def test_activity_is_the_hill_equation() -> None:
    row = mechanism_table().set_index("compound").loc["docetaxel"]
    assert tuple(activities("docetaxel", 0.3)) == MECHANISMS
    assert activities("docetaxel", row["ec50_um"])["Microtubule stabilizers"] == pytest.approx(row["weight"] / 2)
    assert not any(activities("DMSO", 0.0).values())
    assert not any(activities("docetaxel", 0.0).values())


def test_annotated_compounds_act_at_their_active_doses(compounds: pd.DataFrame) -> None:
    annotated = compounds[compounds["moa"] != ""]
    assert len(annotated) >= 30
    for row in annotated.itertuples():
        assert main_mechanism(row.compound) == row.moa
        assert all(activities(row.compound, float(dose))[row.moa] > 0.5 for dose in str(row.moa_doses_um).split("|"))


def test_an_unknown_compound_is_named() -> None:
    with pytest.raises(BadInput, match="compound 'aspirin'"):
        activities("aspirin", 1.0)


def test_the_vehicle_is_the_baseline() -> None:
    clean = expression.truth(VERSION, "DMSO", 0.0)
    assert np.array_equal(clean, expression.baseline(VERSION))
    assert clean.min() >= expression.LOWEST
    assert clean.max() <= expression.HIGHEST


def test_cached_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        expression.baseline(VERSION)[0] = 0.0


def test_versions_differ() -> None:
    assert not np.array_equal(expression.baseline("1"), expression.baseline("2"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_planted_programmes_are_significant_in_the_signature(mechanism: str) -> None:
    signature = expression.signatures(VERSION)[MECHANISMS.index(mechanism)]
    position = {symbol: index for index, symbol in enumerate(expression.symbols())}
    for direction, terms in expression.planted_programmes(mechanism).items():
        for term in terms:
            inside = np.isin(np.arange(978), [position[gene] for gene in load_gene_sets()[term]])
            t, p = stats.ttest_ind(signature[inside], signature[~inside])
            assert p < 1e-3, term
            assert (t > 0) == (direction == "up"), term


@pytest.mark.parametrize("source", ["truth", "measured"])
def test_docetaxel_is_enriched_as_the_paper_reports(source: str) -> None:
    tier = load_tier("sim")
    rows = tier.rows("id").query("compound == 'docetaxel'")
    if source == "truth":
        change = expression.response(tier.spec.version, "docetaxel", 1.0)
    else:
        g_pre, g_post = tier.expression(rows)
        change = (g_post - g_pre).mean(axis=0)
    for sign, terms in (
        (1, ["Regulation Of Apoptotic Signaling Pathway (GO:2001233)"]),
        (-1, ["DNA Replication (GO:0006260)", "Regulation Of Cell Growth (GO:0001558)"]),
    ):
        adjusted = enrichment(np.array(tier.genes)[np.argsort(-sign * change)[:100]])
        assert all(adjusted[term] < 0.01 for term in terms)


def enrichment(genes: np.ndarray) -> dict[str, float]:
    """Benjamini-Hochberg adjusted hypergeometric p of each gene set among the 978 landmarks."""
    sets = load_gene_sets()
    overlaps = [(len(set(members) & set(genes)), len(members)) for members in sets.values()]
    p = [stats.hypergeom.sf(overlap - 1, 978, size, len(genes)) for overlap, size in overlaps]
    return dict(zip(sets, stats.false_discovery_control(p), strict=True))


def test_a_profile_depends_on_its_own_row_alone() -> None:
    rows = load_tier("sim").rows("id").iloc[:40]
    forward = expression.measured(VERSION, rows)
    assert np.array_equal(expression.measured(VERSION, rows.iloc[::-1])[::-1], forward)
    assert np.array_equal(expression.measured(VERSION, rows.iloc[[7]])[0], forward[7])
    assert forward.dtype == np.float32


def test_plates_shift_and_scale_profiles() -> None:
    effects = [expression.plate_effect(VERSION, f"T{number:02d}") for number in range(1, 7)]
    assert len({effect.gain for effect in effects}) == 6
    assert all(0.8 < effect.gain < 1.2 for effect in effects)
    change = effects[0].apply(np.full(978, 9.0)) - effects[0].apply(np.full(978, 8.0))
    assert change == pytest.approx(np.full(978, effects[0].gain))


def test_the_task_is_as_hard_as_the_real_one() -> None:
    """The mean over the other compounds predicts the fold change about as well as in real L1000 (r 0.24 to 0.30)."""
    tier = load_tier("sim")
    rows = tier.rows("ood")
    g_pre, g_post = tier.expression(rows)
    change = pd.DataFrame(g_post - g_pre).groupby(rows["compound"].to_numpy()).mean().to_numpy()
    others = (change.sum(axis=0) - change) / (len(change) - 1)
    r = np.mean([np.corrcoef(own, rest)[0, 1] for own, rest in zip(change, others, strict=True)])
    raw = np.mean([np.corrcoef(pre, post)[0, 1] for pre, post in zip(g_pre, g_post, strict=True)])
    assert 0.25 < r < 0.42
    assert raw > 0.9


def test_replicates_of_active_compounds_correlate() -> None:
    tier = load_tier("sim")
    rows = tier.rows("id")
    rows = rows[rows["dose_um"] == rows.groupby("compound")["dose_um"].transform("max")].reset_index(drop=True)
    g_pre, g_post = tier.expression(rows)
    change = g_post - g_pre
    correlations = []
    for compound, own in rows.groupby("compound"):
        if main_mechanism(compound) != INACTIVE:
            first = [plate.index[0] for _, plate in own.groupby("plate")]
            correlations.append(np.corrcoef(change[first])[np.triu_indices(len(first), 1)].mean())
    assert 0.5 < np.mean(correlations) < 0.8
