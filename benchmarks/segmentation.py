"""Segmentation and AreaOccupied: time per image and agreement of the masks, beside CellProfiler in the same run.

    python benchmarks/segmentation.py [--folder FOLDER] [--cellprofiler PYTHON [--command N]]

FOLDER holds `settings.json` and `inputs/` (default: ../shared/data/cellprofiler beside the checkout). PYTHON is an
interpreter that has CellProfiler 4.2.8.1; it cannot be this one, for it needs numpy 1. Without it our times stand
alone: seconds recorded on another machine give no ratio. Measured are the images of FOLDER, the crowded one cut to
128 x 128, and images of the sim tier; with `--command N` also CellProfiler's command over N crowded images in files
against a fresh process of ours over the same files, start-up, reading and writing included. Processor time is counted:
both sides use one thread, and a busy machine does not change it much.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import tifffile
from centrosome.propagate import propagate as centrosome_propagate

from morphobench.features.flood import propagate
from morphobench.features.objects import OBJECTS
from morphobench.features.profile import BATCH, area_occupied, measure
from morphobench.features.segment import (
    ENGINE,
    REGULARIZATION,
    Segmentation,
    _foreground,
    discard_border,
    identify_nuclei,
    log_minimum_cross_entropy,
    segment,
)

HERE = Path(__file__).resolve().parent
REPEATS = 5
TILE = 128
SIM_IMAGES = 32
NEEDED = ("Images", "Metadata", "NamesAndTypes", "Groups", "Identify", "FilterObjects", "MeasureImageArea", "ExportTo")
IMPORTS = "import numpy as np; from morphobench.features import flood;"
FIRST_FLOODS = """
image, seeds = np.zeros((4, 4), np.float32), np.eye(4, dtype=np.int32)
flood.watershed(image, seeds, image == 0)
flood.propagate(image, seeds, image == 0, 0.05)
"""


class Field(NamedTuple):
    """One image: both stains as float32 (H, W) in 0..1, smallest and largest nucleus in pixels."""

    dna: np.ndarray
    cell: np.ndarray
    diameter: tuple[float, float]


def oracle_field(folder: Path, setting: dict) -> Field:
    dna, cell = (
        (tifffile.imread(folder / "inputs" / setting[key]) / setting["intensity_divisor"]).astype(np.float32)
        for key in ("dna", "cell")
    )
    return Field(dna, cell, (setting["diameter_min"], setting["diameter_max"]))


def groups(folder: Path) -> dict[str, list[Field]]:
    """Name -> images whose mean is reported."""
    settings = json.loads((folder / "settings.json").read_text())
    found = {name: [oracle_field(folder, setting)] for name, setting in settings.items()}
    dna, cell, diameter = found["human"][0]
    starts = [(i, j) for i in range(0, dna.shape[0], TILE) for j in range(0, dna.shape[1], TILE)]
    found["human, tiles"] = [
        Field(dna[i : i + TILE, j : j + TILE].copy(), cell[i : i + TILE, j : j + TILE].copy(), diameter)
        for i, j in starts
    ]
    images, diameter = sim_images()
    channels = [(image / 255).astype(np.float32) for image in images]
    found["sim"] = [Field(image[..., 2].copy(), image[..., 1].copy(), diameter) for image in channels]
    return found


def sim_images() -> tuple[np.ndarray, tuple[float, float]]:
    """SIM_IMAGES images spread over the sim tier, uint8 (N, 128, 128, 3), and its nucleus diameters."""
    from morphobench.datasets import load_tier  # not needed by, nor counted in, `--measure`

    tier = load_tier("sim")
    rows = np.linspace(0, len(tier.samples) - 1, SIM_IMAGES).astype(int)
    return tier.images(tier.samples.iloc[rows]).take(range(SIM_IMAGES)), tier.spec.nucleus_diameter


def ours(field: Field) -> tuple[Segmentation, list[int]]:
    """Masks with and without edge objects and all six areas; the masks and three areas that CellProfiler gives, too."""
    whole = segment(*field)
    areas = [
        area_occupied(labels).area
        for masks in (whole, discard_border(whole))
        for labels in (masks.cells, masks.cytoplasm, masks.nuclei)
    ]
    return whole, areas[:3]


def least(run: Callable[[], object]) -> float:
    """Least processor milliseconds of REPEATS runs after a first one: the least disturbed by other work."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def cellprofiler(python: str, pipeline: Path, fields: list[Field], work: Path) -> list[dict]:
    """CellProfiler's modules in memory, from its own interpreter: time, areas and masks of every image."""
    for number, field in enumerate(fields):
        np.savez(work / f"{number:03}.npz", dna=field.dna, cell=field.cell, diameter=field.diameter)
    command = [python, str(HERE / "segmentation_cellprofiler.py"), str(pipeline), str(work), str(REPEATS)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def agreement(field: Field, masks: Path, areas: list[int]) -> tuple[bool, int]:
    """Whether the three areas are equal, and the pixels that differ in any of the three masks."""
    whole, own = ours(field)
    with np.load(masks) as theirs:
        pixels = sum(int(np.count_nonzero(getattr(whole, kind.lower()) != theirs[kind])) for kind in OBJECTS)
    return own == areas, pixels


def report_group(name: str, fields: list[Field], python: str | None, pipeline: Path) -> None:
    """Print one line: means over the images of a group."""
    spent = sum(least(lambda field=field: ours(field)) for field in fields) / len(fields)
    shape = fields[0].dna.shape
    line = f"{name:14} {len(fields):3} of {shape[0]:3} x {shape[1]:<3} {spent:7.1f}"
    if python:
        with tempfile.TemporaryDirectory() as work:
            theirs = cellprofiler(python, pipeline, fields, Path(work))
            same = [
                agreement(field, Path(work) / f"{number:03}.masks.npz", result["areas"])
                for number, (field, result) in enumerate(zip(fields, theirs, strict=True))
            ]
        other = sum(result["milliseconds"] for result in theirs) / len(fields)
        equal, pixels = sum(areas for areas, _ in same), sum(count for _, count in same)
        line += f"   CellProfiler {other:7.1f}   {other / spent:5.1f} x   areas equal in {equal} of {len(fields)}, "
        line += f"mask pixels that differ: {pixels}"
    print(line, flush=True)


def write_crowded(field: Field, folder: Path, count: int) -> None:
    """`count` different crowded images as 8-bit files: the one at hand turned, mirrored and rolled over its edges."""
    for number in range(count):
        for name, channel in (("DNA", field.dna), ("CELL", field.cell)):
            image = np.rot90(channel.T if number % 8 > 3 else channel, number % 4)
            image = np.roll(image, (37 * (number // 8), 61 * (number // 8)), (0, 1))
            tifffile.imwrite(folder / f"{number:03}_{name}.tif", np.rint(image * 255).astype(np.uint8))


def trimmed(pipeline: str) -> str:
    """The text of a pipeline without the modules that measure and save what is not compared."""
    header, *modules = pipeline.strip().split("\n\n")
    kept = [module for module in modules if module.startswith(NEEDED)]
    numbered = [re.sub(r"module_num:\d+", f"module_num:{k}", module, count=1) for k, module in enumerate(kept, 1)]
    return "\n\n".join([re.sub(r"ModuleCount:\d+", f"ModuleCount:{len(kept)}", header), *numbered]) + "\n"


def timed(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Processor and wall seconds of a command and its own processes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.perf_counter() - start


def report_command(field: Field, python: str, pipeline: Path, count: int) -> None:
    """Print processor and wall seconds of CellProfiler's command and of ours over the same files, and the agreement."""
    with tempfile.TemporaryDirectory() as work:
        images, out = Path(work) / "images", Path(work) / "out"
        images.mkdir()
        write_crowded(field, images, count)
        short = Path(work) / "area.cppipe"
        short.write_text(trimmed(pipeline.read_text()))
        command = [str(Path(python).parent / "cellprofiler"), "-c", "-r"]
        theirs = timed([*command, "-p", str(short), "-i", str(images), "-o", str(out)])
        with next(out.glob("*Image.csv")).open() as stream:
            rows = sorted(csv.DictReader(stream), key=lambda row: row["FileName_DNA"])
        expected = [[int(float(row[f"AreaOccupied_AreaOccupied_{kind}"])) for kind in OBJECTS] for row in rows]
        print(f"{count} crowded images in files: CellProfiler's command {theirs[0]:.1f} s, {theirs[1]:.1f} s wall")
        for workers in (1, 2):
            table = Path(work) / f"areas{workers}.csv"
            own = timed([sys.executable, __file__, "--measure", str(images), str(table), str(workers)])
            found = [[int(value) for value in row[1:]] for row in csv.reader(table.read_text().splitlines())]
            equal = sum(a == b for a, b in zip(found, expected, strict=True))
            print(f"  ours, processes: {workers}   {own[0]:.1f} s, {own[1]:.1f} s wall   {theirs[0] / own[0]:.1f} x, "
                  f"{theirs[1] / own[1]:.1f} x wall   areas equal in {equal} of {count}", flush=True)  # fmt: skip


def measure_file(path: Path) -> list:
    dna, cell = (
        (tifffile.imread(path.with_name(path.name.replace("DNA", kind))) / 255).astype(np.float32)
        for kind in ("DNA", "CELL")
    )
    return [path.name, *ours(Field(dna, cell, (8.0, 40.0)))[1]]


def measure_folder(folder: Path, table: Path, workers: int) -> None:
    """What the command does: areas of all images of a folder into a table."""
    jobs = (joblib.delayed(measure_file)(path) for path in sorted(folder.glob("*_DNA.tif")))
    with table.open("w") as stream:
        csv.writer(stream).writerows(joblib.Parallel(n_jobs=workers)(jobs))


def report_floods(field: Field) -> None:
    """Print the compiled propagation beside centrosome's on one image, and what compiling costs a process."""
    seeds, stain = identify_nuclei(field.dna, field.diameter).unedited, field.cell
    foreground = _foreground(stain, log_minimum_cross_entropy(stain))
    arguments = (stain, seeds, foreground, REGULARIZATION)
    same = np.array_equal(propagate(*arguments), centrosome_propagate(*arguments)[0])
    own, other = (least(lambda run=run: run(*arguments)) for run in (propagate, centrosome_propagate))
    print(
        f"propagation: {own:.1f} ms, centrosome {other:.1f} ms, {other / own:.1f} x, {'equal' if same else 'DIFFERENT'}"
    )
    with tempfile.TemporaryDirectory() as machine_code:
        spent = [
            timed([sys.executable, "-c", code], os.environ | {"NUMBA_CACHE_DIR": machine_code})[0]
            for code in (IMPORTS, IMPORTS + FIRST_FLOODS, IMPORTS + FIRST_FLOODS)
        ]
    print(
        f"  processor s: compiling both floods {spent[1] - spent[0]:.1f}, loading them later {spent[2] - spent[0]:.2f}"
    )


def report_throughput() -> None:
    """Print images per second of whole profiles of sim images, by the number of processes."""
    few, diameter = sim_images()
    images = np.concatenate([few] * 16)
    for workers in (1, 2):
        with joblib.Parallel(n_jobs=workers) as parallel:
            batches = [images[k : k + BATCH] for k in range(0, len(images), BATCH)]
            parallel(
                joblib.delayed(measure_batch)(batch, diameter) for batch in batches[:4]
            )  # start, imports, compiled code
            start = time.perf_counter()
            parallel(joblib.delayed(measure_batch)(batch, diameter) for batch in batches)
            rate = len(images) / (time.perf_counter() - start)
        print(f"profiles of sim images, processes: {workers}   {rate:.0f} images/s wall")


def measure_batch(batch: np.ndarray, diameter: tuple[float, float]) -> list[dict[str, float]]:
    return [measure(image, diameter) for image in batch]


def main(folder: Path, python: str | None, count: int) -> None:
    """Print a line per group of images, then throughput, then the comparison with the command."""
    pipeline = folder / "area_occupied.cppipe"
    print(f"{ENGINE}: masks, inner masks and AreaOccupied, mean processor ms per image, best of {REPEATS}")
    everything = groups(folder)
    for name, fields in everything.items():
        report_group(name, fields, python, pipeline)
    report_floods(everything["human"][0])
    report_throughput()
    if python and count:
        report_command(everything["human"][0], python, pipeline, count)
    if not python:
        print("CellProfiler was not given (--cellprofiler PYTHON): our times alone, no ratio.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / "shared" / "data" / "cellprofiler")
    parser.add_argument("--cellprofiler", metavar="PYTHON")
    parser.add_argument("--command", metavar="N", type=int, default=0, help="compare with the command over N images")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure_folder(Path(arguments.measure[0]), Path(arguments.measure[1]), int(arguments.measure[2]))
    else:
        main(arguments.folder, arguments.cellprofiler, arguments.command)
