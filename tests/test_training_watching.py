"""What is looked at while a model trains: pictures, a score that chooses nothing, progress, plots, TensorBoard."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_tier import SIZE, tiny_tier
from tiny_training import TRAINERS, load_tiny, request

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, Unavailable
from morphobench.features.extractor import Extractor, Features
from morphobench.metrics import kernel_distance
from reference_models.training import reporting, trainer
from reference_models.training.reporting import plot, progress_line
from reference_models.training.watching import Part, SelfScore, evenly, grid, held_plate, part_of, parted
from reference_models.trident.trainer import TRAINER as TRIDENT_TRAINER


def two_plates(folder: Path) -> Tier:
    """The tiny tier, its training images on two plates instead of one."""
    tier = tiny_tier(folder)
    samples = tier.samples.copy()
    samples.loc[(samples["split"] == "train") & (samples["index"] % 2 == 1), "plate"] = "T02"
    return replace(tier, samples=samples)


def colours(images: np.ndarray) -> Features:
    """Mean colours of the four quarters, float32 (N, 12)."""
    quarters = images.reshape(len(images), 2, SIZE // 2, 2, SIZE // 2, 3).mean(axis=(2, 4)).astype(np.float32)
    return Features(quarters.reshape(len(images), 12), None)


EXTRACTOR = Extractor("colours", 12, "0" * 64, "none", colours)


@pytest.fixture(autouse=True)
def _tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "load_tier", lambda name: two_plates(tmp_path))
    monkeypatch.setattr(trainer, "load_extractor", lambda name, device: EXTRACTOR)
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))


def trained(model: str, folder: Path, **fields: Any) -> Path:
    return TRAINERS[model].train(request(model, folder, **fields))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][1:]


def test_a_run_that_watches_itself_keeps_pictures_and_a_curve(tmp_path: Path) -> None:
    made = trained("autoencoder", tmp_path / "first").parent
    folder = trained("trident", tmp_path, autoencoder=made, sample_every=6, score_every=4).parent
    for step in (6, 12):
        with Image.open(folder / "samples" / f"step-{step:08d}.png") as picture:
            assert picture.size == (6 * (SIZE + 2) - 2, 2 * (SIZE + 2) - 2), "all six held images, in two rows"
            top = np.asarray(picture)[:SIZE, :SIZE]
    tier = two_plates(tmp_path)
    real = part_of(tier, parted(tier, "T02")[1], 8)
    np.testing.assert_array_equal(top, real.images[0])
    scores = {line["step"]: line for line in log_of(folder) if "kd[colours]" in line}
    assert set(scores) == {4, 8, 12}
    assert all(line["scored"] == 6 for line in scores.values())
    assert (folder / "losses.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "run.json").read_text())["of"]["held_plate"] == "T02"


def test_the_score_is_the_metric_of_what_is_drawn_and_of_the_held_plate(tmp_path: Path) -> None:
    tier = two_plates(tmp_path)
    learnt, rows = parted(tier, "T02")
    assert set(rows["plate"]) == {"T02"}
    assert set(learnt.rows("train")["plate"]) == {"T01"}
    assert len(rows) + len(learnt.rows("train")) == len(tier.rows("train"))
    assert len(learnt.samples) + len(rows) == len(tier.samples)
    part = part_of(tier, rows)

    class Inverted:
        def draw(self, part: Part) -> np.ndarray:
            return 255 - part.images

    looked = SelfScore(1, Inverted(), part, EXTRACTOR).look(1)
    features = [colours(images).embedding for images in (255 - part.images, part.images)]
    assert looked == {"kd[colours]": kernel_distance(*features), "scored": 6.0}


def test_watching_changes_nothing_of_the_training(tmp_path: Path) -> None:
    plain = trained("autoencoder", tmp_path / "plain")
    watched = trained("autoencoder", tmp_path / "watched", sample_every=1)
    assert watched.read_bytes() == plain.read_bytes()


def test_a_held_plate_is_not_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies on the held plate, the weights are the same."""
    clean = trained("autoencoder", tmp_path / "clean", score_every=6)
    tier = two_plates(tmp_path)

    def changed(rows: Any) -> Any:
        images = tier.read_images(rows)
        return replace(
            images, pixels=np.where((rows["plate"] == "T02").to_numpy()[:, None, None, None], 255, images.pixels)
        )

    monkeypatch.setattr(trainer, "load_tier", lambda name: replace(tier, read_images=changed))
    other = trained("autoencoder", tmp_path / "other", score_every=6)
    assert other.read_bytes() == clean.read_bytes()


def test_one_plate_cannot_be_held_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "load_tier", load_tiny(tmp_path))
    with pytest.raises(BadInput, match="--score-every: tier tiny has 1 plate of training images"):
        trained("autoencoder", tmp_path, score_every=2)
    tier = two_plates(tmp_path)
    assert held_plate(tier) == "T02"
    rows = tier.samples.index[(tier.samples["split"] == "train") & (tier.samples["plate"] == "T02")]
    with pytest.raises(BadInput, match="--score-every: plate T02 of tier tiny has a single training image"):
        held_plate(replace(tier, samples=tier.samples.drop(rows[1:])))


def test_the_default_configuration_scores_by_the_tier_s_embedding() -> None:
    """And with no plate of a test: `sim` trains on T01 to T06."""
    from morphobench.datasets import load_tier

    tier = load_tier("sim")
    assert held_plate(tier) == "T06"
    assert tier.spec.embedding == "sim_vit"
    assert not set(tier.rows("train")["plate"]) & set(tier.test_rows("id")["plate"])
    _, rows = parted(tier, "T06")
    assert len(tier.images(rows.iloc[:2]).take([0])) == 1, "the images of a part are found as those of the whole"
    assert len(evenly(len(rows), 256)) == 256
    assert TRIDENT_TRAINER.configurations["sim"].image_size == tier.spec.image_size


def test_a_grid_is_rows_of_images_with_gaps() -> None:
    real, drawn = np.zeros((3, 4, 5, 3), np.uint8), np.full((3, 4, 5, 3), 7, np.uint8)
    page = grid(real, drawn)
    assert page.shape == (2 * 6 - 2, 3 * 7 - 2, 3)
    assert (page[:4, :5] == 0).all()
    assert (page[6:, 14:] == 7).all()
    assert (page[4:6] == 255).all()


def test_progress_says_rate_and_time_left() -> None:
    line = {"step": 500, "loss": 0.5, "steps_per_second": 8.8}
    assert progress_line(line, 10_000, "loss 0.5") == "step 500 of 10000, 8.8 steps/s, 18.0 min left: loss 0.5"
    assert "3.0 h left" in progress_line(line, 500 + 95_040, "")
    assert "10 s left" in progress_line(line, 588, "")
    assert progress_line({"step": 5, "kd": 1.0}, 10, "kd 1") == "step 5 of 10: kd 1"


def test_a_log_that_cannot_be_read_ends_no_run(tmp_path: Path) -> None:
    """The checkpoint holds the log; the file of a run that goes on is read for the plot alone."""
    folder = trained("autoencoder", tmp_path, stop_after=4).parent
    (folder / "log.jsonl").write_bytes(b'{"step": 2, "kl": \xff')
    trained("autoencoder", tmp_path, resume=True)
    assert [line["step"] for line in log_of(folder)] == [2, 4, 6, 8, 10, 12]
    plot([{"step": 2, "steps_per_second": 1.0}], tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()


def test_what_went_wrong_is_said_and_not_that_the_plot_failed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("losses.png: the disk is full")

    monkeypatch.setattr(reporting, "plot", full)
    with pytest.raises(Unavailable, match="the checkpoint"), reporting.Reporter(tmp_path, 10) as report:
        report({"step": 1, "a": 1.0})
        raise Unavailable("the checkpoint: the disk is full")
    with pytest.raises(Unavailable, match=r"losses\.png"), reporting.Reporter(tmp_path, 10) as report:
        report({"step": 1, "a": 1.0})


def test_a_plot_has_a_panel_for_every_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    lines = [{"step": s, "a": 1.0 + s, "b": -1.0, "steps_per_second": 2.0} for s in (1, 2)] + [{"step": 2, "kd": 0.1}]
    plot(lines, tmp_path / "losses.png")
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    assert set(panels) == {"a", "b", "kd"}
    assert panels["a"].get_yscale() == "log"
    assert panels["b"].get_yscale() == "linear"
    np.testing.assert_array_equal(panels["a"].lines[0].get_xydata(), [[1, 2], [2, 3]])


def test_tensorboard_has_the_log_also_after_going_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained("autoencoder", tmp_path, stop_after=4, tensorboard=True)
    folder = trained("autoencoder", tmp_path, resume=True, tensorboard=True).parent
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("reconstruction")}
    assert found == pytest.approx({line["step"]: line["reconstruction"] for line in log_of(folder)})


def test_tensorboard_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(Unavailable, match=r"tensorboard is not installed; pip install 'morphobench\[train\]'"):
        trained("autoencoder", tmp_path, tensorboard=True)
    assert not (tmp_path / "autoencoder" / "run.json").exists()
    assert reporting.PLOT_SECONDS > 0
