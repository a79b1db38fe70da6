"""Frechet distances per compound and their resamples: seconds, ratio to torch-fidelity, agreement, in one process.

    python benchmarks/frechet_compounds.py [--compounds 98] [--images 16 500] [--replicates 1000] [--json FILE]

Three parts for each number of images per compound, d = 2048. Distances: all compounds by morphobench, one in
`--theirs` by torch-fidelity, whose seconds are scaled to all. Exact resamples (`FrechetGram`): all compounds and
replicates; a few draws once more by `frechet_distance` on the repeated rows, for the ratio and the greatest relative
difference. First order, which the intervals use: all compounds and replicates.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from frechet import features, setting, torch_fidelity
from rich.console import Console
from rich.table import Table

from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.metrics import FrechetGram, frechet_distance, frechet_distance_by_compound
from morphobench.metrics.frechet_compounds import frechet_resamples_by_compound
from morphobench.storage import atomic_write_text

CHECKED = 8
"""Draws that are taken again from the features."""
T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def measure(images: int, compounds: int, replicates: int, theirs: int) -> list[tuple[str, float, float, float]]:
    """(what, seconds, times faster than what stands beside it, greatest relative difference from it)."""
    a, b = features(compounds * images, seed=images)
    names = np.repeat([f"{number:03d}" for number in range(compounds)], images)
    groups = [slice(number * images, (number + 1) * images) for number in range(compounds)]
    random = np.random.default_rng(0)
    weights_a, weights_b = (
        np.hstack([random.multinomial(images, np.full(images, 1 / images), size=replicates) for _ in groups])
        for _ in "ab"
    )
    found, seconds = timed(lambda: frechet_distance_by_compound(a, names, b, names))
    sample = groups[:theirs]
    reference, their_seconds = timed(lambda: [torch_fidelity(a[rows], b[rows]) for rows in sample])
    off = max(abs(ours / value - 1) for ours, value in zip(found, reference, strict=False))
    rows = [("distances, beside torch-fidelity", seconds, their_seconds / len(sample) * compounds / seconds, off)]

    def exact() -> list[np.ndarray]:
        return [FrechetGram.of(a[rows], b[rows]).resamples(weights_a[:, rows], weights_b[:, rows]) for rows in groups]

    values, seconds = timed(exact)
    first = groups[0]
    draws = list(zip(weights_a[:CHECKED, first], weights_b[:CHECKED, first], strict=True))
    direct, their_seconds = timed(
        lambda: [frechet_distance(np.repeat(a[first], p, axis=0), np.repeat(b[first], q, axis=0)) for p, q in draws]
    )
    off = float(np.max(np.abs(values[0][:CHECKED] / direct - 1)))
    ratio = their_seconds / len(draws) * compounds * replicates / seconds
    rows.append((f"{replicates:,} exact resamples, beside resampled features", seconds, ratio, off))
    _, seconds = timed(lambda: frechet_resamples_by_compound(a, names, b, names, weights_a, weights_b))
    ratio = their_seconds / len(draws) * compounds * replicates / seconds
    rows.append((f"{replicates:,} first-order replicates", seconds, ratio, float("nan")))
    return rows


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compounds", type=int, default=98)
    parser.add_argument("--images", type=int, nargs="+", default=[16, 500], help="images per compound")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--theirs", type=int, default=3, help="compounds that torch-fidelity takes")
    parser.add_argument("--json", type=Path, help="write the rows and the setting to this file")
    arguments = parser.parse_args()
    ensure_torchvision()
    torch_fidelity(np.eye(3), 2 * np.eye(3))  # imports are not part of the work
    table = Table(title=f"{arguments.compounds} compounds, d = 2048", title_justify="left")
    for heading in ("images", "what", "seconds", "x faster", "relative difference"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    kept = []
    for images in arguments.images:
        for what, seconds, ratio, off in measure(images, arguments.compounds, arguments.replicates, arguments.theirs):
            table.add_row(str(images), what, f"{seconds:.2f}", f"{ratio:.1f}", "" if np.isnan(off) else f"{off:.1e}")
            kept.append({"images": images, "what": what, "seconds": seconds, "ratio": ratio, "off": off})
    console, where = Console(width=120), setting()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in where.items()))
    if arguments.json:
        atomic_write_text(arguments.json, json.dumps({"setting": where, "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
