"""On the sim tier real replicates lead to their compound and mechanism; vehicle and swapped drugs do by chance only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from morphobench.datasets import load_tier
from morphobench.datasets.tier import ImageSet
from morphobench.features.cache import extract
from morphobench.features.registry import load_extractor
from morphobench.metrics import METRICS, BatchMechanismInputs
from morphobench.models import load_model
from morphobench.scoring.controls import FLOOR, VEHICLE, WRONG

PAIRS = (
    "anisomycin", "emetine", "colchicine", "nocodazole", "chlorambucil", "cisplatin", "camptothecin", "floxuridine",
)  # fmt: skip
"""Two compounds of each of four mechanisms."""
PLATES = ("E01", "E02", "R01", "R02")
CONTROLS = (FLOOR, VEHICLE, WRONG)


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BatchMechanismInputs]:
    """Bundles of the controls on the `id` track, cut to eight compounds on two test plates."""
    tier, cache = load_tier("sim"), tmp_path_factory.mktemp("cache")
    samples = tier.samples
    vehicle = (samples["split"] == "vehicle") & (samples["well"] < "K")  # half of them: each is rendered
    keep = samples["plate"].isin(PLATES) & (samples["compound"].isin(PAIRS) | vehicle)
    tier = dataclasses.replace(tier, samples=samples[keep].reset_index(drop=True))
    rows, wells = tier.test_rows("id"), tier.rows("vehicle")
    wells = wells[wells["plate"].isin(PLATES[:2])]
    network = load_extractor("sim_vit")

    def embedding(images: ImageSet) -> np.ndarray:
        return extract(images, network, cache).embedding

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(cache))
        real, untreated = embedding(tier.images(rows)), embedding(tier.images(wells))
        return {
            name: BatchMechanismInputs(
                generated=embedding(tier.images(load_model(name, tier, "cpu").rows(tier.conditions("id")))),  # type: ignore[attr-defined]
                real=real,
                vehicle=untreated,
                compounds=rows["compound"].to_numpy(str),
                plates=rows["plate"].to_numpy(str),
                vehicle_plates=wells["plate"].to_numpy(str),
                doses=rows["dose_um"].to_numpy(float),
                mechanisms=tier.mechanisms(rows),
                batches=tier.batches(rows),
            )
            for name in CONTROLS
        }


@pytest.mark.parametrize(
    ("key", "reached", "chance"),
    [("nsc", 0.6, 0.143), ("nscb", 0.55, 0.143), ("replicate_map", 0.55, 0.340), ("discrimination_rank", 0.7, 0.5)],
)
def test_replicates_lead_home_and_other_images_do_not(
    controls: dict[str, BatchMechanismInputs], key: str, reached: float, chance: float
) -> None:
    scores = {name: METRICS[key].score(inputs) for name, inputs in controls.items()}
    assert scores[FLOOR] > reached, scores
    assert max(scores[VEHICLE], scores[WRONG]) < (reached + chance) / 2, scores
    assert abs(scores[VEHICLE] - chance) < 0.2, scores


def test_chance_is_what_the_labels_say(controls: dict[str, BatchMechanismInputs]) -> None:
    """Of seven other compounds one has the mechanism; of eight profiles on the other plate one is the compound's."""
    inputs = controls[VEHICLE]
    assert inputs.mechanism_chance() == pytest.approx(1 / 7)
    assert inputs.mechanism_chance(batched=True) == pytest.approx(1 / 7)
    assert inputs.retrieval_chance == pytest.approx(np.mean(1 / np.arange(1, 9)))
