"""How often 95% intervals hold the truth, by simulation: those in use, beside plain quantiles of both draws.

    python benchmarks/interval_coverage.py [--trials 1000]

The first cells are means of simulated images with effects of compound, plate and image (standard deviations in the
table) whose expectation is known; then come distances between simulated features, and differences of two models'
distances by paired draws, whose expectation at this N is taken from the trials themselves. The second table sets the
ways beside each other that one compound's distance can be resampled in. All draws are seeded.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from morphobench.datasets.morphogene.split_rules import SPLIT_FILE
from morphobench.metrics import (
    METRICS,
    FeatureInputs,
    FrechetGram,
    clustered_interval,
    few_clusters_widening,
    frechet_distance,
    recentred_interval,
)
from morphobench.metrics.bootstrap import draw_clusters
from morphobench.metrics.frechet import frechet_resamples
from morphobench.metrics.frechet_compounds import log_interval

REPLICATES = 200
"""Fewer than a report's: noise of the ends, which trials average over."""
FEATURE_TRIALS = 300


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
    """Shares of intervals that hold the truth, and the mean width of those in use in true standard errors."""

    name: str
    layout: str
    trials: int
    plain: float
    used: float
    width: float


class Tally:
    """The intervals of one cell's trials, by both ways of making them."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.plain: list[tuple[float, float]] = []
        self.used: list[tuple[float, float]] = []

    def add(self, value: float, resamples: np.ndarray, clusters: tuple[int, int]) -> None:
        """One trial: its value and its replicates, three arms of them."""
        used = clustered_interval(value, resamples, clusters)
        if used is None:  # every compound the same: no spread to see, and the truth is missed unless it is the value
            used = value, value
        self.values.append(value)
        self.plain.append(recentred_interval(value, np.split(resamples, 3)[0]))
        self.used.append(used)

    def coverage(self, name: str, layout: str, truth: float | None = None) -> Coverage:
        """What the trials say; without a truth that is the mean of the values."""
        values = np.array(self.values)
        expected = values.mean() if truth is None else truth
        (plain_low, plain_high), (low, high) = np.array(self.plain).T, np.array(self.used).T
        return Coverage(
            name,
            layout,
            len(values),
            float(((plain_low <= expected) & (expected <= plain_high)).mean()),
            float(((low <= expected) & (expected <= high)).mean()),
            float((high - low).mean() / values.std(ddof=1)),
        )


def mean_coverage(cell: Cell, trials: int) -> Coverage:
    """Coverage of the expectation by intervals of the mean over all images."""
    random = np.random.default_rng(0)
    truth = 0.7 if cell.binary else 0.0
    shape = (cell.compounds, cell.plates, cell.images)
    compounds, plates, _ = (axis.ravel().astype(str) for axis in np.indices(shape))
    tally = Tally()
    for trial in range(trials):
        effects = random.random(shape[0]) < truth if cell.binary else cell.compound * random.normal(size=shape[0])
        table = effects[:, None, None] + cell.plate * random.normal(size=shape[1])[:, None]
        sample = (table + cell.image * random.normal(size=shape)).ravel()
        weights = draw_clusters([compounds], [plates], REPLICATES, seed=trial).each_way().weights(compounds, plates)
        tally.add(float(sample.mean()), weights @ sample / weights.sum(axis=1), shape[:2])
    layout = f"{cell.compounds} x {cell.plates} x {cell.images}; {cell.compound}, {cell.plate}, {cell.image}"
    return tally.coverage(cell.name, layout, truth)


def frozen_coverage(track: str, compound: float, plate: float, week: float, trials: int) -> Coverage:
    """Coverage of a mean over the test images of a track of `morphogene`, as its split is frozen.

    There compounds lie within plates, mostly one, and plates within the weeks of the screen, which nothing draws.
    """
    fields = pd.read_csv(Path(str(files("morphobench.datasets"))) / SPLIT_FILE)
    fields = fields[fields["split"] == track]
    compounds, plates = (fields[name].to_numpy(dtype=str) for name in ("compound", "plate"))
    weeks = fields["plate"].str.partition("_")[0].to_numpy(dtype=str)
    random, tally = np.random.default_rng(0), Tally()
    members = [np.unique(labels, return_inverse=True)[1] for labels in (compounds, plates, weeks)]
    clusters = len(set(compounds)), len(set(plates))
    for trial in range(trials):
        sample = random.normal(size=len(fields))
        for member, spread in zip(members, (compound, plate, week), strict=True):
            sample += spread * random.normal(size=member.max() + 1)[member]
        weights = draw_clusters([compounds], [plates], REPLICATES, seed=trial).each_way().weights(compounds, plates)
        tally.add(float(sample.mean()), weights @ sample / weights.sum(axis=1), clusters)
    layout = f"{clusters[0]} on {clusters[1]} plates, {len(set(weeks))} weeks; {compound}, {plate}, week {week}, 1.0"
    return tally.coverage(f"morphogene {track}", layout, 0.0)


def feature_coverage(key: str, trials: int) -> Coverage:
    """Coverage of a distance's expectation at this N: 30 compounds or more, 4 plates, 2 images, 24 features."""
    random, metric = np.random.default_rng(0), METRICS[key]
    compounds = max(30, metric.smallest_n // 8)
    tally = Tally()
    for trial in range(trials):
        inputs = crossed(random, compounds)
        tally.add(metric.score(inputs), metric.resample(inputs, REPLICATES, trial), inputs.clusters)
    return tally.coverage(key, f"{compounds} x 4 x 2; 1.0, 0.5, 1.0")


def paired_coverage(key: str, trials: int) -> Coverage:
    """Coverage of the difference between two models, the second with a quarter more noise, on the same real images."""
    random, metric = np.random.default_rng(0), METRICS[key]
    compounds = max(30, metric.smallest_n // 8)
    tally = Tally()
    for trial in range(trials):
        one = crossed(random, compounds)
        noise = 0.6 * random.normal(size=one.generated.shape) * np.arange(1, 25) ** -0.5
        pair = one, dataclasses.replace(one, generated=one.generated + noise)
        first, second = (metric.resample(side, REPLICATES, trial) for side in pair)
        tally.add(metric.score(pair[0]) - metric.score(pair[1]), first - second, one.clusters)
    return tally.coverage(f"{key}, A - B", f"{compounds} x 4 x 2; 1.0, 0.5, 1.0")


def compound_coverage(images: int, d: int, decay: float, trials: int) -> list[tuple[str, float, float]]:
    """(way of resampling, share of intervals that hold the expected distance, width in standard errors): one compound.

    Independent images of d features with standard deviations i^-decay; the generated ones spread 1.2 times as far and
    are off by 0.3 standard deviations.
    """
    random, scale = np.random.default_rng(0), np.arange(1, d + 1) ** -decay
    values = []
    ends: dict[str, list[tuple[float, float]]] = {}
    for _ in range(trials):
        a = (1.2 * random.normal(size=(images, d)) + 0.3) * scale
        b = random.normal(size=(images, d)) * scale
        value, gram = frechet_distance(a, b), FrechetGram.of(a, b)
        values.append(value)
        drawn, half = [], []
        for _ in "ab":
            drawn.append(random.multinomial(images, np.full(images, 1 / images), size=REPLICATES))
            half.append((random.random((REPLICATES, images)).argsort(axis=1) < images // 2).astype(int))
        exact = gram.resamples(*drawn)
        low, high = np.quantile(exact, [0.025, 0.975])
        ends.setdefault("exact resamples, quantiles", []).append((float(low), float(high)))
        ends.setdefault("exact resamples, recentred", []).append(recentred_interval(value, exact))
        ends.setdefault("half samples, recentred", []).append(recentred_interval(value, gram.resamples(*half)))
        first = frechet_resamples(a, b, *drawn)
        ends.setdefault("first order", []).append(recentred_interval(value, first))
        used = log_interval(value, first, few_clusters_widening(images)) or (value, value)
        ends.setdefault("first order, widened, logarithmic: in use", []).append(used)
    truth, error = float(np.mean(values)), float(np.std(values, ddof=1))
    found = []
    for way, pairs in ends.items():
        lows, highs = np.array(pairs).T
        found.append((way, float(((lows <= truth) & (truth <= highs)).mean()), float((highs - lows).mean() / error)))
    return found


def crossed(random: np.random.Generator, compounds: int = 30, plates: int = 4, images: int = 2) -> FeatureInputs:
    """Real and generated features with compound and plate effects that the two sides share in part."""
    c, p, _ = (axis.ravel() for axis in np.indices((compounds, plates, images)))
    scale = np.arange(1, 25) ** -0.5
    compound, plate = random.normal(size=(compounds, 24)), random.normal(size=(plates, 24))
    noise = random.normal(size=(2, len(c), 24))
    real = (compound[c] + 0.5 * plate[p] + noise[0]) * scale
    generated = (0.7 * compound[c] + 0.4 * plate[p] + 0.9 * noise[1]) * scale + 0.1
    return FeatureInputs(generated, real, c.astype(str), p.astype(str), c.astype(str), p.astype(str))


def coverages(trials: int) -> Iterator[Coverage]:
    """Every cell."""
    for cell in CELLS:
        yield mean_coverage(cell, trials)
    for track in ("id", "ood"):
        for spreads in ((1.0, 0.3, 0.0), (0.5, 0.3, 0.5), (0.2, 0.3, 1.0)):
            yield frozen_coverage(track, *spreads, min(trials, FEATURE_TRIALS))
    keys = [key for key, metric in METRICS.items() if metric.inputs is FeatureInputs]
    for key in keys:
        yield feature_coverage(key, min(trials, FEATURE_TRIALS))
    for key in (key for key in keys if key.startswith(("fd", "kd"))):
        yield paired_coverage(key, min(trials, FEATURE_TRIALS))


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="simulated data sets per cell of means")
    table = Table(title="Coverage of the nominal 95% interval", title_justify="left")
    for heading in ("cell", "compounds x plates x images; their s.d.", "trials", "plain", "in use", "width / s.e."):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    trials = parser.parse_args().trials
    for row in coverages(trials):
        shown = (f"{row.plain:.1%}", f"{row.used:.1%}", f"{row.width:.1f}")
        table.add_row(row.name, row.layout, str(row.trials), *shown)
    Console(width=130, highlight=False).print(table)
    Console(width=130, highlight=False).print("An interval that knew the standard error would be 3.9 of it wide.")
    table = Table(title="One compound's Frechet distance, nominal 95%", title_justify="left")
    for heading in ("images", "features", "spectrum", "resampling", "coverage", "width / s.e."):
        table.add_column(heading, justify="left" if heading == "resampling" else "right")
    for images, d, decay in ((16, 64, 0.5), (16, 256, 0.25), (16, 256, 1.0), (48, 256, 0.5)):
        for way, held, width in compound_coverage(images, d, decay, max(2, trials // 5)):
            table.add_row(str(images), str(d), f"i^-{decay}", way, f"{held:.1%}", f"{width:.1f}")
    Console(width=130, highlight=False).print(table)


if __name__ == "__main__":
    main()
