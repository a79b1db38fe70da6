"""Simulated vehicle cells beside real Cell Painting: spectra, grey levels, objects and CellProfiler profiles.

    python benchmarks/sim_realism.py --real FOLDER [--page FILE.jpg] [--beside FILE.png]

FOLDER holds CellProfiler's ExampleHuman (`example_human/*d0.tif` DNA, `*d2.tif` actin; HT29 cells) and a crop of
BBBC022 (`bbbc022_crop/*.tif`, DNA and ER of U2OS cells). Real fields are cut into tiles of 128 x 128 pixels with nuclei
as wide as the simulated ones; both sides are put on one scale by the 0.1 and 99.9 percentiles of all their tiles, as
the morphogene tier does with a plate. `--page` draws every mechanism at three doses; `--beside` puts real and
simulated tiles into one picture to look at. Takes two minutes; needs cp-measure (`pip install morphobench[test]`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from cp_measure.bulk import get_core_measurements
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from scipy.ndimage import zoom
from scipy.spatial import cKDTree

from morphobench import provenance
from morphobench.datasets import load_tier
from morphobench.datasets.simulate.mechanisms import MECHANISMS
from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.render import render
from morphobench.datasets.simulate.seeds import seed as seed_of
from morphobench.errors import BadInput, MorphoBenchError
from morphobench.features.segment import segment

TILE = 128
ZOOM_BBBC022 = 0.55
"""Its nuclei are 24 pixels wide; the simulated ones 13."""
STEP = 64
"""Pixels between the corners of neighbouring tiles of a real field."""
EMPTIEST = 0.03
"""Tiles with less of their area above a fifth of the range hold no cells to compare."""
SIMULATED_TILES = 48
PERCENTILES = (0.1, 99.9)
FREQUENCIES = (2, 4, 8, 12, 16, 24, 32, 48, 60)
"""Cycles per tile."""
DIAMETER = (7.0, 32.0)
PROFILE = {
    "sizeshape": ("Area", "Eccentricity", "Solidity", "FormFactor"),
    "intensity": ("Intensity_MeanIntensity", "Intensity_StdIntensity", "Intensity_MassDisplacement"),
    "texture": ("Contrast_3_00_256", "Correlation_3_00_256", "Entropy_3_00_256"),
    "radial_distribution": ("RadialDistribution_MeanFrac_1of4", "RadialDistribution_MeanFrac_4of4"),
}
"""cp_measure's function -> features, by CellProfiler's names without the module's prefix."""
DOSES = (0.25, 0.5, 1.0)
PAGE_TILE = 192


@dataclass(frozen=True)
class Tiles:
    """Tiles of one origin on a common scale: {stain: float32 (N, 128, 128), 0..1}."""

    name: str
    stains: dict[str, np.ndarray]


def on_one_scale(tiles: np.ndarray) -> np.ndarray:
    """(N, H, W) with the 0.1 and 99.9 percentiles of all of it at 0 and 1, clipped."""
    low, high = np.percentile(tiles, PERCENTILES)
    return np.clip((tiles - low) / (high - low), 0, 1).astype(np.float32)


def cut(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Overlapping tiles of aligned fields {stain: (H, W)}, those that hold cells."""
    height, width = next(iter(fields.values())).shape
    corners = [(y, x) for y in range(0, height - TILE + 1, STEP) for x in range(0, width - TILE + 1, STEP)]
    cells = next(iter(fields.values()))
    threshold = cells.min() + 0.2 * (np.percentile(cells, 99.9) - cells.min())
    kept = [(y, x) for y, x in corners if (cells[y : y + TILE, x : x + TILE] > threshold).mean() >= EMPTIEST]
    return {
        stain: on_one_scale(np.stack([field[y : y + TILE, x : x + TILE] for y, x in kept]))
        for stain, field in fields.items()
    }


def real_file(folder: Path, pattern: str) -> Path:
    """The first file of the folder of real images that fits; BadInput where there is none."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise BadInput(f"{folder / pattern}: not there; give the folder of real images with --real")
    return found[0]


def example_human(folder: Path) -> Tiles:
    """HT29 cells, DNA and actin, at their own scale: nuclei 12 pixels wide."""
    dna, actin = (tifffile.imread(real_file(folder, f"example_human/*d{k}.tif")).astype(float) for k in (0, 2))
    return Tiles("ExampleHuman (real)", cut({"DNA": dna, "actin": actin}))


def bbbc022(folder: Path) -> Tiles:
    """U2OS cells, DNA and ER, reduced until their nuclei are 13 pixels wide."""
    field = tifffile.imread(real_file(folder, "bbbc022_crop/*.tif")).astype(float)
    dna, reticulum = (zoom(channel, ZOOM_BBBC022, order=1) for channel in field[:2])
    return Tiles("BBBC022 (real)", cut({"DNA": dna, "ER": reticulum}))


def simulated() -> Tiles:
    """Vehicle images of the training plates."""
    tier = load_tier("sim")
    rows = tier.rows("vehicle")
    rows = rows[rows["plate"].str.startswith("T")].groupby("plate").head(SIMULATED_TILES // 6)
    images = np.concatenate(list(tier.images(rows).batches(64))).astype(float)
    stains = zip(("actin", "tubulin", "DNA"), np.moveaxis(images, -1, 0), strict=True)
    return Tiles("sim (SIMULATED)", {stain: on_one_scale(tiles) for stain, tiles in stains})


def spectrum(tiles: np.ndarray) -> np.ndarray:
    """Power at FREQUENCIES, dB against the sum of the five lowest: mean over tiles of the radial mean."""
    window = np.outer(np.hanning(TILE), np.hanning(TILE))
    centred = (tiles - tiles.mean((1, 2), keepdims=True)) * window
    power = (np.abs(np.fft.fftshift(np.fft.fft2(centred), axes=(1, 2))) ** 2).mean(0)
    radius = np.hypot(*(np.indices(power.shape) - TILE // 2)).astype(int)
    radial = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    return 10 * np.log10(radial[list(FREQUENCIES)] / radial[1:6].sum())


def grey_levels(tiles: np.ndarray) -> np.ndarray:
    """Median, 75th, 90th, 95th and 99th percentile of all pixels, share of the range."""
    return np.percentile(tiles, (50, 75, 90, 95, 99))


def objects(tiles: Tiles, cell_stain: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """{measurement: one value per object or tile} of the masks that the benchmark's segmentation finds."""
    found: dict[str, list[float]] = {"nuclei per tile": [], "spacing / diameter": [], "nucleus diameter": []}
    measures = get_core_measurements()
    for dna, cell in zip(tiles.stains["DNA"], tiles.stains[cell_stain], strict=True):
        masks = segment(dna, cell, DIAMETER)
        found["nuclei per tile"].append(float(masks.nuclei.max()))
        if masks.nuclei.max() < 2:
            continue
        for part, labels, pixels in (("Nuclei", masks.nuclei, dna), ("Cells", masks.cells, cell)):
            for function, names in PROFILE.items():
                values = measures[function](labels, pixels)
                for name in names:
                    found.setdefault(f"{part} {name}", []).extend(np.asarray(values[name], float))
        shape = measures["sizeshape"](masks.nuclei, dna)
        diameter = np.asarray(shape["EquivalentDiameter"], float)
        centres = np.stack([shape["Center_X"], shape["Center_Y"]], 1)
        nearest = cKDTree(centres).query(centres, 2)[0][:, 1]
        found["nucleus diameter"].extend(diameter)
        found["spacing / diameter"].extend(nearest / np.median(diameter))
    return {name: np.array(values)[np.isfinite(values)] for name, values in found.items()}, list(found)


def robust(values: np.ndarray) -> tuple[float, float]:
    """Median, and interquartile range as a normal's standard deviation."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float(middle), float((high - low) / 1.349)


def table(title: str, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    made = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        made.add_column(heading, justify="left" if place == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made


def compare(real: list[Tiles], sim: Tiles, console: Console) -> None:
    """Print the four comparisons."""
    pairs = [(tiles, stain) for tiles in (*real, sim) for stain in tiles.stains]
    console.print(
        table(
            "Power spectrum, dB, by cycles per tile",
            ("", *map(str, FREQUENCIES)),
            ([f"{t.name}, {s}", *(f"{v:.1f}" for v in spectrum(t.stains[s]))] for t, s in sorted(pairs, key=_stain)),
        )
    )
    console.print(
        table(
            "Grey levels, share of the range, by percentile",
            ("", "50", "75", "90", "95", "99"),
            ([f"{t.name}, {s}", *(f"{v:.2f}" for v in grey_levels(t.stains[s]))] for t, s in sorted(pairs, key=_stain)),
        )
    )
    columns = {}
    for tiles, stain in ((real[0], "actin"), (real[1], "ER"), (sim, "actin")):
        columns[tiles.name], names = objects(tiles, stain)
    about = {name: {key: robust(values[key]) for key in names} for name, values in columns.items()}
    human, ours = about[real[0].name], about[sim.name]
    console.print(
        table(
            "Objects and CellProfiler profiles: median (robust s.d.); last column: sim minus ExampleHuman, in its s.d.",
            ("", *about, "difference"),
            (
                [
                    key,
                    *(f"{side[key][0]:.3g} ({side[key][1]:.2g})" for side in about.values()),
                    f"{(ours[key][0] - human[key][0]) / human[key][1]:+.1f}",
                ]
                for key in names
            ),
        )
    )


def _stain(pair: tuple[Tiles, str]) -> str:
    return pair[1]


def page(version: str) -> Image.Image:
    """Vehicle, and every mechanism at three activities, one seed per row: what the simulator draws. SIMULATED."""
    rows = [
        ("vehicle", [{}, {}, {}]),
        *((name, [{name: dose} for dose in DOSES]) for name in MECHANISMS),
    ]
    margin, columns = 20, 2
    width, height = len(DOSES) * PAGE_TILE, PAGE_TILE + margin
    sheet = Image.new("RGB", (columns * (width + margin), -(-len(rows) // columns) * height + margin), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text(
        (4, 4), "SIMULATED. Red actin, green tubulin, blue DNA; activity 1/4, 1/2, 1 (vehicle: three fields)", "black"
    )
    for place, (name, row) in enumerate(rows):
        left, top = place % columns * (width + margin), place // columns * height + margin
        pen.text((left + 4, top + 4), name, "black")
        for turn, activities in enumerate(row):
            seed = seed_of(version, "page", name, str(turn) if name == "vehicle" else "")
            picture = render(activities, plate_optics(version, "T01"), seed, PAGE_TILE)
            sheet.paste(Image.fromarray(picture), (left + turn * PAGE_TILE, top + margin))
    return sheet


def beside(real: list[Tiles], sim: Tiles) -> Image.Image:
    """Rows of tiles, real above simulated, stain by stain; it holds real pixels and is not for the documentation."""
    chosen = [
        (real[0], "DNA"),
        (real[1], "DNA"),
        (sim, "DNA"),
        (real[0], "actin"),
        (sim, "actin"),
        (real[1], "ER"),
        (sim, "tubulin"),
    ]
    rows = [
        np.concatenate(
            [
                np.kron(tile, np.ones((2, 2)))
                for tile in tiles.stains[stain][:: max(1, len(tiles.stains[stain]) // 5)][:5]
            ],
            1,
        )
        for tiles, stain in chosen
    ]
    return Image.fromarray((np.concatenate(rows) * 255).astype(np.uint8))


def main() -> None:
    """Compare and print; draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of the real images")
    parser.add_argument("--page", type=Path, help="write the page of all mechanisms here (JPEG)")
    parser.add_argument("--beside", type=Path, help="write real and simulated tiles in one picture here (PNG)")
    arguments = parser.parse_args()
    version = load_tier("sim").spec.version
    if arguments.page:
        page(version).save(arguments.page, quality=88)
    if arguments.real:
        console = Console(width=140, highlight=False)
        real, sim = [example_human(arguments.real), bbbc022(arguments.real)], simulated()
        compare(real, sim, console)
        if arguments.beside:
            beside(real, sim).save(arguments.beside)
        setting = {"tier": f"sim {version}"} | provenance.hardware("cpu") | provenance.versions()
        console.print(", ".join(f"{name} {value}" for name, value in setting.items()))


if __name__ == "__main__":
    try:
        main()
    except MorphoBenchError as error:
        sys.exit(str(error))
