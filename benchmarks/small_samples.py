"""What few images do to two scores: the zero of the AreaOccupied shift, and the seed of FD-infinity.

    python benchmarks/small_samples.py [--simulations 100] [--seeds 8]

The first table scores images of the vehicle's own law, 44 compounds of 16 images on four plates, whose real images have
effects of a known size: with all 256 vehicle images at once, and with samples of them as the score takes them. The
second extrapolates one half of the sim tier's real images against the other, from shipped features, under several
seeds of the shuffle, beside the width of the score's interval. The third draws normal rows of the covariance of such
features, both sides from one law, so that all that is found is bias: how much of it the extrapolation leaves.
"""

from __future__ import annotations

import argparse

import numpy as np
from safetensors.numpy import load_file
from scipy.stats import wasserstein_distance

from morphobench.datasets import load_tier
from morphobench.features.shipped import shipped_file
from morphobench.metrics import FeatureInputs, fd_infinity
from morphobench.metrics.morphology import area_occupied_shift_by_compound
from morphobench.metrics.registry import METRICS

COMPOUNDS, PLATES, IMAGES, VEHICLE = 44, 4, 4, 64
"""Images are per compound and plate, vehicle images per plate."""


def vehicle_law(effect: float, random: np.random.Generator) -> tuple[float, float]:
    """The score of images of the vehicle's law: against all vehicle images at once, and as METRICS has it."""
    compounds = np.repeat(np.arange(COMPOUNDS), PLATES * IMAGES)
    plates = np.tile(np.repeat(np.arange(PLATES), IMAGES), COMPOUNDS)
    beside, level = np.repeat(np.arange(PLATES), VEHICLE), random.normal(size=PLATES)
    n = len(compounds)
    real = level[plates] + effect * random.normal(size=COMPOUNDS)[compounds] + random.normal(size=n)
    generated, vehicle = level[plates] + random.normal(size=n), level[beside] + random.normal(size=len(beside))
    rows = [compounds == compound for compound in range(COMPOUNDS)]
    missed = sum(wasserstein_distance(generated[mine], real[mine]) for mine in rows)
    gap = sum(wasserstein_distance(vehicle, real[mine]) for mine in rows)
    own = area_occupied_shift_by_compound(generated, compounds, plates, real, compounds, vehicle, beside)
    return 1 - missed / gap, own


def seeds(extractor: str, count: int) -> tuple[int, float, float, float]:
    """One half of the id images against the other: N, FD-infinity, its deviation over seeds, its interval's width."""
    tier = load_tier("sim")
    rows, path = tier.test_rows("id"), shipped_file(tier, extractor, "id")
    if path is None:
        raise FileNotFoundError(f"no shipped {extractor} features of id")
    halves = [np.arange(start, len(rows), 2) for start in (0, 1)]
    embedding = load_file(path)["embedding"]
    a, b = (embedding[half] for half in halves)
    labels = [rows.iloc[half][name].to_numpy(dtype=str) for half in halves for name in ("compound", "plate")]
    values = [fd_infinity(a, b, seed).value for seed in range(count)]
    low, high = METRICS["fd_infinity"].interval(FeatureInputs(a, b, *labels), 1000, 0) or (np.nan, np.nan)
    return len(a), float(np.mean(values)), float(np.std(values, ddof=1)), high - low


def residue(extractor: str, rows: int, simulations: int) -> tuple[float, float]:
    """Mean Frechet distance and FD-infinity of two samples of one normal law, the covariance that of id's features."""
    path = shipped_file(load_tier("sim"), extractor, "id")
    if path is None:
        raise FileNotFoundError(f"no shipped {extractor} features of id")
    embedding = load_file(path)["embedding"].astype(float)
    factor = (embedding - embedding.mean(axis=0)) / (len(embedding) - 1) ** 0.5
    random = np.random.default_rng(0)
    found = []
    for _ in range(simulations):
        line = fd_infinity(*(random.normal(size=(rows, len(factor))) @ factor for _ in range(2)))
        found.append((line.distances[0], line.value))
    plain, left = np.mean(found, axis=0)
    return float(plain), float(left)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=8)
    arguments = parser.parse_args()
    print("| effects, s.d. of an image | all vehicle images at once | samples of them | s.e. |\n|---|---|---|---|")
    for effect in (0.0, 0.5, 2.0):
        found = [vehicle_law(effect, np.random.default_rng(seed)) for seed in range(arguments.simulations)]
        (all_of_them, own), error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)[1] / len(found) ** 0.5
        print(f"| {effect:g} | {all_of_them:.3f} | {own:.3f} | {error:.3f} |", flush=True)
    print("\n| features, images | FD-infinity | s.d. over seeds | interval's width | share |\n|---|---|---|---|---|")
    for extractor in ("sim_vit", "efficientnet_lite0"):
        n, value, spread, width = seeds(extractor, arguments.seeds)
        line = f"| `{extractor}`, {n} | {value:.3g} | {spread:.2g} | {width:.3g} |"
        print(f"{line} {spread / width:.1%} |", flush=True)
    print("\n| normal rows like | a side | Frechet distance | FD-infinity | left |\n|---|---|---|---|---|")
    for rows in (704, 352):
        plain, left = residue("efficientnet_lite0", rows, max(1, arguments.simulations // 10))
        print(f"| `efficientnet_lite0` | {rows} | {plain:.3g} | {left:.2g} | {left / plain:.0%} |", flush=True)


if __name__ == "__main__":
    main()
