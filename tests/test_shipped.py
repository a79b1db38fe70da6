"""The measurements that ship with the sim tier are what the code here gives for the same images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.features.cache import features_origin, write_shipped
from morphobench.features.extractor import Features
from morphobench.features.profile import AREA_COLUMNS, measure, measure_images
from morphobench.features.registry import load_extractor
from morphobench.features.segment import ENGINE
from morphobench.features.shipped import FOLDER, read_arrays, shipped_path
from morphobench.storage import read_sums, verify_sums

SAMPLED = (0, 101, 350, 703)
"""Rows derived again: four compounds on different plates."""


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_tier("sim")


def shipped(tier: Tier, name: str, split: str) -> Path:
    return shipped_path(tier, name, split)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("efficientnet_lite0", "id"),
        ("efficientnet_lite0", "ood"),
        ("sim_vit", "id"),
        ("sim_vit", "train"),
        ("sim_vit", "vehicle"),
    ],
)
def test_a_sample_of_the_features_is_derived_again(tier: Tier, name: str, split: str) -> None:
    rows, extractor = tier.rows(split), load_extractor(name)
    features = read_arrays(shipped(tier, name, split), features_origin(tier.images(rows).digest(), extractor))
    assert features is not None, "made from other images or by another extractor: run scripts/derive_features.py"
    assert len(features["embedding"]) == len(rows)
    again = extractor.extract(tier.images(rows.iloc[list(SAMPLED)]).take(range(len(SAMPLED)))).embedding
    wanted = features["embedding"][list(SAMPLED)]
    # A processor's own order of additions may move a pixel by one grey level, and with it a feature.
    np.testing.assert_allclose(again, wanted, atol=0.01 * np.abs(wanted).max())


@pytest.mark.parametrize("split", ["id", "ood", "vehicle"])
def test_a_sample_of_the_areas_is_derived_again(tier: Tier, split: str) -> None:
    rows, diameter = tier.rows(split), tier.spec.nucleus_diameter
    profiles = measure_images(tier.images(rows), diameter, Path("nowhere"), shipped=shipped(tier, ENGINE, split))
    images = tier.images(rows.iloc[list(SAMPLED)]).take(range(len(SAMPLED)))
    for row, image in zip(SAMPLED, images, strict=True):
        again = measure(image, diameter)
        for column in AREA_COLUMNS:
            assert again[column] == pytest.approx(profiles[column][row], abs=0.005), (row, column)


def test_every_shipped_file_is_hashed(tier: Tier) -> None:
    listed = set(read_sums(tier.folder))
    files = {path.relative_to(tier.folder).as_posix() for path in (tier.folder / FOLDER / "sim").glob("*.safetensors")}
    assert files
    assert files <= listed
    assert "controls/sim.json" in listed
    verify_sums(tier.folder)


def test_features_of_other_images_are_not_taken_for_these(tmp_path: Path) -> None:
    extractor = load_extractor("efficientnet_lite0")
    write_shipped(tmp_path / "f", Features(np.ones((3, 1280), np.float32), None), "these images", extractor)
    assert read_arrays(tmp_path / "f", features_origin("these images", extractor)) is not None
    assert read_arrays(tmp_path / "f", features_origin("other images", extractor)) is None
