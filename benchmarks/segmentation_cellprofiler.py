"""CellProfiler's side of `segmentation.py`, for an interpreter that has it: processor milliseconds and areas as JSON.

PYTHON benchmarks/segmentation_cellprofiler.py PIPELINE FOLDER REPEATS

FOLDER holds images as NAME.npz (dna, cell, diameter); the masks of each are written beside it as NAME.masks.npz.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.preferences import set_headless
from cellprofiler_core.workspace import Workspace

MODULES = ("Identify", "FilterObjects", "MeasureImageAreaOccupied")
KINDS = ("Cells", "Cytoplasm", "Nuclei")


def run(pipeline: Pipeline, modules: list, dna: np.ndarray, cell: np.ndarray) -> tuple[ObjectSet, Measurements]:
    """The modules in order on one image in memory."""
    images = ImageSetList()
    image_set = images.get_image_set(0)
    image_set.add("DNA", Image(dna))
    image_set.add("Cell", Image(cell))
    objects, measurements = ObjectSet(), Measurements(mode="memory")
    for module in modules:
        module.run(Workspace(pipeline, module, image_set, objects, measurements, images))
    return objects, measurements


def main(file: str, folder: Path, repeats: int) -> None:
    """Time every image of the folder, in the order of the names."""
    set_headless()
    pipeline = Pipeline()
    pipeline.load(file)
    modules = [module for module in pipeline.modules() if module.module_name.startswith(MODULES)]
    result = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            dna, cell, diameter = stored["dna"], stored["cell"], tuple(int(value) for value in stored["diameter"])
        modules[0].size_range.value = diameter
        objects, measurements = run(pipeline, modules, dna, cell)
        np.savez(path.with_suffix(".masks.npz"), **{kind: objects.get_objects(kind).segmented for kind in KINDS})
        times = []
        for _ in range(repeats):
            start = time.process_time()
            run(pipeline, modules, dna, cell)
            times.append(time.process_time() - start)
        areas = [measurements.get_current_image_measurement(f"AreaOccupied_AreaOccupied_{kind}") for kind in KINDS]
        result.append({"milliseconds": 1e3 * min(times), "areas": [int(area) for area in areas]})
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
