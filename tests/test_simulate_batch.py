"""Batch effects of the sim tier fool a naive model, and splits by plate keep them out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from morphobench.datasets import load_tier
from morphobench.datasets.sim import simulate_image
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.culture import plate_culture, well_culture
from morphobench.datasets.simulate.mechanisms import MECHANISMS, VEHICLE

VERSION = load_tier("sim").spec.version
FOLDS = StratifiedKFold(4, shuffle=True, random_state=0)


def linear() -> RidgeClassifier:
    return make_pipeline(StandardScaler(), RidgeClassifier())


def crude(image: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and 5th percentile of each channel: nothing of a cell's shape."""
    return np.r_[image.mean((0, 1)), image.std((0, 1)), np.percentile(image, 5, axis=(0, 1))]


@pytest.mark.parametrize("source", ["image", "profile"])
def test_a_naive_model_names_the_plate_of_vehicle_wells(source: str) -> None:
    tier = load_tier("sim")
    rows = tier.rows("vehicle").groupby("plate", sort=False).head(8)
    if source == "profile":
        numbers = tier.expression(rows)[1]
    else:
        wells = zip(rows["sample_id"], rows["plate"], strict=True)
        numbers = np.array([crude(simulate_image(VERSION, name, VEHICLE, 0.0, plate, 64)) for name, plate in wells])
    assert cross_val_score(linear(), numbers, rows["plate"], cv=FOLDS).mean() > 0.5  # chance is 1 in 14


def test_random_folds_flatter_where_each_mechanism_has_its_own_plates() -> None:
    """Profiles of weak mechanisms: folds that share plates see the plate, folds by plate do not."""

    def profiles(mechanism: str, plate: str, count: int) -> list[np.ndarray]:
        drawn = []
        for k in range(count):
            name = f"test {mechanism} {plate} {k}"
            culture = well_culture(VERSION, name, plate_culture(VERSION, plate))
            active = dict.fromkeys(MECHANISMS, 0.0) | {mechanism: 0.15}
            clean = expression.untreated(VERSION, culture) + expression.fold_change(VERSION, VEHICLE, 0.0, active)
            drawn.append(expression.profile(VERSION, name, plate, clean))
        return drawn

    own = [(name, f"{name}, plate {k}", k) for name in MECHANISMS for k in range(3)]
    numbers = np.concatenate([profiles(name, plate, 6) for name, plate, _ in own])
    mechanism = np.repeat([name for name, _, _ in own], 6)
    third = np.repeat([k for _, _, k in own], 6)
    flattered = cross_val_score(linear(), numbers, mechanism, cv=FOLDS).mean()
    honest = cross_val_score(linear(), numbers, mechanism, groups=third, cv=LeaveOneGroupOut()).mean()
    elsewhere = [(name, plate) for plate in ("E01", "E02", "E03", "E04") for name in MECHANISMS]
    unseen = np.concatenate([profiles(name, plate, 3) for name, plate in elsewhere])
    truth = linear().fit(numbers, mechanism).score(unseen, np.repeat([name for name, _ in elsewhere], 3))
    assert flattered > 0.9
    assert truth < flattered - 0.3
    assert honest < truth + 0.1  # no batch effect helps it
