"""CellProfiler 4.2.8.1 itself as an engine: the shipped pipeline, run headless in an environment of its own.

It needs numpy 1 and a Java runtime, so that it never shares this package's interpreter; `scripts/setup-cellprofiler`
builds its environment. Stirling et al. 2021, doi:10.1186/s12859-021-04344-9.

Two routes run the same modules: `cellprofiler` calls the command on folders of TIFF files, as anyone would;
`cellprofiler-memory` keeps interpreters with CellProfiler loaded and hands them arrays (`worker.py`), which saves the
start-up and the files. Both keep what they have measured in the cache, a batch of images at a time.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from morphobench.datasets.tier import ImageSet
from morphobench.errors import BadInput, Unavailable
from morphobench.features.cache import cached_array
from morphobench.features.cellprofiler.routes import BatchRunner, Command, Memory
from morphobench.features.engine import Engine
from morphobench.features.objects import OBJECT_COLUMNS
from morphobench.features.profile import AREA_COLUMNS, COUNT_COLUMNS, OBJECT_SETS, quality
from morphobench.storage import cache_dir, sha256_bytes, sha256_file, sha256_text

VERSION = "4.2.8.1"
HOME_VARIABLE = "MORPHOBENCH_CELLPROFILER"
"""Environment variable that names the environment's folder."""
PIPELINE = Path(__file__).with_name("area_occupied.cppipe")
DIAMETER = re.compile(r"(?<=Typical diameter of objects, in pixel units \(Min,Max\):)\d+,\d+")
JAVA_HOME = "java_home.txt"
"""File in the environment's folder with the JDK that its Java bridge was built with."""
BATCH = 64
"""Images per call: the command takes seconds to start, and a stopped run loses at most one call per process."""
MEND = f"run scripts/setup-cellprofiler, or set {HOME_VARIABLE} to an environment that has it"


@dataclass(frozen=True)
class Installation:
    """An environment that holds CellProfiler VERSION."""

    python: Path
    command: Path
    java_home: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables its processes run under: one thread each, as one process per core runs."""
        # Another environment's Python settings must not reach into this one.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        java = {"JAVA_HOME": self.java_home} if self.java_home else {}
        return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | java


def home() -> Path:
    """Folder of CellProfiler's environment: $MORPHOBENCH_CELLPROFILER, or `cellprofiler` in the cache folder."""
    return Path(os.environ.get(HOME_VARIABLE) or cache_dir() / "cellprofiler")


def find(folder: Path | None = None) -> Installation:
    """The installation in `folder` (default: `home()`); Unavailable, with the mend, where it has no such release."""
    folder = (folder or home()).absolute()
    python, command = folder / "bin" / "python", folder / "bin" / "cellprofiler"
    if not (python.exists() and command.exists()):
        raise Unavailable(f"CellProfiler {VERSION} is not in {folder}: {MEND}")
    code = "from importlib.metadata import version as v; print(v('cellprofiler'), v('cellprofiler-core'))"
    shown = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
    if shown.stdout.split() != [VERSION, VERSION]:
        installed = " and core ".join(shown.stdout.split()) or "none that starts"
        raise Unavailable(f"{folder}: holds CellProfiler {installed}, not {VERSION}: {MEND}")
    java = folder / JAVA_HOME
    return Installation(python, command, java.read_text().strip() if java.is_file() else "")


def record_java(folder: Path, java_home: Path) -> None:
    """Note in an environment which JDK it was built with: its Java bridge needs that one when it runs."""
    (folder / JAVA_HOME).write_text(f"{java_home}\n")


def pipeline_text(diameter: tuple[float, float]) -> str:
    """The shipped pipeline with a tier's smallest and largest nucleus in pixels filled in.

    Raises BadInput for a diameter that is not whole: CellProfiler's setting takes integers.
    """
    if any(value != int(value) for value in diameter):
        raise BadInput(f"nucleus_diameter {diameter[0]:g} to {diameter[1]:g}: CellProfiler takes whole pixels only")
    text, filled = DIAMETER.subn(f"{int(diameter[0])},{int(diameter[1])}", PIPELINE.read_text(encoding="utf-8"))
    if filled != 1:
        raise ValueError(f"{PIPELINE} has {filled} settings of a diameter")
    return text


def load(name: str) -> Engine:
    """The engine by one of its two names; Unavailable where CellProfiler is not installed."""
    installation = find()
    route: Callable[..., BatchRunner] = Memory if name == "cellprofiler-memory" else Command
    version = f"CellProfiler {VERSION}, {PIPELINE.name} {sha256_file(PIPELINE)[:12]}, {route.__name__.lower()}"
    return Engine(name, version, partial(_rows, partial(route, installation), version))


def _rows(
    route: Callable[[str], BatchRunner],
    version: str,
    images: ImageSet,
    diameter: tuple[float, float],
    workers: int,
    cache: Path,
) -> Iterator[list[float]]:
    """Profiles in order; batches run side by side, and a finished one is kept under its pixels' hash."""
    pipeline = pipeline_text(diameter)
    workers = min(workers, max(1, -(-len(images) // BATCH)))
    with ExitStack() as stack:
        runner = stack.enter_context(route(pipeline))
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque[Future[np.ndarray]] = deque()

        def measured(batch: np.ndarray) -> np.ndarray:
            key = sha256_text(version, f"{diameter}", str(batch.shape), sha256_bytes(batch.tobytes()))
            return cached_array(key, cache / "cellprofiler", lambda: {"rows": _measure(batch, runner)})["rows"]

        for batch in images.batches(BATCH):
            waiting.append(pool.submit(measured, batch.copy()))
            if len(waiting) > workers:
                yield from waiting.popleft().result().tolist()
        while waiting:
            yield from waiting.popleft().result().tolist()


def _measure(batch: np.ndarray, runner: BatchRunner) -> np.ndarray:
    """PROFILE_COLUMNS of a batch, float64 (N, columns): areas and counts by CellProfiler, quality flags by us.

    The flags are of the image and of whether there is a nucleus at all; CellProfiler has none such. What objects look
    like is NaN: the pipeline measures areas.
    """
    columns = list(zip(AREA_COLUMNS, OBJECT_SETS, strict=True))
    rows, unmeasured = [], [math.nan] * len(OBJECT_COLUMNS)
    for image, row in zip(batch, runner.measure(batch), strict=True):
        areas = [row[column] / row[f"AreaOccupied_TotalArea_{name}"] for column, name in columns]
        counts = [row[name] for name in COUNT_COLUMNS]
        channels = (image / 255).astype(np.float32)
        flags = quality(channels[..., 2], channels[..., 1], row["Count_Nuclei"] == 0)
        rows.append([*areas, *counts, *flags.values(), *unmeasured])
    return np.array(rows, dtype=np.float64)
