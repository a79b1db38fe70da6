"""Frechet statistic from features, side by side with torch-fidelity and clean-fid in one process.

    python benchmarks/frechet.py [--all] [--repeats N] [--json FILE]

Every contestant starts from the same two float64 feature arrays (n, d) and ends with the distance, moments included.
The best of N runs counts for each; the runs alternate, so that a busy moment of the machine hits all of them.
clean-fid takes long and runs once. The features fall off like those of a trained network and are not negative.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.metrics import FrechetReference, frechet_distance
from morphobench.provenance import processor
from morphobench.storage import atomic_write_text

D = 2048
Contestant = Callable[[np.ndarray, np.ndarray], float]


def features(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets (n, 2048) of positive, correlated features with a spectrum that falls like 1/i."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(D, D)))[0] / np.arange(1, D + 1)[:, None] ** 0.5
    return np.abs(random.normal(size=(n, D)) @ basis + 0.3), np.abs(1.1 * random.normal(size=(n, D)) @ basis + 0.35)


def torch_fidelity(a: np.ndarray, b: np.ndarray) -> float:
    """torch-fidelity's own moments and metric."""
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    return fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]


def clean_fid(a: np.ndarray, b: np.ndarray) -> float:
    """clean-fid's metric on numpy moments, as its own compute_fid makes them."""
    from cleanfid.fid import frechet_distance as distance

    return float(distance(a.mean(axis=0), np.cov(a, rowvar=False), b.mean(axis=0), np.cov(b, rowvar=False)))


def measure(n: int, repeats: int) -> list[dict[str, float | str | int]]:
    """Best seconds, value and ratio of every contestant at one n."""
    a, b = features(n, seed=n)
    reference = FrechetReference.of(b)
    contestants: dict[str, Contestant] = {
        "morphobench": frechet_distance,
        "morphobench, cached reference": lambda a, b: reference.distance(a),
        "torch-fidelity": torch_fidelity,
        "clean-fid": clean_fid,
    }
    best = dict.fromkeys(contestants, float("inf"))
    values: dict[str, float] = {}
    for repeat in range(repeats):
        for name, contestant in contestants.items():
            if name == "clean-fid" and repeat:
                continue
            start = time.perf_counter()
            values[name] = contestant(a, b)
            best[name] = min(best[name], time.perf_counter() - start)
    ours = values["morphobench"]
    return [
        {
            "n": n,
            "who": name,
            "seconds": best[name],
            "times_ours": best[name] / best["morphobench"],
            "value": values[name],
            "relative_difference": abs(values[name] - ours) / ours,
        }
        for name in contestants
    ]


def setting() -> dict[str, str]:
    """Hardware and versions."""
    names = ("numpy", "scipy", "torch", "torch-fidelity", "clean-fid")
    return {
        "cpu": processor(),
        "cores": f"{os.cpu_count()}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'unset')}",
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="n = 5000 as well as n = 1000")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows and the setting to this file")
    arguments = parser.parse_args()
    ensure_torchvision()
    torch_fidelity(*(np.eye(3), 2 * np.eye(3)))  # imports are not part of the work
    clean_fid(*(np.eye(3), 2 * np.eye(3)))
    rows = [row for n in ((1000, 5000) if arguments.all else (1000,)) for row in measure(n, arguments.repeats)]
    where = setting()
    table = Table(title=f"Frechet distance from features, d = {D}, best of {arguments.repeats}")
    for column in ("n", "who", "seconds", "x ours", "value", "relative difference"):
        table.add_column(column, justify="left" if column == "who" else "right")
    for row in rows:
        table.add_row(
            str(row["n"]),
            str(row["who"]),
            f"{row['seconds']:.3f}",
            f"{row['times_ours']:.1f}",
            f"{row['value']:.8g}",
            f"{row['relative_difference']:.1e}",
        )
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in where.items()))
    if arguments.json:
        atomic_write_text(arguments.json, json.dumps({"setting": where, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
