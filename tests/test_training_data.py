"""The torch data set: the tier's own arrays, the same through workers, and torch only where it is asked for."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from morphobench.datasets import Tier, load_tier
from morphobench.datasets.frozen import morgan_fingerprint
from morphobench.errors import BadInput
from morphobench.training_data import TierDataset

ROOT = Path(__file__).parents[1]
ROWS = [0, 1, 15, 16, 40]


@pytest.fixture(scope="module")
def tier() -> Tier:
    return load_tier("sim")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def grey(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"image": item["image"].float().mean(dim=0, keepdim=True)}


def test_an_item_is_the_tiers(tier: Tier) -> None:
    dataset = TierDataset(tier, "id")
    rows = tier.rows("id")
    pre, post = tier.expression(rows)
    images = tier.images(rows).take(ROWS)
    assert len(dataset) == len(rows)
    for position, row in enumerate(ROWS):
        item = dataset[row]
        assert item["image"].dtype == torch.uint8
        assert item["image"].shape == (3, 128, 128)
        assert np.array_equal(item["image"].numpy(), images[position].transpose(2, 0, 1))
        assert np.array_equal(item["g_pre"].numpy(), pre[row])
        assert np.array_equal(item["g_post"].numpy(), post[row])
        for column in ("sample_id", "compound", "plate", "well"):
            assert item[column] == rows[column][row]
        assert item["dose_um"].item() == np.float32(rows["dose_um"][row])
        assert item["moa"] == tier.mechanisms(rows)[row]
        bits = morgan_fingerprint(item["smiles"]) if item["smiles"] else np.zeros(1024)
        assert np.array_equal(item["fingerprint"].numpy(), bits)
    assert dataset[-1]["sample_id"] == rows["sample_id"].iloc[-1]
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_the_vehicle_has_no_structure(tier: Tier) -> None:
    item = TierDataset(tier, "vehicle")[0]
    assert item["smiles"] == ""
    assert not item["fingerprint"].any()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_two_workers_give_what_none_gives(
    start: str, tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = torch.utils.data.Subset(TierDataset(tier, "id", transform=grey), ROWS)
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "workers"))  # empty: the workers render
    context = multiprocessing.get_context(start)
    shared = list(DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context=context))
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "alone"))
    alone = list(DataLoader(dataset, batch_size=2))
    assert len(shared) == len(alone) == 3
    for ours, theirs in zip(alone, shared, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
            assert same, name
    assert alone[0]["image"].shape == (2, 1, 128, 128)
    assert alone[0]["g_post"].shape == (2, 978)


def test_images_are_read_when_asked_for(tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    dataset = pickle.loads(pickle.dumps(TierDataset(tier, "ood")))
    assert not list(tmp_path.rglob("*.npy"))
    assert dataset[0]["image"].any()
    assert len(list(tmp_path.rglob("*.npy"))) == 1


def test_an_unknown_split_is_named(tier: Tier) -> None:
    with pytest.raises(BadInput, match="split 'test': tier sim has train, id"):
        TierDataset(tier, "test")


def test_torch_is_imported_by_this_module_alone() -> None:
    code = "import sys, morphobench, morphobench.datasets, morphobench.cli; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "False"
