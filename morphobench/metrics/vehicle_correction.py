"""Plate correction with vehicle (DMSO) wells: what a plate or a staining does to all wells is taken out of profiles.

Scaling per plate after Ljosa et al. 2013, "Comparison of methods for image-based profiling of cellular morphological
responses to small-molecule treatment", Journal of Biomolecular Screening 18; typical variation normalization (TVN)
after Ando, McLean and Berndl 2017, "Improving phenotypic measurements in high-content imaging screens",
bioRxiv 161422.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from morphobench.metrics.checks import array, table

CONSTANT = 1e-9
"""A feature whose spread over a plate's vehicle wells is below this share of its largest size does not vary there."""
PERCENTILES = (1, 99)

Scale = Literal["centre", "z-score", "percentile"]


def scale_by_vehicle(
    values: np.ndarray, plates: np.ndarray, vehicle: np.ndarray, vehicle_plates: np.ndarray, scale: Scale
) -> np.ndarray:
    """Rows (n, d) on the scale of the vehicle wells (v, d) of their own plate, feature by feature: (n, d) float64.

    centre: less the vehicle mean. z-score: less the mean, over the standard deviation (of the v wells, not corrected
    for the mean's degree of freedom). percentile: the vehicle's 1st percentile becomes 0 and its 99th 1, so that the
    vehicle's own profile is not at the origin; Ljosa et al. do this with single cells.
    A feature that is constant over a plate's vehicle wells is 0 on that plate under the last two, because nothing says
    how large a difference is. Raises ValueError where a plate has no vehicle well, shapes differ, or a value is not
    finite.
    """
    values, vehicle = _check(values, vehicle)
    plates, vehicle_plates = array(plates), array(vehicle_plates)
    if len(plates) != len(values) or len(vehicle_plates) != len(vehicle):
        raise ValueError(f"{plates.shape=} and {vehicle_plates.shape=} do not pair up with the rows")
    bare = sorted(set(plates) - set(vehicle_plates))
    if bare:
        raise ValueError(f"{len(bare)} plates have no vehicle wells, the first is {str(bare[0])!r}")
    scaled = np.empty(values.shape, dtype=np.float64)
    for plate in np.unique(plates):
        rows = plates == plate
        origin, unit = _origin_and_unit(vehicle[vehicle_plates == plate], scale)
        scaled[rows] = np.divide(values[rows] - origin, unit, out=np.zeros_like(scaled[rows]), where=unit > 0)
    return scaled


def typical_variation_normalization(
    values: np.ndarray, vehicle: np.ndarray, shrinkage: float | None = None
) -> np.ndarray:
    """Rows (n, d) turned and scaled so that vehicle wells (v, d) have mean 0 and covariance 1: (n, d) float64.

    Whitening along the principal axes of the vehicle, with all axes kept: directions in which untreated wells vary
    count for little, those in which they hardly vary for much. Wells are usually fewer than features and their
    covariance S (over v) singular, so it is shrunk to (1 - s) S + s tr(S) / d; `shrinkage` is s in 0..1, and None takes
    it from Ledoit and Wolf's formula. 0 is the published form. The published alignment of each batch's covariance
    (CORAL) is not part of this. Raises ValueError for fewer than two vehicle wells, for a covariance that is singular
    after shrinkage, when shapes differ, or where a value is not finite.
    """
    values, wells = _check(values, vehicle)
    if len(wells) < 2:
        raise ValueError(f"{len(wells)} vehicle wells: two or more are needed")
    mean = wells.mean(axis=0)
    share = float(ledoit_wolf_shrinkage(wells)) if shrinkage is None else shrinkage
    covariance = np.cov(wells, rowvar=False, ddof=0).reshape(wells.shape[1], -1)
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    variances, axes = np.linalg.eigh(shrunk)
    if variances[0] <= CONSTANT * variances[-1]:
        raise ValueError(f"the covariance of {len(wells)} vehicle wells over {wells.shape[1]} features is singular")
    return ((values - mean) @ axes) / np.sqrt(variances)


def _origin_and_unit(wells: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted and what is divided by, (d,) each; unit 0 for a feature that does not vary."""
    if scale == "centre":
        return wells.mean(axis=0), np.ones(wells.shape[1])
    if scale == "z-score":
        origin, unit = wells.mean(axis=0), wells.std(axis=0)
    else:
        origin, top = np.percentile(wells, PERCENTILES, axis=0)
        unit = top - origin
    return origin, np.where(unit > CONSTANT * np.abs(wells).max(axis=0), unit, 0.0)


def _check(values: np.ndarray, vehicle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vehicle = table(values), table(vehicle, "vehicle wells")
    if values.ndim != 2 or vehicle.ndim != 2 or values.shape[1] != vehicle.shape[1]:
        raise ValueError(f"{values.shape=} and {vehicle.shape=}: two matrices with the same features are needed")
    return values, vehicle
