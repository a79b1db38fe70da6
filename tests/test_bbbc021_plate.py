"""The pixels of a BBBC021 plate: against a plain float64 computation, known shading, known contrast."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bbbc021_layout import FIELD_SHAPE, MADE_PLATE, made_plate, made_rows, made_source, rewrite_zip, tiff_bytes
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter, zoom

from morphobench.datasets import bbbc021
from morphobench.datasets.bbbc021 import plate as plate_module
from morphobench.errors import BadInput

NAMES = ("w4", "w2", "w1")  # actin, tubulin, DNA
INNER = (slice(256, 768), slice(384, 896))


def read(folder: Path) -> bbbc021.Plate:
    return bbbc021.read_plate(folder, bbbc021.read_image_table(folder))


def lay_out_fields(folder: Path, fields: np.ndarray, rows: pd.DataFrame) -> Path:
    """Write uint16 `fields` (N, 3, 1024, 1280), actin, tubulin, DNA, as a plate."""
    folder = made_plate(folder, rows, made_source())

    def edit(members: dict[str, bytes]) -> None:
        for number, field in enumerate(fields, start=1):
            for name, pixels in zip(NAMES, field, strict=True):
                members[f"{MADE_PLATE}/G10_s{number}_{name}A.tif"] = tiff_bytes(pixels)

    rewrite_zip(folder, edit)
    return folder


def cells(n: int, seed: int) -> Iterator[np.ndarray]:
    """Float (1024, 1280) fields: even background and blobs of about a nucleus' size, everywhere alike."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        coarse = gaussian_filter(random.standard_normal((128, 160)), 1.5, mode="wrap")
        yield 400 + 800 * np.kron(np.clip(coarse / coarse.std(), 0, None), np.ones((8, 8)))


def lights() -> np.ndarray:
    """(3, 1024, 1280): a lamp off centre, a tilt, a saddle, that change over the crop by 35, 44 and 12 %."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in FIELD_SHAPE), indexing="ij")
    return np.stack([1 - 0.5 * (x - 0.3) ** 2 - 0.3 * y**2, 1 - 0.3 * x - 0.2 * y, 1 + 0.3 * x * y])


def error(light: np.ndarray, found: np.ndarray) -> float:
    """Largest relative error of a found illumination over the crop, whatever its scale."""
    ratio = light[INNER] / found
    return float(np.abs(ratio / ratio.mean() - 1).max())


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.stack(list(cells(18, seed=1))).reshape(6, 3, *FIELD_SHAPE)


def plain(fields: np.ndarray, vehicle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """illumination (3, 512, 512), limits (3, 2) and 8-bit images (N, 512, 512, 3), all in float64 and in one go."""
    mean = fields.astype(np.float64).mean(axis=0)
    shading = np.empty((3, 512, 512))
    for channel in range(3):
        blocks = mean[channel].reshape(32, 32, 40, 32).mean(axis=(1, 3))
        smooth = zoom(median_filter(blocks, 15, mode="nearest"), 32, order=1, mode="nearest", grid_mode=True)
        shading[channel] = (smooth / smooth.mean())[INNER]
    corrected = fields[:, :, *INNER] / shading
    limits = np.stack([np.percentile(corrected[vehicle, channel], (0.1, 99.9)) for channel in range(3)])
    scaled = (corrected - limits[:, 0, None, None]) / (limits[:, 1] - limits[:, 0])[:, None, None]
    return shading, limits, np.moveaxis(np.rint(np.clip(scaled, 0, 1) * 255), 1, -1)


def test_a_plate_is_what_plain_float64_gives(tmp_path, truth):
    fields = np.rint(truth[:5]).astype(np.uint16)
    fields += np.random.default_rng(2).integers(0, 50, fields.shape, dtype=np.uint16)
    fields[3] //= 2  # a treated field that is dim
    rows = made_rows(len(fields))
    rows.loc[:, "Image_Metadata_Compound"] = ["DMSO", *["taxol"] * (len(fields) - 1)]  # one vehicle field alone
    plate = read(lay_out_fields(tmp_path / "made", fields, rows))
    shading, limits, images = plain(fields, np.arange(len(fields)) == 0)
    np.testing.assert_array_equal(plate.crops, np.moveaxis(fields[:, :, *INNER], 1, -1))
    np.testing.assert_allclose(np.moveaxis(plate.illumination, -1, 0), shading, rtol=1e-6)
    np.testing.assert_allclose(np.stack([plate.low, plate.high], axis=1), limits, rtol=1e-6)
    for row, image in enumerate(images):
        difference = np.abs(plate.image(row) - image)
        assert difference.max() <= 1  # levels
        assert difference.mean() < 1e-4
    assert images[3].mean() < 0.5 * images[0].mean()


def test_known_illumination_is_undone(tmp_path, truth):
    """Truth x illumination gives truth back within 7 % everywhere in the crop, from six fields alone."""
    fields = np.rint(truth * lights()).astype(np.uint16)
    plate = read(lay_out_fields(tmp_path / "made", fields, made_rows(len(fields))))
    for channel, light in enumerate(lights()):
        assert error(light, plate.illumination[..., channel]) < 0.07
    flat = np.ones((512, 512))
    assert [error(light, flat) for light in lights()] > [0.07] * 3  # what is there without a correction


def test_a_whole_plate_gives_its_illumination_within_4_percent():
    mean = sum(cells(240, seed=3)) / 240
    for light in lights():
        assert error(light, bbbc021.illumination_function(mean * light)[INNER]) < 0.04
        assert error(light, bbbc021.illumination_function(1000 * light)[INNER]) < 0.015  # the filter's own share


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    folder = made_plate(tmp_path / "made", made_rows(4), made_source())
    found = []
    for threads in (1, 7):
        monkeypatch.setattr(plate_module, "_threads", lambda threads=threads: threads)
        plate = read(folder)
        found.append((plate, list(bbbc021.encode(plate))))
    (one, encoded), (many, again) = found
    assert encoded == again
    for name in ("crops", "illumination", "low", "high"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


def test_8_bit_values_in_16_bit_files_are_refused(tmp_path):
    folder = made_plate(tmp_path / "made", made_rows(), made_source() >> 4)
    with pytest.raises(BadInput, match=r"plate Week1_22123 has no value above 249: 8-bit values in 16-bit files"):
        read(folder)


def test_encoded_fields_are_png_files_in_order(tmp_path):
    plate = read(made_plate(tmp_path / "made", made_rows(6), made_source()))
    encoded = list(bbbc021.encode(plate))
    assert len(encoded) == 6
    for row, (png, digest) in enumerate(encoded):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), plate.image(row))
        assert digest == hashlib.sha256(plate.crops[row].tobytes()).hexdigest()
    assert len({digest for _, digest in encoded}) == 6


def test_contrast_comes_from_the_vehicle_wells_of_the_plate(tmp_path):
    fields = np.random.default_rng(5).integers(200, 4000, (2, 3, *FIELD_SHAPE), dtype=np.uint16)
    fields[1, 2] //= 2
    plate = read(lay_out_fields(tmp_path / "made", fields, made_rows()))
    vehicle, treated = plate.image(0)[..., 2].mean(), plate.image(1)[..., 2].mean()
    assert vehicle == pytest.approx(127.5, abs=3)  # uniform noise between the two percentiles
    assert treated == pytest.approx(127.5 / 2, abs=8)  # per-image scaling would have hidden this


def test_a_plate_gain_cancels(tmp_path):
    images = [
        read(made_plate(tmp_path / str(gain), made_rows(), gain * made_source())).image(0).astype(int)
        for gain in (1, 3)
    ]
    assert np.abs(images[0] - images[1]).max() <= 1


def test_a_black_channel_and_a_plate_without_vehicle_are_refused(tmp_path):
    fields = np.random.default_rng(5).integers(200, 4000, (2, 3, *FIELD_SHAPE), dtype=np.uint16)
    fields[:, 2] = 0
    folder = lay_out_fields(tmp_path / "black", fields, made_rows())
    table = bbbc021.read_image_table(folder)
    with pytest.raises(BadInput, match=f"plate {MADE_PLATE}: no DMSO field"):
        bbbc021.read_plate(folder, table[table["compound"] != "DMSO"])
    with pytest.raises(BadInput, match="the dna channel is black"):
        bbbc021.read_plate(folder, table)
    fields[:, 2] = 7
    fields[1, 2, 0, 0] = 8
    with pytest.raises(BadInput, match="the dna channel of the DMSO fields is flat"):
        read(lay_out_fields(tmp_path / "flat", fields, made_rows()))
