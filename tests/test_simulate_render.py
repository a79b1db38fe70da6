"""The simulator's image side against its own truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from morphobench.datasets.simulate.cells import MITOTIC, NO_CELL, Cells, Fate, sample_cells, sample_population
from morphobench.datasets.simulate.mechanisms import MECHANISMS
from morphobench.datasets.simulate.microscope import FULL_SCALE, PlateOptics, photograph, plate_optics
from morphobench.datasets.simulate.phenotypes import PHENOTYPES, PopulationParams, population_params
from morphobench.datasets.simulate.render import render, stain, streams, territories
from morphobench.errors import BadInput

PLATE = plate_optics("1", "T01")
DOSES = (0.0, 0.33, 0.66, 1.0)


def truth(activities: dict[str, float], seed: int, size: int = 128) -> Cells:
    return sample_population(activities, streams(seed)[0], size)[1]


def nuclei(image: np.ndarray) -> np.ndarray:
    """Areas of the objects of a global threshold on blue."""
    blue = ndimage.gaussian_filter(image[..., 2].astype(float), 1.0)
    labels, count = ndimage.label(blue > threshold_otsu(blue))
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return areas[areas >= 20]


@pytest.fixture(scope="module")
def vehicles() -> np.ndarray:
    return np.stack([render({}, PLATE, seed) for seed in range(12)])


@pytest.mark.parametrize("size", [64, 128, 256])
def test_shape_dtype_and_same_bytes(size: int) -> None:
    first = render({"Epithelial": 0.5}, PLATE, 3, size)
    assert first.shape == (size, size, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, render({"Epithelial": 0.5}, PLATE, 3, size))


def test_nothing_depends_on_what_was_rendered_before_nor_on_the_order_of_activities() -> None:
    seed = np.random.SeedSequence(11)
    first = render({"DNA damage": 0.4, "Epithelial": 0.7}, PLATE, seed)
    np.random.seed(0)  # noqa: NPY002  (the global state must not matter)
    render({"Eg5 inhibitors": 1.0}, PLATE, 12)
    assert np.array_equal(first, render({"Epithelial": 0.7, "DNA damage": 0.4}, PLATE, seed))
    assert not np.array_equal(first, render({"DNA damage": 0.4, "Epithelial": 0.7}, PLATE, 13))


def test_absent_and_zero_activities_are_vehicle() -> None:
    assert np.array_equal(render({}, PLATE, 5), render(dict.fromkeys(MECHANISMS, 0.0), PLATE, 5))
    assert population_params({}) == PopulationParams()


@pytest.mark.parametrize("activities", [{"Magic": 0.5}, {"Epithelial": 1.2}, {"Epithelial": float("nan")}])
def test_bad_activities(activities: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=r"Magic|activity"):
        render(activities, PLATE, 0)


@pytest.mark.parametrize("size", [30, 130, 1024])
def test_bad_size(size: int) -> None:
    with pytest.raises(BadInput, match=str(size)):
        render({}, PLATE, 0, size)


def test_every_mechanism_of_the_table_has_a_phenotype_of_its_own() -> None:
    assert tuple(PHENOTYPES) == MECHANISMS
    assert len({population_params({name: 1.0}) for name in MECHANISMS} | {PopulationParams()}) == 13


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_parameters_move_monotonically_with_dose(mechanism: str) -> None:
    doses = [population_params({mechanism: dose}) for dose in DOSES]
    for name in PHENOTYPES[mechanism]:
        steps = np.diff([getattr(params, name) for params in doses])
        assert (steps > 0).all() or (steps < 0).all(), name


def test_size_scales_the_same_cells() -> None:
    small, large = truth({}, 4, 128), truth({}, 4, 256)
    np.testing.assert_allclose(large.x, 2 * small.x)
    np.testing.assert_allclose(large.chromatin.a, 2 * small.chromatin.a)
    assert small.in_frame(128).sum() == large.in_frame(256).sum()
    # The same picture at another resolution: equal after halving, noise and fine texture apart.
    a, b = render({}, PLATE, 4, 128)[..., 2], render({}, PLATE, 4, 256)[..., 2]
    assert np.corrcoef(a.ravel(), b.reshape(128, 2, 128, 2).mean((1, 3)).ravel())[0, 1] > 0.9


def test_channels_hold_actin_tubulin_dna() -> None:
    params, cells = sample_population({}, streams(2)[0])
    image = stain(params, cells, streams(2)[1]).sum(0)
    inner = cells.in_frame(128) & (cells.fate == Fate.INTERPHASE)
    column, row = (np.rint(v[inner]).astype(int).clip(0, 127) for v in (cells.nucleus_x, cells.nucleus_y))
    at_nucleus = image[row, column].mean(0)
    assert at_nucleus[2] > 3 * image[..., 2].mean()
    assert at_nucleus[2] > 1.6 * at_nucleus[:2].max()
    strength = [render({name: 1.0}, PLATE, 2).mean((0, 1)) for name in ("Epithelial", "Microtubule stabilizers")]
    assert strength[0][0] > strength[0][1]  # strong borders: actin over tubulin
    assert strength[1][1] > strength[1][0]  # bundles: tubulin over actin


def test_a_global_threshold_counts_the_vehicle_nuclei(vehicles: np.ndarray) -> None:
    found = np.array([len(nuclei(image)) for image in vehicles])
    planted = np.array([truth({}, seed).in_frame(128).sum() for seed in range(len(vehicles))])
    assert np.abs(found - planted).mean() < 0.25 * planted.mean()
    diameter = np.median(np.concatenate([2 * np.sqrt(nuclei(image) / np.pi) for image in vehicles]))
    assert 12 < diameter < 18


def test_little_saturates(vehicles: np.ndarray) -> None:
    assert (vehicles == 255).mean() < 0.003
    assert (vehicles == 0).mean() < 0.003


def test_count_falls_with_protein_degradation_and_area_rises_with_aurora() -> None:
    count = [np.mean([len(nuclei(render({"Protein degradation": d}, PLATE, s))) for s in range(8)]) for d in DOSES]
    assert (np.diff(count) < 0).all()
    area = [
        np.median(np.concatenate([nuclei(render({"Aurora kinase inhibitors": d}, PLATE, s)) for s in range(8)]))
        for d in DOSES
    ]
    assert (np.diff(area) > 0).all()


def test_fates_follow_the_mechanism() -> None:
    def share(mechanism: str, fates: tuple[Fate, ...]) -> float:
        drawn = np.concatenate([truth({mechanism: 1.0} if mechanism else {}, seed).fate for seed in range(30)])
        return float(np.isin(drawn, fates).mean())

    assert share("Eg5 inhibitors", (Fate.MONOPOLAR,)) == pytest.approx(0.62, abs=0.06)
    assert share("Eg5 inhibitors", (Fate.BIPOLAR,)) == 0
    assert share("", MITOTIC) == pytest.approx(0.05, abs=0.03)
    assert share("Microtubule stabilizers", (Fate.MULTINUCLEATE,)) > 0.4
    assert share("Protein degradation", (Fate.APOPTOTIC,)) == pytest.approx(0.32, abs=0.08)


def test_one_seed_gives_counterfactuals_of_the_same_cells() -> None:
    vehicle, treated = truth({}, 9), truth({"Protein synthesis": 0.3}, 9)
    both = min(len(vehicle), len(treated))
    same = vehicle.fate[:both] == treated.fate[:both]
    assert same.mean() > 0.8
    np.testing.assert_allclose(vehicle.axis[:both], treated.axis[:both])
    a, b = (render(acts, PLATE, 9).astype(float) for acts in ({}, {"Protein synthesis": 0.05}))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > np.corrcoef(a.ravel(), render({}, PLATE, 10).ravel())[0, 1] + 0.2


def test_camera_noise_has_the_stated_variance() -> None:
    optics = PlateOptics(vignetting=0.0)
    flat = np.zeros((2, 256, 256, 3), np.float32)
    flat[0] = 0.4
    image = photograph(flat, optics, np.random.default_rng(0)).astype(float)
    level = image.mean()
    assert image.var(axis=(0, 1)).mean() == pytest.approx(optics.shot_noise * level + optics.read_noise**2, rel=0.03)


@pytest.mark.parametrize("plane", [0, 1])
def test_blur_conserves_light(plane: int) -> None:
    optics = PlateOptics(vignetting=0.0, shot_noise=0.0, read_noise=0.0, background=(0.0, 0.0, 0.0), haze=0.0)
    spot = np.zeros((2, 128, 128, 3), np.float32)
    spot[plane, 62:66, 62:66] = 0.8
    image = photograph(spot, optics, np.random.default_rng(0)).astype(float)
    assert image.sum((0, 1)) == pytest.approx(np.full(3, 16 * 0.8 * FULL_SCALE), rel=0.02)


def test_plates_differ_and_can_be_told_from_vehicle_images() -> None:
    assert plate_optics("1", "T01") == PLATE
    assert plate_optics("1", "T02") != PLATE
    assert plate_optics("2", "T01") != PLATE
    plates = ("T01", "T02", "T03", "E01")
    images = [render({}, plate_optics("1", p), 100 * i + k) for i, p in enumerate(plates) for k in range(12)]
    profiles = np.array([np.r_[x.mean((0, 1)), x.std((0, 1)), np.percentile(x, 5, axis=(0, 1))] for x in images])
    forest = RandomForestClassifier(100, random_state=0)
    accuracy = cross_val_score(forest, profiles, np.repeat(range(4), 12), cv=4).mean()
    assert accuracy > 0.6  # chance is 0.25


def test_what_stands_up_is_out_of_focus() -> None:
    optics = PlateOptics(vignetting=0.0, shot_noise=0.0, read_noise=0.0, defocus=0.0)
    spot = np.zeros((128, 128, 3), np.float32)
    spot[64, 64] = 1.0
    peaks = [
        photograph(np.stack([spot, 0 * spot][::step]), optics, np.random.default_rng(0)).max(axis=(0, 1))
        for step in (1, -1)
    ]
    assert (peaks[0] > 1.5 * peaks[1].astype(float)).all()


def test_cells_overlap_where_they_do_not_adhere() -> None:
    def shared(adhesion: float) -> float:
        params = replace(PopulationParams(), adhesion=adhesion, count=28.0)
        cells = sample_cells(params, streams(3)[0])
        image = stain(params, cells, streams(3)[1]).sum(0)[..., 0]
        ground = territories(cells, 128, np.zeros((2, 128, 128)))
        both = ground.under >= 0
        return float(image[both].mean() / image[(ground.label >= 0) & ~both].mean())

    assert shared(0.2) > 1.15 * shared(1.0)


def test_a_nucleus_grows_with_its_dna() -> None:
    cells = [truth({}, seed) for seed in range(40)]
    content, radius, fate = (
        np.concatenate([getattr(c, name) for c in cells]) for name in ("dna_content", "nucleus_radius", "fate")
    )
    interphase = fate == Fate.INTERPHASE
    assert (content[np.isin(fate, MITOTIC)] == 2).all()
    assert (content[interphase] == 1).mean() == pytest.approx(0.5, abs=0.05)
    ratio = np.median(radius[interphase & (content == 2)]) / np.median(radius[interphase & (content == 1)])
    assert ratio == pytest.approx(2 ** (1 / 3), rel=0.05)  # volume follows DNA


def test_debris_belongs_to_no_cell_and_rises_with_death() -> None:
    def specks(activities: dict[str, float]) -> float:
        return float(np.mean([(truth(activities, seed).chromatin.cell == NO_CELL).sum() for seed in range(40)]))

    assert specks({}) == pytest.approx(PopulationParams().debris, abs=0.4)
    assert specks({"Protein degradation": 1.0}) == pytest.approx(6.0, abs=1.0)
