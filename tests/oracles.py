"""What CellProfiler 4.2.8.1 made of images: the project's own in tests/data, and real ones beside the checkout.

An oracle holds both channels as CellProfiler held them, its masks, areas, counts and thresholds. The project's own are
always there; those of `../shared` (real microscope images among them) are read where they are at hand.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

FOLDER = Path(__file__).parent / "data" / "cellprofiler"
SETS = ("Nuclei", "Cells", "Cytoplasm", "NucleiInner", "CellsInner", "CytoplasmInner")
OWN = {
    "vehicle": (7, 32), "aurora": (7, 32), "mitotic": (7, 32), "sparse": (7, 32), "dying": (7, 32), "large": (14, 64),
    "crowded": (7, 32), "vehicle16": (7, 32), "empty": (7, 32), "noise": (7, 32), "saturated": (7, 32),
}  # fmt: skip
"""Name -> smallest and largest nucleus in pixels."""
MEASURED_IMAGES = ("sparse", "dying")
"""Those whose objects CellProfiler measured as well."""
SHARED = ("human", "bbbc022", "syn_round", "syn_touching", "syn_empty", "syn_noise", "syn_saturated")
NAMES = (*OWN, *SHARED)
BAD = {
    "empty": "Empty", "noise": "Noise", "saturated": "Saturated",
    "syn_empty": "Empty", "syn_noise": "Noise", "syn_saturated": "Saturated",
}  # fmt: skip
"""Images that no cell is seen in, and the flag of each."""


@dataclass(frozen=True)
class Oracle:
    """One image: channels float32 (H, W) in 0..1; masks, each of SETS; areas, set -> AreaOccupied, perimeter, total."""

    name: str
    dna: np.ndarray
    cell: np.ndarray
    scale: int
    diameter: tuple[float, float]
    masks: dict[str, np.ndarray]
    areas: dict[str, tuple[int, int, int]]
    counts: dict[str, int]
    threshold_nuclei: float
    threshold_cells: float


def pixels(name: str) -> np.ndarray:
    """An own image, uint8 (H, W, 3); `vehicle16` is `vehicle` in uint16 with drawn low bits."""
    if name != "vehicle16":
        return np.asarray(Image.open(FOLDER / f"{name}.png"))
    image = pixels("vehicle").astype(np.uint16)
    return image * 256 + np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint16)


def assert_same_masks(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], message: str = "") -> None:
    """Label images of SETS, number by number; the inner sets object by object.

    CellProfiler numbers the inner objects in the order of a Python set of their labels, in which 8 may precede 3.
    """
    assert set(found) == set(expected) == set(SETS)
    for kind in SETS:
        ours, theirs = found[kind], expected[kind]
        if kind.endswith("Inner"):
            pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
            assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1], f"{kind} {message}"
            assert ((pairs[0] == 0) == (pairs[1] == 0)).all(), f"{kind} {message}"
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{kind} {message}")


@cache
def own(name: str) -> Oracle:
    """One of OWN."""
    image = pixels(name)
    scale = int(np.iinfo(image.dtype).max)
    with np.load(FOLDER / "masks.npz") as stored:
        masks = {kind: stored[f"{name}/{kind}"] for kind in SETS}
    with (FOLDER / "image_measurements.csv").open() as stream:
        row = next({key: float(value) for key, value in row.items() if key != "image"}
                   for row in csv.DictReader(stream) if row["image"] == name)  # fmt: skip
    areas = {
        kind: tuple(int(row[f"AreaOccupied_{part}_{kind}"]) for part in ("AreaOccupied", "Perimeter", "TotalArea"))
        for kind in SETS
    }
    return Oracle(
        name, *((image[..., channel] / scale).astype(np.float32) for channel in (2, 1)), scale, OWN[name], masks, areas,
        {kind: int(row[f"Count_{kind}"]) for kind in SETS}, row["Threshold_FinalThreshold_Nuclei"],
        row["Threshold_FinalThreshold_Cells"],
    )  # fmt: skip


@cache
def shared(folder: Path, name: str) -> Oracle:
    """One of SHARED from the folder of CellProfiler's files."""
    setting = json.loads((folder / "settings.json").read_text())[name]
    scale = setting["intensity_divisor"]
    dna, cell = (
        (tifffile.imread(folder / "inputs" / setting[key]) / scale).astype(np.float32) for key in ("dna", "cell")
    )
    masks = {kind: np.asarray(Image.open(folder / "masks" / f"{name}_{kind}.png")) for kind in SETS}
    with (folder / "area_occupied.csv").open() as stream:
        rows = {row["object_set"]: row for row in csv.DictReader(stream) if row["image"] == name}
    areas = {kind: tuple(int(rows[kind][part]) for part in ("AreaOccupied", "Perimeter", "TotalArea")) for kind in SETS}
    return Oracle(
        name, dna, cell, scale, (setting["diameter_min"], setting["diameter_max"]), masks, areas,
        {kind: int(rows[kind]["count"]) for kind in SETS}, setting["threshold_nuclei"], setting["threshold_cells"],
    )  # fmt: skip
