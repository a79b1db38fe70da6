"""Cells -> image: a pure function of activities, culture, plate and seed.

Red is actin, green beta-tubulin, blue DNA, as in BBBC021. The number of cells does not depend on the image size: 256
pixels show the same field as 128 with features twice as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import gaussian_filter

from morphobench.datasets.simulate import fibres
from morphobench.datasets.simulate.cells import Blobs, Cells, Fate, sample_population
from morphobench.datasets.simulate.culture import AVERAGE, Culture
from morphobench.datasets.simulate.microscope import PlateOptics, photograph
from morphobench.datasets.simulate.phenotypes import PopulationParams
from morphobench.errors import BadInput

ANGLES = 256
OUTSIDE = 1.4
"""Relative distance from a cell where no cell is."""


def render(
    activities: Mapping[str, float],
    plate: PlateOptics,
    seed: np.random.SeedSequence | int,
    size: int = 128,
    culture: Culture = AVERAGE,
) -> np.ndarray:
    """uint8 (size, size, 3) image of cells of a culture under mechanism activities (0..1; none is vehicle).

    The same arguments give the same bytes. `size` is a multiple of 4 from 32 to 512. Raises BadInput for another
    size, an unknown mechanism or an activity outside [0, 1].
    """
    if size % 4 or not 32 <= size <= 512:
        raise BadInput(f"image size {size}: give a multiple of 4 from 32 to 512")
    population, texture, camera = streams(seed)
    params, cells = sample_population(activities, population, size, culture)
    return photograph(stain(params, cells, texture, size), plate, camera)


def streams(seed: np.random.SeedSequence | int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Generators of the population, the textures and the camera noise of one image.

    Children are made by key: SeedSequence.spawn counts its calls, so a second rendering would differ.
    """
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    first, second, third = (
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, k))))
        for k in range(3)
    )
    return first, second, third


@dataclass(frozen=True)
class Ground:
    """Which cells lie at each pixel, each field (H, H).

    A relative distance is 1 on a cell's outline and OUTSIDE where there is no cell; an index of -1 is no cell.
    """

    label: np.ndarray
    """The cell that the pixel belongs to."""
    nearest: np.ndarray
    under: np.ndarray
    """The cell that reaches under (or over) it, if outlines overlap here."""
    second: np.ndarray


def stain(params: PopulationParams, cells: Cells, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """Ideal stain, float32 (2, size, size, 3) >= 0, as a perfect microscope would see it in two planes of focus.

    Plane 0 holds spread cells, plane 1 what stands up from the plate: rounded and mitotic cells, and debris.
    """
    scale = size / 128
    white = rng.standard_normal((2, size, size), dtype=np.float32)
    fine = _unit(gaussian_filter(white[0], 0.8 * scale))
    medium = _unit(gaussian_filter(white[1], 1.8 * scale))
    coarse = _unit(gaussian_filter(white[0], 5.0 * scale))
    warp = 0.9 * scale * np.stack([medium, coarse])

    ground = territories(cells, size, warp)
    top = (ground.label, _height(cells, ground.label, ground.nearest))
    # Adherent cells share a border; others slide over one another and both are seen.
    share = (1.0 - params.adhesion) * (ground.under >= 0)
    below = (ground.under, _height(cells, ground.under, ground.second) * share)

    standing = cells.round()
    up = standing[ground.label] & (ground.label >= 0)
    nuclei = np.stack(
        [
            dna(cells, owners, 0.7 * (fine + medium), scale, size)
            for owners in (np.append(~standing, False), np.append(standing, True))
        ]
    )
    covered = np.clip(nuclei.sum(0) / 0.5, 0.0, 1.0)
    for_actin, for_tubulin = rng.spawn(2)
    red = actin(params, cells, ground, (top, below), (fine, medium, coarse), for_actin, scale)
    green = tubulin(params, cells, ground, (top, below), covered, (fine, medium), for_tubulin, scale)
    planes = np.zeros((2, size, size, 3), np.float32)
    for plane, mask in enumerate((~up, up)):
        planes[plane, ..., 0] = red * mask
        planes[plane, ..., 1] = green * mask
        planes[plane, ..., 2] = nuclei[plane] + 0.02 * top[1] * mask
    return planes


def _height(cells: Cells, label: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Thickness of a cell at each pixel, relative; float32 (H, H), 0 where there is none."""
    within = np.clip(1.0 - distance, 0.0, 1.0)
    flat = 0.26 + 0.95 * within
    ball = 2.7 * np.sqrt(within * (2.0 - within))
    return (np.where(cells.round()[label], ball, flat) * (label >= 0)).astype(np.float32)


def territories(cells: Cells, size: int, warp: np.ndarray) -> Ground:
    """Which cells lie at each pixel, by relative distance.

    Where outlines overlap, cells share the ground as epithelia do, except that rounded cells lie on top. `warp`
    (2, H, H) displaces the grid, in pixels.
    """
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    outline = _outlines(cells, angle).astype(np.float32)  # (N, ANGLES)
    nearest = np.full((size, size), OUTSIDE, np.float32)
    second = nearest.copy()
    label = np.full((size, size), -1, np.intp)
    under = label.copy()
    reach = np.ceil(outline.max(1) + np.abs(warp).max() + 1)
    on_top = np.where(cells.round(), 0.7, 1.0)
    grid = np.arange(size, dtype=np.float32)
    for i in range(len(cells)):
        left, right = (int(np.clip(cells.x[i] + side * reach[i], 0, size)) for side in (-1, 1))
        top, bottom = (int(np.clip(cells.y[i] + side * reach[i], 0, size)) for side in (-1, 1))
        if left >= right or top >= bottom:
            continue
        box = (slice(top, bottom), slice(left, right))
        dx = grid[None, left:right] - np.float32(cells.x[i]) + warp[0][box]
        dy = grid[top:bottom, None] - np.float32(cells.y[i]) + warp[1][box]
        turn = (np.arctan2(dy, dx) * (ANGLES / (2 * np.pi))).astype(np.intp) % ANGLES
        distance = np.sqrt(dx * dx + dy * dy) / outline[i][turn]
        # Only the order among overlapping cells changes on top; the outline stays at 1.
        distance = np.where(distance < 1.0, distance * on_top[i], OUTSIDE).astype(np.float32)
        old, old_label = nearest[box], label[box]
        closer = distance < old
        next_best = ~closer & (distance < second[box])
        second[box] = np.where(closer, old, np.where(next_best, distance, second[box]))
        under[box] = np.where(closer, old_label, np.where(next_best, i, under[box]))
        nearest[box] = np.where(closer, distance, old)
        label[box] = np.where(closer, i, old_label)
    lowered = [np.where(owner >= 0, on_top[owner], 1.0).astype(np.float32) for owner in (label, under)]
    return Ground(label, nearest / lowered[0], under, second / lowered[1])


def _outlines(cells: Cells, angle: np.ndarray) -> np.ndarray:
    """Radius of each cell's outline at each angle, (N, A), pixels."""
    local = angle[None] - cells.axis[:, None]
    e = cells.elongation[:, None]
    ellipse = 1.0 / np.sqrt(np.cos(local) ** 2 / e + np.sin(local) ** 2 * e)
    order = np.arange(2, 2 + cells.lobes.shape[1])
    waves = np.cos(angle[None, None] * order[None, :, None] + cells.lobe_phases[:, :, None])  # (N, HARMONICS, A)
    lobed = 1.0 + (cells.lobes[:, :, None] * waves).sum(1)
    spikes = np.abs(np.cos(cells.processes[:, None] * angle[None] / 2 + cells.lobe_phases[:, :1])) ** 5
    arbor = cells.arborisation[:, None]
    return cells.radius[:, None] * ellipse * lobed * (1.0 - 0.5 * arbor + 0.85 * arbor * spikes)


def dna(cells: Cells, owners: np.ndarray, noise: np.ndarray, scale: float, size: int) -> np.ndarray:
    """DNA stain, float32 (H, H): textured chromatin with nucleoli left out.

    owners: which cells are drawn, and last whether debris is, bool (N + 1,).
    """
    chromatin = _draw_blobs(_of(cells.chromatin, owners), size, noise, 0.9 * scale)
    holes = _draw_blobs(_of(cells.nucleoli, owners), size, noise, 0.8 * scale)
    return chromatin * (1.0 - np.minimum(holes, 1.0))


def _of(blobs: Blobs, owners: np.ndarray) -> Blobs:
    keep = owners[blobs.cell]
    return Blobs(*(getattr(blobs, field.name)[keep] for field in fields(Blobs)))


def _draw_blobs(blobs: Blobs, size: int, noise: np.ndarray, softness: float) -> np.ndarray:
    """Rough ellipses with soft edges on the pixel grid, float32 (H, H).

    The brightest body of a cell wins; cells that overlap add up.
    """
    owners, places, values = [], [], []
    reach = np.ceil(1.3 * np.maximum(blobs.a, blobs.b) + 2 * softness)
    # Small and large bodies apart, so that a fragment does not pay for a nucleus' window.
    for chosen in (reach <= 6 * softness, reach > 6 * softness):
        if not chosen.any():
            continue
        half = int(reach[chosen].max())
        x, y, a, b, angle, rough, phase, value, texture = (
            field[chosen, None, None].astype(np.float32)
            for field in (
                blobs.x, blobs.y, blobs.a, blobs.b, blobs.angle, blobs.rough, blobs.phase, blobs.value, blobs.texture
            )
        )  # fmt: skip
        window = np.arange(-half, half + 1)
        column = np.rint(x).astype(np.intp) + window[None, None, :]
        row = np.rint(y).astype(np.intp) + window[None, :, None]
        dx, dy = column - x, row - y  # (M, 1, W), (M, W, 1)
        u = (dx * np.cos(angle) + dy * np.sin(angle)) / a
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / b
        squared = u * u + v * v + 1e-6
        # cos(2t) and cos(3t) of the polar angle as polynomials: no arctangent over every window.
        lobes = ((u * u - v * v) * np.cos(phase) + 2 * u * v * np.sin(phase)) / squared
        lobes += (u**3 - 3 * u * v * v) / squared**1.5 * np.cos(2 * phase)
        edge = (1.0 + rough * lobes - np.sqrt(squared)) * np.sqrt(a * b) / softness
        soft = np.clip(0.5 + edge / 2, 0.0, 1.0)
        inside = (soft > 0) & (column >= 0) & (column < size) & (row >= 0) & (row < size)
        place = (row * size + column)[inside]
        grain = 1.0 + np.broadcast_to(texture, soft.shape)[inside] * noise.ravel()[place]
        owners.append(np.broadcast_to(blobs.cell[chosen, None, None] + 1, soft.shape)[inside])
        places.append(place)
        values.append(soft[inside] * np.broadcast_to(value, soft.shape)[inside] * grain)
    if not sum(map(len, places)):
        return np.zeros((size, size), np.float32)
    key = np.concatenate(owners) * size**2 + np.concatenate(places)
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    brightest = np.maximum.reduceat(np.concatenate(values)[order], first)
    return np.bincount(key[first] % size**2, brightest, size**2).reshape(size, size).astype(np.float32)


Layer = tuple[np.ndarray, np.ndarray]
"""Index of the cell at each pixel (-1: none) and its thickness there, (H, H) each."""


def actin(
    params: PopulationParams,
    cells: Cells,
    ground: Ground,
    layers: tuple[Layer, Layer],
    noises: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """Actin stain, float32 (H, H): cortex along every border, ruffles along free ones, stress fibres, aggregates."""
    fine, medium, coarse = noises
    total = np.zeros(fine.shape, np.float32)
    for layer, (label, height) in enumerate(layers):
        inside = height > 0
        own = np.where(inside, cells.actin[label], 0.0).astype(np.float32)
        radius = cells.radius[label].astype(np.float32) / scale
        # Distance in reference pixels to the cell's own border, free or shared.
        if layer == 0:
            gap = np.minimum(1.0 - ground.nearest, 0.6 * (ground.second - ground.nearest))
            share = 1.0
        else:
            gap = 1.0 - ground.second
            share = 1.0 - params.adhesion
        depth = np.maximum(gap, 0.0) * radius
        standing = np.where(cells.round()[label], 2.2, 1.0)
        rim = np.exp(-((depth / 1.3) ** 2)) * inside * standing * share
        cortex = params.actin_cortex * rim * np.clip(0.25 + 0.12 * medium + 0.09 * coarse, 0.03, None)
        free = (ground.second > 1.0) & (layer == 0)
        ruffles = 0.28 * params.actin_cortex * np.clip(coarse - 0.4, 0, 1.2) * np.exp(-((depth / 3.0) ** 2)) * free
        cytoplasm = 0.10 * height * (1.0 + 0.28 * medium + 0.12 * fine)
        # Aggregates stand where a noise field is high, most of them at the retracted border.
        spots = np.clip(fine + 0.6 * medium - 1.5, 0.0, 1.6) * (0.35 + 0.65 * np.exp(-depth / 4.0)) * inside * share
        total += own * (cortex + ruffles + cytoplasm + 0.9 * params.actin_puncta * spots)
    cables = fibres.draw(fibres.stress_fibres(params, cells, rng, scale), (ground.label, ground.under), rng, scale)
    return np.maximum(total + 0.13 * cables, 0.0)


def tubulin(
    params: PopulationParams,
    cells: Cells,
    ground: Ground,
    layers: tuple[Layer, Layer],
    covered: np.ndarray,
    noises: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """Tubulin stain, float32 (H, H): fibres, the diffuse pool, and what gathers at the nucleus."""
    fine, medium = noises
    size = fine.shape[0]
    grid = np.arange(size, dtype=np.float32)
    pool = np.zeros((size, size), np.float32)
    for label, height in layers:
        own = np.where(height > 0, cells.tubulin[label], 0.0).astype(np.float32)
        away = np.hypot(grid[None] - cells.nucleus_x[label], grid[:, None] - cells.nucleus_y[label])
        from_nucleus = np.maximum(away - cells.nucleus_radius[label], 0.0) / scale
        gathered = params.tubulin_perinuclear * np.exp(-from_nucleus / 3.5) * np.minimum(height, 1.0)
        pool += own * ((0.10 + 0.29 * (1.0 - params.tubulin_fibres)) * height + 0.75 * gathered)
    pool = pool * np.clip(1.0 + 0.22 * medium + 0.14 * fine, 0.0, None)
    mesh = fibres.draw(fibres.microtubules(params, cells, rng, scale), (ground.label, ground.under), rng, scale)
    # Flat lamellae hold fewer layers of fibres than the body of the cell.
    mesh = mesh * np.clip(0.36 + 0.9 * layers[0][1], 0.0, 1.3)
    # Interphase nuclei exclude tubulin; in mitosis there is no envelope.
    closed = np.isin(cells.fate, (Fate.INTERPHASE, Fate.ROUNDED, Fate.BINUCLEATE, Fate.MULTINUCLEATE))[ground.label]
    excluded = 1.0 - 0.62 * covered * closed
    return np.maximum(pool * excluded + 0.105 * mesh * (1.0 - 0.5 * covered * closed), 0.0).astype(np.float32)


def _unit(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / field.std()
