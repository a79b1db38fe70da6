"""Cells -> image: a pure function of activities, culture, plate and seed.

Red is actin, green beta-tubulin, blue DNA, as in BBBC021. The number of cells does not depend on the image size: 256
pixels show the same field as 128 with features twice as large.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def stain(params: PopulationParams, cells: Cells, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """Ideal stain, float32 (size, size, 3) >= 0: what a perfect microscope would see of these cells."""
    scale = size / 128
    white = rng.standard_normal((2, size, size), dtype=np.float32)
    fine = _unit(gaussian_filter(white[0], 0.8 * scale))
    medium = _unit(gaussian_filter(white[1], 1.8 * scale))
    coarse = _unit(gaussian_filter(white[0], 5.0 * scale))
    warp = 0.9 * scale * np.stack([medium, coarse])

    nearest, second, label = territories(cells, size, warp)
    inside = label >= 0
    rounded = cells.round()[label]
    radius = cells.radius[label].astype(np.float32)
    # Distance in reference pixels to the cell's own border, free or shared.
    depth = np.minimum(1.0 - nearest, 0.6 * (second - nearest)) * radius / scale
    depth = np.where(inside, np.maximum(depth, 0.0), 0.0).astype(np.float32)
    flat = 0.35 + 0.65 * np.sqrt(np.clip(1.0 - nearest, 0.0, 1.0))
    ball = 1.9 * np.sqrt(np.clip(1.0 - nearest**2, 0.0, 1.0))
    height = np.where(rounded, ball, flat) * inside

    nuclei = dna(cells, fine, scale, size)
    covered = np.clip(nuclei / 0.5, 0.0, 1.0)
    for_actin, for_tubulin = rng.spawn(2)
    return np.stack(
        [
            actin(params, cells, label, depth, height, (fine, medium, coarse), for_actin, scale),
            tubulin(params, cells, label, height, covered, (fine, medium), for_tubulin, scale),
            nuclei + 0.02 * height,
        ],
        axis=-1,
    )


def territories(cells: Cells, size: int, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which cell each pixel belongs to: relative distance of the nearest and the second cell, and the nearest's index.

    A relative distance is 1 on a cell's outline; where outlines overlap, cells share the ground as epithelia do, except
    that rounded cells lie on top. Index -1 is empty ground. `warp` (2, H, H) displaces the grid, in pixels.
    """
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    outline = _outlines(cells, angle).astype(np.float32)  # (N, ANGLES)
    nearest = np.full((size, size), OUTSIDE, np.float32)
    second = nearest.copy()
    label = np.full((size, size), -1, np.intp)
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
        old = nearest[box]
        closer = distance < old
        second[box] = np.where(closer, old, np.minimum(second[box], distance))
        nearest[box] = np.where(closer, distance, old)
        label[box] = np.where(closer, i, label[box])
    owner_on_top = np.where(label >= 0, on_top[label], 1.0)
    return (nearest / owner_on_top).astype(np.float32), (second / owner_on_top).astype(np.float32), label


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


def dna(cells: Cells, noise: np.ndarray, scale: float, size: int) -> np.ndarray:
    """DNA stain, float32 (H, H): textured chromatin bodies with nucleoli left out."""
    chromatin = _draw_blobs(cells.chromatin, size, noise, 0.9 * scale)
    holes = _draw_blobs(cells.nucleoli, size, noise, 0.8 * scale)
    return chromatin * (1.0 - holes)


def _draw_blobs(blobs: Blobs, size: int, noise: np.ndarray, softness: float) -> np.ndarray:
    """Rough ellipses with soft edges on the pixel grid; the brightest wins where they overlap. float32 (H, H)."""
    canvas = np.zeros(size * size, np.float32)
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
        np.maximum.at(canvas, place, soft[inside] * np.broadcast_to(value, soft.shape)[inside] * grain)
    return canvas.reshape(size, size)


def actin(
    params: PopulationParams,
    cells: Cells,
    label: np.ndarray,
    depth: np.ndarray,
    height: np.ndarray,
    noises: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """Actin stain, float32 (H, H): cortex along every border, stress fibres, aggregates, a faint cytoplasm."""
    fine, medium, coarse = noises
    inside = label >= 0
    own = np.where(inside, cells.actin[label], 0.0).astype(np.float32)
    rim = np.exp(-((depth / 1.15) ** 2)) * inside
    cortex = params.actin_cortex * rim * np.clip(0.36 + 0.14 * medium + 0.08 * coarse, 0.05, None)
    cytoplasm = 0.10 * height * (1.0 + 0.25 * medium + 0.15 * fine)
    cables = fibres.draw(fibres.stress_fibres(params, cells, rng, scale), label, rng, scale)
    # Aggregates stand where a noise field is high, most of them at the retracted border.
    spots = np.clip(fine + 0.6 * medium - 1.5, 0.0, 1.6) * (0.35 + 0.65 * np.exp(-depth / 4.0)) * inside
    return np.maximum(own * (cortex + cytoplasm + 0.9 * params.actin_puncta * spots) + 0.16 * cables, 0.0)


def tubulin(
    params: PopulationParams,
    cells: Cells,
    label: np.ndarray,
    height: np.ndarray,
    covered: np.ndarray,
    noises: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """Tubulin stain, float32 (H, H): fibres, the diffuse pool, and what gathers at the nucleus."""
    fine, medium = noises
    inside = label >= 0
    size = label.shape[0]
    own = np.where(inside, cells.tubulin[label], 0.0).astype(np.float32)
    mesh = fibres.draw(fibres.microtubules(params, cells, rng, scale), label, rng, scale)
    grid = np.arange(size, dtype=np.float32)
    away = np.hypot(grid[None] - cells.nucleus_x[label], grid[:, None] - cells.nucleus_y[label])
    from_nucleus = np.maximum(away - cells.nucleus_radius[label], 0.0) / scale
    gathered = params.tubulin_perinuclear * np.exp(-from_nucleus / 3.0) * inside
    pool = (0.17 + 0.22 * (1.0 - params.tubulin_fibres)) * height + 0.28 * gathered
    pool = pool * np.clip(1.0 + 0.22 * medium + 0.14 * fine, 0.0, None)
    # Flat lamellae hold fewer layers of fibres than the body of the cell.
    mesh = mesh * np.clip(0.45 + 0.75 * height, 0.0, 1.2)
    # Interphase nuclei exclude tubulin; in mitosis there is no envelope.
    closed = np.isin(cells.fate, (Fate.INTERPHASE, Fate.ROUNDED, Fate.BINUCLEATE, Fate.MULTINUCLEATE))[label]
    excluded = 1.0 - 0.55 * covered * closed
    return np.maximum(own * pool * excluded + 0.115 * mesh * (1.0 - 0.35 * covered * closed), 0.0).astype(np.float32)


def _unit(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / field.std()
