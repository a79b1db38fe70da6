"""The image panel: for each drug the same fields real, generated and untreated, after Figure 3 of the TRIDENT paper."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from morphobench.report.contents import Evaluation, PanelColumn, TrackContents
from morphobench.report.drawing import STAMP, Picture, encode_image

FIELD = 256
"""Pixels of a drawn field: twice its size on the page."""
GAP = 6
ROWS = (("real", "Real"), ("generated", "Generated"), ("vehicle", "Vehicle"))


def panel_pictures(evaluation: Evaluation, track: TrackContents) -> list[Picture]:
    """One picture per panel compound: rows real, generated, vehicle; its fields across."""
    return [_column(evaluation, column) for column in track.panel]


def _column(evaluation: Evaluation, column: PanelColumn) -> Picture:
    simulated = evaluation.report.simulated
    shown = min(len(getattr(column, key)) for key, _ in ROWS)
    width = shown * FIELD + (shown - 1) * GAP
    canvas = Image.new("RGB", (width, len(ROWS) * FIELD + (len(ROWS) - 1) * GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for row, (key, label) in enumerate(ROWS):
        top = row * (FIELD + GAP)
        for place in range(shown):
            canvas.paste(_field(getattr(column, key)[place]), (place * (FIELD + GAP), top))
        _write(draw, (10, top + 8), label, 22, "la")
    if evaluation.um_per_pixel is not None:
        _scale_bar(draw, canvas, evaluation.um_per_pixel * column.real.shape[2] / FIELD)
    if simulated:
        _write(draw, (canvas.width - 10, canvas.height - 10), STAMP, 20, "rs")
    dose = f"{column.dose_um:g} µM"
    alt = (
        f"{column.compound} at {dose}: {shown} real {'simulated ' if simulated else ''}fields in the top row, "
        f"{shown} generated fields in the middle, {shown} vehicle fields at the bottom."
    )
    return encode_image(canvas, "JPEG", alt, f"{column.compound}, {dose}")


def _field(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((FIELD, FIELD), Image.Resampling.LANCZOS)


def _scale_bar(draw: ImageDraw.ImageDraw, canvas: Image.Image, um_per_drawn_pixel: float) -> None:
    """The longest of 1, 2, 5 x 10^k micrometres that fits a third of a field, in the lower left corner."""
    room = FIELD / 3 * um_per_drawn_pixel
    decade = 10.0 ** math.floor(math.log10(room))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= room)
    left, bottom = 12, canvas.height - 12
    draw.rectangle(
        (left, bottom - 5, left + round(length / um_per_drawn_pixel), bottom), fill="white", outline="black", width=1
    )
    _write(draw, (left, bottom - 12), f"{length:g} µm", 18, "ls")


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, anchor: str) -> None:
    font = ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf", size)
    draw.text(place, text, font=font, fill="white", anchor=anchor, stroke_width=3, stroke_fill="black")
