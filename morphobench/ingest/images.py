"""One PNG from a stranger to a uint8 array, or one line that says what is wrong with it."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from morphobench.errors import BadInput

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}


def decode_png(data: bytes, name: str, size: int) -> np.ndarray:
    """Pixels of an 8-bit RGB PNG of `size` x `size`, uint8 (size, size, 3).

    The header is read before anything is decoded, because Pillow turns 16-bit RGB into 8-bit without a word and because
    a header may promise more pixels than memory holds. Raises BadInput that names the file and what it should be.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise BadInput(f"{name}: not a PNG file; save it as 8-bit RGB PNG")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise BadInput(f"{name}: a PNG cut short ({len(data)} bytes); write it again")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if colour != 2:
        raise BadInput(f"{name}: {COLOUR_TYPES.get(colour, 'unknown')} PNG; save it as 8-bit RGB")
    if depth != 8:
        raise BadInput(f"{name}: {depth} bits per channel; save it as 8-bit RGB")
    if (width, height) != (size, size):
        raise BadInput(f"{name}: {width} x {height} pixels; this tier takes {size} x {size}")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise BadInput(f"{name}: a damaged or truncated PNG ({error}); write it again") from error
    return pixels


def encode_png(pixels: np.ndarray) -> bytes:
    """8-bit RGB PNG bytes of a uint8 (H, W, 3) array; the same bytes for the same pixels and Pillow version."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"{pixels.dtype=}, {pixels.shape=}: uint8 (H, W, 3) wanted")
    stream = io.BytesIO()
    # Level 1: noise dominates microscope pixels, so higher levels cost time and save under 3% of the bytes.
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
