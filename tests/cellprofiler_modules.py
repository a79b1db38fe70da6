"""CellProfiler's measuring modules on given label images, for its own interpreter (Python 3.9).

PYTHON tests/cellprofiler_modules.py IMAGES.npz TABLES.json

IMAGES.npz holds, for each image NAME, `NAME/channels/CHANNEL` (float32 (H, W) in 0..1), `NAME/objects/OBJECTS` (int32
(H, W), numbered 1..n without gaps) and `NAME/scale` (255 or 65535: what the pixels were divided by). TABLES.json gets
name -> objects -> column -> list of n values. Every setting is the module's default but those that are named here.
"""

import json
import sys
from pathlib import Path

import numpy as np
from cellprofiler.modules.measurecolocalization import MeasureColocalization
from cellprofiler.modules.measuregranularity import MeasureGranularity
from cellprofiler.modules.measureobjectintensity import MeasureObjectIntensity
from cellprofiler.modules.measureobjectintensitydistribution import MeasureObjectIntensityDistribution
from cellprofiler.modules.measureobjectneighbors import MeasureObjectNeighbors
from cellprofiler.modules.measureobjectsizeshape import MeasureObjectSizeShape
from cellprofiler.modules.measuretexture import MeasureTexture
from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import Objects, ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.preferences import set_headless
from cellprofiler_core.workspace import Workspace

NO_NEIGHBOURS = "Cytoplasm"


def listing(kind: type, channels: list, objects: list):
    """A module that takes a list of images and a list of objects."""
    module = kind()
    module.images_list.value = ", ".join(channels)
    module.objects_list.value = ", ".join(objects)
    return module


def modules(channels: list, objects: list) -> list:
    """Every module, set as the full profile is."""
    shape = MeasureObjectSizeShape()
    shape.objects_list.value = ", ".join(objects)
    shape.calculate_advanced.value = True
    granularity = listing(MeasureGranularity, channels, objects)
    granularity.wants_objects.value = True
    colocalisation = listing(MeasureColocalization, channels, objects)
    colocalisation.images_or_objects.value = "Within objects"
    texture = listing(MeasureTexture, channels, objects)
    texture.images_or_objects.value = "Objects"
    radial = MeasureObjectIntensityDistribution()
    radial.images_list.value = ", ".join(channels)
    radial.wants_zernikes.value = "None"
    for _ in objects[1:]:
        radial.add_object()
    for group, name in zip(radial.objects, objects):  # noqa: B905 - Python 3.9
        group.object_name.value = name
    found = [shape, listing(MeasureObjectIntensity, channels, objects), granularity, colocalisation, texture, radial]
    for name in objects:
        if name != NO_NEIGHBOURS:
            neighbours = MeasureObjectNeighbors()
            neighbours.object_name.value = neighbours.neighbors_name.value = name
            neighbours.distance_method.value = "Adjacent"
            found.append(neighbours)
    return found


def measure(channels: dict, labels: dict, scale: int) -> dict:
    """Objects -> column -> values of one image."""
    images = ImageSetList()
    image_set = images.get_image_set(0)
    for name, pixels in channels.items():
        image_set.add(name, Image(pixels, scale=scale))
    object_set, measurements = ObjectSet(), Measurements(mode="memory")
    for name, segmented in labels.items():
        objects = Objects()
        objects.segmented = segmented
        object_set.add_objects(objects, name)
    pipeline = Pipeline()
    for module in modules(list(channels), list(labels)):
        module.show_window = False
        module.run(Workspace(pipeline, module, image_set, object_set, measurements, images))
    return {
        name: {
            column: np.asarray(measurements.get_current_measurement(name, column), float).tolist()
            for column in measurements.get_feature_names(name)
        }
        for name in labels
    }


def main(images: str, tables: str) -> None:
    """Measure every image that has an object of each kind."""
    set_headless()
    with np.load(images) as stored:
        arrays = {key: stored[key] for key in stored.files}
    found = {}
    for name in sorted({key.split("/")[0] for key in arrays}):
        parts = {
            kind: {key.split("/")[2]: value for key, value in arrays.items() if key.startswith(f"{name}/{kind}/")}
            for kind in ("channels", "objects")
        }
        found[name] = measure(parts["channels"], parts["objects"], int(arrays[f"{name}/scale"]))
    Path(tables).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
