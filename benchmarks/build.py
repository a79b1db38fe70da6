"""Reading, correcting and writing BBBC021 plates beside the rate at which disk and zlib deliver their bytes; rendering.

    python benchmarks/build.py [--fields 60] [--plates 4] [--repeats 3]

Plates are laid out as BBBC021 ships them (a zip of 16-bit TIFF files of 1024 x 1280) from SIMULATED cells with shading
and shot noise, whose bytes shrink to half as real ones do. The contestants take turns, the best of N runs counts for
each, and the zips are dropped from the page cache before every run. `inflate` is zipfile reading every member to
bytes and no more, in as many threads as the reader uses. MB are of 16-bit pixels. Peak memory is a fresh process'.
"""

from __future__ import annotations

import argparse
import io
import os
import queue
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from rich.console import Console
from rich.table import Table

from morphobench import provenance, storage
from morphobench.datasets import bbbc021, load_tier
from morphobench.datasets.bbbc021.files import FIELD_SHAPE
from morphobench.datasets.sim import simulate_image
from morphobench.datasets.simulate.cells import sample_population
from morphobench.datasets.simulate.render import stain, streams

STAINS = (("DAPI", 1, 2), ("Tubulin", 2, 1), ("Actin", 4, 0))
"""BBBC021's name, the mark in its file names, our channel."""
FIELD_BYTES = 2 * 3 * FIELD_SHAPE[0] * FIELD_SHAPE[1]
SCENES, SITES = 6, 4


def image_rows(plates: int, fields: int) -> pd.DataFrame:
    """An image table of made-up plates: a tenth of the wells vehicle, as in BBBC021."""
    rows = []
    for plate in range(1, plates + 1):
        for number in range(fields):
            well, site = number // SITES, number % SITES + 1
            name, treated = f"{'BCDEFG'[well // 10]}{well % 10 + 2:02d}", well % 10 != 0
            guids = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{plate}/{number}/{mark}")).upper() for _, mark, _ in STAINS]
            rows.append(
                {
                    f"Image_FileName_{stained}": f"{name}_s{site}_w{mark}{guid}.tif"
                    for (stained, mark, _), guid in zip(STAINS, guids, strict=True)
                }
                | {
                    "Image_PathName_DAPI": f"Week1/Week1_{plate:05d}",
                    "Image_Metadata_Plate_DAPI": f"Week1_{plate:05d}",
                    "Image_Metadata_Well_DAPI": name,
                    "Replicate": 1,
                    "Image_Metadata_Compound": "taxol" if treated else bbbc021.VEHICLE,
                    "Image_Metadata_Concentration": 0.3 if treated else 0.0,
                }
            )
    return pd.DataFrame(rows)


def scenes() -> np.ndarray:
    """Ideal stain of six fields of vehicle cells, float32 (6, 3, 1024, 1280), mirrored from 512 x 512."""
    made = []
    for seed in range(SCENES):
        population, texture, _ = streams(seed)
        params, cells = sample_population({}, population, 512)
        made.append(
            np.pad(stain(params, cells, texture, 512).sum(axis=0), ((0, 512), (0, 768), (0, 0)), mode="symmetric")
        )
    return np.moveaxis(np.stack(made), -1, 1)


def lay_out(folder: Path, plates: int, fields: int) -> None:
    """Write the image table and the zips, deflated as BBBC021's are."""
    rows, ideal = image_rows(plates, fields), scenes()
    rows.to_csv(folder / "BBBC021_v1_image.csv", index=False)
    with ThreadPoolExecutor(provenance.usable_cores()) as pool:
        of_plates = rows.groupby("Image_Metadata_Plate_DAPI")
        list(pool.map(lambda plate: write_zip(folder, *plate, ideal), of_plates))


def write_zip(folder: Path, plate: str, rows: pd.DataFrame, ideal: np.ndarray) -> None:
    """One plate: shifted scenes under its own lamp, with shot noise, as 16-bit TIFF files."""
    random = np.random.default_rng([ord(letter) for letter in plate])
    y, x = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in FIELD_SHAPE), indexing="ij")
    light = 1 - 0.2 * (x - 0.2) ** 2 - 0.15 * y**2
    with zipfile.ZipFile(folder / f"BBBC021_v1_images_{plate}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for _, row in rows.iterrows():
            scene = ideal[random.integers(SCENES)]
            for stained, _, channel in STAINS:
                shift = random.integers(0, FIELD_SHAPE, 2)
                level = 150 + 900 * light * np.roll(scene[channel], shift, axis=(0, 1))
                level += np.sqrt(0.2 * level) * random.standard_normal(FIELD_SHAPE, dtype=np.float32)
                stream = io.BytesIO()
                tifffile.imwrite(stream, np.clip(level, 0, 4095).astype(np.uint16))
                archive.writestr(f"{plate}/{row[f'Image_FileName_{stained}']}", stream.getvalue())


def forget(folder: Path) -> None:
    """Drop the zips from the page cache: the next reader finds them on the disk."""
    for path in folder.glob("*.zip"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def inflate(folder: Path, threads: int) -> None:
    """zipfile alone: every member to bytes, which are let go."""
    for path in sorted(folder.glob("*.zip")):
        with ExitStack() as stack:
            handles: queue.SimpleQueue[zipfile.ZipFile] = queue.SimpleQueue()
            for _ in range(threads):
                handles.put(last := stack.enter_context(zipfile.ZipFile(path)))
            names = last.namelist()

            def one(name: str, handles: queue.SimpleQueue[zipfile.ZipFile] = handles) -> None:
                handle = handles.get()
                handle.read(name)
                handles.put(handle)

            list(stack.enter_context(ThreadPoolExecutor(threads)).map(one, names))


def read(folder: Path, fields: pd.DataFrame) -> None:
    """The reader: crops, illumination and contrast of every plate."""
    for _, rows in fields.groupby("plate"):
        bbbc021.read_plate(folder, rows)


def write(folder: Path, fields: pd.DataFrame) -> None:
    """The reader, then 8-bit PNG files with their hashes, as a build writes them."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        for _, rows in fields.groupby("plate"):
            for number, (png, _) in enumerate(bbbc021.encode(bbbc021.read_plate(folder, rows))):
                (Path(out) / f"{number}.png").write_bytes(png)
                storage.sha256_bytes(png)


def peak_memory(folder: Path, plates: int) -> float:
    """MiB at most resident in a fresh process that reads and writes some of the plates."""
    command = [sys.executable, __file__, "--child", str(folder), "--plates", str(plates)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def child(folder: Path, plates: int) -> None:
    """Read and write the first plates; print the high-water mark of the resident set in KiB."""
    fields = bbbc021.read_image_table(folder)
    write(folder, fields[fields["plate"].isin(sorted(set(fields["plate"]))[:plates])])
    status = Path("/proc/self/status").read_text()  # getrusage's would include the parent's before exec
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def measure(folder: Path, contestants: dict[str, Callable[[], None]], repeats: int) -> dict[str, tuple[float, float]]:
    """Best wall and processor seconds of each contestant; they take turns."""
    best = dict.fromkeys(contestants, (float("inf"), float("inf")))
    for _ in range(repeats):
        for name, contestant in contestants.items():
            forget(folder)
            wall, processor = time.perf_counter(), time.process_time()
            contestant()
            took = time.perf_counter() - wall, time.process_time() - processor
            best[name] = min(best[name][0], took[0]), min(best[name][1], took[1])
    return best


def render_rate(size: int) -> float:
    """Images per second that the sim tier renders in one process."""
    tier = load_tier("sim")
    rows = tier.samples.iloc[:: len(tier.samples) // (64 if size == 128 else 8)]
    start = time.perf_counter()
    for row in rows.itertuples():
        simulate_image(tier.spec.version, row.sample_id, row.compound, row.dose_um, row.plate, size)
    return len(rows) / (time.perf_counter() - start)


def main() -> None:
    """Lay out, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=60, help="per plate, up to 240")
    parser.add_argument("--plates", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.plates)
        return
    threads = provenance.usable_cores()
    console = Console(width=120)
    console.print(", ".join(f"{name} {value}" for name, value in provenance.hardware("cpu").items()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder, asked.plates, asked.fields)
        fields = bbbc021.read_image_table(folder)
        pixels = FIELD_BYTES * len(fields)
        stored = sum(path.stat().st_size for path in folder.glob("*.zip"))
        console.print(
            f"{asked.plates} plates of {asked.fields} fields, {pixels / 1e6:,.0f} MB of pixels in "
            f"{stored / 1e6:,.0f} MB of zips ({pixels / stored:.2f} to 1), {threads} threads, best of {asked.repeats}"
        )
        contestants: dict[str, Callable[[], None]] = {
            "inflate, 1 thread": lambda: inflate(folder, 1),
            "inflate": lambda: inflate(folder, threads),
            "read_plate": lambda: read(folder, fields),
            "read_plate, 8 bit, PNG": lambda: write(folder, fields),
        }
        best = measure(folder, contestants, asked.repeats)
        table = Table("who", "seconds", "processor seconds", "MB/s", "fields/s", "x the rate of inflate")
        for who, (wall, processor) in best.items():
            rates = f"{pixels / wall / 1e6:,.0f}", f"{len(fields) / wall:.1f}", f"{best['inflate'][0] / wall:.2f}"
            table.add_row(who, f"{wall:.2f}", f"{processor:.2f}", *rates)
        console.print(table)
        peaks = {plates: peak_memory(folder, plates) for plates in (1, asked.plates)}
        shown = ", ".join(f"{plates} x the data {peak:,.0f} MiB" for plates, peak in peaks.items())
        console.print(f"peak memory of reading and writing, plates of {asked.fields} fields: {shown}")
    for size in (128, 512):
        console.print(f"sim tier, {size} x {size}: {render_rate(size):.1f} images/s rendered, one core")


if __name__ == "__main__":
    main()
