"""Scores from measurements: who gets an interval, who is scaled, what a reader is told, what is filed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scored_track import notes_of, scores_of
from tiny_tier import tiny_tier

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.extractor import Features
from morphobench.features.profile import PROFILE_COLUMNS, QUALITY_COLUMNS
from morphobench.report.reading import read
from morphobench.schema import Score
from morphobench.scoring import measurements as module
from morphobench.scoring.controls import (
    Controls,
    own_controls_path,
    read_controls,
    shipped_controls_path,
    write_controls,
)
from morphobench.scoring.measurements import Measurements
from morphobench.scoring.notes import floor_note

NAMES = ("a", "b", "c", "d", "e", "f")


def measurements(plates: int = 3, annotated: int = 4) -> Measurements:
    """Six compounds on `plates` plates, two images each; the first `annotated` have a mechanism."""
    random = np.random.default_rng(0)
    compounds = np.repeat(NAMES, 2 * plates)
    places = np.tile(np.repeat([f"E0{i}" for i in range(plates)], 2), len(NAMES))
    mechanism = {name: ("one", "two")[i % 2] if i < annotated else "" for i, name in enumerate(NAMES)}
    mechanisms = np.array([mechanism[name] for name in compounds])
    n, effect = len(compounds), np.repeat(random.normal(size=(len(NAMES), 8)), 2 * plates, axis=0)

    def features() -> np.ndarray:
        return effect + random.normal(size=(n, 8))

    def profile(rows: int) -> dict[str, np.ndarray]:
        flags = dict.fromkeys(QUALITY_COLUMNS, np.zeros(rows))
        return {name: random.random(rows) for name in PROFILE_COLUMNS} | flags

    def thumbnails() -> np.ndarray:
        return random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)

    pre = np.full((n, 8), 8.0)
    return Measurements(
        track="id",
        genes=tuple("ABCDEFGH"),
        compounds=compounds,
        plates=places,
        doses=np.ones(n),
        mechanisms=mechanisms,
        batches=places,
        vehicle_plates=np.repeat(np.unique(places), 4),
        train_compounds=compounds,
        train_mechanisms=mechanisms,
        features={"x": {"generated": Features(features(), None), "real": Features(features(), None)}},
        embedding_name="efficientnet_lite0",
        embedding={"generated": features(), "real": features(), "train": features()}
        | {"vehicle": random.normal(size=(4 * plates, 8))},
        profiles={"generated": profile(n), "real": profile(n), "vehicle": profile(4 * plates)},
        pixel_hashes=np.array([f"{i}" for i in range(n)]),
        expression={"pre": pre, "post": pre + features(), "predicted": pre + features()},
        protocol={},
        thumbnails={name: thumbnails() for name in ("generated", "real", "train")},
    )


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path)


def by_key(scores: list[Score]) -> dict[str, Score]:
    return {score.key: score for score in scores}


def test_a_score_on_fewer_compounds_than_the_track_has_no_interval_and_the_note_names_it(tier: Tier) -> None:
    measured = measurements()
    scores = by_key(scores_of(measured, tier))
    assert scores["kd[x]"].interval is not None
    assert scores["lda_separability"].value is not None
    assert scores["lda_separability"].interval is None
    notes = notes_of(measured, tier)
    assert notes[0].startswith("id: no intervals for lda_separability, nsc, nscb: 4 compounds on 3 plates")
    # Of three other compounds one has the same mechanism; of 12 profiles on two other plates two are the compound's.
    assert notes[1] == "id: neighbours drawn blindly score nsc 0.333, nscb 0.333, replicate_map 0.326"
    assert "lda_separability asks for 2 mechanisms; one answer for all scores at most 0.500" in notes[2]
    assert len(notes_of(measurements(annotated=6), tier)) == 2


def test_a_track_without_two_compounds_of_a_mechanism_has_no_nsc_but_the_reason(tier: Tier) -> None:
    scores = by_key(scores_of(measurements(annotated=2), tier))
    for key in ("nsc", "nscb"):
        assert scores[key].value is None
        assert "no mechanism of this track is that of two compounds" in scores[key].reason
    assert scores["replicate_map"].value is not None
    assert not any("nsc" in note for note in notes_of(measurements(annotated=2), tier))


def test_profiles_that_were_not_measured_do_not_count_as_compounds(tier: Tier) -> None:
    measured = measurements()
    post = measured.expression["post"].copy()
    post[np.isin(measured.compounds, NAMES[4:])] = np.nan
    fewer = dataclasses.replace(measured, expression={**measured.expression, "post": post})
    assert by_key(scores_of(measured, tier))["lfc_pearson_vehicle"].interval is not None
    score = by_key(scores_of(fewer, tier))["lfc_pearson_vehicle"]
    assert score.n == 4
    assert score.interval is None


def test_two_plates_give_no_interval_at_all(tier: Tier) -> None:
    measured = measurements(plates=2)
    assert all(score.interval is None for score in scores_of(measured, tier))
    assert "6 compounds on 2 plates" in " ".join(notes_of(measured, tier))


def test_a_track_is_scored_the_same_every_time(tier: Tier) -> None:
    assert scores_of(measurements(), tier) == scores_of(measurements(), tier)


def controls(vehicle: dict[str, float], replicates: dict[str, float], half: float = 0.1) -> Controls:
    """Scores of two controls on the `id` track; intervals of the replicates reach `half` to both sides."""
    scores: dict[str, dict[str, dict[str, float | None]]] = {
        "vehicle": {"id": {**vehicle}},
        "real-replicates": {"id": {**replicates}},
    }
    return Controls(scores, {"id": {key: (value - half, value + half) for key, value in replicates.items()}})


def test_nothing_is_scaled_where_replicates_do_no_better_than_the_vehicle(tier: Tier) -> None:
    plain = by_key(scores_of(measurements(), tier))
    assert floor_note(plain.values(), {})[0].startswith("some scores have no floor")
    flipped = {score.key: 9.0 if score.direction == "min" else -9.0 for score in plain.values()}
    path = shipped_controls_path(tier)
    made = controls(dict.fromkeys(plain, 0.0), flipped)
    made.floor_intervals["id"]["lda_separability"] = None
    del made.floor_intervals["id"]["nsc"]
    write_controls(tier, made, {}, path)
    scores = by_key(scores_of(measurements(), tier))
    assert all(score.scaled is None for score in scores.values())
    near, unknown = floor_note(scores.values(), made.floor_intervals)
    assert near.startswith("not scaled, as real replicates are not better than the vehicle beyond chance there: kd[x]")
    assert unknown == (
        "not scaled, as the score of real replicates has no interval there: lda_separability (id), nsc (id)"
    )
    named = {item.removesuffix(" (id)") for item in near.partition(": ")[2].split(", ")}
    # Rows that are shown and not ranked (duplicates, fd) have no scale to miss.
    ranked = {key for key, score in scores.items() if score.value is not None and read(score).ranked}
    assert named == ranked - {"lda_separability", "nsc"}
    assert {"duplicates", "fd[x]"} <= {key for key, score in scores.items() if score.value is not None} - named
    write_controls(tier, controls(flipped, dict.fromkeys(plain, 0.0), half=9.5), {}, path)
    assert all(score.scaled is None for score in scores_of(measurements(), tier)), "by chance"
    write_controls(tier, controls(flipped, dict.fromkeys(plain, 0.0), half=1), {}, path)
    scores = by_key(scores_of(measurements(), tier))
    kd = scores["kd[x]"]
    assert kd.value is not None
    assert kd.scaled == pytest.approx(1 - kd.value / 9)
    assert floor_note(scores.values(), read_controls(tier, {}).floor_intervals) == ()


def test_controls_of_this_machine_add_to_the_shipped_ones(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tier.folder / "cache"))
    path = write_controls(
        tier,
        Controls({"vehicle": {"id": {"kd[x]": 0.5}}}, {"id": {"kd[x]": (0.1, 0.2), "nsc": None}}),
        {"x": "1"},
        shipped_controls_path(tier),
    )
    assert json.loads(path.read_text())["simulated"] is tier.spec.simulated
    own = Controls({"vehicle": {"id": {"kd[x]": 9.0, "kid": 0.25}}}, {"id": {"kd[x]": (8.0, 9.0), "kid": (0.0, 1.0)}})
    write_controls(tier, own, {"inception": "2"}, own_controls_path(tier))
    assert read_controls(tier, {"x": "1"}) == Controls(
        {"vehicle": {"id": {"kd[x]": 0.5, "kid": 0.25}}},
        {"id": {"kd[x]": (0.1, 0.2), "kid": (0.0, 1.0), "nsc": None}},
    )
    with pytest.raises(BadInput, match="other weights of inception"):
        read_controls(tier, {"inception": "3"})
    # Shipped ones that do not fit what is in use are left out, as this machine has its own.
    assert read_controls(tier, {"x": "2"}) == own
    path.write_text("{}")
    with pytest.raises(BadInput, match="not a file of control scores"):
        read_controls(tier, {})
    write_controls(tier, own, {"segmentation": "2"}, path)
    own_controls_path(tier).unlink()
    with pytest.raises(BadInput, match="scored with other segmentation; score the controls again: `morphobench data"):
        read_controls(tier, {"segmentation": "3"})


def test_controls_of_this_machine_are_read_for_a_tier_with_hashes(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache folder lies outside the tier's, and its files are in no SHA256SUMS."""
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tier.folder.parent / "elsewhere"))
    tier.folder.mkdir(exist_ok=True)
    (tier.folder / "SHA256SUMS").write_text(f"{'0' * 64}  other.csv\n")
    found = Controls({"vehicle": {"id": {"kd[x]": 0.5}}})
    write_controls(tier, found, {}, own_controls_path(tier))
    assert read_controls(tier, {}) == found


def test_copies_of_real_images_are_noted(tier: Tier) -> None:
    measured = measurements()
    assert not any("copy real" in note for note in notes_of(measured, tier))
    n, small = len(measured.compounds), measured.thumbnails
    # Turned and nearly a training image; and the features of real test images.
    stolen = small["generated"].copy()
    stolen[:5] = np.clip(np.rot90(small["train"][5:10], 1, axes=(1, 2)).astype(int) + 1, 0, 255)
    copied = dataclasses.replace(measured, thumbnails={**small, "generated": stolen})
    notes = " ".join(notes_of(copied, tier))
    assert f"5 of {n} generated images copy real training images" in notes
    assert "copy real test" not in notes
    assert by_key(scores_of(copied, tier))["train_copies"].value == pytest.approx(5 / n)
    assert by_key(scores_of(copied, tier))["duplicates"].value == 0
    answers = measured.embedding["generated"].copy()
    answers[:3] = measured.embedding["real"][3:6] + 1e-6
    notes = " ".join(
        notes_of(dataclasses.replace(measured, embedding={**measured.embedding, "generated": answers}), tier)
    )
    assert f"3 of {n} generated images copy real test images" in notes
    assert "copy real training" not in notes


def test_copies_that_cannot_be_told_are_a_reason_and_a_note(tier: Tier) -> None:
    """As in a tier whose test images are training images."""
    measured = measurements()
    small = {**measured.thumbnails, "real": np.rot90(measured.thumbnails["train"], 2, axes=(1, 2))}
    same = dataclasses.replace(
        measured, thumbnails=small, embedding={**measured.embedding, "real": measured.embedding["train"]}
    )
    scores = by_key(scores_of(same, tier))
    for key in ("train_copies", "near_copies", "nearest_train_distance"):
        assert scores[key].value is None
        assert "training images" in scores[key].reason
    notes = notes_of(same, tier)
    for name in ("test", "training"):
        assert any(f"copies of real {name} images are not counted: " in note for note in notes)


def test_distances_to_training_images_are_computed_once(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, called = measurements(), []
    for name in ("nearest_distance", "nearest_view_distance"):
        real = getattr(module, name)

        def counted(a: np.ndarray, b: np.ndarray, real: Callable[..., np.ndarray] = real) -> np.ndarray:
            called.append((id(a), id(b)))
            return real(a, b)

        monkeypatch.setattr(module, name, counted)
    scores_of(measured, tier)
    notes_of(measured, tier)
    notes_of(measured, tier)
    # Generated and real to training images, by features and by thumbnails, and generated to test images.
    assert len(called) == len(set(called)) == 5
