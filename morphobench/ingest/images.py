"""One PNG from a stranger to a uint8 array, or one line that says what is wrong with it.

Pillow believes the last of several headers, leaves black what no pixel data fill, and has its own errors for chunks
that say nothing of the pixels. So it never sees the stranger's file: what was checked here, a header and scanlines of
exactly the length that the header asks for, is all that it decodes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from morphobench.errors import BadInput

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
AGAIN = "write it again"
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
BEFORE_PIXELS = (
    b"PLTE", b"bKGD", b"cHRM", b"cICP", b"cLLI", b"gAMA", b"hIST", b"iCCP", b"mDCV", b"pHYs", b"sBIT", b"sPLT", b"sRGB",
    b"tRNS",
)  # fmt: skip
"""Chunks that stand before the pixel data, by PNG (third edition), table 5.1."""
INTERLACED = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, steps of rows and of columns of each pass."""


class _Fault(Exception):
    """What is wrong with a PNG and the mend, without its name."""


def decode_png(data: bytes, name: str, size: int) -> np.ndarray:
    """Pixels of an 8-bit RGB PNG of `size` x `size`, uint8 (size, size, 3).

    Raises BadInput that names the file and what it should be: for another kind of image, a file that is cut short,
    damaged, or out of order anywhere, an animation, and pixel data longer or shorter than its header says. Chunks that
    describe the image (colour profile, text, time) are checked for damage and otherwise left unread.
    """
    try:
        header = _header(data, size)
        scanlines = _scanlines(_pixel_data(data), size, interlaced=bool(header[-1]))
        with Image.open(io.BytesIO(_plain_png(header, scanlines)), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except _Fault as fault:
        raise BadInput(f"{name}: {fault}") from fault
    except Exception as error:  # whatever a decoder raises is said of the file
        raise BadInput(f"{name}: a damaged PNG (the decoder stopped with {type(error).__name__}); {AGAIN}") from error
    if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
        decoded = f"{pixels.dtype} {pixels.shape}"
        raise BadInput(f"{name}: decoded to {decoded} where its header says 8-bit RGB {size} x {size}; {AGAIN}")
    return pixels


def encode_png(pixels: np.ndarray) -> bytes:
    """8-bit RGB PNG bytes of a uint8 (H, W, 3) array; the same bytes for the same pixels and Pillow version."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"{pixels.dtype=}, {pixels.shape=}: uint8 (H, W, 3) wanted")
    stream = io.BytesIO()
    # Level 1: noise dominates microscope pixels, so higher levels cost time and save under 3% of the bytes.
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def _header(data: bytes, size: int) -> bytes:
    """The 13 bytes of the first header, which asks for 8-bit RGB of `size` x `size`."""
    if not data.startswith(PNG_SIGNATURE):
        raise _Fault("not a PNG file; save it as 8-bit RGB PNG")
    if len(data) < 33:
        raise _cut_short(data)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise _Fault(f"a damaged PNG that does not begin with its header (IHDR); {AGAIN}")
    header = data[16:29]
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if colour != 2:
        raise _Fault(f"{COLOUR_TYPES.get(colour, 'unknown')} PNG; save it as 8-bit RGB")
    if depth != 8:
        raise _Fault(f"{depth} bits per channel; save it as 8-bit RGB")
    if (width, height) != (size, size):
        raise _Fault(f"{width} x {height} pixels; this tier takes {size} x {size}")
    if compression or filtering or interlace > 1:
        raise _Fault(f"a PNG of methods {compression}, {filtering}, {interlace}, which no PNG standard has; {AGAIN}")
    return header


def _pixel_data(data: bytes) -> bytes:
    """The compressed pixel data, after every chunk of the file was looked at."""
    before: set[bytes] = set()
    last = b""
    pixels: list[bytes] = []
    for kind, content in _chunks(data):
        name = kind.decode("ascii")
        if kind in ANIMATION:
            raise _Fault(f"an animated PNG ({name}); save one picture as 8-bit RGB PNG")
        if kind[:1].isupper() and kind not in CRITICAL:
            raise _Fault(f"a chunk {name} that changes how the pixels are read; save it as plain 8-bit RGB PNG")
        if not content and kind not in (b"IDAT", b"IEND"):
            raise _Fault(f"a damaged PNG (its {name} chunk is empty); {AGAIN}")
        if kind in (b"IHDR", b"PLTE") and kind in before:
            raise _Fault(f"a PNG with a second {name} chunk; {AGAIN}")
        if b"IDAT" in before and (kind in BEFORE_PIXELS or (kind == b"IDAT" and last != b"IDAT")):
            raise _Fault(f"a PNG whose chunks are out of order ({name} comes after the pixel data); {AGAIN}")
        if kind == b"IDAT":
            pixels.append(content)
        before.add(kind)
        last = kind
    return b"".join(pixels)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of every chunk up to the end of the file, which is that of the PNG; each matches its checksum."""
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        if len(data) < at + 12:
            raise _cut_short(data)
        length, kind = struct.unpack_from(">I4s", data, at)
        if not (kind.isalpha() and kind.isascii()):
            raise _Fault(f"a damaged PNG (no chunk begins at byte {at:,}); {AGAIN}")
        end = at + 12 + length
        if end > len(data):
            raise _cut_short(data)
        content = data[at + 8 : end - 4]
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise _Fault(f"a damaged PNG (its {kind.decode('ascii')} chunk does not match its checksum); {AGAIN}")
        yield kind, content
        at = end
    if content or at < len(data):
        raise _Fault(f"a PNG with {len(content) + len(data) - at:,} bytes after its end; {AGAIN}")


def _scanlines(compressed: bytes, size: int, interlaced: bool) -> bytes:
    """The inflated pixel data: of each row a byte that names its filter, and its pixels."""
    passes = INTERLACED if interlaced else ((0, 0, 1, 1),)
    shapes = [(len(range(top, size, down)), len(range(left, size, right))) for top, left, down, right in passes]
    expected = sum(rows * (1 + 3 * columns) for rows, columns in shapes if columns)
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(compressed, expected + 1)
    except zlib.error as error:
        raise _Fault(f"a PNG with damaged pixel data ({error}); {AGAIN}") from error
    if len(inflated) > expected or inflater.unused_data:
        raise _Fault(f"a PNG with more pixel data than {size} x {size} pixels take; {AGAIN}")
    if len(inflated) < expected or not inflater.eof:
        raise _Fault(f"a truncated PNG (its pixel data end after {len(inflated):,} of {expected:,} bytes); {AGAIN}")
    return inflated


def _plain_png(header: bytes, scanlines: bytes) -> bytes:
    # Stored, not compressed: they are read once, from memory.
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines, 0)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _cut_short(data: bytes) -> _Fault:
    return _Fault(f"a truncated PNG (cut short after {len(data):,} bytes); {AGAIN}")
