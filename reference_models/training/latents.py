"""Images encoded once, in all their views, so that no step of a latent model has to encode one.

The latents lie in the cache folder, one file per view, found by what they were made from: the images, the autoencoder
and the view. They are written as they are made and read through memory maps, so that memory does not grow with their
number; models that use the same autoencoder share them.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from morphobench.datasets.tier import ImageSet
from morphobench.errors import Unavailable
from morphobench.storage import LOCKS, atomic_path, cache_dir, lock, neighbour, sha256_text
from reference_models.core.pixels import VIEWS, dihedral, to_tensor

FOLDER = "latents"
FORMAT = "1"
"""Part of the key: raised when what is written for the same images changes."""
BATCH = 64
"""Images that are read at once."""
PIXELS = 64 * 128 * 128
"""Of the images that are encoded at once: 64 of `sim`, 4 at the paper's size, where each takes gigabytes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedLatents:
    """Latents float16 (N, 8, C, S, S) on disk, given out on a device: `latents[rows, views]` is (B, C, S, S).

    views: a memory map (N, C, S, S) for each of the eight views.
    """

    views: tuple[np.ndarray, ...]
    device: torch.device

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 8, C, S, S)."""
        images, *sizes = self.views[0].shape
        return (images, len(self.views), *sizes)

    def __getitem__(self, place: tuple[Tensor, Tensor]) -> Tensor:
        rows, views = (part.tolist() for part in place)
        taken = np.stack([self.views[view][row] for row, view in zip(rows, views, strict=True)])
        return torch.from_numpy(taken).to(self.device)


def cached_latents(
    images: ImageSet, encode: Callable[[Tensor], Tensor], autoencoder: str, device: torch.device
) -> CachedLatents:
    """The latents of images in all eight views, encoded on `device` where they are not in the cache yet.

    encode: (B, 3, H, W) in [-1, 1] on `device` -> (B, C, S, S). autoencoder: hash of what encodes.
    What is there is read without a lock, so that a cache that holds everything needs no right to write to it.
    Unavailable where the disk is full.
    """
    paths = [_place(images, autoencoder, view) for view in range(VIEWS)]
    opened = [_opened(path, len(images)) for path in paths]
    if any(view is None for view in opened):
        with lock(paths[0]):  # of several processes the first encodes, the others find what it made
            missing = {view: path for view, path in enumerate(paths) if _opened(path, len(images)) is None}
            if missing:
                _remove_halves(paths)
                _encode(images, encode, missing, device)
        opened = [_opened(path, len(images)) for path in paths]
    views = tuple(view for view in opened if view is not None)
    if len(views) < VIEWS:
        raise Unavailable(f"{paths[0].parent}: latents are removed while they are read; train again")
    return CachedLatents(views, device)


def size_on_disk(images: int, latent: Sequence[int]) -> int:
    """Bytes that the eight views of so many images take, for latents of the sizes (C, S, S), headers apart."""
    return images * VIEWS * int(np.prod(latent)) * np.dtype(np.float16).itemsize


def _place(images: ImageSet, autoencoder: str, view: int) -> Path:
    return cache_dir() / FOLDER / f"{sha256_text(FORMAT, images.digest(), autoencoder, str(view))}.npy"


def _opened(path: Path, images: int) -> np.ndarray | None:
    """A memory map of a file; None where it is not there or cut short."""
    if not path.is_file():
        return None
    try:
        found = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        log.warning("%s: cut short (%s); made again", path, error)
        return None
    return found if found.shape[0] == images and found.dtype == np.float16 else None


def _remove_halves(paths: Sequence[Path]) -> None:
    """Remove what a killed process left half written. The lock is held, so that nobody is writing them now."""
    for path in paths:
        for half in path.parent.glob(f"{neighbour(path, '.').name}*"):
            if half.suffix not in LOCKS:
                half.unlink()


@torch.no_grad()
def _encode(
    images: ImageSet, encode: Callable[[Tensor], Tensor], missing: dict[int, Path], device: torch.device
) -> None:
    """Read each image once and append its views to their files; each is whole or absent."""
    with contextlib.ExitStack() as stack:
        files = {
            view: stack.enter_context(stack.enter_context(atomic_path(path)).open("wb"))
            for view, path in missing.items()
        }
        parts, console = math.ceil(len(images) / BATCH), Console(stderr=True)
        silent = not console.is_terminal
        batches = track(images.batches(BATCH), "latents", parts, console=console, transient=True, disable=silent)
        for number, batch in enumerate(batches):
            pixels = to_tensor(batch, device).split(max(1, PIXELS // math.prod(batch.shape[1:3])))
            for view, file in files.items():
                encoded = [encode(dihedral(part, view)).half().cpu() for part in pixels]
                latents = torch.cat(encoded).numpy()
                if number == 0:
                    _write_header(file, (len(images), *latents.shape[1:]))
                # Appended, not written through a map: on a full disk a write fails, a map ends the process.
                file.write(latents.tobytes())


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
