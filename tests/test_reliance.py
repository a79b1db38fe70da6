"""Condition reliance: closed forms, the pairing, and models of which it is known what they use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scored_track import scores_of
from tiny_tier import tiny_tier

from morphobench import evaluation
from morphobench.datasets import load_tier
from morphobench.datasets.simulate.intervention import counterfactual
from morphobench.datasets.swaps import IMAGES, SwappedTruth, drug_swap, place, rna_swap, swaps
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.engine import BUILTIN
from morphobench.generation import generate
from morphobench.ingest.submission import Submission, new_submission, open_submission
from morphobench.metrics import METRICS, DrugSwapInputs
from morphobench.metrics.reliance import (
    UnitChange,
    error_resamples,
    gap_resamples,
    swap_error,
    swap_gap,
    unit_changes,
)
from morphobench.request import Request
from morphobench.schema import Condition, Conditions, Score
from morphobench.scoring.measurements import measure_track
from morphobench.scoring.protocol import Protocol

ACTIVE = (
    "docetaxel", "emetine", "MG-132", "nocodazole", "camptothecin", "monastrol", "simvastatin", "vincristine",
)  # fmt: skip


def linear_inputs(share: float, noise: float = 0.0, seed: int = 0, gain: float = 0.0) -> DrugSwapInputs:
    """Six compounds on four plates, real images without noise; generated ones make `share` of the real change."""
    random = np.random.default_rng(seed)
    compounds, plates = np.repeat(list("abcdef"), 8), np.tile(np.repeat(list("wxyz"), 2), 6)
    effects = {name: random.normal(size=5) for name in "abcdef"}
    offsets = {name: gain * random.normal(size=5) for name in "wxyz"}
    toward = dict(zip("abcdef", "bcdefa", strict=True))
    real = np.array([effects[c] + offsets[p] for c, p in zip(compounds, plates, strict=True)])
    truth = np.array([effects[toward[c]] - effects[c] for c in compounds])
    moved = share * truth + noise * random.normal(size=truth.shape)
    real = real + noise * random.normal(size=truth.shape)
    return DrugSwapInputs(moved, compounds, plates, real, compounds, plates, toward, truth)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5, -1.0])
def test_without_noise_the_gap_is_the_share_and_the_error_its_squared_distance_to_one(share: float) -> None:
    inputs = linear_inputs(share, gain=3.0)  # what plates add falls out of differences within plates
    assert METRICS["drug_swap_gap"].score(inputs) == pytest.approx(share, abs=1e-9)
    assert METRICS["drug_swap_error"].score(inputs) == pytest.approx((1 - share) ** 2, abs=1e-9)


def test_a_change_at_right_angles_is_no_gap_but_an_error() -> None:
    inputs = linear_inputs(0.0)
    change = {unit: each.real.mean(axis=0) for unit, each in inputs.changes.items()}
    moved = np.array([np.linalg.qr(np.stack([change[c], np.ones(5)], 1))[0][:, 1] for c in inputs.compounds])
    inputs = dataclasses.replace(inputs, moved=moved)
    assert METRICS["drug_swap_gap"].score(inputs) == pytest.approx(0, abs=1e-9)
    assert METRICS["drug_swap_error"].score(inputs) > 1


def test_noise_moves_neither_score_on_average_and_the_intervals_hold_the_truth() -> None:
    found = {"drug_swap_gap": [], "drug_swap_error": []}  # type: ignore[var-annotated]
    held = 0
    for seed in range(40):
        inputs = linear_inputs(0.6, noise=1.0, seed=seed)
        for key, values in found.items():
            values.append(METRICS[key].score(inputs))
        low, high = METRICS["drug_swap_gap"].interval(inputs, 100, 0) or (np.nan, np.nan)
        held += low < 0.6 < high
    for key, expected in (("drug_swap_gap", 0.6), ("drug_swap_error", 0.16)):
        values = np.array(found[key])
        assert abs(values.mean() - expected) < 3 * values.std() / np.sqrt(len(values)), key
    assert held >= 36


def noisy_changes(seed: int = 4) -> dict[str, UnitChange]:
    """Three units with three to five levels of real changes, and images on those levels, all of them noisy."""
    random, found = np.random.default_rng(seed), {}
    for unit, levels in (("a", "wxy"), ("b", "wxyz"), ("c", "vwxyz")):
        effect, names = random.normal(size=4), np.array(list(levels))
        of_images = np.repeat(names, 3)
        found[unit] = UnitChange(
            0.5 * effect + random.normal(size=(len(of_images), 4)), of_images,
            effect + 0.5 * random.normal(size=(len(names), 4)), names,
        )  # fmt: skip
    return found


def test_the_squared_length_without_bias_is_the_mean_product_of_different_levels() -> None:
    for change in noisy_changes().values():
        products = change.real @ change.real.T
        own = np.eye(len(products), dtype=bool)
        assert change.length == pytest.approx(products[~own].mean())
        assert change.bias == pytest.approx(products.mean() - products[~own].mean())
    two = UnitChange(np.ones((1, 1)), np.array(["x"]), np.array([[1.0], [3.0]]), np.array(["x", "y"]))
    assert (two.along, two.bias, two.length) == pytest.approx((2, 1, 3))


@pytest.mark.parametrize("level", list("vwxyz"))
def test_replicates_of_the_gap_change_with_a_level_as_the_gap_itself_does(level: str) -> None:
    """Derivative with respect to how often a level counts, of the replicates and of the gap written out."""
    changes, step = noisy_changes(), 1e-5
    bias = sum(change.bias for change in changes.values())

    def written_out(times: float) -> float:
        along = length = 0.0
        for change in changes.values():
            moved, real = (
                np.average(values, axis=0, weights=np.where(levels == level, times, 1.0))
                for values, levels in ((change.moved, change.moved_levels), (change.real, change.real_levels))
            )
            along, length = along + moved @ real, length + real @ real
        return along / (length - bias)

    times = np.array([1 - step, 1, 1 + step])
    units, levels = ({name: np.ones(3) for name in names} for names in ("abc", "vwxyz"))
    found = gap_resamples(changes, units, levels | {level: times})
    assert found[1] == pytest.approx(swap_gap(changes)) == pytest.approx(written_out(1))
    expected = (written_out(1 + step) - written_out(1 - step)) / (2 * step)
    assert abs(expected) > 1e-3
    assert (found[2] - found[0]) / (2 * step) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("level", list("wxyz"))
def test_replicates_of_the_error_change_with_a_level_as_the_error_itself_does(level: str) -> None:
    """Squares are products of different rows, each weighing as its level: the derivative of that sum, written out."""
    random, step = np.random.default_rng(6), 1e-5
    units, levels = np.repeat(list("abc"), 8), np.tile(np.repeat(list("wxyz"), 2), 3)
    truth = np.repeat(random.normal(size=(3, 4)), 8, axis=0) + 0.5 * random.normal(size=(24, 4))
    moved = 0.5 * truth + random.normal(size=truth.shape)

    def square(values: np.ndarray, weights: np.ndarray) -> float:
        both = np.outer(weights, weights) * (1 - np.eye(len(weights)))
        return float((both * (values @ values.T)).sum() / both.sum())

    def written_out(times: float) -> float:
        weights = np.where(levels == level, times, 1.0)
        missed, length = (
            sum(square(values[units == unit], weights[units == unit]) for unit in "abc")
            for values in (moved - truth, truth)
        )
        return missed / length

    of_units, of_levels = ({name: np.ones(3) for name in names} for names in ("abc", "wxyz"))
    times = np.array([1 - step, 1, 1 + step])
    found = error_resamples(moved, truth, units, levels, of_units, of_levels | {level: times})
    assert found[1] == pytest.approx(swap_error(moved, truth, units)) == pytest.approx(written_out(1))
    expected = (written_out(1 + step) - written_out(1 - step)) / (2 * step)
    assert abs(expected) > 1e-3
    assert (found[2] - found[0]) / (2 * step) == pytest.approx(expected, rel=1e-4)


def test_a_unit_of_two_images_counts_and_one_that_was_not_drawn_does_not() -> None:
    """The square of two rows without bias is their product: |m|^2 = <m_1, m_2>."""
    moved = np.array([[1.0, 0], [3, 1], [0, 2], [2, 2]])
    truth = np.array([[2.0, 1], [2, 1], [1, 3], [1, 3]])
    units, levels = np.array(["a", "a", "b", "b"]), np.array(["x", "y", "x", "z"])
    missed = {"a": (-1 * 1 + -1 * 0), "b": (-1 * 1 + -1 * -1)}  # <m_1 - t_1, m_2 - t_2>
    length = {"a": 2 * 2 + 1 * 1, "b": 1 * 1 + 3 * 3}
    assert swap_error(moved, truth, units) == pytest.approx(sum(missed.values()) / sum(length.values()))
    of_units = {"a": np.array([1, 1, 0, 0]), "b": np.array([1, 1, 2, 0])}
    of_levels = {"x": np.array([1, 0, 1, 1]), "y": np.array([1, 0, 1, 1]), "z": np.array([1, 1, 1, 1])}
    found = error_resamples(moved, truth, units, levels, of_units, of_levels)
    assert found[0] == pytest.approx(swap_error(moved, truth, units))
    assert found[1] == pytest.approx(missed["b"] / length["b"])  # neither level of a was drawn
    assert found[2] == pytest.approx(missed["b"] / length["b"])
    assert np.isnan(found[3])
    change = UnitChange(moved[:2], levels[:2], np.array([[1.0, 1], [3, 0]]), levels[:2])
    gap = gap_resamples({"a": change}, {"a": np.array([1, 2, 0, 1])}, of_levels | {"x": np.array([1, 1, 1, 0])})
    assert gap[0] == pytest.approx(swap_gap({"a": change}))
    assert np.isnan(gap[2])


def test_units_without_shared_levels_are_left_out_and_none_is_an_error() -> None:
    moved, labels = np.ones((4, 2)), np.array(["a", "a", "b", "b"])
    levels = np.array(["x", "y", "x", "y"])
    real = np.array([[0.0, 0], [0, 0], [1, 1], [1, 1]])
    both = unit_changes(moved, labels, levels, real, labels, levels, {"a": "b", "b": "a"})
    assert sorted(both) == ["a", "b"]
    assert swap_gap({"a": both["a"]}) == 1
    with pytest.raises(ValueError, match="no two swapped conditions share"):
        unit_changes(moved, labels, levels, real, labels, np.array(["x", "y", "v", "w"]), {"a": "b"})
    with pytest.raises(ValueError, match="do not differ beyond their noise"):
        swap_gap(unit_changes(moved, labels, levels, 0 * real, labels, levels, {"a": "b"}))
    with pytest.raises(ValueError, match="not finite"):
        unit_changes(moved * np.nan, labels, levels, real, labels, levels, {"a": "b"})
    with pytest.raises(ValueError, match="two images"):
        swap_error(moved, moved, np.arange(4))


@pytest.mark.parametrize("track", ["id", "ood"])
def test_the_pairing_is_a_derangement_between_mechanisms(track: str) -> None:
    tier = load_tier("sim")
    conditions = tier.conditions(track)
    mechanism = dict(zip(tier.compounds["compound"], tier.compounds["mechanism"], strict=True))
    drug, rna = swaps(tier, conditions).values()
    assert sorted(drug.toward) == sorted(drug.toward.values()) == sorted({c.compound for c in conditions})
    assert all(mechanism[own] != mechanism[other] for own, other in drug.toward.items())
    assert len(drug) == IMAGES["drug"] * len(drug.toward)
    for row, asked in zip(drug.rows, drug.conditions, strict=True):
        own = conditions.records[row]
        assert (asked.plate, asked.index, asked.swapped_from) == (own.plate, own.index, own.compound)
        assert asked.compound == drug.toward[own.compound]
        smiles, doses = (
            {(c.smiles, c.dose_um) for c in conditions if c.compound == asked.compound}.pop()[0],
            [c.dose_um for c in conditions if c.compound == asked.compound],
        )
        assert (asked.smiles, asked.dose_um) == (smiles, max(doses))
    np.testing.assert_array_equal(drug.conditions.g_pre, conditions.g_pre[drug.rows])
    plate_profile = {c.plate: profile for c, profile in zip(conditions, conditions.g_pre, strict=True)}
    assert sorted(rna.toward) == sorted(rna.toward.values()) == sorted(plate_profile)
    for row, asked, profile in zip(rna.rows, rna.conditions, rna.conditions.g_pre, strict=True):
        own = conditions.records[row]
        assert asked == own.model_copy(update={"swapped_from": own.compound})
        np.testing.assert_array_equal(profile, plate_profile[rna.toward[own.plate]])
        assert rna.toward[own.plate] != own.plate
    again = swaps(tier, conditions)
    assert (again["drug"].toward, again["rna"].toward) == (drug.toward, rna.toward)


def _conditions(plates: int, profiles: np.ndarray | None = None) -> Conditions:
    records = tuple(
        Condition(track="t", compound=name, index=i, smiles="C", dose_um=1, plate=f"P{i % plates}")
        for name in "ab"
        for i in range(4)
    )
    genes = ("G",)
    return Conditions(records, np.zeros((8, 1), np.float32) if profiles is None else profiles, genes)


def test_what_cannot_be_swapped_says_why() -> None:
    same = drug_swap(_conditions(2), {"a": "one", "b": "one"})
    assert (len(same), same.reason) == (0, "no two compounds of different mechanisms share two plates")
    assert len(drug_swap(_conditions(1), {})) == 0
    assert len(drug_swap(_conditions(2), {})) == 4
    assert "same on several plates" in rna_swap(_conditions(2)).reason
    ragged = rna_swap(_conditions(2, np.arange(8, dtype=np.float32)[:, None]))
    assert (len(ragged), "not that of the plates" in ragged.reason) == (0, True)
    by_plate = np.tile(np.float32([[0], [1]]), (4, 1))
    assert rna_swap(_conditions(2, by_plate)).toward == {"P0": "P1", "P1": "P0"}


@pytest.fixture(scope="module")
def tier() -> Tier:
    """The sim tier, down to eight compounds at their highest dose, one test image each per plate, and the vehicle."""
    tier = load_tier("sim")
    samples = tier.samples
    # Of training images a few are enough here.
    step = samples["split"].map({"id": 4, "train": 24})
    keep = (samples["compound"].isin(ACTIVE) & (samples["index"] % step == 0)) | (samples["split"] == "vehicle")
    return dataclasses.replace(tier, samples=samples[keep].reset_index(drop=True))


class Counterfactuals:
    """Draws the real test images; for swapped conditions their counterfactuals or, if blind, the same again."""

    def __init__(self, tier: Tier, blind: bool) -> None:
        self.tier, self.blind, self.manifest = tier, blind, {"method": "truth"}
        self.swaps = swaps(tier, tier.conditions("id"))

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        """uint8 (N, 128, 128, 3)."""
        real, rows = self.tier.images(self.tier.test_rows("id")), np.arange(len(conditions))
        if conditions.records[0].swapped_from:
            changed = conditions.records[0].compound != conditions.records[0].swapped_from
            swap = self.swaps["drug" if changed else "rna"]
            assert conditions.records == swap.conditions.records
            if not self.blind:
                return SwappedTruth(self.tier, "id", swap).take(rows)
            rows = swap.rows
        return real.take(rows)


@pytest.fixture(scope="module")
def scored(tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Score]]:
    """The scores of a model that follows every cause, and of one that draws perfect images and ignores what changes."""
    place = tmp_path_factory.mktemp("reliance")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
        for name, blind in (("follows", False), ("ignores", True)):
            protocol, watch = Protocol(("sim_vit",), "sim_vit", {}, "cpu", BUILTIN), evaluation.Stopwatch()
            asked = Request(model=Counterfactuals(tier, blind), tier=tier, tracks=("id",), out=place / name)
            plan = dataclasses.replace(asked.resolve(), protocol=protocol)
            submission = evaluation.answered(plan, watch)
            measured = measure_track(submission, tier, "id", protocol, place / "cache", watch.stage)
            found[name] = {score.key: score for score in scores_of(measured, tier)}
    return found


def test_a_model_that_ignores_the_drug_scores_nothing_whatever_its_realism(
    scored: dict[str, dict[str, Score]],
) -> None:
    ignores, follows = scored["ignores"], scored["follows"]
    for kd in ("kd[sim_vit]", "kd_per_compound[sim_vit]"):
        # Both draw the real test images themselves.
        assert ignores[kd].value == pytest.approx(follows[kd].value)
        assert ignores[kd].value is not None
        assert ignores[kd].value < 0
    assert ignores["drug_swap_gap"].value == pytest.approx(0, abs=1e-6)
    # Eight compounds may not show what plates add to real images; the whole tier does.
    assert ignores["rna_swap_gap"].value == pytest.approx(0) or "their noise" in ignores["rna_swap_gap"].reason
    for what in ("drug", "rna"):
        assert ignores[f"{what}_swap_error"].value == pytest.approx(1, abs=1e-6)
        assert follows[f"{what}_swap_error"].value == pytest.approx(0, abs=1e-6)
    assert follows["drug_swap_gap"].value == pytest.approx(1, abs=0.15)
    assert follows["drug_swap_gap"].n == IMAGES["drug"] * len(ACTIVE)


def test_the_truth_of_a_swap_is_the_simulators_counterfactual(tier: Tier) -> None:
    samples = tier.test_rows("id")
    for swap in swaps(tier, tier.conditions("id")).values():
        truth = SwappedTruth(tier, "id", swap)
        asked, sample = swap.conditions.records[1], samples.iloc[swap.rows[1]]
        change = (
            {"drug": asked.compound, "dose_um": asked.dose_um}
            if swap.kind == "drug"
            else {"g_pre": swap.toward[asked.plate]}
        )
        np.testing.assert_array_equal(truth.take([1])[0], counterfactual(tier, sample, **change).image)
        np.testing.assert_array_equal(np.concatenate(list(truth.batches(3))), truth.take(range(len(truth))))


class Grey:
    """One grey per compound."""

    def __init__(self) -> None:
        self.manifest = {"method": "grey"}

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        """uint8 (N, 32, 32, 3)."""
        greys = [10 * len(condition.compound) for condition in conditions]
        return np.array(greys, np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)


@pytest.fixture
def swapped(tmp_path: Path) -> tuple[Tier, Path]:
    """A submission with swapped drugs on a small tier whose test images lie on two plates; its G_pre is one for all."""
    tier = tiny_tier(tmp_path / "tier")
    samples = tier.samples.copy()
    samples.loc[(samples["split"] == "id") & (samples["index"] > 2), "plate"] = "E02"
    tier = dataclasses.replace(tier, samples=samples)
    asked = Request(model=Grey(), tier=tier, tracks=("id", "ood"), out=tmp_path / "run", embedding="efficientnet_lite0")
    return tier, generate(asked.resolve())


def _open(tier: Tier, folder: Path) -> Submission:
    return open_submission(folder, tier, ["id"])


def test_a_swapped_set_is_whole_or_absent(swapped: tuple[Tier, Path]) -> None:
    tier, folder = swapped
    opened = _open(tier, folder)
    assert {name: len(images) for name, images in opened.swapped.items()} == {place("id", "drug"): 4}
    files = sorted((folder / "images/id@drug-swap").rglob("*.png"))
    assert sorted(opened.swapped["id@drug-swap"].image_names) == [str(path.relative_to(folder)) for path in files]
    data = files[0].read_bytes()
    files[0].unlink()
    with pytest.raises(BadInput, match=r"images/id@drug-swap/.*is missing \(1 of 16"):
        _open(tier, folder)
    files[0].write_bytes(data[:100])
    with pytest.raises(BadInput, match=r"images/id@drug-swap/.*truncated"):
        _open(tier, folder)
    for path in files:
        path.unlink()
    plain = _open(tier, folder)
    assert plain.swapped == {}
    assert plain.images_sha256 != opened.images_sha256
    stray = folder / "images/id@rna-swap/alpha/0000.png"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(data)
    with pytest.raises(BadInput, match=r"rna-swap/alpha/0000\.png answers no condition"):
        _open(tier, folder)


def test_scores_of_an_absent_set_say_what_to_add(swapped: tuple[Tier, Path], tmp_path: Path) -> None:
    tier, folder = swapped
    for path in (folder / "images/id@drug-swap").rglob("*.png"):
        path.unlink()
    protocol = Protocol.of(tier, (), "efficientnet_lite0", {}, "cpu", BUILTIN)
    measured = measure_track(
        _open(tier, folder), tier, "id", protocol, tmp_path / "cache", evaluation.Stopwatch().stage
    )
    scores = {score.key: score for score in scores_of(measured, tier) if score.key.startswith(("drug_", "rna_"))}
    assert {key: score.value for key, score in scores.items()} == {"drug_swap_gap": None, "rna_swap_gap": None}
    assert scores["drug_swap_gap"].reason.endswith("no swapped conditions (images/id@drug-swap/)")
    assert scores["rna_swap_gap"].reason == "G_pre of this track is the same on several plates"


def test_new_names_the_swapped_images_that_are_wanted(swapped: tuple[Tier, Path], tmp_path: Path) -> None:
    import pandas as pd

    tier, folder = swapped
    new_submission(tmp_path / "mine", tier, ["id"], swapped=True)
    table = pd.read_csv(tmp_path / "mine/conditions.csv", keep_default_na=False)
    asked = table[table["swapped_from"] != ""]
    assert len(asked) == 4
    assert len(table) == 12 + 4
    assert all((folder / name).is_file() for name in table["file"])
    assert set(asked["track"]) == {"id"}
    assert (asked["compound"] != asked["swapped_from"]).all()
