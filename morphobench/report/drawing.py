"""What every picture of the report shares: palette, type, size, the SIMULATED stamp and the encoding as a data URI."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

GENERATED, REAL, VEHICLE = "#D55E00", "#0072B2", "#6E6E6E"
"""Vermilion, blue and grey of Okabe and Ito: apart for every common kind of colour vision, and in greyscale."""
INK, FAINT = "#1F2933", "#9AA5B1"
CLASS_COLOURS = (
    "#332288", "#117733", "#882255", "#0077BB", "#999933", "#CC6677", "#44AA99",
    "#AA4499", "#EE7733", "#661100", "#6699CC", "#BB9900", "#555555",
)  # fmt: skip
"""Thirteen mechanisms; numbers on the map carry the identity, colour only helps."""
STAMP = "SIMULATED"
WIDTH = 4.8
"""Inches of a half-page figure: 480 CSS pixels, so that type stays legible when a phone shrinks it to 350."""
DPI = 200
COLOURS = 128
_TYPE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Picture:
    """An encoded picture with what a reader who cannot see it is told, and the caption under it."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str


def blank(height: float, width: float = WIDTH) -> Figure:
    """An empty figure in the house type, inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def house_type() -> mpl.RcParams:
    """matplotlib's settings with the house type; use as `with mpl.rc_context(house_type())`."""
    return mpl.RcParams({**mpl.rcParams, **_TYPE})


def encode_figure(figure: Figure, simulated: bool, alt: str, caption: str) -> Picture:
    """Draw a figure to PNG at twice its CSS size, stamped in its lower right corner when simulated."""
    if simulated:
        figure.get_layout_engine().set(rect=(0, 0.032, 1, 0.968))  # type: ignore[union-attr, call-arg]
        figure.text(0.992, 0.008, STAMP, ha="right", va="bottom", fontsize=7, weight="bold", color="#7B8794")
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # a palette halves the file; flat charts and maps show no difference
    reduced = drawn.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = np.reshape(reduced.getpalette() or [], (-1, 3))
    palette[(palette >= 250).all(axis=1)] = 255  # averaging leaves paper white at 254, a grey box on the page
    reduced.putpalette(palette.ravel().tolist())
    return encode_image(reduced, "PNG", alt, caption)


def encode_image(image: Image.Image, kind: str, alt: str, caption: str) -> Picture:
    """A Pillow image as a data URI: PNG for charts, JPEG without chroma subsampling for microscope fields."""
    buffer = io.BytesIO()
    if kind == "JPEG":
        image.save(buffer, "JPEG", quality=90, subsampling=0, optimize=True)
    else:
        image.save(buffer, "PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind.lower()};base64,{encoded}", image.width, image.height, alt, caption)


def bare(axes: Axes) -> None:
    """Take ticks and frame off a map whose axes have no unit."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#D9DEE4")


def finite_rows(values: np.ndarray) -> np.ndarray:
    """Rows (of a matrix) or entries (of a vector) without NaN or infinity, as a boolean mask."""
    return np.isfinite(values).all(axis=1) if values.ndim == 2 else np.isfinite(values)
