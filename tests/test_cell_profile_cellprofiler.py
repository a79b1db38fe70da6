"""Every measurement of the full profile against CellProfiler 4.2.8.1's own modules on the same masks."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from centrosome.cpmorphology import distance_to_edge
from cp_measure.core.measurecolocalization import get_correlation_costes, get_correlation_rwc
from oracles import FOLDER, MEASURED_IMAGES, own, pixels
from PIL import Image

from morphobench.datasets import load_tier
from morphobench.errors import Unavailable
from morphobench.features import cellprofiler
from morphobench.features.cell_profile import CHANNELS, measure_neighbours, measure_objects, prepare
from morphobench.features.objects import OBJECTS
from morphobench.features.segment import segment

Tables = dict[str, dict[str, dict[str, np.ndarray]]]
"""Image -> objects -> column -> (n,)."""
MODULES = Path(__file__).with_name("cellprofiler_modules.py")
SIM_IMAGES = 4
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # objects of one pixel or one grey level
TOLERANCE = 1e-10
"""Relative; found: rounding."""
ZERO = {
    "AreaShape_CentralMoment": 1e-6, "AreaShape_HuMoment": 1e-9,
    "AreaShape_Zernike": 1e-12, "AreaShape_InertiaTensor_": 1e-11, "AreaShape_NormalizedMoment": 1e-12,
    "Granularity": 1e-9, "Texture": 1e-10, "Correlation": 1e-12,
}  # fmt: skip
"""Absolute, for values that are 0 but for rounding."""
APART = ("Location_MaxIntensity", "AreaShape_Orientation", "AreaShape_Zernike", "RadialDistribution")
"""Each has a test of its own."""
UNDEFINED = ("Texture", "Correlation_Costes")
"""CellProfiler writes 0 where an object has no such value."""


@dataclass(frozen=True)
class Measured:
    """One set of objects of one image: its channels, its label image, and the columns of both, (n,) each."""

    name: str
    channels: np.ndarray
    labels: np.ndarray
    ours: dict[str, np.ndarray]
    theirs: dict[str, np.ndarray]


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels 1..n without gaps, as CellProfiler closes up some tables over absent objects and others not."""
    return np.unique(np.append(0, labels), return_inverse=True)[1][1:].reshape(labels.shape).astype(np.int32)


def oracle_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The seven oracle images, their masks and full scales, as `cellprofiler_modules.py` takes them."""
    arrays = {}
    for name, setting in json.loads((folder / "settings.json").read_text()).items():
        scale = setting["intensity_divisor"]
        for channel, key in (("DNA", "dna"), ("Cell", "cell")):
            pixels = tifffile.imread(folder / "inputs" / setting[key])
            arrays[f"{name}/channels/{channel}"] = (pixels / scale).astype(np.float32)
        for kind in OBJECTS:
            labels = np.asarray(Image.open(folder / "masks" / f"{name}_{kind}.png"))
            arrays[f"{name}/objects/{kind}"] = numbered(labels)
        arrays[f"{name}/scale"] = np.array(scale)
    return arrays


def sim_arrays() -> dict[str, np.ndarray]:
    """Images spread over the sim tier, with our masks, which are CellProfiler's."""
    tier, arrays = load_tier("sim"), {}
    rows = tier.samples.iloc[np.linspace(0, len(tier.samples) - 1, SIM_IMAGES).astype(int)]
    for number, image in enumerate(tier.images(rows).take(range(SIM_IMAGES))):
        channels = np.ascontiguousarray((image / 255).astype(np.float32).transpose(2, 0, 1))
        masks = segment(channels[2], channels[1], tier.spec.nucleus_diameter)
        arrays |= {f"sim{number}/channels/{name}": pixels for name, pixels in zip(CHANNELS, channels, strict=True)}
        arrays |= {f"sim{number}/objects/{kind}": numbered(getattr(masks, kind.lower())) for kind in OBJECTS}
        arrays[f"sim{number}/scale"] = np.array(255)
    return arrays


def alone_arrays() -> dict[str, np.ndarray]:
    """A field of exactly one cell, whose modules have no other object to compare it with."""
    rows, columns = np.mgrid[:64, :64]
    cell, nucleus = ((rows - 30) ** 2 / size**2 + (columns - 26) ** 2 / (size + 4) ** 2 <= 1 for size in (12, 5))
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64))
    arrays = {f"alone/channels/{name}": (noise[row] / 255).astype(np.float32) for row, name in enumerate(CHANNELS)}
    for kind, inside in zip(OBJECTS, (cell, cell & ~nucleus, nucleus), strict=True):
        arrays[f"alone/objects/{kind}"] = inside.astype(np.int32)
    return arrays | {"alone/scale": np.array(255)}


def stored() -> tuple[dict[str, np.ndarray], Tables]:
    """The project's own oracles: arrays as `cellprofiler_modules.py` took them, and the tables that it gave."""
    arrays, tables = {}, {}
    with np.load(FOLDER / "objects.npz") as file:
        for name in MEASURED_IMAGES:
            channels = (pixels(name) / 255).astype(np.float32).transpose(2, 0, 1)
            arrays |= {f"{name}/channels/{channel}": channels[k] for k, channel in enumerate(CHANNELS)}
            arrays |= {f"{name}/objects/{kind}": own(name).masks[kind].astype(np.int32) for kind in OBJECTS}
            arrays[f"{name}/scale"] = np.array(255)
            tables[name] = {
                kind: dict(zip(file[f"{name}/{kind}/columns"].tolist(), file[f"{name}/{kind}/values"], strict=True))
                for kind in OBJECTS
            }
    return arrays, tables


def live(folder: Path, arrays: dict[str, np.ndarray]) -> Tables:
    """What the modules of an installed CellProfiler make of the arrays."""
    installation = cellprofiler.find()
    np.savez(folder / "images.npz", **arrays)
    command = [installation.python, "-I", "-W", "ignore", MODULES, folder / "images.npz", folder / "tables.json"]
    done = subprocess.run(command, capture_output=True, text=True, env=installation.environment)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "tables.json").read_text())


@pytest.fixture(scope="module", params=["stored", "live"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    """Ours beside the stored tables of two images, and beside those of many images where CellProfiler is at hand."""
    if request.param == "stored":
        arrays, tables = stored()
    else:
        shared_data = request.getfixturevalue("shared_data")
        try:
            cellprofiler.find()
        except Unavailable as error:
            pytest.skip(str(error))
        arrays = oracle_arrays(shared_data / "cellprofiler") | sim_arrays() | alone_arrays()
        tables = live(tmp_path_factory.mktemp("cellprofiler"), arrays)
    found = []
    for name, columns in tables.items():
        channels = {key.split("/")[2]: arrays[key] for key in arrays if key.startswith(f"{name}/channels/")}
        stack = np.stack(list(channels.values()))
        field = prepare(stack, tuple(channels), int(arrays[f"{name}/scale"]))
        for kind, table in columns.items():
            labels = arrays[f"{name}/objects/{kind}"]
            with np.errstate(all="ignore"):
                ours = measure_objects(labels, field)
                if kind != "Cytoplasm":
                    ours |= measure_neighbours(labels)
            theirs = {column: np.array(values, float) for column, values in table.items()}
            if labels.any():
                found.append(Measured(f"{name} {kind}", stack, labels, ours, theirs))
    # syn_empty has no object
    assert len(found) == 3 * (len(MEASURED_IMAGES) if request.param == "stored" else 6 + SIM_IMAGES + 1)
    return found


def test_the_columns_are_those_of_cellprofiler(measured):
    numbers = {f"Neighbors_{which}ClosestObjectNumber_Adjacent" for which in ("First", "Second")}
    for one in measured:
        assert set(one.theirs) - set(one.ours) == (set() if "Cytoplasm" in one.name else numbers), one.name
        assert set(one.ours) <= set(one.theirs), one.name


def test_every_measurement_is_cellprofilers(measured):
    compared = set()
    for one in measured:
        for column, ours in one.ours.items():
            theirs = one.theirs[column]
            if column.startswith(APART):
                continue
            if column.startswith(UNDEFINED):
                theirs = np.where(np.isnan(ours) & (theirs == 0), np.nan, theirs)
            absolute = next((value for start, value in ZERO.items() if column.startswith(start)), 0)
            np.testing.assert_allclose(ours, theirs, TOLERANCE, absolute, err_msg=f"{one.name} {column}")
            compared.add(column.split("_")[0])
    assert compared == {"AreaShape", "Intensity", "Location", "Texture", "Granularity", "Correlation", "Neighbors"}


def test_undefined_values_are_few(measured):
    """0 in CellProfiler's tables, NaN here: see docs/precision.md."""
    for family in UNDEFINED:
        absent = np.concatenate([
            np.isnan(values) & (one.theirs[column] == 0)
            for one in measured for column, values in one.ours.items() if column.startswith(family)
        ])  # fmt: skip
        assert absent.mean() < 0.02, family
        assert absent.any() or len(measured) == 3 * len(MEASURED_IMAGES), family


def test_zernike_moments_differ_where_rounding_puts_a_pixel_on_or_off_the_circle(measured):
    largest = []
    for one in measured:
        columns = [column for column in one.ours if column.startswith("AreaShape_Zernike")]
        assert len(columns) == 30
        largest.append(np.max([np.abs(one.ours[column] - one.theirs[column]) for column in columns], axis=0))
    difference = np.concatenate(largest)
    assert np.mean(difference > 1e-12) < 0.005
    assert np.nanmax(difference) < 0.01  # NaN: an object of one pixel has no circle


def test_rings_are_equal_where_one_pixel_is_the_deepest(measured):
    """Of several pixels that lie deepest CellProfiler takes what an unstable sort leaves last, cp-measure the first."""
    single, count, furthest = 0, 0, 0.0
    for one in measured:
        objects = int(one.labels.max())
        depth = distance_to_edge(one.labels)
        deepest = np.zeros(objects + 1)
        np.maximum.at(deepest, one.labels.ravel(), depth.ravel())
        at_depth = (depth == deepest[one.labels]) & (one.labels > 0)
        sure = np.bincount(one.labels[at_depth], minlength=objects + 1)[1:] == 1
        for column in (column for column in one.ours if column.startswith("RadialDistribution")):
            np.testing.assert_allclose(one.ours[column][sure], one.theirs[column][sure], TOLERANCE, err_msg=column)
            if "FracAtD" in column:
                furthest = max(furthest, float(np.nanmax(np.abs(one.ours[column] - one.theirs[column]))))
        single, count = single + int(sure.sum()), count + objects
    assert single > count / 2
    assert furthest < 0.6


def test_orientation_is_equal_but_for_the_sign_of_45_and_90_degrees(measured):
    for one in measured:
        ours, theirs = one.ours["AreaShape_Orientation"], one.theirs["AreaShape_Orientation"]
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), 1e-9, 1e-9)
        turned = np.abs(ours - theirs) > 1e-9 * np.maximum(np.abs(theirs), 1)
        assert np.isin(np.abs(theirs[turned]).round(9), (45, 90)).all()


def test_cp_measures_costes_and_rwc_mean_something_else(measured):
    """Why they are not taken from it: it has a threshold and a ranking per object, CellProfiler one for all objects."""
    other: dict[str, list[np.ndarray]] = {"Costes": [], "RWC": []}
    for one in measured:
        if not one.name.startswith(("sim", *MEASURED_IMAGES)):
            continue
        settings = {"Costes": {"scale_max": 255}, "RWC": {}}
        for feature, function in (("Costes", get_correlation_costes), ("RWC", get_correlation_rwc)):
            found = function(*one.channels[1:], one.labels, **settings[feature])[f"Correlation_{feature}_1"]
            theirs = one.theirs[f"Correlation_{feature}_Tubulin_DNA"]
            other[feature].append(~np.isclose(found, theirs, 0, 1e-3, equal_nan=True))
    for feature, differs in other.items():
        assert np.concatenate(differs).mean() > 0.8, feature
