"""Segmentation and AreaOccupied: milliseconds per image, beside CellProfiler's own modules in the same run.

    python benchmarks/segmentation.py [--folder FOLDER] [--cellprofiler PYTHON]

FOLDER holds `settings.json` and `inputs/` (default: ../shared/data/cellprofiler beside the checkout). PYTHON is an
interpreter that has CellProfiler 4.2.8.1; it cannot be this one, for it needs numpy 1. Without it our times stand
alone: seconds recorded on another machine give no ratio. The images cut to 128 x 128 stand for the sim tier. Processor
time is counted: both sides use one thread, and a busy machine does not change it much.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from morphobench.features.profile import area_occupied
from morphobench.features.segment import ENGINE, discard_border, segment

HERE = Path(__file__).resolve().parent
REPEATS = 5
TILE = 128


def ours(dna: np.ndarray, cell: np.ndarray, diameter: tuple[float, float]) -> list[int]:
    """Masks with and without edge objects and all six areas; the areas of cells, cytoplasm and nuclei come back."""
    whole = segment(dna, cell, diameter)
    areas = [
        area_occupied(labels).area
        for masks in (whole, discard_border(whole))
        for labels in (masks.cells, masks.cytoplasm, masks.nuclei)
    ]
    return areas[:3]


def milliseconds(run: Callable[[], object]) -> float:
    """Least processor time of REPEATS runs after a first one: the one least disturbed by the machine's other work."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def cellprofiler(python: str, folder: Path) -> dict[str, dict]:
    """CellProfiler's times and areas of every image, from its own interpreter."""
    command = [python, str(HERE / "segmentation_cellprofiler.py"), str(folder), str(REPEATS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(folder: Path, python: str | None) -> None:
    """Print one line per image, then the mean over 128 x 128 tiles of the crowded one."""
    reference = cellprofiler(python, folder) if python else {}
    print(f"{ENGINE}: masks, inner masks and AreaOccupied, processor ms per image, best of {REPEATS}")
    for name, setting in json.loads((folder / "settings.json").read_text()).items():
        dna, cell = (
            (tifffile.imread(folder / "inputs" / setting[key]) / setting["intensity_divisor"]).astype(np.float32)
            for key in ("dna", "cell")
        )
        diameter = (setting["diameter_min"], setting["diameter_max"])
        spent = milliseconds(lambda image=(dna, cell, diameter): ours(*image))
        line = f"{name:14} {dna.shape[0]:4} x {dna.shape[1]:<4} {spent:8.1f}"
        if python:
            theirs = reference[name]
            same = "equal" if theirs["areas"] == ours(dna, cell, diameter) else "DIFFERENT"
            ratio = theirs["milliseconds"] / spent
            line += f"   CellProfiler {theirs['milliseconds']:8.1f}   {ratio:5.1f} x   areas {same}"
        print(line)
        if name == "human":
            starts = [(i, j) for i in range(0, dna.shape[0], TILE) for j in range(0, dna.shape[1], TILE)]
            tiles = [(dna[i : i + TILE, j : j + TILE], cell[i : i + TILE, j : j + TILE], diameter) for i, j in starts]
            spent = milliseconds(lambda tiles=tiles: [ours(*tile) for tile in tiles]) / len(tiles)
            print(f"{'human, tiles':14} {TILE:4} x {TILE:<4} {spent:8.1f}")
    if not python:
        print("CellProfiler was not given (--cellprofiler PYTHON): our times alone, no ratio.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / "shared" / "data" / "cellprofiler")
    parser.add_argument("--cellprofiler", metavar="PYTHON")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.cellprofiler)
