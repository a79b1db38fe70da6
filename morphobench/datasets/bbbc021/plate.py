"""The pixels of one BBBC021 plate: read by threads, corrected for illumination, scaled to 8 bit, encoded as PNG.

zlib, PNG and numpy let go of the interpreter while they work, so threads use every core. Memory is that of one plate,
whatever the number of plates.
"""

from __future__ import annotations

import io
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import median_filter, zoom

from morphobench import storage
from morphobench.datasets.bbbc021.files import AGAIN, FIELD_SHAPE, PlateFiles, open_plate
from morphobench.datasets.bbbc021.tables import CHANNELS, FILE_COLUMNS, VEHICLE
from morphobench.errors import BadInput
from morphobench.provenance import usable_cores

CROP = 512
PERCENTILES = (0.1, 99.9)
SMOOTHING_BLOCK = 32  # pixels averaged into one before the median
SMOOTHING_WINDOW = 15  # blocks: 480 pixels
MAX_THREADS = 16
"""More would wait for the disk."""


@dataclass(frozen=True)
class Plate:
    """The fields of one plate, ready to be turned into 8-bit crops.

    crops: uint16 (N, 512, 512, 3), red, green, blue = actin, tubulin, DNA, in the order of the fields.
    illumination: float32 (512, 512, 3), what each crop is divided by.
    low, high: float32 (3,), the corrected intensities that become 0 and 255.
    """

    crops: np.ndarray
    illumination: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def image(self, row: int) -> np.ndarray:
        """uint8 (512, 512, 3): one corrected field."""
        image = np.empty((CROP, CROP, 3), np.uint8)
        for channel in range(3):  # one after the other: half a megabyte stays in the cache
            scaled = self.crops[row, ..., channel] / self.illumination[..., channel]
            scaled -= self.low[channel]
            scaled /= self.high[channel] - self.low[channel]
            scaled *= 255
            image[..., channel] = np.rint(scaled, out=scaled).clip(0, 255, out=scaled)
        return image


def read_plate(folder: Path, fields: pd.DataFrame, further: pd.DataFrame | None = None) -> Plate:
    """Read the fields of one plate, each file once; 1.5 MB per field of this one plate stay in memory.

    further: further fields of the plate, which count towards its mean field and are not kept. Given all of the plate,
    the images of a field are the same whichever other fields are wanted.

    Raises BadInput that names the file and the table's line for a file that `check_files` refuses, a damaged TIFF, one
    that is not a single 16-bit grey image of 1024 x 1280, and a field with the same pixels under two stains; and that
    names the plate where it has no vehicle fields, 8-bit values or a channel without contrast.
    """
    plate = str(fields["plate"].iloc[0])
    vehicle = (fields["compound"] == VEHICLE).to_numpy()
    if not vehicle.any():
        raise BadInput(
            f"plate {plate}: no {VEHICLE} field in the image table to set its contrast by; leave the plate out"
        )
    threads = _threads()
    planes = np.empty((3, len(fields), CROP, CROP), np.uint16)  # by channel: every step works on one at a time
    with (
        open_plate(folder, plate, fields["path"].iloc[0], threads) as files,
        ThreadPoolExecutor(threads) as pool,
    ):
        everything = fields if further is None else pd.concat([fields, further], ignore_index=True)
        blocks = _read_fields(files, everything, planes, pool) / (len(everything) * SMOOTHING_BLOCK**2)
        where = files.where
        illumination = np.empty((3, CROP, CROP), np.float32)
        for channel, (name, _, _) in enumerate(CHANNELS):
            if not blocks[channel].any():
                raise BadInput(f"{where}: the {name} channel is black in every field; {AGAIN}")
            illumination[channel] = _central(_shading(blocks[channel]))
        if planes.max() < 256:
            raise BadInput(
                f"{where}: plate {plate} has no value above {planes.max()}: 8-bit values in 16-bit files; give the "
                "files as BBBC021 ships them"
            )
        limits = pool.map(_contrast, planes[:, vehicle], illumination)
        low, high = np.array(list(limits), np.float32).T
    for channel, (name, _, _) in enumerate(CHANNELS):
        if not high[channel] > low[channel]:
            raise BadInput(f"{where}: the {name} channel of the {VEHICLE} fields is flat; {AGAIN}")
    return Plate(np.moveaxis(planes, 0, -1), np.moveaxis(illumination, 0, -1), low, high)


def encode(plate: Plate) -> Iterator[tuple[bytes, str]]:
    """For each field in order: its 8-bit RGB image as the bytes of a PNG file, and the SHA-256 of its 16-bit crop.

    Threads work a few fields ahead of what is taken.
    """

    def one(row: int) -> tuple[bytes, str]:
        stream = io.BytesIO()
        # run lengths alone: on noise smaller than deflate's search for repeats, and faster
        Image.fromarray(plate.image(row)).save(stream, "PNG", compress_type=zlib.Z_RLE)
        return stream.getvalue(), storage.sha256_bytes(plate.crops[row].tobytes())

    threads = _threads()
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[tuple[bytes, str]]] = deque()
        for row in range(len(plate.crops)):
            ahead.append(pool.submit(one, row))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def illumination_function(mean: np.ndarray) -> np.ndarray:
    """Smooth multiplicative shading of a mean field: float32 (H, W) with mean 1, never under 0.05.

    mean: float (H, W), not all zero; H and W multiples of 32.
    """
    height, width = (size // SMOOTHING_BLOCK for size in mean.shape)
    return _shading(mean.reshape(height, SMOOTHING_BLOCK, width, SMOOTHING_BLOCK).mean(axis=(1, 3)))


def _shading(blocks: np.ndarray) -> np.ndarray:
    smooth = median_filter(blocks, SMOOTHING_WINDOW, mode="nearest")
    shading = zoom(smooth, SMOOTHING_BLOCK, order=1, mode="nearest", grid_mode=True)
    return np.maximum(shading / shading.mean(), 0.05).astype(np.float32)


def _read_fields(files: PlateFiles, fields: pd.DataFrame, planes: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
    """Fill `planes` with crops of the first fields; return the sums of all in blocks of 32 x 32, uint64 (3, 32, 40).

    The illumination function needs the mean field in such blocks only, and sums of integers are exact in any order.
    """
    lines = fields["line"].tolist()
    wanted = [
        (channel, position, name)
        for channel, column in enumerate(FILE_COLUMNS)
        for position, name in enumerate(fields[column])
    ]
    wanted.sort(key=lambda file: files.place(file[2], lines[file[1]]))  # a disk reads on faster than it seeks

    def one(file: tuple[int, int, str]) -> tuple[int, np.ndarray]:
        channel, position, name = file
        field = files.read(name, lines[position])
        if position < planes.shape[1]:
            planes[channel, position] = _central(field)
        return channel, _block_sums(field)

    total = np.zeros((3, *(size // SMOOTHING_BLOCK for size in FIELD_SHAPE)), np.uint64)
    for channel, sums in pool.map(one, wanted):
        total[channel] += sums
    for position, line in enumerate(lines[: planes.shape[1]]):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            if np.array_equal(planes[a, position], planes[b, position]):
                names = [fields[FILE_COLUMNS[channel]].iloc[position] for channel in (a, b)]
                mend = f"{AGAIN}, or take the line out of the table"
                raise files.bad(names[1], line, f"has the pixels of {names[0]}, another stain", mend)
    return total


def _block_sums(field: np.ndarray) -> np.ndarray:
    height, width = (size // SMOOTHING_BLOCK for size in FIELD_SHAPE)
    columns = field.reshape(height, SMOOTHING_BLOCK, -1).sum(axis=1, dtype=np.uint32)
    return columns.reshape(height, width, SMOOTHING_BLOCK).sum(axis=2)


def _contrast(crops: np.ndarray, illumination: np.ndarray) -> np.ndarray:
    """The two percentiles of corrected crops (V, 512, 512) of one channel."""
    return np.percentile(crops / illumination, PERCENTILES, overwrite_input=True)


def _central(field: np.ndarray) -> np.ndarray:
    top, left = ((size - CROP) // 2 for size in FIELD_SHAPE)
    return field[top : top + CROP, left : left + CROP]


def _threads() -> int:
    return min(MAX_THREADS, usable_cores())
