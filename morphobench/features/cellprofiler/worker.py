"""Runs a pipeline on arrays in CellProfiler's own interpreter (Python 3.9), which imports nothing of this package.

PYTHON -I worker.py PIPELINE COLUMN...

Each line of stdin is JSON: `images`, a .npy of uint8 or uint16 (N, 2, H, W) DNA and tubulin, and `labels`, a .npz to
write the label images to, or null. The answer is a line of JSON: for each image its measurements by column.
"""

import json
import os
import sys

import numpy as np
from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.preferences import set_headless
from cellprofiler_core.workspace import Workspace

FILES = ("Images", "Metadata", "NamesAndTypes", "Groups", "ExportToSpreadsheet")
"""Modules that read or write files."""


def run(pipeline: Pipeline, modules: list, pair: np.ndarray) -> tuple:
    """The modules in order on one pair of channels; returns the measurements and the objects."""
    images = ImageSetList()
    image_set = images.get_image_set(0)
    # What NamesAndTypes makes of a file under "Image metadata".
    for name, pixels in zip(("DNA", "Tubulin"), pair):  # noqa: B905 - Python 3.9
        image_set.add(name, Image((pixels / np.iinfo(pixels.dtype).max).astype(np.float32)))
    objects, measurements = ObjectSet(), Measurements(mode="memory")
    for module in modules:
        module.run(Workspace(pipeline, module, image_set, objects, measurements, images))
    return measurements, objects


def main(path: str, columns: list) -> None:
    """Answer until stdin ends."""
    # CellProfiler prints; what it prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    set_headless()
    pipeline = Pipeline()
    pipeline.load(path)
    modules = [module for module in pipeline.modules() if module.module_name not in FILES]
    for line in sys.stdin:
        request = json.loads(line)
        rows: list = []
        labels: dict = {}
        for pair in np.load(request["images"]):
            measurements, objects = run(pipeline, modules, pair)
            rows.append({name: float(measurements.get_current_image_measurement(name)) for name in columns})
            if request["labels"]:
                for name in objects.object_names:
                    labels.setdefault(name, []).append(objects.get_objects(name).segmented.astype(np.uint16))
        if request["labels"]:
            arrays: dict = {name: np.stack(masks) for name, masks in labels.items()}
            np.savez_compressed(request["labels"], **arrays)
        answers.write(json.dumps(rows) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
