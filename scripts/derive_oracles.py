"""Render the oracle images of tests/data/cellprofiler and let CellProfiler 4.2.8.1 segment and measure them.

    scripts/setup-cellprofiler && python scripts/derive_oracles.py

The pixels are the project's own (the simulator's, and made noise); every mask, area, count, threshold and object
measurement is CellProfiler's. Images that are stored already are kept, so that a change of the simulator does not
change what the tests compare; `--render` draws them anew. tests/data/cellprofiler/README.md says what lies there.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.render import render
from morphobench.features import cellprofiler
from morphobench.features.cellprofiler.routes import MEASURED, SETS, WORKER

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from oracles import FOLDER, MEASURED_IMAGES, OWN, pixels  # noqa: E402

MODULES = ROOT / "tests" / "cellprofiler_modules.py"
THRESHOLDS = ("Threshold_FinalThreshold_Nuclei", "Threshold_FinalThreshold_Cells")
COMPARTMENTS = ("Nuclei", "Cells", "Cytoplasm")


def rendered() -> dict[str, np.ndarray]:
    """uint8 (H, W, 3) images by name, drawn by the simulator or made of noise."""
    plate = plate_optics("1", "T01")
    found = {
        "vehicle": render({}, plate, 1),
        "aurora": render({"Aurora kinase inhibitors": 1.0}, plate, 1),
        "mitotic": render({"Eg5 inhibitors": 1.0}, plate, 1),
        "sparse": render({"Protein synthesis": 1.0}, plate, 1),
        "dying": render({"Protein degradation": 1.0}, plate, 2),
        "large": render({}, plate, 5, 256),
        "empty": np.zeros((128, 128, 3), np.uint8),
        "noise": np.random.default_rng(0).normal(24, 6, (128, 128, 3)).round().clip(0, 255).astype(np.uint8),
    }
    found["saturated"] = found["vehicle"].copy()
    found["saturated"][..., 2] = 255
    fields = [render({"DNA damage": 1.0} if k % 3 == 0 else {}, plate, 100 + k) for k in range(16)]
    found["crowded"] = np.concatenate([np.concatenate(fields[row : row + 4], axis=1) for row in range(0, 16, 4)])
    found["crowded"][..., 0] = 0  # actin plays no part in the masks, and its noise would be a fifth of the folder
    return found


def segmented(name: str, installation: cellprofiler.Installation, folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """CellProfiler's image measurements and its label images of one image, by the shipped pipeline."""
    (folder / "pipeline.cppipe").write_text(cellprofiler.pipeline_text(OWN[name]), encoding="utf-8")
    image = pixels(name)
    np.save(folder / "images.npy", np.stack([image[..., 2], image[..., 1]])[None])
    command = [installation.python, "-I", WORKER, folder / "pipeline.cppipe", *MEASURED, *THRESHOLDS]
    request = json.dumps({"images": str(folder / "images.npy"), "labels": str(folder / "labels.npz")})
    done = subprocess.run(
        list(map(str, command)), input=request + "\n", capture_output=True, text=True, env=installation.environment
    )
    if done.returncode:
        sys.exit(done.stderr)
    with np.load(folder / "labels.npz") as stored:
        labels = {kind: stored[kind][0] for kind in SETS}
    return json.loads(done.stdout)[0], labels


def measured(
    masks: dict[str, np.ndarray], installation: cellprofiler.Installation, folder: Path
) -> dict[str, np.ndarray]:
    """Every object measurement of CellProfiler's modules: IMAGE/SET/columns and IMAGE/SET/values (columns, objects)."""
    arrays = {}
    for name in MEASURED_IMAGES:
        image = pixels(name)
        for number, channel in enumerate(("Actin", "Tubulin", "DNA")):
            arrays[f"{name}/channels/{channel}"] = (image[..., number] / 255).astype(np.float32)
        for kind in COMPARTMENTS:
            arrays[f"{name}/objects/{kind}"] = masks[f"{name}/{kind}"].astype(np.int32)
        arrays[f"{name}/scale"] = np.array(255)
    np.savez(folder / "images.npz", **arrays)
    command = [installation.python, "-I", "-W", "ignore", MODULES, folder / "images.npz", folder / "tables.json"]
    subprocess.run(list(map(str, command)), check=True, env=installation.environment, stdout=subprocess.DEVNULL)
    found = {}
    for name, tables in json.loads((folder / "tables.json").read_text()).items():
        for kind, table in tables.items():
            found[f"{name}/{kind}/columns"] = np.array(list(table))
            found[f"{name}/{kind}/values"] = np.array(list(table.values()), float)
    return found


def pack(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """What `np.load` reads, in half the bytes of `np.savez_compressed`; equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue(), zipfile.ZIP_LZMA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="draw the images anew")
    arguments = parser.parse_args()
    installation = cellprofiler.find()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, image in rendered().items():
        path = FOLDER / f"{name}.png"
        if arguments.render or not path.is_file():
            Image.fromarray(image).save(path, optimize=True)
    rows, masks = [], {}
    with tempfile.TemporaryDirectory() as place:
        for name in OWN:
            row, labels = segmented(name, installation, Path(place))
            rows.append({"image": name} | row)
            masks |= {f"{name}/{kind}": array for kind, array in labels.items()}
        tables = measured(masks, installation, Path(place))
    pack(FOLDER / "masks.npz", masks)
    pack(FOLDER / "objects.npz", tables)
    with (FOLDER / "image_measurements.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{FOLDER}: {sum(path.stat().st_size for path in FOLDER.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
