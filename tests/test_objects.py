"""What objects look like, against scikit-image's region properties and closed forms."""

import numpy as np
import pytest
from skimage.measure import regionprops

from morphobench.features.objects import (
    MEASUREMENTS,
    OBJECT_COLUMNS,
    STAINS,
    object_measurements,
    object_statistics,
)


@pytest.fixture
def labelled():
    """Twelve overlapping ellipses in a stained image; label 5 has no pixels."""
    random, labels = np.random.default_rng(4), np.zeros((90, 110), dtype=np.int32)
    y, x = np.indices(labels.shape)
    for number in range(1, 13):
        row, column, height, width, turn = random.uniform((10, 10, 3, 3, 0), (80, 100, 14, 14, np.pi))
        a, b = (
            (y - row) * np.cos(turn) + (x - column) * np.sin(turn),
            (x - column) * np.cos(turn) - (y - row) * np.sin(turn),
        )
        if number != 5:
            labels[(a / height) ** 2 + (b / width) ** 2 < 1] = number
    return labels, random.uniform(size=(*labels.shape, 3)).astype(np.float32)


def test_every_measurement_equals_scikit_images(labelled):
    labels, channels = labelled
    found, regions = object_measurements(labels, channels), regionprops(labels, channels.astype(float))
    assert tuple(found) == MEASUREMENTS
    assert 5 not in [region.label for region in regions]
    names = {
        "AreaShape_Area": "area", "AreaShape_MajorAxisLength": "axis_major_length",
        "AreaShape_MinorAxisLength": "axis_minor_length", "AreaShape_Eccentricity": "eccentricity",
    }  # fmt: skip
    for measurement, name in names.items():
        np.testing.assert_allclose(found[measurement], [getattr(region, name) for region in regions], atol=1e-9)
    for number, stain in enumerate(STAINS):
        pixels = [region.image_intensity[region.image][:, number] for region in regions]
        np.testing.assert_allclose(found[f"Intensity_MeanIntensity_{stain}"], [p.mean() for p in pixels])
        np.testing.assert_allclose(found[f"Intensity_StdIntensity_{stain}"], [p.std() for p in pixels], atol=1e-12)


def test_a_disc_has_its_diameter_and_a_pixel_none():
    y, x = np.indices((201, 201))
    disc = (np.hypot(y - 100, x - 100) <= 60).astype(int)
    found = object_measurements(disc, np.ones((201, 201, 3)))
    assert found["AreaShape_MajorAxisLength"] == pytest.approx(120, rel=0.01)
    assert found["AreaShape_Eccentricity"] == pytest.approx(0, abs=1e-6)
    assert found["Intensity_StdIntensity_DNA"] == 0
    dot = np.zeros((9, 9), dtype=int)
    dot[4, 4] = 1
    lone = object_measurements(dot, np.zeros((9, 9, 3)))
    assert (lone["AreaShape_MajorAxisLength"], lone["AreaShape_Eccentricity"]) == (0, 0)


def test_an_image_has_the_mean_and_deviation_over_its_objects(labelled):
    labels, channels = labelled
    masks = {"Cells": labels, "Cytoplasm": np.zeros_like(labels), "Nuclei": np.where(labels == 3, 3, 0)}
    row = object_statistics(masks, channels)
    assert tuple(row) == OBJECT_COLUMNS
    areas = [np.count_nonzero(labels == label) for label in np.unique(labels)[1:]]
    assert row["Mean_Cells_AreaShape_Area"] == pytest.approx(np.mean(areas))
    assert row["StDev_Cells_AreaShape_Area"] == pytest.approx(np.std(areas))
    assert row["StDev_Nuclei_AreaShape_Area"] == 0
    assert all(np.isnan(value) == ("Cytoplasm" in name) for name, value in row.items())
