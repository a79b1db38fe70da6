"""CellProfiler's side of `segmentation.py`, for an interpreter that has it: processor milliseconds as JSON.

PYTHON benchmarks/segmentation_cellprofiler.py FOLDER REPEATS
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.preferences import set_headless
from cellprofiler_core.workspace import Workspace

MODULES = ("Identify", "FilterObjects", "MeasureImageAreaOccupied")
KINDS = ("Cells", "Cytoplasm", "Nuclei")


def run(pipeline: Pipeline, modules: list, dna: np.ndarray, cell: np.ndarray) -> Measurements:
    """The modules in order on one image in memory."""
    images = ImageSetList()
    image_set = images.get_image_set(0)
    image_set.add("DNA", Image(dna))
    image_set.add("Cell", Image(cell))
    objects, measurements = ObjectSet(), Measurements(mode="memory")
    for module in modules:
        module.run(Workspace(pipeline, module, image_set, objects, measurements, images))
    return measurements


def main(folder: Path, repeats: int) -> None:
    """Time every image and check that CellProfiler counted what the folder says, so that the settings are the same."""
    set_headless()
    result = {}
    for name, setting in json.loads((folder / "settings.json").read_text()).items():
        dna, cell = (
            (tifffile.imread(str(folder / "inputs" / setting[key])) / setting["intensity_divisor"]).astype(np.float32)
            for key in ("dna", "cell")
        )
        pipeline = Pipeline()
        pipeline.load(str(folder / setting["pipeline"]))
        modules = [module for module in pipeline.modules() if module.module_name.startswith(MODULES)]
        measurements = run(pipeline, modules, dna, cell)
        times = []
        for _ in range(repeats):
            start = time.process_time()
            run(pipeline, modules, dna, cell)
            times.append(time.process_time() - start)
        areas = [measurements.get_current_image_measurement(f"AreaOccupied_AreaOccupied_{kind}") for kind in KINDS]
        result[name] = {"milliseconds": 1e3 * min(times), "areas": [int(area) for area in areas]}
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
