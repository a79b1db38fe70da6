"""Scaling by vehicle wells and whitening, against closed forms, pycytominer and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from pycytominer import normalize
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from morphobench.metrics.vehicle_correction import scale_by_vehicle, typical_variation_normalization

PLATES = np.repeat(["p", "q"], 12)
VEHICLE = np.tile(np.arange(12) < 6, 2)


def wells() -> np.ndarray:
    """24 wells of 5 features; the second plate is brighter and noisier."""
    random = np.random.default_rng(0)
    return (
        random.normal(size=(24, 5)) * np.where(PLATES == "p", 1.0, 3.0)[:, None]
        + np.where(PLATES == "p", 2, 9)[:, None]
    )


def scaled(values: np.ndarray, how: str) -> np.ndarray:
    return scale_by_vehicle(values, PLATES, values[VEHICLE], PLATES[VEHICLE], how)  # type: ignore[arg-type]


def test_z_scores_are_pycytominers() -> None:
    values = wells()
    names = [f"Cells_{number}" for number in range(5)]
    table = pd.DataFrame(values, columns=names).assign(Metadata_plate=PLATES, Metadata_vehicle=VEHICLE)
    expected = pd.concat(
        normalize(
            part, features=names, meta_features=["Metadata_plate"], samples="Metadata_vehicle", method="standardize"
        )
        for _, part in table.groupby("Metadata_plate")
    )
    np.testing.assert_allclose(scaled(values, "z-score"), expected[names].to_numpy(), atol=1e-12)


def test_each_plates_vehicle_lands_where_the_scale_says() -> None:
    values = wells()
    for plate in ("p", "q"):
        own = np.isin(PLATES, plate) & VEHICLE
        z, percentile, centred = (scaled(values, how)[own] for how in ("z-score", "percentile", "centre"))
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(z.std(axis=0), 1)
        np.testing.assert_allclose(np.percentile(percentile, (1, 99), axis=0), [np.zeros(5), np.ones(5)], atol=1e-12)
        np.testing.assert_allclose(centred, values[own] - values[own].mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("how", ["z-score", "percentile"])
def test_gain_and_offset_of_a_plate_vanish(how: str) -> None:
    values = wells()
    moved = np.where((PLATES == "q")[:, None], 1.7 * values - 4, values)
    np.testing.assert_allclose(scaled(moved, how), scaled(values, how), atol=1e-9)


@pytest.mark.parametrize("how", ["z-score", "percentile"])
def test_a_feature_without_vehicle_variation_says_nothing(how: str) -> None:
    values = wells()
    values[(PLATES == "p") & VEHICLE, 2] = 0.1 + 0.2
    found = scaled(values, how)
    assert (found[PLATES == "p", 2] == 0).all()
    assert (found[PLATES == "q", 2] != 0).all()


def test_what_cannot_be_scaled_is_refused() -> None:
    values = wells()
    with pytest.raises(ValueError, match="1 plates have no vehicle wells, the first is 'q'"):
        scale_by_vehicle(values, PLATES, values[:6], PLATES[:6], "centre")
    with pytest.raises(ValueError, match="do not pair up"):
        scale_by_vehicle(values, PLATES[1:], values[:6], PLATES[:6], "centre")
    with pytest.raises(ValueError, match="same features"):
        scale_by_vehicle(values, PLATES, values[:6, :3], PLATES[:6], "centre")
    values[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 24 rows hold values that are not finite"):
        scale_by_vehicle(values, PLATES, values[6:12], PLATES[6:12], "centre")


def correlated(rows: int, features: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.normal(size=(rows, features)) @ random.normal(size=(features, features)) + 5


def test_vehicle_wells_come_out_white() -> None:
    vehicle = correlated(200, 6)
    white = typical_variation_normalization(vehicle, vehicle, shrinkage=0)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(white, rowvar=False, ddof=0), np.eye(6), atol=1e-8)


def test_without_shrinkage_it_is_whitening_by_principal_components() -> None:
    vehicle, others = correlated(200, 6), correlated(30, 6) + 1
    expected = PCA(whiten=True).fit(vehicle).transform(others) * np.sqrt(200 / 199)
    found = typical_variation_normalization(others, vehicle, shrinkage=0)
    # Axes come in another order and with either sign; what profiles are compared by does not depend on it.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-8)


def test_fewer_wells_than_features_are_shrunk_by_ledoit_and_wolf() -> None:
    vehicle, others = correlated(20, 40), correlated(30, 40)
    precision = LedoitWolf().fit(vehicle).get_precision()
    centred = others - vehicle.mean(axis=0)
    found = typical_variation_normalization(others, vehicle)
    np.testing.assert_allclose(found @ found.T, centred @ precision @ centred.T, rtol=1e-7)
    with pytest.raises(ValueError, match="covariance of 20 vehicle wells over 40 features is singular"):
        typical_variation_normalization(others, vehicle, shrinkage=0)
    with pytest.raises(ValueError, match="1 vehicle wells"):
        typical_variation_normalization(others, vehicle[:1])
