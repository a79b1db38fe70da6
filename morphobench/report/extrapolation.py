"""The Frechet distance at several N and the line that leads to infinitely many images."""

from __future__ import annotations

import numpy as np

from morphobench.report.contents import DistanceFit, TrackContents
from morphobench.report.drawing import GENERATED, INK, Picture, blank, encode_figure
from morphobench.report.reading import number

STRAIGHT = 0.9
"""An r2 below it is told as a warning, whether the points bend or scatter."""


def fit_chart(fit: DistanceFit, track: TrackContents, simulated: bool) -> Picture:
    """Distances against 1 / N with their line; its end at 0 is the score."""
    figure = blank(3.2)
    axes = figure.add_subplot()
    across = 1 / fit.sizes
    ends = np.array([0, across.max()])
    axes.plot(ends, fit.value + fit.slope * ends, color=INK, linewidth=1)
    axes.plot(across, fit.distances, "o", color=GENERATED, markersize=5, clip_on=False, zorder=3)
    axes.plot(0, fit.value, "o", color="white", markeredgecolor=GENERATED, markersize=7, clip_on=False, zorder=3)
    axes.set(title=f"Fréchet distance, {fit.extractor}", xlabel="images", ylabel="distance", xlim=(0, None))
    axes.set_xticks([0, *across], ["∞", *(f"{size:.0f}" for size in fit.sizes)])
    warning = "" if fit.r2 >= STRAIGHT else " The points are not well on a line: read its end with care."
    caption = (
        f"Few images raise the distance. On the line through {len(across)} numbers of images (r² {fit.r2:.3f}) it is "
        f"{number(fit.distances[0])} at {fit.sizes[0]:.0f} and {number(fit.value)} at infinitely many.{warning}"
    )
    points = ", ".join(f"{number(y)} at {n:.0f}" for n, y in zip(fit.sizes, fit.distances, strict=True))
    alt = f"Fréchet distance of {fit.extractor} features by number of images, {track.title}: {points}."
    return encode_figure(figure, simulated, alt, caption)
