"""The images of one track of a submission: checked, hashed, and decoded once as far as memory is set aside for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from morphobench.errors import BadInput
from morphobench.ingest.archive import Source
from morphobench.ingest.images import decode_png
from morphobench.storage import sha256_bytes, sha256_text

KEPT_BYTES = 128 << 20
"""Most memory that the pixels of one track, or of one swap of it, are kept in. A track of `sim` takes 42 MB and is kept
whole; of more images the first ones are kept, and the others decoded again by each that reads them."""


def image_bytes(size: int) -> int:
    """Most bytes read of a PNG of `size` x `size`: twice its bare pixels, and room for what an editor adds."""
    return 2 * 3 * size**2 + (64 << 10)


@dataclass(frozen=True)
class SubmissionImages:
    """Images of one track, in condition order (an `ImageSet`).

    kept: pixels of the first ones, decoded when they were checked, see KEPT_BYTES. Each of the others is checked
    against its hash as it is read.
    """

    source: Source
    image_names: tuple[str, ...]
    hashes: tuple[str, ...]
    size: int
    kept: tuple[np.ndarray, ...] = field(default=(), repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """Hash of the images' hashes."""
        return sha256_text(*self.hashes)

    def __len__(self) -> int:
        return len(self.image_names)

    def digest(self) -> str:
        """Hash of every image's bytes, in condition order."""
        return self.sha256

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 (<= size, H, W, 3), in condition order."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (len(rows), H, W, 3)."""
        return np.stack([self.kept[row] if row < len(self.kept) else self._decode(row) for row in rows])

    def _decode(self, row: int) -> np.ndarray:
        where = f"{self.source.path}: {self.image_names[row]}"
        data = self.source.read(self.image_names[row], image_bytes(self.size))
        if sha256_bytes(data) != self.hashes[row]:
            raise BadInput(f"{where}: changed since it was checked; leave the submission alone while it is scored")
        return decode_png(data, where, self.size)


def check_images(source: Source, names: tuple[str, ...], size: int) -> SubmissionImages:
    """Decode every image once; BadInput names the first that is no 8-bit RGB PNG of `size` x `size`."""
    room = KEPT_BYTES // (3 * size**2)

    def check(row: int) -> tuple[str, np.ndarray | None]:
        data = source.read(names[row], image_bytes(size))
        pixels = decode_png(data, f"{source.path}: {names[row]}", size)
        return sha256_bytes(data), pixels if row < room else None

    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(check, range(len(names))))
    kept = tuple(pixels for _, pixels in checked if pixels is not None)
    return SubmissionImages(source, names, tuple(digest for digest, _ in checked), size, kept)
