"""Images and weights that something is wrong with, by the path of every submission: what is scored and what is said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from scored_track import notes_of, scores_of
from test_scoring import by_key, measurements
from tiny_tier import SIZE, tiny_tier

from morphobench import evaluation, metrics
from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.extractor import Features
from morphobench.features.objects import OBJECT_COLUMNS
from morphobench.features.profile import measure
from morphobench.features.segment import ENGINE
from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.schema import Conditions, Report
from morphobench.scoring.tasks import Task, mistrusted, tasks

LITE = "efficientnet_lite0"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


class Same:
    """A model that answers every condition with one image."""

    def __init__(self, image: np.ndarray) -> None:
        self.manifest = {"method": "one image"}
        self.image = image

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        return np.repeat(self.image[None], len(conditions), axis=0)


def flat(level: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), level, dtype=np.uint8)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def one_nucleus() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    image = flat(0)
    image[(rows - 16) ** 2 + (columns - 16) ** 2 < 16] = 200
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


def report(image: np.ndarray, tier: Tier, place: Path) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
        folder = place / f"{image.sum()}-{len(tier.samples)}"
        return evaluation.evaluate(model=Same(image), tier=tier, tracks=["id"], folder=folder, embedding=LITE).report


@pytest.mark.parametrize(
    ("image", "flag"),
    [(flat(128), "empty"), (flat(0), "empty"), (flat(255), "saturated"), (noise(), "noise"), (one_nucleus(), "")],
    ids=["constant", "black", "saturated", "noise", "one nucleus"],
)
def test_images_without_cells_are_scored_and_flagged(image: np.ndarray, flag: str, place: Path) -> None:
    """Realism and copies have values, what needs more images says so, and areas in what is no cells are not scored."""
    found = report(image, tiny_tier(place / "tier"), place)
    scores = by_key(list(found.scores))
    assert all((score.value is None) == bool(score.reason) for score in scores.values())
    assert scores[f"fd[{LITE}]"].reason == "too few for fd: 12, at least 16 are needed"
    assert scores[f"is[{LITE}]"].reason == "too few for is: 12, at least 20 are needed"
    assert scores[f"kd[{LITE}]"].value is not None
    assert scores["duplicates"].value == 1
    assert scores["lfc_pearson_vehicle"].reason == "the submission predicts no expression"
    warned = f"id: 12 of 12 generated images are flagged as {flag} by the segmentation; their areas are not to be read"
    assert any(note.startswith(warned) for note in found.notes) == bool(flag)
    refused = (
        "12 of 12 generated images are flagged as noise or saturated, more than 5%: what the segmentation finds in "
        "them is no cells"
    )
    areas = [score for key, score in scores.items() if key.startswith("area_occupied_shift")]
    assert len(areas) == 6
    for score in areas:
        assert (score.value is None) == (flag in ("noise", "saturated"))
        assert score.reason == (refused if score.value is None else "")
    assert (scores["profile_correlation"].reason == refused) == (flag in ("noise", "saturated"))
    assert "NaN" not in json.dumps(found.model_dump(mode="json"))


def test_a_twentieth_of_noise_and_saturated_images_is_scored_and_more_is_not(tmp_path: Path) -> None:
    measured, tier = measurements(4), tiny_tier(tmp_path)
    n = len(measured.compounds)
    assert n == 48
    for noisy, saturated, empty, scored in ((2, 0, 0, True), (2, 1, 0, False), (0, 3, 0, False), (0, 0, 48, True)):
        flags = {"Noise": range(noisy), "Saturated": range(noisy, noisy + saturated), "Empty": range(empty)}
        columns = {f"ImageQuality_Flag{name}": np.isin(np.arange(n), rows) * 1.0 for name, rows in flags.items()}
        generated = {**measured.profiles["generated"], **columns}
        spoilt = dataclasses.replace(measured, profiles={**measured.profiles, "generated": generated})
        for key, score in by_key(scores_of(spoilt, tier)).items():
            if key.startswith(("area_occupied_shift", "profile_correlation")):
                assert (score.value is not None) == scored, (key, noisy, saturated)
                assert scored or score.reason.startswith("3 of 48 generated images are flagged as noise or saturated")
    both = {f"ImageQuality_Flag{name}": (np.arange(n) < 2) * 1.0 for name in ("Noise", "Saturated")}
    profiles = {**measured.profiles, "generated": {**measured.profiles["generated"], **both}}
    assert mistrusted(dataclasses.replace(measured, profiles=profiles)) == ""  # an image counts once


def test_a_twentieth_of_noise_moves_the_areas_by_what_the_limit_says() -> None:
    tier = load_tier("sim")
    folder = tier.folder / "features" / "sim"
    real, vehicle = (load_file(folder / f"{ENGINE}__{name}.safetensors") for name in ("id", "vehicle"))
    rows, beside = tier.rows("id"), tier.rows("vehicle")
    kept = beside["plate"].isin(set(rows["plate"])).to_numpy()
    compounds, plates = rows["compound"].to_numpy(dtype=str), rows["plate"].to_numpy(dtype=str)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    found = measure(image, tier.spec.nucleus_diameter)
    assert found["ImageQuality_FlagNoise"] == 1
    hit = random.permutation(len(rows))[: len(rows) // 20]
    for part, low, high in (("Cells", 0.1, 0.2), ("Cytoplasm", 0.1, 0.2), ("Nuclei", 0.6, 1.0)):
        column = f"AreaOccupied_AreaOccupied_{part}"
        area = real[column].astype(float)
        generated = area.copy()
        generated[hit] = found[column]
        there = vehicle[column][kept], beside["plate"].to_numpy(dtype=str)[kept]
        sides = (compounds, plates, area, compounds, *there)
        assert low < 1 - metrics.area_occupied_shift_by_compound(generated, *sides) < high


def test_a_plate_with_too_few_vehicle_images_is_noted(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)
    said = "id: 6 compounds have more images on a plate than it has vehicle images: area_occupied_shift asks their "
    assert not any(note.startswith(said) for note in notes_of(measured, tier))
    few = np.where(measured.vehicle_plates == "E02", "E01", measured.vehicle_plates)
    few[0] = "E02"
    found = dataclasses.replace(measured, vehicle_plates=few)
    assert sum(note.startswith(said) for note in notes_of(found, tier)) == 1
    assert by_key(scores_of(found, tier))["area_occupied_shift[cells]"].value is not None


def test_a_compound_whose_plates_have_no_vehicle_images_is_left_out_and_counted(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)
    elsewhere = np.where(measured.compounds == "b", "Z1", measured.plates)
    rows, key = measured.compounds != "b", "area_occupied_shift[cells]"
    apart = dataclasses.replace(measured, plates=elsewhere)
    found = next(task for task in tasks(apart, tier) if task.key == key)
    areas = {name: measured.area(name, edge=True)["cells"] for name in ("generated", "real", "vehicle")}
    labels = measured.compounds[rows], measured.plates[rows]
    expected = metrics.area_occupied_shift_by_compound(
        areas["generated"][rows], *labels, areas["real"][rows], labels[0], areas["vehicle"], measured.vehicle_plates
    )
    assert found.metric.score(found.inputs) == expected
    assert (found.metric.count(found.inputs), found.metric.undefined(found.inputs)) == (30, 6)
    assert found.inputs.clusters == (5, 3)
    said = "id: area_occupied_shift leaves out 1 compounds, the first is 'b': none of their plates has vehicle images"
    assert said in notes_of(apart, tier)
    nowhere = dataclasses.replace(measured, plates=np.full(len(elsewhere), "Z1"))
    assert by_key(scores_of(nowhere, tier))[key].reason.startswith("there are no vehicle images of these plates")


def test_a_generated_image_without_objects_shows_no_change_and_a_real_one_takes_its_pair(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)

    def task(**broken: np.ndarray) -> Task:
        profiles = dict(measured.profiles)
        for name, rows in broken.items():
            columns = {column: np.where(rows, np.nan, profiles[name][column]) for column in OBJECT_COLUMNS}
            profiles[name] = {**profiles[name], **columns}
        spoilt = dataclasses.replace(measured, profiles=profiles)
        return next(each for each in tasks(spoilt, tier) if each.key == "profile_correlation")

    whole, b = task(), measured.compounds == "b"
    blank = task(generated=b)
    assert (blank.metric.count(blank.inputs), blank.metric.undefined(blank.inputs)) == (6, 0)
    values = whole.metric.by_compound(whole.inputs)
    assert blank.metric.by_compound(blank.inputs) == pytest.approx({**values, "b": 0.0})
    one = np.arange(len(b)) == np.flatnonzero(b)[0]
    single = task(real=one)
    assert (len(single.inputs.compounds), single.metric.undefined(single.inputs)) == (len(b) - 1, 0)
    gone = task(real=b)
    assert (gone.metric.count(gone.inputs), gone.metric.undefined(gone.inputs)) == (5, 1)
    every = task(real=np.full(len(b), True))
    assert (every.inputs, every.reason) == (None, "in no real image were objects of every set found")


def test_two_images_of_a_compound_are_too_few_for_most_scores(place: Path) -> None:
    scores = by_key(list(report(one_nucleus(), tiny_tier(place / "few", images_per_compound=2), place).scores))
    for key in (f"fd[{LITE}]", f"kd[{LITE}]", f"precision[{LITE}]", "lda_separability", "area_occupied_shift[cells]"):
        assert scores[key].value is None
        assert scores[key].reason.startswith("too few for "), key
        assert scores[key].n == 4
    assert scores["duplicates"].value == 1


def test_features_that_are_not_numbers_take_their_own_scores_only(tmp_path: Path) -> None:
    measured = measurements()
    broken = measured.features["x"]["generated"].embedding.copy()
    broken[3] = np.nan
    embedding = measured.embedding["generated"].copy()
    embedding[:2] = np.nan
    n = len(broken)
    spoilt = dataclasses.replace(
        measured,
        features={
            "x": {"generated": Features(broken, None), "real": measured.features["x"]["real"]},
            "y": measured.features["x"],
        },
        embedding={**measured.embedding, "generated": embedding},
    )
    tier = tiny_tier(tmp_path)
    scores = by_key(scores_of(spoilt, tier))
    for family in ("fd", "kd", "kd_per_compound", "precision", "recall", "density", "coverage"):
        assert scores[f"{family}[x]"].value is None
        assert scores[f"{family}[x]"].reason == f"1 of {n} rows hold values that are not finite"
        assert scores[f"{family}[y]"].value is not None
    for key in ("near_copies", "nearest_train_distance"):
        assert scores[key].value is None
        assert scores[key].reason.startswith(f"2 of {n} generated images have no distance to a training image")
    assert scores["duplicates"].value == scores["train_copies"].value == 0
    assert "rows hold values that are not finite" in scores["lda_separability"].reason
    assert scores["area_occupied_shift[cells]"].value is not None
    assert notes_of(spoilt, tier)


@pytest.mark.filterwarnings("error")
def test_features_too_large_to_square_are_named(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)
    large = measured.features["x"]["generated"].embedding.copy()
    large[3] *= 1e160
    sides = {"generated": Features(large, None), "real": measured.features["x"]["real"]}
    embedding = {**measured.embedding, "generated": large}
    scores = by_key(scores_of(dataclasses.replace(measured, features={"x": sides}, embedding=embedding), tier))
    said = "1 of 36 rows hold values beyond 1e+50, whose powers overflow; scale them"
    for key in ("fd[x]", "fd_per_compound[x]", "kd[x]", "kd_per_compound[x]", "precision[x]", "coverage[x]"):
        assert (scores[key].value, scores[key].reason) == (None, said)
    for key in ("lda_separability", "nsc", "discrimination_rank"):
        assert scores[key].value is None
        assert "hold values beyond 1e+50" in scores[key].reason


def test_embeddings_that_do_not_vary_have_no_discriminant(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)
    zeros = {name: np.zeros_like(values) for name, values in measured.embedding.items()}
    score = by_key(scores_of(dataclasses.replace(measured, embedding=zeros), tier))["lda_separability"]
    assert score.reason == "the 24 training embeddings do not vary within their classes: no discriminant can be fitted"


def test_a_compound_with_one_image_is_named_and_takes_the_rows_per_compound_only(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)
    compounds = np.where(measured.compounds == "f", "e", measured.compounds)
    compounds[-1] = "z"
    scores = by_key(scores_of(dataclasses.replace(measured, compounds=compounds), tier))
    for key in ("fd_per_compound[x]", "kd_per_compound[x]"):
        said = "1 compounds have fewer than two images on a side, the first is 'z' (1 against 1)"
        assert (scores[key].value, scores[key].reason) == (None, said)
    assert scores["kd[x]"].value is not None


def test_a_track_without_vehicle_images_says_so(tmp_path: Path) -> None:
    measured, tier = measurements(), tiny_tier(tmp_path)
    none = {
        "profiles": {**measured.profiles, "vehicle": {k: v[:0] for k, v in measured.profiles["vehicle"].items()}},
        "embedding": {**measured.embedding, "vehicle": measured.embedding["vehicle"][:0]},
        "vehicle_plates": measured.vehicle_plates[:0],
    }
    scores = by_key(scores_of(dataclasses.replace(measured, **none), tier))
    said = "there are no vehicle images of these plates: what is missed is measured against their gap"
    assert scores["area_occupied_shift[cells]"].reason == said
    assert scores["nsc"].reason == "3 plates have no vehicle wells, the first is 'E00'"
    assert scores["kd[x]"].value is not None


def test_lists_are_as_good_as_arrays_and_words_are_named() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(24, 4)), random.normal(size=(24, 4))
    names, plates = np.repeat(["x", "y", "z"], 8), np.tile(["p", "q"], 12)
    p = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
    calls = [
        *((function, (a, b)) for function in (metrics.frechet_distance, metrics.kernel_distance, metrics.precision)),
        (lambda *sides: metrics.fd_infinity(*sides).value, (a, b)),
        (metrics.frechet_distance_by_compound, (a, names, b, names)),
        (metrics.kernel_distance_by_compound, (a, names, b, names)),
        (lambda probabilities: metrics.inception_score(probabilities, splits=2), (p,)),
        (metrics.lda_separability, (a, names, b, names)),
        (metrics.lda_projection, (a, names, b)),
        (metrics.discrimination, (a, b)),
        (lambda x, y, own: metrics.average_precision(x, y, (own, own)), (a, b, names)),
        (lambda x, y, own, m: metrics.mechanism_matches(x, y, (own, own), (m, m)), (a, b, names, plates)),
        (lambda *wells: metrics.scale_by_vehicle(*wells, "z-score"), (a, plates, b, plates)),
        (metrics.typical_variation_normalization, (a, b)),
        (metrics.lfc_pearson_per_compound, (a, 0 * a, b, names)),
        (metrics.profile_correlation, (a, b, names)),
        (metrics.area_occupied_shift_by_compound, (a[:, 0], names, plates, b[:, 0], names, b[:, 1], plates)),
    ]
    for function, arrays in calls:
        np.testing.assert_array_equal(function(*(array.tolist() for array in arrays)), function(*arrays))
    with pytest.raises(ValueError, match="rows that are no numbers, or not equally many: a table of numbers is needed"):
        metrics.frechet_distance([[1, 2], [3]], b)
    with pytest.raises(ValueError, match="rows that are no numbers"):
        metrics.kernel_distance([["x", "y"]], b)


def vit_file(path: Path, architecture: dict[str, int], value: float | None = None) -> Path:
    ensure_torchvision()
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    state = VisionTransformer(**SMALL, num_classes=0).state_dict()
    if value is not None:
        state["norm.weight"][0] = value
    save_file(state, path, metadata={"architecture": json.dumps(architecture)})
    return path


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("sim_vit", lambda path: vit_file(path, SMALL, float("nan")), "not finite, the first is 'norm.weight'; save"),
        ("sim_vit", lambda path: vit_file(path, {**SMALL, "depth": 3}), "depth 3, the file holds 2 blocks; save"),
        ("sim_vit", lambda path: vit_file(path, {**SMALL, "embed_dim": 32}), "not weights of a VisionTransformer"),
        ("sim_vit", lambda path: path.write_bytes(vit_file(path, SMALL).read_bytes()[:-9]), "cut short"),
        ("inception", lambda path: vit_file(path, SMALL), "the genuine weights have 6726825d0af5...; cut short or"),
    ],
    ids=["not finite", "another depth", "another architecture", "cut short", "wrong hash"],
)
def test_a_bad_file_of_weights_is_named_before_anything_is_generated(
    name: str, spoil: object, says: str, place: Path, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(BadInput) as error:
        evaluation.evaluate(
            model=Same(flat(0)), tier=tiny_tier(place / "tier"), tracks=["id"], folder=tmp_path / "out",
            extractors=[name], embedding=LITE, weights={name: path},
        )  # fmt: skip
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
