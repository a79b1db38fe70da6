"""PNG files that say one thing and hold another: each decodes to exactly what was asked for, or is one line."""

from __future__ import annotations

import io
import random
import re
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from morphobench.errors import BadInput
from morphobench.ingest.images import INTERLACED, decode_png, encode_png

SIZE = 8
NAME = "images/id/x/0000.png"
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MUTANTS = 600


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int = SIZE, height: int = SIZE, depth: int = 8, colour: int = 2, last: bytes = bytes(3)) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + last)


def rows(pixels: np.ndarray) -> bytes:
    """Scanlines without a filter."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def data(scanlines: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(scanlines))


HEADER, DATA, END = header(), data(rows(PIXELS)), chunk(b"IEND")


def refused(file: bytes) -> str:
    """The message for a file that must be refused; it names the file in one printable line without an address."""
    with pytest.raises(BadInput) as caught:
        decode_png(file, NAME, SIZE)
    message = str(caught.value)
    assert message.startswith(f"{NAME}: ")
    assert message.isprintable()
    assert len(message) <= 500
    assert "0x" not in message
    return message


def test_a_plain_file_is_what_pillow_reads() -> None:
    file = SIGNATURE + HEADER + DATA + END
    with Image.open(io.BytesIO(file)) as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
    np.testing.assert_array_equal(decode_png(file, NAME, SIZE), PIXELS)
    np.testing.assert_array_equal(decode_png(encode_png(PIXELS), NAME, SIZE), PIXELS)


@pytest.mark.parametrize(
    ("size", "depth", "colour"),
    [(2 * SIZE, 8, 2), (SIZE, 8, 0), (SIZE, 8, 6), (SIZE, 16, 2), (7200, 8, 2), (30_000, 8, 2), (2**31 - 1, 8, 2)],
    ids=["larger", "grey", "alpha", "16 bits", "7,200", "30,000", "2^31"],
)
def test_a_second_header_never_decides_what_is_decoded(size: int, depth: int, colour: int) -> None:
    """Pillow takes the last one: 8 x 8 was checked and 16 x 16 was scored, 150 kB grew to 7,200 x 7,200."""
    samples = {0: 1, 2: 3, 6: 4}[colour] * depth // 8
    scanlines = bytes(size * (1 + samples * size)) if size < 100 else bytes(1 << 16)
    file = SIGNATURE + HEADER + header(size, size, depth, colour) + data(scanlines) + END
    assert "a second IHDR chunk" in refused(file)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (HEADER + data(rows(PIXELS[:-1])) + END, "pixel data end after 175 of 200 bytes"),
        (HEADER + data(rows(PIXELS) + b"\0") + END, "more pixel data than 8 x 8"),
        (HEADER + chunk(b"IDAT", zlib.compress(bytes(1 << 26))) + END, "more pixel data than 8 x 8"),
        (HEADER + chunk(b"IDAT", zlib.compress(rows(PIXELS)) + b"more") + END, "more pixel data than 8 x 8"),
        (HEADER + chunk(b"IDAT", zlib.compress(rows(PIXELS))[:-4]) + END, "truncated"),
        (HEADER + chunk(b"IDAT", b"\x78\x9c\xff\xff") + END, "damaged pixel data"),
        (HEADER + chunk(b"IDAT") + END, "pixel data end after 0 of 200"),
        (HEADER + END, "pixel data end after 0 of 200"),
        (HEADER + DATA, "cut short"),
        (HEADER + DATA + END[:-1], "cut short"),
        (HEADER + DATA + END + b"PK", "2 bytes after its end"),
        (HEADER + DATA + chunk(b"IEND", b"abc"), "3 bytes after its end"),
        (DATA + HEADER + END, "does not begin with its header"),
        (chunk(b"IHDR") + DATA + END + bytes(40), "does not begin with its header"),
        (HEADER + chunk(b"iCCP") + DATA + END, "its iCCP chunk is empty"),
        (HEADER + DATA + chunk(b"iCCP") + END, "its iCCP chunk is empty"),
        (HEADER + DATA + chunk(b"gAMA", bytes(4)) + END, "out of order (gAMA comes after the pixel data)"),
        (HEADER + DATA + chunk(b"tEXt", b"a\0b") + DATA + END, "out of order (IDAT comes after the pixel data)"),
        (HEADER + chunk(b"PLTE", bytes(3)) * 2 + DATA + END, "a second PLTE chunk"),
        (HEADER + DATA[:-1] + bytes([DATA[-1] ^ 1]) + END, "its IDAT chunk does not match its checksum"),
        (HEADER[:-1] + b"!" + DATA + END, "its IHDR chunk does not match its checksum"),
        (HEADER + chunk(b"tEXt", b"a\0b")[:-1] + b"!" + DATA + END, "its tEXt chunk does not match its checksum"),
        (HEADER + chunk(b"acTL", bytes(8)) + chunk(b"fcTL", bytes(26)) + DATA + END, "an animated PNG"),
        (HEADER + chunk(b"CgBI", bytes(4)) + DATA + END, "a chunk CgBI that changes how the pixels are read"),
        (HEADER + b"\0\0\0\0\x1b[2J\0\0\0\0" + DATA + END, "no chunk begins at byte 33"),
        (HEADER + struct.pack(">I", 2**31) + DATA[4:] + END, "cut short"),
        (header(last=b"\0\0\2") + DATA + END, "methods 0, 0, 2"),
        (header(last=b"\0\0\1") + DATA + END, "truncated"),
        (HEADER + data(b"\x09" + rows(PIXELS)[1:]) + END, "damaged"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_whole_png_is_named(file: bytes, words: str) -> None:
    assert words in refused(SIGNATURE + file)


def test_an_animation_that_a_library_writes_is_named() -> None:
    stream = io.BytesIO()
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    assert "animated" in refused(stream.getvalue())


def test_what_describes_an_image_changes_nothing() -> None:
    """A profile, text that inflates to gigabytes and a transparent colour are not pixels, and are not read."""
    bomb = b"a\0\0" + zlib.compress(bytes(1 << 24))
    around = [
        chunk(b"iCCP", b"x\0\0not a profile"),
        chunk(b"zTXt", bomb),
        chunk(b"tRNS", bytes(6)),
        chunk(b"PLTE", bytes(3)),
    ]
    file = SIGNATURE + HEADER + b"".join(around) + DATA + chunk(b"tIME", bytes(7)) + chunk(b"eXIf", b"II") + END
    np.testing.assert_array_equal(decode_png(file, NAME, SIZE), PIXELS)


def test_the_time_of_many_small_chunks_grows_as_their_number() -> None:
    """60,000 fill what is read of a 512 x 512 image; looked up in one another they took 18 seconds."""
    start = time.process_time()
    file = SIGNATURE + HEADER + chunk(b"tEXt", b"a") * 60_000 + DATA + END
    np.testing.assert_array_equal(decode_png(file, NAME, SIZE), PIXELS)
    assert time.process_time() - start < 5


def test_pixel_data_in_many_chunks_are_one_picture() -> None:
    compressed = zlib.compress(rows(PIXELS))
    pieces = b"".join(chunk(b"IDAT", compressed[at : at + 1]) for at in range(len(compressed)))
    file = SIGNATURE + HEADER + chunk(b"IDAT") + pieces + chunk(b"IDAT") + END
    np.testing.assert_array_equal(decode_png(file, NAME, SIZE), PIXELS)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_an_interlaced_picture_is_read(size: int) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    passes = [pixels[top::down, left::right] for top, left, down, right in INTERLACED]
    scanlines = b"".join(rows(part) for part in passes if part.size)
    file = SIGNATURE + header(size, size, last=b"\0\0\1") + data(scanlines) + END
    np.testing.assert_array_equal(decode_png(file, NAME, size), pixels)


def pieces(file: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(SIGNATURE)
    while at < len(file):
        length = int.from_bytes(file[at : at + 4], "big")
        found.append((file[at + 4 : at + 8], file[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def mutant(draw: random.Random) -> bytes:
    """A small PNG, changed in its bytes, its chunks (checksums made right again) or its scanlines."""
    parts = pieces(SIGNATURE + HEADER + chunk(b"gAMA", bytes(4)) + DATA[:0] + DATA + chunk(b"tEXt", b"a\0b") + END)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        way, at = draw.randrange(7), draw.randrange(len(parts))
        kind, content = parts[at]
        if way == 0:
            parts.insert(draw.randrange(len(parts) + 1), parts[at])
        elif way == 1 and len(parts) > 1:
            del parts[at]
        elif way == 2:
            draw.shuffle(parts)
        elif way == 3 and content:
            place = draw.randrange(len(content))
            parts[at] = (kind, content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :])
        elif way == 4:
            parts[at] = (kind, content[: draw.randrange(len(content) + 1)])
        elif way == 5:
            parts[at] = (bytes(draw.choice(b"IHDRPLTAENDtXiCcfG") for _ in range(4)), content)
        else:
            scanlines = bytearray(rows(PIXELS))
            scanlines[draw.randrange(len(scanlines))] = draw.randrange(256)
            parts = [
                (k, zlib.compress(bytes(scanlines)[: draw.choice((None, -1, -25, 0))]) if k == b"IDAT" else c)
                for k, c in parts
            ]
    file = bytearray(SIGNATURE + b"".join(chunk(*part) for part in parts))
    if draw.random() < 0.3:
        file[draw.randrange(len(file))] ^= 1 << draw.randrange(8)
    if draw.random() < 0.1:
        del file[draw.randrange(len(file)) :]
    return bytes(file)


def as_pillow_reads(file: bytes) -> np.ndarray | None:
    """What Pillow makes of a file; None where it stumbles over a chunk that says nothing of the pixels."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def test_every_mutant_decodes_to_its_shape_or_is_one_line() -> None:
    draw = random.Random(0)
    read, compared, said = 0, 0, set()
    for _ in range(MUTANTS):
        file = mutant(draw)
        try:
            pixels = decode_png(file, NAME, SIZE)
        except BadInput:
            said.add(re.sub(r"\d+|\(.*\)", "", refused(file)))
            continue
        read += 1
        assert (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)
        lenient = as_pillow_reads(file)
        compared += lenient is not None
        if lenient is not None:
            np.testing.assert_array_equal(lenient, pixels)
    assert read > MUTANTS // 50
    assert compared > read // 2
    assert len(said) > 8
