"""The full profile of cells: time per image and agreement, beside cp-measure's default functions in the same run.

    python benchmarks/profiles.py [--images 8]

Both measure the cells, cytoplasms and nuclei of the same images of the sim tier, with the same masks, in this process
and thread. cp-measure's default path is all that its registries hold (core, correlation, neighbours), called once per
set of objects and channel, without the radial Zernike moments, which the profile has not; its Overlap and K stand in no
registry, so that ours does a little more. Processor time is counted: a busy machine does not change it much.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import warnings
from collections import defaultdict
from itertools import combinations
from typing import NamedTuple

import cp_measure
import numpy as np
from cp_measure.bulk import get_core_measurements, get_correlation_measurements, get_multimask_measurements

from morphobench import provenance
from morphobench.datasets import load_tier
from morphobench.features.cell_profile import CHANNELS, measure_neighbours, measure_objects, prepare
from morphobench.features.objects import OBJECTS
from morphobench.features.segment import segment

REPEATS = 3
SHAPE = ("sizeshape", "zernike", "feret")
PER_CHANNEL = ("intensity", "granularity", "radial_distribution", "texture")
OTHERWISE = ("costes", "rwc")
"""cp-measure takes their threshold and ranks from each object, CellProfiler and we from all: other values."""
PARTS = (
    "draw_rings", "radial_distribution", "granular_spectrum", "granularity", "get_sizeshape", "get_texture",
    "get_zernike", "measure_neighbours", "get_intensity", "get_feret", "costes_thresholds", "colocalisation",
)  # fmt: skip
Tables = dict[str, dict[str, np.ndarray]]


class Image(NamedTuple):
    """Channels, float32 (C, H, W) in 0..1, and label images by compartment, numbered 1..n."""

    channels: np.ndarray
    labels: dict[str, np.ndarray]


def sim_images(count: int) -> list[Image]:
    """`count` images spread over the sim tier, segmented."""
    tier, found = load_tier("sim"), []
    rows = tier.samples.iloc[np.linspace(0, len(tier.samples) - 1, count).astype(int)]
    for image in tier.images(rows).take(range(count)):
        channels = np.ascontiguousarray((image / 255).astype(np.float32).transpose(2, 0, 1))
        masks = segment(channels[2], channels[1], tier.spec.nucleus_diameter)
        labels = {kind: getattr(masks, kind.lower()) for kind in OBJECTS}
        found.append(Image(channels, {kind: each for kind, each in labels.items() if each.any()}))
    return found


def ours(image: Image) -> Tables:
    """Every table of an image as the profile makes it."""
    field, tables = prepare(image.channels), {}
    for kind, labels in image.labels.items():
        tables[kind] = measure_objects(labels, field)
        if kind != "Cytoplasm":
            tables[kind] |= measure_neighbours(labels)
    return tables


def theirs(image: Image, spent: dict[str, float]) -> Tables:
    """The same by cp-measure's registries, under our names; adds the seconds of every family to `spent`."""
    core, pairwise = get_core_measurements(legacy=True), get_correlation_measurements()
    neighbours, tables = get_multimask_measurements()["neighbors"], {}

    def timed(family: str, function, *arguments, **settings) -> dict[str, np.ndarray]:
        start = time.process_time()
        found = function(*arguments, **settings)
        spent[family] += time.process_time() - start
        return found

    for kind, labels in image.labels.items():
        table = tables[kind] = {}
        for family in SHAPE:
            found = timed(family, core[family], labels, None)
            table |= {f"AreaShape_{key}": values for key, values in found.items()}
        for name, pixels in zip(CHANNELS, image.channels, strict=True):
            for family in PER_CHANNEL:
                found = timed(family, core[family], labels, pixels)
                table |= {column(family, key, name): values for key, values in found.items()}
        for (first, a), (second, b) in combinations(zip(CHANNELS, image.channels, strict=True), 2):
            for family, function in pairwise.items():
                found = timed(family, function, a, b, labels, **({"scale_max": 255} if family == "costes" else {}))
                if family not in OTHERWISE:
                    names = {"": f"{first}_{second}", "_1": f"{first}_{second}", "_2": f"{second}_{first}"}
                    for key, values in found.items():
                        feature, end = (key[:-2], key[-2:]) if key[-2] == "_" else (key, "")
                        feature = feature.replace("Correlation_Pearson", "Correlation_Correlation")
                        table[f"{feature}_{names[end]}"] = np.array(values)
        if kind != "Cytoplasm":
            table |= timed("neighbours", neighbours, labels, labels, distance_method="Adjacent")
    return tables


def column(family: str, key: str, channel: str) -> str:
    """CellProfiler's column of a cp-measure key: the channel stands before the ring or the texture's scale."""
    if family == "radial_distribution":
        start, ring = key.rsplit("_", 1)
        return f"{start}_{channel}_{ring}"
    if family == "texture":
        feature, rest = key.split("_", 1)
        return f"Texture_{feature}_{channel}_{rest}"
    return f"{key}_{channel}"


def agreement(mine: list[Tables], other: list[Tables]) -> tuple[int, float, int]:
    """Columns that both have, their largest difference in standard deviations of a column, values absent in one."""
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for a, b in zip(mine, other, strict=True):
        for kind, table in a.items():
            for key in table.keys() & b[kind].keys():
                if not key.startswith("Location_MaxIntensity"):  # one of several brightest pixels
                    pairs[f"{kind}_{key}"].append((table[key], np.asarray(b[kind][key], dtype=float)))
    largest, absent = 0.0, 0
    for values in pairs.values():
        a, b = (np.concatenate(side) for side in zip(*values, strict=True))
        absent += int((np.isfinite(a) != np.isfinite(b)).sum())
        known = np.isfinite(a) & np.isfinite(b)
        spread = max(float(np.std(b[known])), 1e-6) if known.any() else 1.0
        largest = max(largest, float(np.abs(a - b)[known].max(initial=0)) / spread)
    return len(pairs), largest, absent


def report(images: list[Image]) -> None:
    """Print seconds per image of both, by family for cp-measure, the ratios and the agreement."""
    mine, least = [ours(image) for image in images], np.inf
    for _ in range(REPEATS):
        start = time.process_time()
        mine = [ours(image) for image in images]
        least = min(least, (time.process_time() - start) / len(images))
    print(f"ours: {least:.3f} s per image, {sum(map(len, mine[0].values()))} columns")
    for accelerator in (None, "numba"):
        cp_measure.set_accelerator(accelerator)
        [theirs(image, defaultdict(float)) for image in images[:1]]  # compiles
        runs = []
        for _ in range(REPEATS):
            spent: dict[str, float] = defaultdict(float)
            other = [theirs(image, spent) for image in images]
            runs.append({family: seconds / len(images) for family, seconds in spent.items()})
        best = min(runs, key=lambda run: sum(run.values()))
        total, same = sum(best.values()), sum(best[family] for family in best.keys() - set(OTHERWISE))
        print(f"\ncp-measure, accelerator {accelerator}: {total:.3f} s per image, {total / least:.1f} x ours; without "
              f"{' and '.join(OTHERWISE)} {same:.3f} s, {same / least:.1f} x")  # fmt: skip
        print("  " + ", ".join(f"{k} {1e3 * v:.0f} ms" for k, v in sorted(best.items(), key=lambda item: -item[1])))
        columns, largest, absent = agreement(mine, other)
        print(f"  {columns} columns in common: largest difference {largest:.1e} of the column's standard deviation, "
              f"values absent in one only: {absent}")  # fmt: skip
    cp_measure.set_accelerator(None)


def report_parts(images: list[Image]) -> None:
    """Print the share of our time that each function takes, by the profiler."""
    with cProfile.Profile() as profile:
        for image in images:
            ours(image)
    stats = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    spent = {name: sum(row[3] for (_, _, function), row in stats if function == name) for name in PARTS}
    total = sum(row[3] for (_, _, function), row in stats if function == "ours")
    shares = sorted(spent.items(), key=lambda item: -item[1])
    print("\nshares of ours: " + ", ".join(f"{name} {100 * seconds / total:.0f}%" for name, seconds in shares))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    chosen = sim_images(parser.parse_args().images)
    print(" ".join(f"{key}: {value};" for key, value in provenance.hardware("cpu").items()))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of objects of one pixel or one grey level
        report(chosen)
        report_parts(chosen)
