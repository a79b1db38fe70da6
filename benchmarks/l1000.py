"""Time and memory of reading a few wells from a large GCTX, this reader and h5py's own lists of indices side by side.

    python benchmarks/l1000.py [--samples 5000 20000]

Writes matrices of 12,328 genes (as LINCS2020 and GSE92742 have) and noise to a temporary folder, 1 GB at 20,000
samples, once contiguous and once as cmapPy writes it (h5py's own chunks, gzip 4), and reads 200 wells and 978 landmark
genes: the wells scattered, or in runs of 20 as the wells of a plate lie; the landmarks first, or scattered. Each
reading is a process of its own; `peak` is what its resident memory grew by at most, `delivered` the wanted values per
second. The file lies in the page cache, so the times are those of HDF5 and not of the disk. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table

from morphobench.datasets.l1000.gctx import open_expression

GENES, LANDMARKS, WELLS, RUN = 12_328, 978, 200, 20
MIB = 2**20


def write_matrix(path: Path, samples: int, chunked: bool) -> None:
    """A GCTX of log2-like noise with four decimals, written in blocks."""
    random = np.random.default_rng(0)
    block = np.round(random.normal(8, 2, (1000, GENES)), 4).astype(np.float32)
    layout = {"chunks": True, "compression": 4} if chunked else {}
    with h5py.File(path, "w") as file:
        matrix = file.create_dataset("0/DATA/0/matrix", (samples, GENES), np.float32, **layout)
        for start in range(0, samples, len(block)):
            matrix[start : start + len(block)] = block[: samples - start]
        file["0/META/COL/id"] = np.array([f"P{number // 384:05d}:{number % 384:03d}" for number in range(samples)], "S")
        file["0/META/ROW/id"] = np.arange(1, GENES + 1).astype("S")


def wanted(samples: int, wells: str, landmarks: str) -> tuple[np.ndarray, np.ndarray]:
    """(ascending rows, Entrez ids) of one case."""
    random = np.random.default_rng(1)
    if wells == "runs":
        starts = random.choice(samples // RUN, WELLS // RUN, replace=False) * RUN
        rows = np.sort((starts[:, None] + np.arange(RUN)).ravel())
    else:
        rows = np.sort(random.choice(samples, WELLS, replace=False))
    genes = np.arange(LANDMARKS) if landmarks == "first" else random.choice(GENES, LANDMARKS, replace=False)
    return rows, genes + 1


def peak_bytes() -> int:
    """Most resident memory that this process has held since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def forget_peak() -> int:
    """Let the peak be what is held now, and return it."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def read(path: Path, reader: str, wells: str, landmarks: str) -> dict[str, float]:
    """Seconds (best of three), bytes of peak memory above that of the opened file, and a checksum."""
    file = open_expression(path)
    rows, genes = wanted(len(file.samples), wells, landmarks)
    before, seconds = forget_peak(), []
    for _ in range(3):
        start = time.perf_counter()
        if reader == "ours":
            values = file.read(rows, genes)
        else:
            with h5py.File(path) as handle:
                values = handle["0/DATA/0/matrix"][rows, :][:, genes - 1]
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "peak": peak_bytes() - before, "sum": float(values.sum(dtype=np.float64))}


def measured(path: Path, *case: str) -> dict[str, float]:
    """`read` in a process of its own, so that its peak is its own."""
    command = [sys.executable, __file__, "--read", str(path), *case]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure every layout and case, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--read", nargs=4, metavar=("FILE", "READER", "WELLS", "LANDMARKS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        path, *case = given.read
        print(json.dumps(read(Path(path), *case)))
        return
    megabytes = WELLS * LANDMARKS * 4 / 1e6
    table = Table(title=f"{WELLS} wells x {LANDMARKS} landmarks of float32 matrices with {GENES:,} genes")
    for column in ("samples", "layout", "file MB", "wells", "landmarks", "reader", "s", "delivered MB/s", "peak MiB"):
        table.add_column(column, justify="left" if column in ("layout", "wells", "landmarks", "reader") else "right")
    for samples, layout in product(given.samples, ("contiguous", "cmapPy")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "matrix.gctx"
            write_matrix(path, samples, layout == "cmapPy")
            for wells, landmarks in (("scattered", "scattered"), ("runs", "scattered"), ("runs", "first")):
                found = {reader: measured(path, reader, wells, landmarks) for reader in ("ours", "h5py list")}
                assert found["ours"]["sum"] == found["h5py list"]["sum"]
                for reader, of in found.items():
                    table.add_row(
                        f"{samples:,}", layout, f"{path.stat().st_size / 1e6:,.0f}", wells, landmarks, reader,
                        f"{of['seconds']:.3f}", f"{megabytes / of['seconds']:.1f}", f"{of['peak'] / MIB:.0f}",
                    )  # fmt: skip
    Console(width=132).print(table)


if __name__ == "__main__":
    main()
