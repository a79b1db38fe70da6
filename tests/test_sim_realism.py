"""Simulated vehicle cells against real Cell Painting: the benchmark's own comparison, on fewer images."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from morphobench.datasets import load_tier
from morphobench.datasets.simulate.mechanisms import MECHANISMS

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "sim_realism.py"


@pytest.fixture(scope="module")
def realism() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sim_realism", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    module.SIMULATED_TILES, module.PAGE_TILE = 18, 64
    return module


def test_power_spectra_and_grey_levels_are_those_of_real_cells(realism: ModuleType, shared_data: Path) -> None:
    real, sim = realism.example_human(shared_data / "images"), realism.simulated()
    for stain in ("DNA", "actin"):
        difference = realism.spectrum(sim.stains[stain]) - realism.spectrum(real.stains[stain])
        assert np.abs(difference).max() < 6, stain  # dB; blurring by one more pixel changes 15 dB at 24 cycles
        levels = realism.grey_levels(sim.stains[stain]) - realism.grey_levels(real.stains[stain])
        assert np.abs(levels).max() < 0.2, stain


def test_a_wrong_folder_of_real_images_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--real", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    wanted = tmp_path / "example_human" / "*d0.tif"
    assert done.stderr == f"{wanted}: not there; give the folder of real images with --real\n"


def test_objects_are_those_of_real_cells(realism: ModuleType, shared_data: Path) -> None:
    def few(tiles: object) -> object:
        return realism.Tiles(tiles.name, {stain: values[:12] for stain, values in tiles.stains.items()})

    real, names = realism.objects(few(realism.example_human(shared_data / "images")), "actin")
    sim, _ = realism.objects(few(realism.simulated()), "actin")
    away = {}
    for name in names:
        middle, spread = realism.robust(real[name])
        away[name] = abs(realism.robust(sim[name])[0] - middle) / spread
    assert away["nucleus diameter"] < 0.5
    assert away["Cells Area"] < 1
    assert np.median(list(away.values())) < 0.75
    assert max(away.values()) < 2.5


def test_a_spectrum_of_white_noise_is_flat(realism: ModuleType) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 128, 128))
    assert np.ptp(realism.spectrum(noise)) < 1.0


def test_the_page_shows_vehicle_and_every_mechanism(realism: ModuleType) -> None:
    picture = np.asarray(realism.page(load_tier("sim").spec.version))
    panel = realism.PAGE_TILE
    rows = (len(MECHANISMS) + 2) // 2
    assert picture.shape == (rows * (panel + 20) + 20, 2 * (3 * panel + 20), 3)
