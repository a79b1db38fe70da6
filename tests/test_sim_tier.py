"""The sim tier: its frozen split, its profiles, and images rendered into a cache."""

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_manifest import script

from morphobench.datasets import SPLITS, Tier, available_tiers, load_compounds, load_tier, sim
from morphobench.datasets.frozen import doses
from morphobench.errors import BadInput, Unavailable

SMALL = 4
"""Rows that the image tests render: few, the pictures themselves are tested elsewhere."""


@pytest.fixture(scope="module")
def tier() -> Tier:
    return load_tier("sim")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    return tmp_path


def test_loader_knows_its_names() -> None:
    assert available_tiers() == ("sim", "morphogene", "morphogene-paper")
    with pytest.raises(BadInput, match=r"tier 'simm': unknown; choose one of sim, morphogene, morphogene-paper"):
        load_tier("simm")


def test_counts(tier: Tier) -> None:
    counts = tier.samples["split"].value_counts().to_dict()
    assert counts == dict(tier.spec.counts)
    assert set(counts) == set(SPLITS)
    assert tier.samples["sample_id"].is_unique
    assert not tier.samples.duplicated(["plate", "well"]).any()
    assert not tier.samples.duplicated(["split", "compound", "index"]).any()


@pytest.mark.parametrize(
    ("split", "compounds", "images"),
    [("train", 44, 48), ("id", 44, 16), ("ood", 54, 16), ("id_replicate", 44, 16), ("ood_replicate", 54, 16)],
)
def test_images_per_compound(tier: Tier, split: str, compounds: int, images: int) -> None:
    rows = tier.rows(split)
    cohort = "OOD" if split.startswith("ood") else "ID"
    assert set(rows["compound"]) == set(tier.compounds.loc[tier.compounds["cohort"] == cohort, "compound"])
    assert rows["compound"].value_counts().to_dict() == dict.fromkeys(rows["compound"].unique(), images)
    assert rows["compound"].nunique() == compounds
    for _, own in rows.groupby("compound"):
        assert own["index"].tolist() == list(range(images))


def test_no_plate_serves_two_roles(tier: Tier) -> None:
    plates = {split: set(tier.rows(split)["plate"]) for split in SPLITS}
    assert not plates["train"] & (plates["id"] | plates["ood"] | plates["id_replicate"] | plates["ood_replicate"])
    assert not (plates["id"] | plates["ood"]) & (plates["id_replicate"] | plates["ood_replicate"])
    assert plates["vehicle"] == set().union(*plates.values())
    assert len(plates["vehicle"]) == 14


def test_no_ood_compound_is_trained_on(tier: Tier) -> None:
    assert not set(tier.rows("train")["compound"]) & set(tier.rows("ood")["compound"])


def test_batches_are_plates_or_the_weeks_in_their_names(tier: Tier) -> None:
    rows = tier.test_rows("id").head(3)
    assert tier.batches(rows).tolist() == rows["plate"].tolist()
    weekly = dataclasses.replace(tier, spec=tier.spec.model_copy(update={"batch": "week"}))
    named = rows.assign(plate=["Week1_22123", "Week10_40111", "Week1_22141"])
    assert weekly.batches(named).tolist() == ["Week1", "Week10", "Week1"]
    assert load_tier("sim").spec.batch == "plate"


def test_doses_belong_to_the_series_and_fall_from_the_top(tier: Tier) -> None:
    compounds = load_compounds()
    treated = tier.samples[tier.samples["split"] != "vehicle"]
    for compound, own in treated.groupby("compound"):
        series = doses(compounds, compound)
        used = sorted(own["dose_um"].unique(), reverse=True)
        assert set(used) <= set(series)
        assert used[0] == max(series)
        assert [used[0] / dose for dose in used[1:]] == pytest.approx([10**0.5, 10], rel=0.1)
    assert (tier.rows("vehicle")["dose_um"] == 0).all()


def test_the_script_derives_the_same_split(tier: Tier) -> None:
    pd.testing.assert_frame_equal(script("derive_splits").samples(), tier.samples, check_dtype=False)


def test_g_pre_is_the_mean_of_the_plates_vehicle_wells(tier: Tier) -> None:
    rows = tier.rows("ood").iloc[[0, 5, 300]]
    g_pre, g_post = tier.expression(rows)
    vehicle = tier.rows("vehicle")
    for plate, pre in zip(rows["plate"], g_pre, strict=True):
        _, wells = tier.expression(vehicle[vehicle["plate"] == plate])
        assert pre == pytest.approx(wells.mean(axis=0), abs=1e-4)
    assert g_pre.shape == g_post.shape == (3, 978)
    assert g_pre.dtype == g_post.dtype == np.float32


def test_conditions_tell_what_a_model_may_know(tier: Tier) -> None:
    conditions = tier.conditions("ood")
    assert len(conditions) == 864
    assert len(conditions.genes) == 978
    by_compound = {record.compound: record for record in conditions}
    assert by_compound["cytochalasin B"].smiles
    assert by_compound["AZ258"].smiles is None
    assert set(tier.spec.panel_compounds) <= set(tier.compounds["compound"])
    assert {"simulated", "licence"} <= set(type(tier.spec).model_fields)
    assert tier.spec.simulated


def test_an_image_depends_on_its_own_row_alone(tier: Tier, cache: Path) -> None:
    rows = tier.rows("id").iloc[:SMALL]
    images = tier.images(rows).take(range(SMALL))
    backwards = tier.images(rows.iloc[::-1]).take(range(SMALL))
    assert images.shape == (SMALL, 128, 128, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, backwards[::-1])
    row = rows.iloc[2]
    alone = sim.simulate_image(tier.spec.version, row["sample_id"], row["compound"], row["dose_um"], row["plate"])
    assert np.array_equal(images[2], alone)
    assert len(np.unique(images.reshape(SMALL, -1), axis=0)) == SMALL


def test_take_renders_only_what_it_needs(tier: Tier, cache: Path) -> None:
    images = tier.images(tier.rows("train"))
    assert images.take([0, 8, 0]).shape == (3, 128, 128, 3)
    assert len(list(cache.rglob("*.npy"))) == 2


def test_batches_come_in_order_and_from_the_cache(tier: Tier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tier.rows("ood").iloc[:6]
    first = list(tier.images(rows).batches(4))
    assert [len(batch) for batch in first] == [4, 2]
    monkeypatch.setattr(sim, "render_shards", lambda shards: pytest.fail(f"rendered {shards} again"))
    assert np.array_equal(np.concatenate(first), tier.images(rows).take(range(6)))
    assert list(tier.images(rows.iloc[:0]).batches(4)) == []
    assert tier.images(rows.iloc[:0]).take([]).shape == (0, 128, 128, 3)


def test_one_process_draws_what_several_draw(tier: Tier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tier.rows("ood").iloc[:8]
    several = tier.images(rows).take(range(8))
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(cache / "other"))
    one = np.concatenate([tier.images(rows).take([row]) for row in range(8)])
    assert np.array_equal(one, several)


def test_digest_names_the_images_and_their_order(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tier.rows("id")
    digest = tier.images(rows).digest()
    assert digest == tier.images(rows.copy()).digest()
    assert digest != tier.images(rows.iloc[::-1]).digest()
    monkeypatch.setattr(sim, "RENDERER_VERSION", "another")
    assert digest != tier.images(rows).digest()


def test_an_interrupted_rendering_goes_on(tier: Tier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tier.images(tier.rows("ood").iloc[:SMALL])

    def stop_midway(path: Path, data: memoryview) -> None:
        with path.open("wb") as stream:
            stream.write(data[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stop_midway)
    with pytest.raises(KeyboardInterrupt):
        images.take([0])
    assert not list(cache.rglob("*.npy"))
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]
    monkeypatch.undo()
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(cache))
    assert images.take([0]).any()


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_a_damaged_cache_file_is_named(tier: Tier, cache: Path, damage: bytes | None) -> None:
    images = tier.images(tier.rows("ood").iloc[:SMALL])
    images.take([0])
    (path,) = cache.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:-1000] if damage is None else damage)
    with pytest.raises(BadInput, match=rf"{path.name}.*delete it and run again"):
        images.take([0])


def test_a_full_disk_is_one_line(tier: Tier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(path: Path, data: memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", no_space)
    for rows in ([0], [0, 5, 9]):  # in this process, and in workers
        with pytest.raises(Unavailable, match=r"\.npy: the disk is full"):
            tier.images(tier.rows("ood")).take(rows)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_cache_that_may_not_be_written_is_named(tier: Tier, cache: Path) -> None:
    cache.chmod(0o500)
    with pytest.raises(Unavailable, match="may not be written"):
        tier.images(tier.rows("ood").iloc[:SMALL]).take([0])
