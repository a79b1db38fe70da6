"""The controls come out in the order that each metric claims to measure; the same path as every submission."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from morphobench import evaluation
from morphobench.datasets import load_tier
from morphobench.datasets.simulate.expression import planted_programmes
from morphobench.datasets.simulate.mechanisms import main_mechanism
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.objects import COMPARTMENTS
from morphobench.metrics import METRICS, ExpressionInputs
from morphobench.models import available_models, load_model
from morphobench.report.enrichment import overlaps
from morphobench.schema import Report
from morphobench.scoring.controls import CONTROLS, read_controls_file, shipped_controls_path

ACTIVE = ("docetaxel", "emetine", "MG-132", "nocodazole")
"""Trained compounds of four mechanisms that look nothing like each other, nor like the vehicle."""


PLATES = ("T01", "T02", "T03", "E01", "E02", "E03", "E04", "R01", "R02", "R03", "R04")
"""All test and replicate plates, and half of those of training."""
ENRICHED = {"real-replicates": ("emetine",)}
"""Compounds whose gene sets are asked for beside docetaxel's."""


@pytest.fixture(scope="module")
def tier() -> Tier:
    """The sim tier, down to four compounds on PLATES and half of the vehicle wells of two test plates."""
    tier = load_tier("sim")
    samples = tier.samples
    vehicle = (samples["split"] == "vehicle") & samples["plate"].isin(["E01", "E02"]) & (samples["index"] % 64 < 32)
    keep = (samples["compound"].isin(ACTIVE) | vehicle) & samples["plate"].isin(PLATES)
    return dataclasses.replace(tier, samples=samples[keep].reset_index(drop=True))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the module's submissions and of its cache."""
    return tmp_path_factory.mktemp("controls")


@pytest.fixture(scope="module")
def reports(tier: Tier, place: Path) -> dict[str, Report]:
    """All five controls, scored on the `id` track."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
        return {
            name: evaluation.evaluate(
                model=name, tier=tier, tracks=["id"], folder=place / name, enrich=ENRICHED.get(name, ())
            ).report
            for name in CONTROLS
        }


def value(report: Report, key: str) -> float:
    found = next(score.value for score in report.scores if score.key == key)
    assert found is not None, key
    return found


def test_every_control_is_installed() -> None:
    assert set(CONTROLS) <= set(available_models())


@pytest.mark.parametrize(
    "key", ["fd[efficientnet_lite0]", "kd[efficientnet_lite0]", "kd_per_compound[efficientnet_lite0]"]
)
def test_realism_prefers_real_images_of_the_right_drug(reports: dict[str, Report], key: str) -> None:
    scores = {name: value(report, key) for name, report in reports.items()}
    assert scores["real-replicates"] < scores["vehicle"] < scores["mean-image"]


def test_pooled_realism_forgives_swapped_drugs_and_per_compound_does_not(reports: dict[str, Report]) -> None:
    pooled = {name: value(report, "kd[efficientnet_lite0]") for name, report in reports.items()}
    each = {name: value(report, "kd_per_compound[efficientnet_lite0]") for name, report in reports.items()}
    assert abs(pooled["wrong-compound"] - pooled["real-replicates"]) < 0.1 * pooled["vehicle"]
    assert each["wrong-compound"] > each["real-replicates"] + 0.5 * (each["vehicle"] - each["real-replicates"])


def test_the_copycat_is_as_real_as_the_replicates(reports: dict[str, Report]) -> None:
    scores = {name: value(report, "kd[efficientnet_lite0]") for name, report in reports.items()}
    assert abs(scores["copycat"] - scores["real-replicates"]) < 0.2 * scores["vehicle"]


def test_separability_needs_the_right_drug(reports: dict[str, Report]) -> None:
    scores = {name: value(report, "lda_separability") for name, report in reports.items()}
    assert scores["real-replicates"] > 0.8
    assert scores["wrong-compound"] < 0.2
    assert scores["mean-image"] <= 0.5
    assert scores["vehicle"] < scores["real-replicates"] - 0.3


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_area_shift_closes_the_gap_for_replicates_only(reports: dict[str, Report], compartment: str) -> None:
    scores = {name: value(report, f"area_occupied_shift[{compartment}]") for name, report in reports.items()}
    assert scores["real-replicates"] > 0.7
    assert abs(scores["vehicle"]) < 0.3
    assert scores["wrong-compound"] < scores["real-replicates"] - 0.3
    assert scores["mean-image"] < scores["real-replicates"] - 0.3


def test_expression_orders_lookup_mean_and_nothing(reports: dict[str, Report]) -> None:
    against_vehicle = {name: value(report, "lfc_pearson_vehicle") for name, report in reports.items()}
    assert against_vehicle["real-replicates"] > 0.9
    assert against_vehicle["real-replicates"] > against_vehicle["mean-image"] > abs(against_vehicle["vehicle"])
    own = {
        name: value(report, "lfc_pearson_perturbed_mean") for name, report in reports.items() if name != "mean-image"
    }
    assert own["real-replicates"] > 0.8
    assert own["wrong-compound"] < 0


def test_predictions_that_learn_nothing_stand_beside_every_expression_score(reports: dict[str, Report]) -> None:
    expression = {key for key, metric in METRICS.items() if metric.inputs is ExpressionInputs}
    shown = {}
    for score in reports["real-replicates"].scores:
        assert bool(score.trivial) == (score.key in expression), score.key
        shown[score.key] = {trivial.name: trivial.value for trivial in score.trivial}
    against_vehicle = shown["lfc_pearson_vehicle"]
    assert against_vehicle["lookup"] > 0.9
    assert against_vehicle["lookup"] > against_vehicle["training mean"] > against_vehicle["no change"] == 0
    assert against_vehicle["training mean"] == pytest.approx(
        value(reports["mean-image"], "lfc_pearson_vehicle"), abs=1e-4
    )
    assert shown["lfc_pearson_perturbed_mean"]["training mean"] == 0
    assert shown["centroid_accuracy"]["training mean"] == shown["centroid_accuracy"]["no change"] == 0.5
    assert shown["centroid_accuracy"]["lookup"] == 1
    assert shown["lfc_pearson"]["no change"] is None


def test_gene_sets_of_any_compound_are_reported_on_request(reports: dict[str, Report]) -> None:
    rows = reports["real-replicates"].enrichment
    assert {row.compound for row in rows} == {"docetaxel", "emetine"}
    assert {row.compound for row in reports["copycat"].enrichment} == {"docetaxel"}
    for compound in ("docetaxel", "emetine"):
        planted = planted_programmes(main_mechanism(compound))
        for direction in ("up", "down"):
            for source in ("measured", "predicted"):
                found = {
                    row.term
                    for row in rows
                    if (row.compound, row.direction, row.source) == (compound, direction, source)
                    and row.p_adjusted <= 0.05
                }
                assert set(planted[direction]) <= found, (compound, direction, source)
    for overlap in overlaps(rows):
        assert overlap.jaccard is not None
        assert overlap.jaccard > 0.5


def test_a_compound_that_is_not_tested_has_no_gene_sets(tier: Tier, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--enrich 'docetaxl': no test compound of id; nearest names: docetaxel"):
        evaluation.evaluate(model="vehicle", tier=tier, tracks=["id"], folder=tmp_path, enrich=["docetaxl"])
    assert not list(tmp_path.iterdir())


def test_the_perturbed_mean_has_no_pattern_of_its_own(reports: dict[str, Report]) -> None:
    assert value(reports["mean-image"], "lfc_pearson_perturbed_mean") == 0


def test_shipped_controls_span_every_scale() -> None:
    """The floors that reports show: on the whole tier the vehicle is worse than the replicates wherever one ranks."""
    tier = load_tier("sim")
    filed = read_controls_file(shipped_controls_path(tier), tier, {})
    controls = filed.scores
    assert set(controls) == set(CONTROLS)
    assert {track: set(of) for track, of in filed.floor_intervals.items()} == {
        track: {key for key in of if "@" not in key} for track, of in controls["real-replicates"].items()
    }
    for track in tier.spec.tracks:
        compounds = set(tier.test_rows(track)["compound"])
        for key in ("discrimination_rank", "profile_correlation", "lfc_pearson_vehicle"):
            filed_for = {name.partition("@")[2] for name in controls["vehicle"][track] if name.startswith(f"{key}@")}
            assert filed_for == compounds
    for track in tier.spec.tracks:
        for family in ("fd", "kd", "kd_per_compound"):
            key = f"{family}[{tier.spec.extractor}]"
            best, worst = controls["real-replicates"][track][key], controls["vehicle"][track][key]
            assert best is not None
            assert worst is not None
            assert best < worst, (track, key)
        replicate, swapped = (
            controls[name][track]["lda_separability"] for name in ("real-replicates", "wrong-compound")
        )
        assert replicate is not None
        assert swapped is not None
        assert replicate > 2 * swapped


def test_copies_are_of_training_images_and_replicates_are_not(tier: Tier) -> None:
    conditions = tier.conditions("id")
    copies = load_model("copycat", tier, "cpu").rows(conditions)  # type: ignore[attr-defined]
    others = load_model("real-replicates", tier, "cpu").rows(conditions)  # type: ignore[attr-defined]
    wanted = [condition.compound for condition in conditions]
    doses = np.array([condition.dose_um for condition in conditions])
    for rows, split in ((copies, "train"), (others, "id_replicate")):
        assert set(rows["split"]) == {split}
        assert rows["compound"].tolist() == wanted
        np.testing.assert_allclose(rows["dose_um"].to_numpy(), doses)
        assert rows["sample_id"].is_unique


def test_a_held_out_drug_is_copied_from_its_nearest_neighbour() -> None:
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    tier = load_tier("sim")
    conditions = tier.conditions("ood")
    rows = load_model("copycat", tier, "cpu").rows(conditions)  # type: ignore[attr-defined]
    pairs = dict(zip((c.compound for c in conditions), rows["compound"], strict=True))
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    table = tier.compounds.set_index("compound")
    trained = {
        name: generator.GetFingerprint(Chem.MolFromSmiles(table["smiles"][name]))
        for name in sorted(set(tier.rows("train")["compound"]))
        if table["smiles"][name]
    }
    for compound, neighbour in pairs.items():
        if not table["smiles"][compound]:
            continue
        own = generator.GetFingerprint(Chem.MolFromSmiles(table["smiles"][compound]))
        likeness = pd.Series({name: DataStructs.TanimotoSimilarity(own, other) for name, other in trained.items()})
        assert likeness[neighbour] == likeness.max()


def test_wrong_compound_is_never_the_right_one() -> None:
    tier = load_tier("sim")
    for track in tier.spec.tracks:
        conditions = tier.conditions(track)
        rows = load_model("wrong-compound", tier, "cpu").rows(conditions)  # type: ignore[attr-defined]
        assert all(a != c.compound for a, c in zip(rows["compound"], conditions, strict=True))
        assert rows["sample_id"].is_unique


def test_vehicle_repeats_no_image_on_the_whole_tier() -> None:
    tier = load_tier("sim")
    for track in tier.spec.tracks:
        conditions = tier.conditions(track)
        rows = load_model("vehicle", tier, "cpu").rows(conditions)  # type: ignore[attr-defined]
        assert rows["sample_id"].is_unique
        same = (rows["plate"].to_numpy() == np.array([c.plate for c in conditions])).sum()
        assert same == 4 * 64, "each test plate's own wells are used first"


def test_a_draw_is_the_same_in_every_process() -> None:
    """Python orders its sets anew in each process."""
    names = [name for name in CONTROLS if name != "mean-image"]
    code = (
        "from morphobench.datasets import load_tier; from morphobench.models import load_model;"
        "from morphobench.storage import sha256_text; tier = load_tier('sim'); conditions = tier.conditions('id');"
        f"print(*(sha256_text(*load_model(name, tier, 'cpu').rows(conditions)['sample_id']) for name in {names}))"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    )
    assert first == second
    assert len(set(first)) == len(names), "each control draws images of its own"


def test_an_evaluation_in_a_loop_needs_no_installed_model(
    tier: Tier, place: Path, reports: dict[str, Report], tmp_path: Path
) -> None:
    """A model author hands over an object."""

    class Black:
        def __init__(self) -> None:
            self.manifest = {"method": "nothing"}

        def generate(self, conditions: object, seed: int) -> np.ndarray:
            return np.zeros((len(conditions), 128, 128, 3), np.uint8)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
        report = evaluation.evaluate(model=Black(), tier=tier, tracks=["id"], folder=tmp_path).report
    assert any("flagged as empty" in note for note in report.notes)
    assert value(report, "kd[efficientnet_lite0]") > value(reports["vehicle"], "kd[efficientnet_lite0]")
    assert all(score.value is None for score in report.scores if score.key.startswith("lfc"))
