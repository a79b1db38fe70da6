"""What the objects of an image look like: size, elongation and stain of each, as means and deviations over objects.

Names and definitions are CellProfiler's (MeasureObjectSizeShape, MeasureObjectIntensity, and the Mean_ and StDev_ that
ExportToSpreadsheet adds). These few are sums over pixels, so that all objects of an image take one pass and
milliseconds; every measurement of CellProfiler's is `cell_profile`'s.
"""

from __future__ import annotations

import numpy as np

OBJECTS = ("Cells", "Cytoplasm", "Nuclei")
COMPARTMENTS = tuple(name.lower() for name in OBJECTS)
"""The same, as score keys and the masks of `segment` name them."""
STAINS = ("Actin", "Tubulin", "DNA")
"""The image's channels in order."""
MEASUREMENTS = (
    "AreaShape_Area", "AreaShape_MajorAxisLength", "AreaShape_MinorAxisLength", "AreaShape_Eccentricity",
    *(f"Intensity_{statistic}Intensity_{stain}" for stain in STAINS for statistic in ("Mean", "Std")),
)  # fmt: skip
"""The keys of `object_measurements`, in order."""
OBJECT_COLUMNS = tuple(
    f"{statistic}_{name}_{measurement}"
    for name in OBJECTS
    for measurement in MEASUREMENTS
    for statistic in ("Mean", "StDev")
)
"""The keys of `object_statistics`, in order."""


def object_measurements(labels: np.ndarray, channels: np.ndarray) -> dict[str, np.ndarray]:
    """MEASUREMENTS of each object, (K,) in the order of labels; a label without pixels has none.

    labels: integer (H, W), 0 is background; channels: (H, W, 3) in 0..1, STAINS. Area and axis lengths in pixels: the
    axes are those of the ellipse with the object's second moments, 4 sqrt of the eigenvalues. Eccentricity is 0 for a
    disc, towards 1 for a line; deviations are those of the object's pixels.
    """
    rows, columns = np.nonzero(labels)
    _, member, area = np.unique(labels[rows, columns], return_inverse=True, return_counts=True)

    def means(values: np.ndarray) -> np.ndarray:
        return np.bincount(member, weights=values, minlength=len(area)) / area

    dy, dx = rows - means(rows)[member], columns - means(columns)[member]
    yy, xx, xy = means(dy * dy), means(dx * dx), means(dy * dx)
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    large, small = middle + half, np.maximum(middle - half, 0)
    ratio = np.divide(small, large, out=np.ones_like(large), where=large > 0)
    measured = [area.astype(np.float64), 4 * np.sqrt(large), 4 * np.sqrt(small), np.sqrt(1 - ratio)]
    for channel in np.moveaxis(channels[rows, columns].astype(np.float64), 1, 0):
        mean = means(channel)
        measured += [mean, np.sqrt(means((channel - mean[member]) ** 2))]
    return dict(zip(MEASUREMENTS, measured, strict=True))


def object_statistics(masks: dict[str, np.ndarray], channels: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation of every measurement over the objects of an image: OBJECT_COLUMNS -> value.

    masks: OBJECTS -> labels (H, W). NaN where an image has no such object.
    """
    statistics: dict[str, float] = {}
    for name in OBJECTS:
        for measurement, values in object_measurements(masks[name], channels).items():
            any_object = len(values) > 0
            statistics[f"Mean_{name}_{measurement}"] = float(values.mean()) if any_object else float("nan")
            statistics[f"StDev_{name}_{measurement}"] = float(values.std()) if any_object else float("nan")
    return statistics
