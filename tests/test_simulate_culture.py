"""Plate biology of the sim tier: one cause behind cells, profiles and G_pre."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from morphobench.datasets import Tier, load_gene_sets, load_tier
from morphobench.datasets.sim import simulate_image
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.cells import sample_population
from morphobench.datasets.simulate.culture import (
    AVERAGE,
    LIMIT,
    LOG_FACTORS,
    LOG_ODDS,
    WELL_SD,
    Culture,
    plate_culture,
    well_culture,
)
from morphobench.datasets.simulate.mechanisms import MECHANISMS, activities, occupancy
from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.phenotypes import PHENOTYPES, PopulationParams, population_params
from morphobench.datasets.simulate.render import render, streams
from morphobench.datasets.simulate.seeds import seed
from morphobench.errors import BadInput

VERSION = "2"
CORNERS = [Culture(density, stress) for density, stress in product((-LIMIT, 0.0, LIMIT), repeat=2)]


@pytest.fixture(scope="module")
def tier() -> Tier:
    return load_tier("sim")


def scores(culture: Culture) -> tuple[float, float]:
    return culture.density, culture.stress


def recovered(tier: Tier, profiles: np.ndarray) -> np.ndarray:
    """Scores (N, 2) of the culture by least squares on the planted loadings, of genes about their own mean."""
    loadings = expression.culture_loadings(tier.spec.version)
    return np.linalg.lstsq(loadings.T, (profiles - profiles.mean(axis=0)).T, rcond=None)[0].T


@pytest.mark.parametrize("bad", [np.nan, np.inf, -3.01])
def test_a_score_out_of_range_is_named(bad: float) -> None:
    with pytest.raises(BadInput, match="stress of a culture is"):
        Culture(stress=bad)


def test_plates_of_every_role_differ(tier: Tier) -> None:
    plates = tier.samples["plate"].unique()
    drawn = np.array([scores(plate_culture(tier.spec.version, plate)) for plate in plates])
    assert len(np.unique(drawn, axis=0)) == 14
    for role in "TER":
        own = drawn[[plate.startswith(role) for plate in plates]]
        assert (np.ptp(own, axis=0) > 0.9).all()
        assert (own.std(axis=0) > 0.3).all()


def test_wells_scatter_about_their_plate() -> None:
    plate = Culture(0.5, -0.5)
    wells = np.array([scores(well_culture(VERSION, f"well {number}", plate)) for number in range(2000)])
    assert wells.mean(axis=0) == pytest.approx(scores(plate), abs=0.03)
    assert wells.std(axis=0) == pytest.approx((WELL_SD, WELL_SD), rel=0.05)
    assert abs(np.corrcoef(wells.T)[0, 1]) < 0.06
    assert well_culture(VERSION, "well 0", Culture(LIMIT, LIMIT)) != plate
    assert np.abs([scores(well_culture(VERSION, str(k), Culture(LIMIT, LIMIT))) for k in range(20)]).max() == LIMIT


def test_the_average_culture_changes_nothing() -> None:
    assert population_params({}, AVERAGE) == PopulationParams()
    assert population_params({"DNA damage": 0.4}, AVERAGE) == population_params({"DNA damage": 0.4})
    assert np.array_equal(expression.truth(VERSION, "DMSO", 0.0, AVERAGE), expression.baseline(VERSION))


@pytest.mark.parametrize("culture", CORNERS, ids=str)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_dose_acts_monotonically_in_any_culture(mechanism: str, culture: Culture) -> None:
    ladder = [population_params({mechanism: dose}, culture) for dose in (0.0, 0.25, 0.5, 0.75, 1.0)]
    for name in PHENOTYPES[mechanism]:
        steps = np.diff([getattr(params, name) for params in ladder])
        assert (steps > 0).all() or (steps < 0).all(), name


@pytest.mark.parametrize("score", ["density", "stress"])
def test_a_culture_moves_the_parameters_it_names_and_no_other(score: str) -> None:
    average, high = population_params({}), population_params({}, Culture(**{score: 1.0}))
    moved = {name for name in vars(average) if getattr(high, name) != getattr(average, name)}
    assert moved == {name for table in (LOG_FACTORS, LOG_ODDS) for name in table if getattr(table[name], score)}
    assert high.count / average.count == pytest.approx(np.exp(getattr(LOG_FACTORS["count"], score)))
    odds = [params.mitotic / (1 - params.mitotic) for params in (high, average)]
    assert odds[0] / odds[1] == pytest.approx(np.exp(getattr(LOG_ODDS["mitotic"], score)))


def test_shares_stay_shares() -> None:
    for mechanism, culture in product(MECHANISMS, CORNERS):
        params = population_params({mechanism: 1.0}, culture)
        assert all(0 <= getattr(params, name) <= 1 for name in LOG_ODDS)


def test_a_dense_culture_shows_more_and_smaller_cells() -> None:
    def drawn(density: float) -> tuple[float, float]:
        populations = [sample_population({}, streams(k)[0], culture=Culture(density))[1] for k in range(30)]
        return float(np.mean([c.in_frame(128).sum() for c in populations])), float(
            np.median(np.concatenate([c.radius for c in populations]))
        )

    (few, large), (many, small) = drawn(-1.5), drawn(1.5)
    assert many / few == pytest.approx(np.exp(0.12 * 3), rel=0.08)
    assert small / large == pytest.approx(np.exp(-0.04 * 3), rel=0.03)


def test_the_programmes_are_no_mechanisms() -> None:
    used = {t for p in (*expression.PROGRAMMES.values(), expression.STRESS) for t in (*p.up, *p.down)}
    own = {t for p in expression.CULTURE_PROGRAMMES.values() for t in (*p.up, *p.down)}
    assert not used & own
    assert own <= set(load_gene_sets())
    density, stress = expression.culture_loadings(VERSION)
    sets = expression.load_landmark_sets()
    for loading, programme in zip((density, stress), expression.CULTURE_PROGRAMMES.values(), strict=True):
        planted = np.concatenate([sets[term] for term in (*programme.up, *programme.down)])
        assert set(np.flatnonzero(loading)) == set(planted)
    assert abs(np.corrcoef(density, stress)[0, 1]) < 0.2


def test_expression_is_shifted_by_score_times_loading() -> None:
    shift = expression.truth(VERSION, "emetine", 1.0, Culture(1.5, -0.5)) - expression.truth(VERSION, "emetine", 1.0)
    density, stress = expression.culture_loadings(VERSION)
    assert shift == pytest.approx(1.5 * density - 0.5 * stress)


def test_g_pre_tells_the_culture_of_its_plate(tier: Tier) -> None:
    first = tier.samples.drop_duplicates("plate")
    g_pre, _ = tier.expression(first)
    true = np.array([scores(plate_culture(tier.spec.version, plate)) for plate in first["plate"]])
    found = recovered(tier, g_pre.astype(float))
    for k in range(2):
        assert np.corrcoef(found[:, k], true[:, k])[0, 1] > 0.9


def test_image_and_profile_of_a_well_share_its_deviation(tier: Tier) -> None:
    rows = tier.rows("vehicle").query("plate == 'E01'")
    plate = plate_culture(tier.spec.version, "E01")
    cultures = [well_culture(tier.spec.version, name, plate) for name in rows["sample_id"]]
    _, profiles = tier.expression(rows)
    found = recovered(tier, profiles.astype(float))
    for k in range(2):
        assert np.corrcoef(found[:, k], [scores(culture)[k] for culture in cultures])[0, 1] > 0.75
    row = rows.iloc[0]
    image = simulate_image(tier.spec.version, row["sample_id"], "DMSO", 0.0, "E01", 64)
    same = (plate_optics(tier.spec.version, "E01"), seed(tier.spec.version, "image", row["sample_id"]), 64)
    assert np.array_equal(image, render(activities("DMSO", 0.0), *same, cultures[0]))
    assert not np.array_equal(image, render(activities("DMSO", 0.0), *same, plate))


def test_a_compound_does_nothing_at_dose_0_and_reaches_its_own_genes_with_dose(tier: Tier) -> None:
    for compound in tier.compounds["compound"]:
        assert not expression.response(VERSION, compound, 0.0).any()
    ladder = [occupancy("atropine", dose) for dose in (0.0, 1.0, 5.0, 50.0, 1e6)]
    assert ladder[0] == 0
    assert ladder[2] == pytest.approx(0.5)  # its EC50
    assert (np.diff(ladder) > 0).all()
    assert occupancy("DMSO", 1.0) == 0
    with pytest.raises(BadInput, match="aspirin"):
        occupancy("aspirin", 1.0)
