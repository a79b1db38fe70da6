"""The two ways to run a pipeline over a batch: CellProfiler's command, and interpreters that keep it loaded."""

from __future__ import annotations

import csv
import json
import math
import queue
import subprocess
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from morphobench.errors import Unavailable

WORKER = Path(__file__).with_name("worker.py")
CHANNELS = {"DNA": 2, "Tubulin": 1}
"""CellProfiler's name of an image and its channel in ours."""
SETS = ("Nuclei", "Cells", "Cytoplasm", "NucleiInner", "CellsInner", "CytoplasmInner")
MEASURED = tuple(
    column
    for name in SETS
    for column in (
        f"Count_{name}", f"AreaOccupied_AreaOccupied_{name}", f"AreaOccupied_Perimeter_{name}",
        f"AreaOccupied_TotalArea_{name}",
    )
)  # fmt: skip
"""Columns of CellProfiler's image table that a batch gives back."""
Row = dict[str, float]


class Runnable(Protocol):
    """What the routes need of an installation."""

    python: Path
    command: Path

    @property
    def environment(self) -> dict[str, str]: ...


class BatchRunner(AbstractContextManager["BatchRunner"], Protocol):
    """`measure(batch)`: uint8 (N, H, W, 3) -> MEASURED of each image; may be called from several threads."""

    def measure(self, batch: np.ndarray) -> list[Row]: ...


class Command:
    """`cellprofiler -c -r -p PIPELINE -i IMAGES -o TABLES`, once per batch."""

    def __init__(self, installation: Runnable, pipeline: str) -> None:
        self.installation, self.pipeline = installation, pipeline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing outlives a call."""

    def measure(self, batch: np.ndarray) -> list[Row]:
        """Write the batch as TIFF files, run the command on them and read its image table."""
        with tempfile.TemporaryDirectory(prefix="morphobench-cellprofiler-") as name:
            folder = Path(name)
            for part in ("images", "tables", "plugins"):
                (folder / part).mkdir()
            for number, image in enumerate(batch):
                for channel, index in CHANNELS.items():
                    Image.fromarray(image[..., index]).save(folder / "images" / file_name(number, channel))
            pipeline = folder / "pipeline.cppipe"
            pipeline.write_text(self.pipeline, encoding="utf-8")
            command: list[str | Path] = [
                self.installation.command, "-c", "-r", "-p", pipeline, "-i", folder / "images", "-o", folder / "tables",
                "-t", folder, "--plugins-directory", folder / "plugins", "-L", "ERROR",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, env=self.installation.environment)
            table = folder / "tables" / "Image.csv"
            if done.returncode or not table.is_file():
                raise Unavailable(f"CellProfiler failed: {last_line(done.stderr)}")
            return read_table(table, len(batch), done.stderr)


class Memory:
    """Interpreters with CellProfiler loaded, as many as calls run at a time; `worker.py` is their side."""

    def __init__(self, installation: Runnable, pipeline: str) -> None:
        self.installation, self.pipeline = installation, pipeline
        self.idle: queue.SimpleQueue[Interpreter] = queue.SimpleQueue()
        self.started: list[Interpreter] = []

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory(prefix="morphobench-cellprofiler-")
        self.place = Path(self.folder.name)
        (self.place / "pipeline.cppipe").write_text(self.pipeline, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        for interpreter in self.started:
            interpreter.end()
        self.folder.cleanup()

    def measure(self, batch: np.ndarray, labels: Path | None = None) -> list[Row]:
        """Hand the batch to an idle interpreter; one is started if there is none.

        labels: a .npz to write the label images to as well, SETS -> uint16 (N, H, W).
        """
        try:
            interpreter = self.idle.get_nowait()
        except queue.Empty:
            interpreter = Interpreter(self.installation, self.place)
            self.started.append(interpreter)
        with tempfile.NamedTemporaryFile(dir=self.place, suffix=".npy") as stream:
            np.save(stream, np.stack([batch[..., index] for index in CHANNELS.values()], axis=1))
            stream.flush()
            rows = interpreter.ask({"images": stream.name, "labels": labels and str(labels)})
        self.idle.put(interpreter)
        return [checked(row) for row in rows]


class Interpreter:
    """A process of CellProfiler's Python that answers a line with a line."""

    def __init__(self, installation: Runnable, folder: Path) -> None:
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [installation.python, "-I", WORKER, folder / "pipeline.cppipe", *MEASURED],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True,
            env=installation.environment,
        )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> list[dict[str, float]]:
        """The rows for a request; Unavailable, with its last complaint, where the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            rows: list[dict[str, float]] = json.loads(self.process.stdout.readline())
            return rows
        except (BrokenPipeError, json.JSONDecodeError) as error:
            self.process.wait()
            self.complaints.seek(0)
            raise Unavailable(f"CellProfiler failed: {last_line(self.complaints.read())}") from error

    def end(self) -> None:
        """Stop the process, whatever it is doing."""
        self.process.kill()
        self.process.communicate()
        self.complaints.close()


def file_name(number: int, channel: str) -> str:
    """Name of an image's file: in alphabetical order as in the batch, with the channel that the pipeline asks for."""
    return f"{number:06d}_{channel}.tif"


def read_table(path: Path, count: int, complaints: str = "") -> list[Row]:
    """CellProfiler's image table, one row per image of the batch in its order.

    Raises Unavailable where an image is missing, paired with another's channel, or has no value: the command goes on
    after an error in a module, and ends well.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        by_file = {row["FileName_DNA"]: row for row in csv.DictReader(stream)}
    rows = []
    for number in range(count):
        row = by_file.get(file_name(number, "DNA"))
        if row is None or row["FileName_Tubulin"] != file_name(number, "Tubulin"):
            raise Unavailable(f"CellProfiler measured {len(by_file)} of {count} images: {last_line(complaints)}")
        rows.append(checked({column: float(row.get(column) or "nan") for column in MEASURED}))
    return rows


def checked(row: Row) -> Row:
    """The row, if every measurement of it is a number."""
    missing = [column for column in MEASURED if not math.isfinite(row[column])]
    if missing:
        raise Unavailable(f"CellProfiler gave no value for {missing[0]}: a module failed, see its log")
    return row


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
