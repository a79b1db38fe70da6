"""Population parameters -> single cells: where they lie, their outlines, their chromatin and their stains.

Every cell has a random stream of its own, so that the same seed under other activities gives the same cells as far as
the phenotype allows: the basis of counterfactual images.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from morphobench.datasets.simulate.culture import AVERAGE, Culture
from morphobench.datasets.simulate.phenotypes import PopulationParams, population_params

FRAME = 128.0
"""Side of the image in reference pixels."""
MARGIN = 14.0
"""Cells are placed this far outside the image as well, so that its border cuts cells."""
MOST_CELLS = 72
MOST_DEBRIS = 40
HARMONICS = 5
MEAN_GROWTH = 1.11
"""Mean over the cell cycle of the cube root of a cell's DNA content."""


class Fate(enum.IntEnum):
    """What a cell is doing."""

    INTERPHASE = 0
    ROUNDED = 1
    BINUCLEATE = 2
    MULTINUCLEATE = 3
    BIPOLAR = 4
    MONOPOLAR = 5
    SCATTERED = 6
    APOPTOTIC = 7


MITOTIC = (Fate.BIPOLAR, Fate.MONOPOLAR, Fate.SCATTERED)
NO_CELL = -1
"""Owner of debris: a body of chromatin that lies in no cell."""


@dataclass(frozen=True)
class Blobs:
    """Rough ellipses, each field (M,): chromatin bodies or nucleoli."""

    cell: np.ndarray
    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    """Semi-axis along `angle`."""
    b: np.ndarray
    angle: np.ndarray
    rough: np.ndarray
    phase: np.ndarray
    value: np.ndarray
    texture: np.ndarray


@dataclass(frozen=True)
class Cells:
    """The cells of one image (those with a centre outside it included), each field (N,) unless noted.

    Lengths and positions are in pixels of the image; x runs right, y down.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    elongation: np.ndarray
    axis: np.ndarray
    """Direction of the long axis, radians."""
    lobes: np.ndarray
    """(N, HARMONICS): relative amplitudes of the outline's harmonics 2, 3, ..."""
    lobe_phases: np.ndarray
    processes: np.ndarray
    """Number of thin processes an arborised cell keeps."""
    arborisation: np.ndarray
    fate: np.ndarray
    nucleus_x: np.ndarray
    nucleus_y: np.ndarray
    nucleus_radius: np.ndarray
    tubulin: np.ndarray
    actin: np.ndarray
    dna: np.ndarray
    dna_content: np.ndarray
    """Copies of the genome: 1 in G1, 2 in G2 and mitosis, between them in S phase."""
    chromatin: Blobs
    nucleoli: Blobs

    def __len__(self) -> int:
        return len(self.x)

    def in_frame(self, size: int) -> np.ndarray:
        """Which centres lie in the image, bool (N,)."""
        return (self.x >= 0) & (self.x < size) & (self.y >= 0) & (self.y < size)

    def round(self) -> np.ndarray:
        """Which cells have rounded up, bool (N,)."""
        return np.isin(self.fate, (Fate.ROUNDED, Fate.APOPTOTIC, *MITOTIC))


def sample_population(
    activities: Mapping[str, float],
    rng: np.random.Generator,
    size: int = 128,
    culture: Culture = AVERAGE,
) -> tuple[PopulationParams, Cells]:
    """Parameters and cells of an image of `size` pixels: the simulator's truth.

    The number of cells does not depend on `size`; all lengths grow with it.
    """
    params = population_params(activities, culture)
    return params, sample_cells(params, rng, size)


def sample_cells(params: PopulationParams, rng: np.random.Generator, size: int = 128) -> Cells:
    """Cells drawn from population parameters."""
    spread = float(rng.standard_normal())
    candidates = rng.random((MOST_CELLS, 24, 2))
    seeds = rng.integers(0, 2**63, MOST_CELLS)
    expected = params.count * ((FRAME + 2 * MARGIN) / FRAME) ** 2
    number = int(np.clip(np.rint(expected + 0.8 * np.sqrt(expected) * spread), 1, MOST_CELLS))
    centres = place(params, candidates[:number])
    rows = [_cell(params, i, centres[i], int(seeds[i])) for i in range(number)]
    debris = _debris(params, rng)
    columns = {key: np.array([row[key] for row, _, _ in rows]) for key in rows[0][0]}
    cells = Cells(
        **columns,
        chromatin=_blobs([*(blob for _, blobs, _ in rows for blob in blobs), *debris]),
        nucleoli=_blobs([blob for _, _, blobs in rows for blob in blobs]),
    )
    return _enlarge(cells, size / FRAME)


def place(params: PopulationParams, candidates: np.ndarray) -> np.ndarray:
    """Centres (N, 2) chosen one after the other from candidates (N, K, 2) in the unit square.

    The best candidate overlaps least and, as far as cells adhere, touches the most earlier cells.
    """
    points = candidates * (FRAME + 2 * MARGIN) - MARGIN
    spacing = 1.7 * params.cell_radius
    centres = np.empty((len(points), 2))
    centres[0] = points[0, 0]
    for i in range(1, len(points)):
        gap = np.hypot(*np.moveaxis(points[i][:, None] - centres[None, :i], -1, 0)) / spacing  # (K, i)
        overlap = (np.clip(1.0 - gap, 0, None) ** 2).sum(1)
        touching = np.minimum((gap < 1.3).sum(1), 3)
        centres[i] = points[i, np.argmin(12.0 * overlap - (params.adhesion - 0.25) * touching)]
    return centres


def choose_fate(params: PopulationParams, u: float, v: float) -> Fate:
    """The fate of a cell from two uniform variates: `u` chooses the class, `v` the kind of mitosis."""
    if u < params.apoptotic:
        return Fate.APOPTOTIC
    u -= params.apoptotic
    if u < params.mitotic:
        if v < params.monopolar:
            return Fate.MONOPOLAR
        return Fate.SCATTERED if v < params.monopolar + params.scattered else Fate.BIPOLAR
    # The other fractions are of the cells that are left.
    u = (u - params.mitotic) / max(1.0 - params.apoptotic - params.mitotic, 1e-6)
    for fate, share in (
        (Fate.MULTINUCLEATE, params.multinucleate),
        (Fate.BINUCLEATE, params.binucleate),
        (Fate.ROUNDED, params.rounded),
    ):
        if u < share:
            return fate
        u -= share
    return Fate.INTERPHASE


def _cell(
    params: PopulationParams, index: int, centre: np.ndarray, seed: int
) -> tuple[dict[str, float], list[tuple[float, ...]], list[tuple[float, ...]]]:
    """One cell's scalars, its chromatin bodies and its nucleoli (rows in the order of Blobs)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    u = rng.random(8)
    z = rng.standard_normal(10)
    fate = choose_fate(params, u[0], u[1])
    grown = 1.22 if fate in (Fate.BINUCLEATE, Fate.MULTINUCLEATE) else 1.0
    radius = params.cell_radius * np.exp(params.cell_radius_cv * z[0]) * grown
    # Half of the cells are in G1, a fourth in S, the rest in G2; a nucleus grows with its DNA.
    content = 2.0 if fate in MITOTIC else 1.0 + float(np.clip((u[5] - 0.5) / 0.25, 0.0, 1.0))
    growth = content ** (1 / 3)
    nuclear = params.nuclear_radius * growth / MEAN_GROWTH * np.exp(params.nuclear_radius_cv * z[1])
    elongation = 1.0 + (params.cell_elongation - 1.0) * np.exp(0.35 * z[2])
    arborisation = float(np.clip(params.arborisation * (0.75 + 0.5 * u[2]), 0.0, 1.0))
    lobes = 0.21 * rng.standard_normal(HARMONICS) / np.arange(1, HARMONICS + 1)
    phases = rng.random(HARMONICS) * 2 * np.pi
    if fate == Fate.APOPTOTIC:
        radius, elongation, arborisation = min(0.55 * radius, 7.5), 1.0, 0.0
    elif fate != Fate.INTERPHASE and fate not in (Fate.BINUCLEATE, Fate.MULTINUCLEATE):
        radius, elongation, arborisation = min(0.72 * radius, 9.5), 1.04, 0.0
        lobes = lobes * 0.25
    nuclear = min(nuclear, 0.66 * radius)
    dna = params.nuclear_intensity * growth / MEAN_GROWTH * np.exp(0.7 * params.heterogeneity * z[3])
    axis = u[3] * np.pi
    offset = 0.14 * radius * z[4:6] if fate in (Fate.INTERPHASE, Fate.BINUCLEATE) else 0.04 * radius * z[4:6]
    nucleus = centre + offset
    chromatin, nucleoli = _chromatin(params, fate, nucleus, nuclear, axis, dna, index, rng)
    scalars = {
        "x": centre[0], "y": centre[1], "radius": radius, "elongation": elongation, "axis": axis, "lobes": lobes,
        "lobe_phases": phases, "processes": 4 + int(4 * u[4]), "arborisation": arborisation, "fate": int(fate),
        "nucleus_x": nucleus[0], "nucleus_y": nucleus[1], "nucleus_radius": nuclear,
        "tubulin": params.tubulin * np.exp(params.heterogeneity * z[6]),
        "actin": params.actin * np.exp(params.heterogeneity * z[7]), "dna": dna, "dna_content": content,
    }  # fmt: skip
    return scalars, chromatin, nucleoli


def _chromatin(
    params: PopulationParams,
    fate: Fate,
    at: np.ndarray,
    radius: float,
    axis: float,
    dna: float,
    index: int,
    rng: np.random.Generator,
) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
    """Chromatin bodies and nucleoli of one cell; the total DNA of a condensed figure is that of a nucleus."""
    texture, rough = params.chromatin_texture, params.nuclear_irregularity
    bodies: list[tuple[float, ...]] = []
    nucleoli: list[tuple[float, ...]] = []

    def body(x: float, y: float, a: float, b: float, angle: float, rough: float, value: float) -> None:
        bodies.append((index, x, y, a, b, angle, rough, rng.random() * 6.28, value, texture))

    def nucleus(centre: np.ndarray, r: float) -> None:
        x, y = centre
        stretch = np.sqrt(1.0 + (params.nuclear_elongation - 1.0) * np.exp(0.4 * rng.standard_normal()))
        tilt = axis + 0.4 * rng.standard_normal()
        body(x, y, r * stretch, r / stretch, tilt, rough, 0.58 * dna)
        for _ in range(int(rng.poisson(params.nucleoli))):
            d, phi, size = 0.6 * r * np.sqrt(rng.random()), rng.random() * 6.28, r * rng.uniform(0.13, 0.24)
            nucleoli.append((index, x + d * np.cos(phi), y + d * np.sin(phi), size, size * 0.8, phi, 0, 0, 0.5, 0))

    along = np.array([np.cos(axis), np.sin(axis)])
    if fate in (Fate.INTERPHASE, Fate.ROUNDED):
        nucleus(at, radius * (0.85 if fate == Fate.ROUNDED else 1.0))
    elif fate == Fate.BINUCLEATE:
        for side in (-1, 1):
            nucleus(at + side * 0.85 * radius * along, 0.86 * radius)
    elif fate == Fate.MULTINUCLEATE:
        pieces = int(rng.integers(4, 9))
        for k in range(pieces):
            phi, r = 2 * np.pi * (k + 0.6 * rng.random()) / pieces, radius * rng.uniform(0.2, 0.5)
            d = radius * rng.uniform(0.7, 1.15)
            body(at[0] + d * np.cos(phi), at[1] + d * np.sin(phi), r * 1.1, r, phi, 0.5 * rough, 0.66 * dna)
    elif fate == Fate.BIPOLAR:
        apart = 0.0 if rng.random() < 0.65 else rng.uniform(0.4, 0.75) * radius
        for side in (-1, 1) if apart else (0,):
            x, y = at + side * apart * along
            body(x, y, 0.95 * radius, 0.3 * radius, axis + np.pi / 2, 0.07, (1.2 if apart else 1.45) * dna)
    elif fate == Fate.MONOPOLAR:
        ring = 0.62 * radius
        for k in range(11):
            phi = 2 * np.pi * k / 11 + 0.2 * rng.standard_normal()
            d, r = ring * rng.uniform(0.85, 1.15), radius * rng.uniform(0.18, 0.3)
            body(at[0] + d * np.cos(phi), at[1] + d * np.sin(phi), r * 1.3, r * 0.8, phi, 0.1, 1.25 * dna)
    elif fate == Fate.SCATTERED:
        for _ in range(12):
            x, y = at + 0.38 * radius * rng.standard_normal(2)
            r = radius * rng.uniform(0.18, 0.34)
            body(x, y, r * 1.4, r * 0.8, rng.random() * 3.14, 0.1, 1.2 * dna)
    else:
        for _ in range(int(rng.integers(3, 8))):
            x, y = at + 0.42 * radius * rng.standard_normal(2)
            r = radius * rng.uniform(0.2, 0.45)
            body(x, y, r, r, 0.0, 0.0, 1.45 * dna)
    return bodies, nucleoli


def _debris(params: PopulationParams, rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Specks of dead cells' chromatin (rows in the order of Blobs), small and dim, anywhere in the field."""
    u = rng.random((MOST_DEBRIS, 7))
    number = min(int(rng.poisson(params.debris)), MOST_DEBRIS)
    return [
        (NO_CELL, FRAME * x, FRAME * y, 0.5 + 1.1 * size, 0.5 + 0.8 * size * flat, 6.28 * turn, 0.1, 6.28 * phase,
         0.12 + 0.5 * value**2, 0.1)
        for x, y, size, flat, turn, phase, value in u[:number]
    ]  # fmt: skip


def _blobs(rows: list[tuple[float, ...]]) -> Blobs:
    """Rows as columns."""
    table = np.array(rows, float).reshape(-1, 10).T
    return Blobs(table[0].astype(int), *table[1:])


def _enlarge(cells: Cells, scale: float) -> Cells:
    """The same cells with all lengths multiplied."""
    lengths = ("x", "y", "radius", "nucleus_x", "nucleus_y", "nucleus_radius")

    def blobs(b: Blobs) -> Blobs:
        return replace(b, x=b.x * scale, y=b.y * scale, a=b.a * scale, b=b.b * scale)

    return replace(
        cells,
        **{name: getattr(cells, name) * scale for name in lengths},
        chromatin=blobs(cells.chromatin),
        nucleoli=blobs(cells.nucleoli),
    )
