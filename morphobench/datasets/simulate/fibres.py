"""Microtubules and actin stress fibres: random polylines, added up on the pixel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphobench.datasets.simulate.cells import Cells, Fate
from morphobench.datasets.simulate.phenotypes import PopulationParams

PER_CELL = 60
"""Microtubules of a cell whose tubulin is all in fibres."""
BUNDLE = 6
"""Microtubules in a bundle."""


@dataclass(frozen=True)
class Fibres:
    """Polylines, each field (F,); lengths in pixels, angles in radians."""

    cell: np.ndarray
    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    turn: np.ndarray
    """Constant curvature, radians per pixel."""
    wander: np.ndarray
    """Standard deviation of the random turning, radians per square root of a pixel."""
    length: np.ndarray
    value: np.ndarray


def microtubules(params: PopulationParams, cells: Cells, rng: np.random.Generator, scale: float) -> Fibres:
    """The microtubules of all cells: radial from the centrosome, spindles in mitosis, or bundles about the nucleus."""
    cell = np.repeat(np.arange(len(cells)), PER_CELL)
    u = rng.random((len(cell), 5)).T  # by cell: the first cells keep their fibres when there are fewer cells
    z = rng.standard_normal((len(cell), 3)).T
    rank = np.tile(np.arange(PER_CELL), len(cells))
    fate, radius, axis = cells.fate[cell], cells.radius[cell], cells.axis[cell]
    reach = radius * np.sqrt(cells.elongation[cell]) * np.maximum(1.0, 1 + 0.9 * cells.arborisation[cell])

    # Interphase: radial from a loose centre beside the nucleus (in MCF7 many microtubules have left the centrosome).
    angle = 2 * np.pi * u[0]
    start = cells.nucleus_radius[cell] * (0.25 + 0.75 * u[2])
    x = cells.nucleus_x[cell] + 0.5 * cells.nucleus_radius[cell] * np.cos(3 * axis) + start * np.cos(angle + 0.7 * z[1])
    y = cells.nucleus_y[cell] + 0.5 * cells.nucleus_radius[cell] * np.sin(3 * axis) + start * np.sin(angle + 0.7 * z[1])
    turn = 1.0 * z[0] / radius
    length = reach * (0.5 + 1.0 * u[1])
    # Two in five have no part in that centre: they begin anywhere in the cell and run anywhere.
    astray = rank % 5 < 2
    away, about = 0.85 * radius * np.sqrt(u[3]), 2 * np.pi * u[4]
    x = np.where(astray, cells.x[cell] + away * np.cos(about), x)
    y = np.where(astray, cells.y[cell] + away * np.sin(about), y)
    value = np.full(len(cell), 1.0)

    # Bundles run along the cell's outline, six microtubules side by side.
    lead = np.arange(len(cell)) - rank % BUNDLE
    bundled = rank // BUNDLE < params.tubulin_bundling * PER_CELL / BUNDLE
    about, way = 2 * np.pi * u[2][lead], np.where(u[0][lead] < 0.5, 1.0, -1.0)
    away = radius * (0.35 + 0.5 * u[3][lead]) + 0.35 * scale * z[1]
    x = np.where(bundled, cells.x[cell] + away * np.cos(about), x)
    y = np.where(bundled, cells.y[cell] + away * np.sin(about), y)
    angle = np.where(bundled, about + way * np.pi / 2 + 0.3 * z[2][lead] + 0.06 * z[0], angle)
    turn = np.where(bundled, way * u[1][lead] / np.maximum(away, 3 * scale), turn)
    length = np.where(bundled, radius * (0.5 + 0.8 * u[4][lead]), length)
    value = np.where(bundled, 1.1, value)

    # Spindles: two poles that face each other, or one aster.
    bipolar, monopolar = fate == Fate.BIPOLAR, fate == Fate.MONOPOLAR
    side = np.where(rank % 2, 1.0, -1.0)
    half = 0.95 * cells.nucleus_radius[cell] * bipolar * side
    spindle = bipolar | monopolar
    x = np.where(spindle, cells.nucleus_x[cell] + half * np.cos(axis), x)
    y = np.where(spindle, cells.nucleus_y[cell] + half * np.sin(axis), y)
    angle = np.where(bipolar, axis + np.pi * (side > 0) + 0.5 * z[0], np.where(monopolar, 2 * np.pi * u[0], angle))
    turn = np.where(spindle, -0.5 * z[0] / cells.nucleus_radius[cell] * bipolar, turn)
    length = np.where(spindle, cells.nucleus_radius[cell] * 0.95, length)
    value = np.where(spindle, 1.35, value)

    keep = (rank < PER_CELL * params.tubulin_fibres) & (fate != Fate.APOPTOTIC) & (fate != Fate.SCATTERED)
    value = value * cells.tubulin[cell]
    wander = np.where(spindle, 0.02, 0.09) / np.sqrt(scale)
    return Fibres(*(field[keep] for field in (cell, x, y, angle, turn, wander, length, value)))


def stress_fibres(params: PopulationParams, cells: Cells, rng: np.random.Generator, scale: float) -> Fibres:
    """Straight actin bundles along the long axis of spread cells."""
    each = 14
    cell = np.repeat(np.arange(len(cells)), each)
    u = rng.random((len(cell), 3)).T
    z = rng.standard_normal((len(cell), 2)).T
    rank = np.tile(np.arange(each), len(cells))
    radius, axis = cells.radius[cell], cells.axis[cell] + 0.16 * z[0]
    across, along = radius * (2 * u[0] - 1) * 0.8, -radius * (0.5 + 0.5 * u[1])
    x = cells.x[cell] + along * np.cos(axis) - across * np.sin(axis)
    y = cells.y[cell] + along * np.sin(axis) + across * np.cos(axis)
    keep = (rank < each * params.stress_fibres) & ~cells.round()[cell]
    fields = (
        cell, x, y, axis, 0.45 * z[1] / radius, np.full(len(cell), 0.01 / np.sqrt(scale)),
        radius * (0.8 + 0.9 * u[2]), cells.actin[cell],
    )  # fmt: skip
    return Fibres(*(field[keep] for field in fields))


def draw(fibres: Fibres, labels: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, scale: float) -> np.ndarray:
    """float32 (H, H): the fibres' lengths added up per pixel (bilinear), each within its own cell only.

    labels: the cell at each pixel and the one that overlaps it there, (H, H) each, -1 for none.
    """
    size = labels[0].shape[0]
    if not len(fibres.x):
        return np.zeros((size, size), np.float32)
    steps = int(np.ceil(fibres.length.max()))
    noise = rng.standard_normal((len(fibres.x), steps), dtype=np.float32)
    step = np.arange(steps, dtype=np.float32)
    angle = fibres.angle[:, None] + fibres.turn[:, None] * step + fibres.wander[:, None] * np.cumsum(noise, 1)
    angle = angle.astype(np.float32)
    x = fibres.x[:, None].astype(np.float32) + np.cumsum(np.cos(angle), 1)  # (F, steps), one pixel apart
    y = fibres.y[:, None].astype(np.float32) + np.cumsum(np.sin(angle), 1)
    inside = (step < fibres.length[:, None]) & (x >= 0) & (x < size - 1) & (y >= 0) & (y < size - 1)
    owner, moment = np.nonzero(inside)
    x, y = x[owner, moment], y[owner, moment]
    column, row = x.astype(np.intp), y.astype(np.intp)
    own = (labels[0][row, column] == fibres.cell[owner]) | (labels[1][row, column] == fibres.cell[owner])
    x, y, column, row, owner = x[own], y[own], column[own], row[own], owner[own]
    right, down, value = x - column, y - row, fibres.value[owner]
    corner = row * size + column
    where = np.concatenate([corner, corner + 1, corner + size, corner + size + 1])
    weight = np.concatenate([
        (1 - right) * (1 - down) * value, right * (1 - down) * value, (1 - right) * down * value, right * down * value
    ])  # fmt: skip
    # A line's length per pixel falls as 1 / scale while its width in pixels grows as scale.
    return (np.bincount(where, weight, size * size) * scale).reshape(size, size).astype(np.float32)
