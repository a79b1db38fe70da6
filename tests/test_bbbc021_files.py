"""The files of a BBBC021 plate: where they may lie, and every way they can be wrong."""

import errno
import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bbbc021_layout import FIELD_SHAPE, MADE_PLATE, made_plate, made_rows, made_source, rewrite_zip, tiff_bytes, window
from PIL import Image

from morphobench.datasets import bbbc021
from morphobench.errors import BadInput

PREFIX = f"{MADE_PLATE}/"
FLAGS, METHOD, SIZE = (8, "<H"), (10, "<H"), (24, "<I")
"""Offset and format of fields of a member's record in the directory of a zip."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_plate(tmp_path / "made", made_rows(), made_source())


def replace(folder: Path, name: str, data: bytes | None) -> None:
    def edit(members: dict[str, bytes]) -> None:
        members.pop(PREFIX + name)
        if data is not None:
            members[PREFIX + name] = data

    rewrite_zip(folder, edit)


def patch(path: Path, name: str, where: tuple[int, str], value: int) -> None:
    """Overwrite one number in the record that the zip's directory keeps of a member."""
    data = bytearray(path.read_bytes())
    record = data.rindex((PREFIX + name).encode()) - 46
    assert data[record : record + 4] == b"PK\1\2"
    struct.pack_into(where[1], data, record + where[0], value)
    path.write_bytes(bytes(data))


def crops(folder: Path) -> np.ndarray:
    return bbbc021.read_plate(folder, bbbc021.read_image_table(folder)).crops


def saved(pixels: np.ndarray, **how: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **how)
    return stream.getvalue()


def test_zip_and_unpacked_folder_give_the_same_plate(folder):
    zipped = crops(folder)
    path = folder / f"BBBC021_v1_images_{MADE_PLATE}.zip"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "Week1")
    path.unlink()
    assert bbbc021.plates_on_disk(folder, bbbc021.read_image_table(folder)) == [MADE_PLATE]
    np.testing.assert_array_equal(crops(folder), zipped)
    expected = window(made_source(), f"{PREFIX}G10_s1_w1A.tif")[:, 256:768, 384:896]
    np.testing.assert_array_equal(zipped[0], np.moveaxis(expected[::-1], 0, -1))


def test_order_case_and_what_packers_add_do_not_matter(folder):
    before = crops(folder)

    def edit(members: dict[str, bytes]) -> None:
        shuffled = {name.replace(".tif", ".TIF"): members[name] for name in reversed(list(members))}
        members.clear()
        members |= {f"__MACOSX/{PREFIX}._{Path(name).name}": b"resource fork" for name in shuffled}
        members |= {f"{PREFIX}{name}": b"" for name in (".DS_Store", "Thumbs.db", "._G10_s1_w1A.tif", "@eaDir/x", "")}
        members |= shuffled

    rewrite_zip(folder, edit)
    bbbc021.check_files(folder, bbbc021.read_image_table(folder))
    np.testing.assert_array_equal(crops(folder), before)


def saved_by_pillow(pixels: np.ndarray, compression: str | None, predictor: int = 1) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", compression=compression, tiffinfo={317: predictor})
    return stream.getvalue()


@pytest.mark.parametrize(
    "save",
    [
        *(partial(saved, **how) for how in ({"byteorder": ">"}, {"compression": "zlib"}, {"rowsperstrip": 7})),
        *(partial(saved, tile=(128, 128), **how) for how in ({}, {"byteorder": ">", "compression": "zlib"})),
        partial(saved, bigtiff=True, compression="zlib", predictor=2),
        *(
            partial(saved_by_pillow, compression=packing, predictor=predictor)
            for packing in ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", None)
            for predictor in (1, 2)
        ),
    ],
    ids=[
        "big-endian", "deflate", "strips", "tiles", "big-endian tiles, deflate", "BigTIFF, predictor", "LZW",
        "LZW, predictor", "deflate by Adobe", "deflate by Adobe, predictor", "old deflate", "old deflate, predictor",
        "PackBits", "PackBits, predictor", "bare", "bare, predictor",
    ],
)  # fmt: skip
def test_any_lossless_form_of_a_field_gives_its_pixels(folder, save):
    """ImageJ and Windows write LZW; a predictor (tag 317) has a meaning for LZW and deflate only (TIFF 6.0, 14)."""
    before = crops(folder)
    field = window(made_source(), f"{PREFIX}G10_s1_w1A.tif")[0]
    replace(folder, "G10_s1_w1A.tif", save(field))
    np.testing.assert_array_equal(crops(folder), before)


PIXELS = np.random.default_rng(3).integers(0, 4000, FIELD_SHAPE, dtype=np.uint16)
FIELD = tiff_bytes(PIXELS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "is not there"),
        (b"", "is empty"),
        (b"II*\0 not a tiff", "is damaged"),
        (b"II*\0\0\0\0\0", "is damaged"),
        (b"<html>", "is damaged"),
        (FIELD[:100_000], "is damaged"),
        (FIELD[:-1], "is damaged"),
        (saved(PIXELS, compression="zlib")[:1_000_000], "is damaged"),
        (saved_by_pillow(PIXELS, "tiff_lzw")[:1_000_000], "is damaged"),
        (saved(PIXELS, compression="lzma"), "compressed by TIFF method LZMA, which is not read: save it without"),
        (tiff_bytes((PIXELS // 16).astype(np.uint8)), "holds uint8 pixels"),
        (tiff_bytes(PIXELS[:512, :640]), r"\(512, 640\)"),
        (tiff_bytes(PIXELS.T), r"\(1280, 1024\)"),
        (tiff_bytes(PIXELS.astype(np.float32)), "holds float32 pixels"),
        (saved(np.stack([PIXELS] * 2), photometric="minisblack"), "holds 2 images, not one"),
        (saved(np.stack([PIXELS] * 3, axis=-1), photometric="rgb"), r"\(1024, 1280, 3\)"),
        (saved(np.stack([PIXELS] * 3), photometric="rgb", planarconfig="separate"), r"\(3, 1024, 1280\)"),
        (FIELD + bytes(17 << 20), r"is 20,\d+,\d+ bytes; a field has 2,621,440"),
    ],
    ids=[
        "missing", "empty", "no image", "no directory", "HTML", "cut short", "a byte short", "compressed, cut short",
        "LZW, cut short", "LZMA", "8 bit", "small", "turned", "float", "two pages", "RGB", "RGB planes", "large",
    ],
)  # fmt: skip
@pytest.mark.parametrize("unpacked", [False, True], ids=["zip", "folder"])
def test_a_bad_file_is_named_with_its_line(folder, data, message, unpacked):
    replace(folder, "G10_s2_w2A.tif", data)
    fields = bbbc021.read_image_table(folder)
    where = f"BBBC021_v1_images_{MADE_PLATE}.zip"
    if unpacked:
        with zipfile.ZipFile(folder / where) as archive:
            archive.extractall(folder)
        (folder / where).unlink()
        where = MADE_PLATE
    with pytest.raises(BadInput, match=rf"{where}: G10_s2_w2A.tif \(image table line 3\) .*{message}.*; ") as caught:
        bbbc021.read_plate(folder, fields)
    assert "\n" not in str(caught.value)


def test_the_same_pixels_under_two_stains_are_refused(folder):
    replace(folder, "G10_s2_w2A.tif", tiff_bytes(window(made_source(), f"{PREFIX}G10_s2_w1A.tif")[0]))
    message = r"zip: G10_s2_w1A.tif \(image table line 3\) has the pixels of G10_s2_w2A.tif, another stain; "
    with pytest.raises(BadInput, match=message):
        bbbc021.read_plate(folder, bbbc021.read_image_table(folder))


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (FLAGS, 1, "is encrypted; pack it without a password"),
        (METHOD, 9, "is packed by zip method 9, not deflate"),
        (SIZE, 0x7FFFFFFF, "is 2,147,483,647 bytes; a field has 2,621,440"),
        (SIZE, 0, "is empty"),
    ],
    ids=["encrypted", "Deflate64", "declared far too large", "declared empty"],
)
def test_what_the_directory_of_a_zip_says_is_checked_before_any_pixel_is_read(folder, where, value, message):
    patch(folder / f"BBBC021_v1_images_{MADE_PLATE}.zip", "G10_s1_w4A.tif", where, value)
    for read in (bbbc021.check_files, bbbc021.read_plate):
        with pytest.raises(BadInput, match=rf"zip: G10_s1_w4A.tif \(image table line 2\) {message}"):
            read(folder, bbbc021.read_image_table(folder))


def test_a_file_that_is_absent_or_there_twice_is_found_before_any_pixel_is_read(folder):
    replace(folder, "G10_s1_w4A.tif", None)
    fields = bbbc021.read_image_table(folder)
    with pytest.raises(BadInput, match=r"G10_s1_w4A.tif \(image table line 2\) is not there"):
        bbbc021.check_files(folder, fields)
    path = rewrite_zip(folder, lambda members: members.update({f"{PREFIX}G10_s1_w4a.TIF": FIELD}))
    bbbc021.check_files(folder, fields)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{PREFIX}G10_s1_w4A.tif", FIELD)
    with pytest.raises(BadInput, match=r"G10_s1_w4A.tif \(image table line 2\) is there 2 times"):
        bbbc021.check_files(folder, fields)


def test_a_bomb_that_lies_about_its_size_takes_no_memory(folder):
    name = "G10_s1_w4A.tif"
    replace(folder, name, None)
    path = folder / f"BBBC021_v1_images_{MADE_PLATE}.zip"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PREFIX + name, bytes(100 << 20))
    patch(path, name, SIZE, len(FIELD))
    fields = bbbc021.read_image_table(folder)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=rf"{name} \(image table line 2\) is damaged"):
            bbbc021.read_plate(folder, fields)
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["../G10_s1_w1A.tif", f"{PREFIX}../../x.tif", "/etc/x.tif", "..\\x.tif"])
def test_a_path_that_leads_out_of_a_zip_is_refused(folder, name):
    rewrite_zip(folder, lambda members: members.update({name: FIELD}))
    for read in (bbbc021.check_files, bbbc021.read_plate):
        with pytest.raises(BadInput, match=rf"{MADE_PLATE}.zip: '.*' leads out of the zip"):
            read(folder, bbbc021.read_image_table(folder))


def test_the_zip_of_another_plate_is_refused(folder):
    def edit(members: dict[str, bytes]) -> None:
        for name in list(members):
            members[name.replace(MADE_PLATE, "Week1_22124")] = members.pop(name)

    rewrite_zip(folder, edit)
    with pytest.raises(BadInput, match=rf"{MADE_PLATE}.zip: holds no file in a folder {MADE_PLATE}/"):
        bbbc021.check_files(folder, bbbc021.read_image_table(folder))


def test_a_flipped_byte_in_a_zip_is_found(folder):
    path = folder / f"BBBC021_v1_images_{MADE_PLATE}.zip"
    data = bytearray(path.read_bytes())
    data[1_000_000] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match=r"G10_s1_w1A.tif \(image table line 2\) is damaged"):
        bbbc021.read_plate(folder, bbbc021.read_image_table(folder))


def test_a_zip_cut_short_and_an_absent_plate_are_named(folder):
    fields = bbbc021.read_image_table(folder)
    path = folder / f"BBBC021_v1_images_{MADE_PLATE}.zip"
    whole = path.read_bytes()
    for part in (whole[:-1], whole[:-1000], whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(part)
        with pytest.raises(BadInput, match=rf"{MADE_PLATE}.zip: not a zip, or cut short"):
            bbbc021.check_files(folder, fields)
    path.unlink()
    with pytest.raises(BadInput, match=rf"{MADE_PLATE}.zip: not there"):
        bbbc021.read_plate(folder, fields)


def test_a_strip_that_inflates_to_gigabytes_takes_no_memory(folder):
    """16 MB of deflate hold 16 GB; libtiff stops at the size of a strip, whatever its data hold."""
    field, bomb = bytearray(saved(PIXELS, compression="zlib", rowsperstrip=1024)), zlib.compress(bytes(256 << 20))
    with tifffile.TiffFile(io.BytesIO(bytes(field))) as tiff:
        tags = tiff.pages.first.tags
        for tag, value in (("StripOffsets", len(field)), ("StripByteCounts", len(bomb))):
            assert tags[tag].count == 1
            struct.pack_into("<I", field, tags[tag].offset + 8, value)  # the value itself, in a record of 12 bytes
    replace(folder, "G10_s2_w2A.tif", bytes(field) + bomb)
    fields = bbbc021.read_image_table(folder)
    with bbbc021.files.open_plate(folder, MADE_PLATE, fields["path"].iloc[0]) as files:
        tracemalloc.start()
        try:
            assert not files.read("G10_s2_w2A.tif", 3).any()
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()


def test_a_file_that_may_not_be_read_is_not_called_damaged(folder, monkeypatch):
    path = folder / f"BBBC021_v1_images_{MADE_PLATE}.zip"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    path.unlink()

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BadInput, match=r"G10_.* \(image table line \d+\) may not be read; give yourself the right"):
        crops(folder)
