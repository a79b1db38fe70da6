"""Features and other measurements, computed once: found again by the hash of what they were computed from.

A cache file is a .npz of arrays, named by a key that covers everything the arrays depend on. One that is cut short is
logged and made again. What ships with a tier goes before the cache, see `shipped`.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from morphobench.datasets.tier import ImageSet
from morphobench.features.extractor import Extractor, Features
from morphobench.features.shipped import Arrays, read_arrays, write_arrays
from morphobench.storage import atomic_path, lock, sha256_text

SHIPPED_FORMAT = "morphobench-features-1"
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises for a .npz that is cut short or something else."""

log = logging.getLogger(__name__)


def extract(
    images: ImageSet,
    extractor: Extractor,
    cache: Path,
    batch_size: int = 32,
    shipped: Path | None = None,
    label: str = "",
) -> Features:
    """Features of all images, in order: shipped ones where they fit, else cached ones, else computed now.

    images: N images; only one batch is in memory at a time.
    cache: folder of cache files.
    shipped: a file of `write_shipped`; used only if it was made from these images by this extractor.
    label: what the progress bar on stderr calls the images.

    Returns embedding (N, D) float32 and, where the network classifies, probabilities (N, K) float32.
    Raises ValueError for no images, BadInput for a damaged `shipped` file.
    """
    if len(images) == 0:
        raise ValueError(f"no images to extract {extractor.name} features from")
    origin = features_origin(images.digest(), extractor)
    key = sha256_text("features", *(value for name, value in origin.items() if name != "format"))
    arrays = measured(
        origin, key, cache, shipped, lambda: _compute(images, extractor, batch_size, label or extractor.name)
    )
    return _features(arrays)


def measured(
    origin: Mapping[str, str], key: str, cache: Path, shipped: Path | None, compute: Callable[[], Arrays]
) -> Arrays:
    """Arrays by name: shipped ones that were made from `origin`, else cached ones under the key, else computed now.

    shipped: a file of `shipped.write_arrays`. key, cache, compute: see `cached_array`. Raises BadInput for a damaged
    `shipped` file, and what `compute` raises.
    """
    stored = None if shipped is None else read_arrays(shipped, origin)
    return cached_array(key, cache, compute) if stored is None else stored


def cached_array(key: str, cache: Path, compute: Callable[[], Arrays]) -> Arrays:
    """Arrays by name under a key: read from the folder `cache`, or computed and kept there.

    key: covers everything that `compute` depends on (hashes of the input, versions of the code).
    Two processes that want one key compute it once. What is there is read without a lock, so that a cache that holds
    everything needs no right to write to it. Raises ValueError for arrays of Python objects, and what `compute`
    raises; nothing is written then.
    """
    path = cache / f"{sha256_text(key)}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    with lock(path):
        arrays = _read(path)
        if arrays is None:
            arrays = compute()
            for name, array in arrays.items():
                if array.dtype.hasobject:
                    raise ValueError(f"{name}: an array of Python objects cannot be cached, {array.dtype=}")
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
        return arrays


def write_shipped(path: Path, features: Features, images_digest: str, extractor: Extractor, half: bool = False) -> None:
    """Write features for shipping with a tier, with what they were computed from.

    half: keep 16 bits of each number (relative error 5e-4), for size.
    """
    dtype = np.float16 if half else np.float32
    arrays = {"embedding": features.embedding.astype(dtype)}
    if features.probabilities is not None:
        arrays["probabilities"] = features.probabilities.astype(dtype)
    write_arrays(path, arrays, features_origin(images_digest, extractor))


def _features(arrays: Arrays) -> Features:
    whole = {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}
    return Features(whole["embedding"], whole.get("probabilities"))


def features_origin(images_digest: str, extractor: Extractor) -> dict[str, str]:
    """What a shipped file of features must say that it was computed from."""
    return {
        "format": SHIPPED_FORMAT,
        "images": images_digest,
        "extractor": extractor.name,
        "weights": extractor.weights_sha256,
        "preprocessing": extractor.preprocessing,
    }


def _read(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        log.warning("%s: unreadable (%s); computing it again", path, error)
        return None


def _compute(images: ImageSet, extractor: Extractor, batch_size: int, label: str) -> Arrays:
    """Run the extractor batch by batch into arrays of their final size."""
    arrays: Arrays = {}
    done = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=len(images))
        for batch in images.batches(batch_size):
            features = extractor.extract(batch)
            for name, rows in (("embedding", features.embedding), ("probabilities", features.probabilities)):
                if rows is not None:
                    whole = arrays.setdefault(name, np.empty((len(images), rows.shape[1]), dtype=np.float32))
                    whole[done : done + len(rows)] = rows
            done += len(batch)
            progress.update(task, completed=done)
    if done != len(images):
        raise ValueError(f"the image set gave {done} images, {len(images)=}")
    return arrays
