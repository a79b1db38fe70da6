"""cp-measure's tables of every cell against CellProfiler 4.2.8.1's own, and the averages over them."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from test_profile import Arrays, field

from morphobench.features import cell_profile as module
from morphobench.features.cell_profile import (
    STATISTICS,
    cell_profile,
    measure_cell_profiles,
    measure_neighbours,
    measure_objects,
    prepare,
)
from morphobench.features.colocalisation import colocalisation
from morphobench.features.granularity import granularity
from morphobench.features.objects import OBJECTS
from morphobench.features.radial import draw_rings, radial_distribution
from morphobench.features.segment import Segmentation

IMAGES = ("human", "bbbc022", "syn_round", "syn_touching", "syn_noise", "syn_saturated")
KINDS = ("Nuclei", "Cells", "Cytoplasm")
DIAMETER = (8.0, 24.0)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # objects of one pixel or one grey level
IN_PLACE = ("Intensity", "Location", "AreaShape_MinFeret", "AreaShape_MaxFeret")
"""Rows of these stand at their object's number; the other rows of AreaShape close up over absent objects."""
TIES = ("Location_MaxIntensity", "AreaShape_Orientation")
"""Where several answers are right; tested apart."""


@cache
def both(folder: Path, name: str, kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, dict]:
    """Our columns, CellProfiler's for the same objects, the labels, and the channels by name."""
    setting = json.loads((folder / "settings.json").read_text())[name]
    channels = {
        channel: (tifffile.imread(folder / "inputs" / setting[key]) / setting["intensity_divisor"]).astype(np.float32)
        for channel, key in (("DNA", "dna"), ("Cell", "cell"))
    }
    labels = np.asarray(Image.open(folder / "masks" / f"{name}_{kind}.png")).astype(np.int32)
    group = "synthetic" if name.startswith("syn") else name
    table = pd.read_csv(folder / "tables" / f"{group}_{kind}.csv.gz")
    table = table[table["image"] == name].reset_index(drop=True)
    present = np.unique(labels[labels > 0])
    theirs = {
        column: table[column].to_numpy()[present - 1 if column.startswith(IN_PLACE) else np.arange(len(present))]
        for column in table
        if column.startswith(("AreaShape", "Intensity", "Location"))
    }
    with np.errstate(all="ignore"):
        stack = np.stack(list(channels.values()))
        ours = measure_objects(labels, prepare(stack, tuple(channels), setting["intensity_divisor"]))
    return ours, theirs, labels, channels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IMAGES)
def test_columns_are_those_of_cellprofiler(shared_data, name, kind):
    ours, theirs, *_ = both(shared_data / "cellprofiler", name, kind)
    # Those three are of the module that names the objects.
    assert set(theirs) - set(ours) <= {"Location_Center_X", "Location_Center_Y", "Location_Center_Z"}
    assert len(set(theirs) & set(ours)) > 50
    for column in set(theirs) & set(ours):
        if column.startswith(TIES):
            continue
        np.testing.assert_allclose(ours[column], theirs[column], 1e-12, 1e-12, err_msg=column)


@pytest.mark.parametrize("name", IMAGES)
def test_the_brightest_pixel_is_one_of_those_of_cellprofiler(shared_data, name):
    ours, theirs, labels, channels = both(shared_data / "cellprofiler", name, "Cells")
    for channel, pixels in channels.items():
        for table in (ours, theirs):
            rows, columns = (table[f"Location_MaxIntensity_{axis}_{channel}"].astype(int) for axis in "YX")
            np.testing.assert_array_equal(labels[rows, columns], np.unique(labels[labels > 0]))
            np.testing.assert_allclose(pixels[rows, columns], theirs[f"Intensity_MaxIntensity_{channel}"], 1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IMAGES)
def test_orientation_differs_only_where_an_object_has_none(shared_data, name, kind):
    """Of an object that is its own mirror image the sign of 45 or 90 degrees hangs on the last bit."""
    ours, theirs, *_ = both(shared_data / "cellprofiler", name, kind)
    a, b = ours["AreaShape_Orientation"], theirs["AreaShape_Orientation"]
    same = np.abs(a - b) <= 1e-9 * np.maximum(np.abs(b), 1)
    np.testing.assert_allclose(np.abs(a), np.abs(b), rtol=1e-9, atol=1e-9)
    assert np.isin(np.abs(b[~same]).round(9), (45, 90)).all()


def test_averages_are_over_the_cells_that_have_a_value():
    image = field(3, 5)
    row = cell_profile(image, DIAMETER)
    assert {tuple(column.split("_")[:2]) for column in row} == {(s, c) for s in STATISTICS for c in OBJECTS}
    assert row["Mean_Cells_AreaShape_Area"] >= row["Mean_Nuclei_AreaShape_Area"] > 0
    assert np.isfinite(row["StDev_Cytoplasm_Texture_Contrast_DNA_3_00_256"])
    for family in (
        "AreaShape",
        "Intensity",
        "Texture",
        "Granularity",
        "RadialDistribution",
        "Correlation",
        "Neighbors",
    ):
        assert any(column.startswith(f"Median_Cells_{family}_") for column in row), family
    assert not any(part in column for column in row for part in ("Location", "ObjectNumber", "BoundingBoxM", "Center_"))


def test_the_mean_is_the_mean_of_the_objects():
    labels = np.zeros((40, 40), np.int32)
    labels[2:8, 2:8], labels[20:30, 20:36] = 1, 3
    channels = np.random.default_rng(0).random((3, 40, 40)).astype(np.float32)
    table = measure_objects(labels, prepare(channels))
    assert table["AreaShape_Area"].tolist() == [36, 160]
    for row, label in enumerate((1, 3)):
        inside = channels[2][labels == label].astype(float)
        assert table["Intensity_MeanIntensity_DNA"][row] == pytest.approx(inside.mean(), rel=1e-6)
        assert table["Intensity_StdIntensity_DNA"][row] == pytest.approx(inside.std(), rel=1e-6)
        pair = np.corrcoef(channels[0][labels == label], channels[2][labels == label])[0, 1]
        assert table["Correlation_Correlation_Actin_DNA"][row] == pytest.approx(pair, rel=1e-5)


def test_no_object_has_empty_columns_of_every_family():
    labels = np.zeros((40, 40), np.int32)
    prepared = prepare(np.random.default_rng(0).random((3, 40, 40)).astype(np.float32))
    one = labels.copy()
    one[4:20, 4:20] = 1
    for measured in (
        lambda labels: colocalisation(labels, prepared.channels, prepared.names, prepared.thresholds),
        lambda labels: granularity(labels, prepared.spectra[0]),
        lambda labels: radial_distribution(prepared.channels[0], draw_rings(labels)),
    ):
        empty = measured(labels)
        assert list(empty) == list(measured(one))
        assert {values.shape for values in empty.values()} == {(0,)}


def test_touching_objects_are_neighbours():
    labels = np.zeros((30, 40), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[22:28, 30:38] = 1, 2, 3
    assert measure_neighbours(labels)["Neighbors_NumberOfNeighbors_Adjacent"].tolist() == [1, 1, 0]


ALONE = {f"Neighbors_{feature}_Adjacent": [0.0] for feature in (
    "NumberOfNeighbors", "PercentTouching", "FirstClosestDistance", "SecondClosestDistance", "AngleBetweenNeighbors",
)}  # fmt: skip
"""What CellProfiler 4.2.8.1's MeasureObjectNeighbors writes of an object alone in its field, whatever its shape."""


@pytest.mark.parametrize("where", [np.s_[5:15, 5:15], np.s_[0:9, 0:4], np.s_[7, 7]], ids=["disc", "edge", "pixel"])
def test_an_object_alone_has_no_neighbour_and_the_distances_of_cellprofiler(where):
    labels = np.zeros((30, 40), np.int32)
    labels[where] = 4  # the three others of the field are not there
    assert {column: values.tolist() for column, values in measure_neighbours(labels).items()} == ALONE


def test_of_two_objects_the_second_closest_is_at_0_as_in_cellprofiler():
    labels = np.zeros((30, 40), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 2
    found = measure_neighbours(labels)
    assert found["Neighbors_FirstClosestDistance_Adjacent"].tolist() == [10, 10]
    for feature in ("SecondClosestDistance", "AngleBetweenNeighbors"):
        assert found[f"Neighbors_{feature}_Adjacent"].tolist() == [0, 0]


def test_fields_of_one_cell_of_one_without_cytoplasm_and_of_none_are_measured(tmp_path, monkeypatch):
    cell, nucleus = np.zeros((2, 64, 64), np.int32)
    cell[20:40, 20:40], nucleus[25:35, 25:35] = 1, 1
    sets = [(nucleus, cell, np.where(nucleus, 0, cell)), (cell, cell, 0 * cell), (0 * cell,) * 3]
    fields = [Segmentation(*masks) for masks in sets]
    given = iter(fields)
    monkeypatch.setattr(module, "segment", lambda *_: next(given))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    table = measure_cell_profiles(Arrays(images, "c" * 64), DIAMETER, tmp_path, workers=1)
    assert table["Mean_Cells_Neighbors_NumberOfNeighbors_Adjacent"].tolist()[:2] == [0, 0]
    assert table["Mean_Nuclei_Neighbors_PercentTouching_Adjacent"].tolist()[:2] == [0, 0]
    np.testing.assert_array_equal(table["Mean_Cytoplasm_AreaShape_Area"], [300, np.nan, np.nan])
    assert all(np.isnan(values[2]) for values in table.values())


def test_many_images_in_any_order_and_without_cells(tmp_path):
    images = np.stack([field(1, 3), np.zeros((64, 64, 3), np.uint8), field(2, 4)])
    table = measure_cell_profiles(Arrays(images, "a" * 64), DIAMETER, tmp_path, workers=1)
    turned = measure_cell_profiles(Arrays(images[::-1], "b" * 64), DIAMETER, tmp_path, workers=1)
    assert sorted(table) == sorted(turned)
    for column, values in table.items():
        assert np.isnan(values[1])
        np.testing.assert_array_equal(turned[column][::-1], values)
    one = cell_profile(images[2], DIAMETER)
    assert {column: values[2] for column, values in table.items()} == pytest.approx(one, nan_ok=True)
    again = Arrays(images, "a" * 64)
    measure_cell_profiles(again, DIAMETER, tmp_path)
    assert again.reads == 0


def test_other_arrays_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        cell_profile(np.zeros((8, 8), np.uint8), DIAMETER)
