"""How often 95% intervals hold the truth, by simulation, with and without the widening for few clusters.

    python benchmarks/interval_coverage.py [--trials 1000]

The first cells are means of simulated images with effects of compound, plate and image (standard deviations in the
table) whose expectation is known; the last are distances between simulated features, whose expectation at this N is
taken from the trials themselves. All draws are seeded.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from morphobench.metrics import METRICS, FeatureInputs, cluster_weights, few_clusters_widening, recentred_interval
from morphobench.scoring import REPLICATES

FEATURE_TRIALS = 100


@dataclass(frozen=True)
class Cell:
    """A crossed layout of `images` per compound and plate, and the standard deviations of its effects.

    `binary`: a compound is right (1) or wrong (0) as a whole, as a mechanism often is, right with probability 0.7.
    """

    name: str
    compounds: int
    plates: int
    images: int
    compound: float
    plate: float
    image: float
    binary: bool = False


CELLS = (
    Cell("plates rule", 44, 4, 4, 0.2, 1.0, 1.0),
    Cell("mixed", 44, 4, 4, 1.0, 0.3, 1.0),
    Cell("no plate effect", 44, 4, 4, 1.0, 0.0, 1.0),
    Cell("images rule", 44, 4, 4, 0.0, 0.0, 1.0),
    Cell("few of both, mixed", 5, 3, 4, 1.0, 1.0, 1.0),
    Cell("few of both, plates rule", 5, 3, 4, 0.2, 1.0, 1.0),
    Cell("one draw per compound", 9, 4, 4, 1.0, 0.0, 0.0, binary=True),
    Cell("refused: two plates, plates rule", 44, 2, 4, 0.2, 1.0, 1.0),
)


@dataclass(frozen=True)
class Coverage:
    """Shares of intervals that hold the truth, and the mean width of the widened ones in true standard errors."""

    name: str
    layout: str
    trials: int
    plain: float
    widened: float
    width: float


def mean_coverage(cell: Cell, trials: int) -> Coverage:
    """Coverage of the expectation by intervals of the mean over all images."""
    random = np.random.default_rng(0)
    truth = 0.7 if cell.binary else 0.0
    shape = (cell.compounds, cell.plates, cell.images)
    compounds, plates, _ = (axis.ravel().astype(str) for axis in np.indices(shape))
    values = []
    ends: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for trial in range(trials):
        effects = random.random(shape[0]) < truth if cell.binary else cell.compound * random.normal(size=shape[0])
        table = effects[:, None, None] + cell.plate * random.normal(size=shape[1])[:, None]
        sample = (table + cell.image * random.normal(size=shape)).ravel()
        weights = cluster_weights(compounds, plates, REPLICATES, seed=trial)
        values.append(float(sample.mean()))
        _add(ends, values[-1], weights @ sample / weights.sum(axis=1), min(shape[:2]))
    layout = f"{cell.compounds} x {cell.plates} x {cell.images}; {cell.compound}, {cell.plate}, {cell.image}"
    return _summary(cell.name, layout, truth, np.array(values), ends)


def feature_coverage(key: str, trials: int) -> Coverage:
    """Coverage of a distance's expectation at this N: 30 compounds, 4 plates, 2 images, 24 features."""
    random, metric = np.random.default_rng(0), METRICS[key]
    values = []
    ends: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for trial in range(trials):
        inputs = crossed(random)
        values.append(metric.score(inputs))
        _add(ends, values[-1], metric.resample(inputs, REPLICATES, trial), min(inputs.clusters))
    return _summary(key, "30 x 4 x 2; 1.0, 0.5, 1.0", float(np.mean(values)), np.array(values), ends)


def crossed(random: np.random.Generator, compounds: int = 30, plates: int = 4, images: int = 2) -> FeatureInputs:
    """Real and generated features with compound and plate effects that the two sides share in part."""
    c, p, _ = (axis.ravel() for axis in np.indices((compounds, plates, images)))
    scale = np.arange(1, 25) ** -0.5
    compound, plate = random.normal(size=(compounds, 24)), random.normal(size=(plates, 24))
    noise = random.normal(size=(2, len(c), 24))
    real = (compound[c] + 0.5 * plate[p] + noise[0]) * scale
    generated = (0.7 * compound[c] + 0.4 * plate[p] + 0.9 * noise[1]) * scale + 0.1
    return FeatureInputs(generated, real, c.astype(str), p.astype(str), c.astype(str), p.astype(str))


def _add(ends: dict[bool, list[tuple[float, float]]], value: float, resamples: np.ndarray, clusters: int) -> None:
    ends[False].append(recentred_interval(value, resamples))
    ends[True].append(recentred_interval(value, resamples, widening=few_clusters_widening(clusters)))


def _summary(
    name: str, layout: str, truth: float, values: np.ndarray, ends: dict[bool, list[tuple[float, float]]]
) -> Coverage:
    held = {}
    for widened, pairs in ends.items():
        low, high = np.array(pairs).T
        held[widened] = float(((low <= truth) & (truth <= high)).mean())
    low, high = np.array(ends[True]).T
    return Coverage(name, layout, len(values), held[False], held[True], float((high - low).mean() / values.std(ddof=1)))


def coverages(trials: int) -> Iterator[Coverage]:
    """Every cell."""
    for cell in CELLS:
        yield mean_coverage(cell, trials)
    for key in ("fd", "kd", "kd_per_compound", "precision", "recall", "density"):
        yield feature_coverage(key, min(trials, FEATURE_TRIALS))


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="simulated data sets per cell of means")
    table = Table(title="Coverage of the nominal 95% interval", title_justify="left")
    for heading in ("cell", "compounds x plates x images; their s.d.", "trials", "plain", "widened", "width / s.e."):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for row in coverages(parser.parse_args().trials):
        shown = (f"{row.plain:.1%}", f"{row.widened:.1%}", f"{row.width:.1f}")
        table.add_row(row.name, row.layout, str(row.trials), *shown)
    Console(width=130, highlight=False).print(table)
    Console(width=130, highlight=False).print("An interval that knew the standard error would be 3.9 of it wide.")


if __name__ == "__main__":
    main()
