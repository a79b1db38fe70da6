"""The sim tier: the frozen sample table joined to the simulator. Its images are rendered on first use and kept.

An image is a function of (tier version, sample id) and of its plate's culture and optics; a profile likewise. The cache
holds one file per (split, compound, plate), so that a few rows cost a few files and an interrupted rendering goes on
where it stopped.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress

from morphobench import storage
from morphobench.datasets.frozen import HERE, load_compounds, load_landmarks, read_table, verified
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.mechanisms import main_mechanism
from morphobench.datasets.simulate.well import well_of
from morphobench.datasets.tier import SPLITS, Tier, TierSpec, read_spec
from morphobench.errors import BadInput
from morphobench.provenance import usable_cores

RENDERER_VERSION = "2"
"""Raised whenever the simulator draws a different image for the same sample: part of every image digest."""
SPLIT_FILE = "splits/sim.csv.gz"
SPEC_FILE = "tiers/sim.toml"
SHARED_MEMORY = "/dev/shm" if sys.platform == "linux" else "shared memory"
"""What the locks that worker processes share are made in."""
SILENT_UP_TO = 64
"""Fewer images than this are rendered without a progress bar."""

log = logging.getLogger(__name__)


def load_sim(folder: Path = HERE) -> Tier:
    """The sim tier from its frozen files; BadInput names the one of which a byte changed.

    `compounds` has the manifest's columns and `mechanism`, the one that the simulator gives most weight, or "inactive".
    """
    spec = read_spec(verified(folder, SPEC_FILE))
    samples = read_table(folder, SPLIT_FILE)
    compounds = load_compounds(folder)
    compounds["mechanism"] = [main_mechanism(compound) for compound in compounds["compound"]]
    counts = samples["split"].value_counts()
    for split in SPLITS:
        actual, expected = counts.get(split, 0), spec.counts[split]
        if actual != expected:
            raise BadInput(
                f"{folder / SPLIT_FILE}: {actual} rows of {split}, {SPEC_FILE} says {expected}; restore both"
            )
    return Tier(
        spec=spec,
        folder=folder,
        split_sha256=storage.read_sums(folder)[SPLIT_FILE],
        compounds=compounds,
        samples=samples,
        genes=tuple(load_landmarks(folder)["symbol"]),
        read_images=lambda rows: SimImages(rows, samples, spec),
        read_expression=expression_reader(spec, samples),
    )


def expression_reader(spec: TierSpec, samples: pd.DataFrame) -> Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]:
    """A function rows -> (G_pre, G_post), each (N, 978) float32: mean of the plate's vehicle wells, and own well."""
    means: dict[str, np.ndarray] = {}

    def vehicle_mean(plate: str) -> np.ndarray:
        if plate not in means:
            wells = samples[(samples["split"] == "vehicle") & (samples["plate"] == plate)]
            means[plate] = expression.measured(spec.version, wells).mean(axis=0, dtype=np.float64).astype(np.float32)
        return means[plate]

    def read(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        g_post = expression.measured(spec.version, rows)
        g_pre = np.array([vehicle_mean(plate) for plate in rows["plate"]], dtype=np.float32)
        return g_pre.reshape(g_post.shape), g_post

    return read


@dataclass(frozen=True)
class Shard:
    """One cache file: the images of a compound on a plate, in the order of the sample table."""

    path: Path
    tier_version: str
    compound: str
    plate: str
    sample_ids: tuple[str, ...]
    doses: tuple[float, ...]
    size: int

    def write(self) -> int:
        """Render all images of the shard into its file; returns their number."""
        images = np.stack(
            [
                simulate_image(self.tier_version, sample_id, self.compound, dose, self.plate, self.size)
                for sample_id, dose in zip(self.sample_ids, self.doses, strict=True)
            ]
        )
        buffer = io.BytesIO()
        np.save(buffer, images)
        with storage.atomic_path(self.path) as temporary:
            # Not np.save onto the file: on a full disk it raises an error without the errno that says so.
            temporary.write_bytes(buffer.getbuffer())
        return len(images)

    def read(self) -> np.ndarray:
        """uint8 (n, size, size, 3), mapped and not read; BadInput if the file is not what was written."""
        try:
            images = np.load(self.path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise BadInput(f"{self.path}: not a whole image file ({error}); delete it and run again") from error
        if images.shape != (len(self.sample_ids), self.size, self.size, 3) or images.dtype != np.uint8:
            raise BadInput(f"{self.path}: holds {images.dtype} {images.shape}; delete it and run again")
        return images


def simulate_image(
    tier_version: str, sample_id: str, compound: str, dose_um: float, plate: str, size: int = 128
) -> np.ndarray:
    """The image of a sample, uint8 (size, size, 3): red actin, green tubulin, blue DNA."""
    sample = {"sample_id": sample_id, "compound": compound, "dose_um": dose_um, "plate": plate}
    return well_of(tier_version, sample).image(size)


class SimImages:
    """Images of some samples of the sim tier, rendered into the cache when they are first asked for."""

    def __init__(self, rows: pd.DataFrame, samples: pd.DataFrame, spec: TierSpec) -> None:
        """`rows` are the samples wanted, in order; `samples` is the whole table of the tier."""
        self._ids: list[str] = rows["sample_id"].tolist()
        self._keys = list(zip(rows["split"], rows["compound"], rows["plate"], strict=True))
        self._samples = samples
        self._spec = spec

    def __len__(self) -> int:
        return len(self._ids)

    def digest(self) -> str:
        """Hash of the tier, its version, the renderer's version and the sample ids, in order."""
        return storage.sha256_text(self._spec.name, self._spec.version, RENDERER_VERSION, *self._ids)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 arrays (<= size, H, W, 3), in order; all that is missing is rendered first, in parallel."""
        self._render(range(len(self)))
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (len(rows), H, W, 3): the images at these rows; renders those files only that hold them."""
        rows = [int(row) for row in rows]
        self._render(rows)
        side = self._spec.image_size
        images = np.empty((len(rows), side, side, 3), dtype=np.uint8)
        opened: dict[Path, np.ndarray] = {}
        for position, row in enumerate(rows):
            shard = self._shards[self._keys[row]]
            if shard.path not in opened:
                opened[shard.path] = shard.read()
            images[position] = opened[shard.path][shard.sample_ids.index(self._ids[row])]
        return images

    @cached_property
    def _shards(self) -> dict[tuple[str, str, str], Shard]:
        wanted = set(self._keys)
        folder = image_cache(self._spec)
        return {
            key: Shard(
                path=folder / f"{storage.sha256_text(*key)[:32]}.npy",
                tier_version=self._spec.version,
                compound=key[1],
                plate=key[2],
                sample_ids=tuple(group["sample_id"]),
                doses=tuple(group["dose_um"]),
                size=self._spec.image_size,
            )
            for key, group in self._samples.groupby(["split", "compound", "plate"], sort=False)
            if key in wanted
        }

    def _render(self, rows: Sequence[int]) -> None:
        shards = list({key: self._shards[key] for key in (self._keys[row] for row in rows)}.values())
        if all(shard.path.exists() for shard in shards):
            return
        with storage.lock(image_cache(self._spec)):
            # Another process may have rendered them while this one waited.
            render_shards([shard for shard in shards if not shard.path.exists()])


def image_cache(spec: TierSpec) -> Path:
    """Where rendered images are kept: a folder per tier version, image size and source text of the simulator."""
    # By the text and not by RENDERER_VERSION: a changed simulator must never read what the old one drew.
    files = [path for path in sorted((HERE / "simulate").glob("*.*")) if path.is_file()]
    sources = [path.read_text(encoding="utf-8") for path in files if not storage.left_behind(Path(path.name))]
    return storage.cache_dir() / f"sim-{spec.version}" / f"{spec.image_size}px-{storage.sha256_text(*sources)[:16]}"


def render_shards(shards: Sequence[Shard]) -> None:
    """Render shards on all cores with a progress bar on stderr. What is done stays when it is interrupted."""
    if not shards:
        return
    total = sum(len(shard.sample_ids) for shard in shards)
    with Progress(console=Console(stderr=True), transient=True, disable=total < SILENT_UP_TO) as progress:
        task = progress.add_task("Rendering SIMULATED images", total=total)
        pool = _workers(len(shards))
        if pool is None:
            for shard in shards:
                progress.advance(task, shard.write())
            return
        with pool:
            futures = [pool.submit(shard.write) for shard in shards]
            try:
                for future in as_completed(futures):
                    progress.advance(task, future.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _workers(most: int) -> ProcessPoolExecutor | None:
    """Processes to render in; None where one is enough, or where the machine lets processes share nothing."""
    if most < 2:
        return None
    # Forked workers need no import and no guard in the caller's script; they touch nothing but NumPy and SciPy.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    try:
        return ProcessPoolExecutor(min(usable_cores(), most), mp_context=context, initializer=_ignore_interrupt)
    except (OSError, ImportError) as error:
        log.warning("%s: %s, so that processes cannot work together; one renders the images", SHARED_MEMORY, error)
        return None


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: a worker finishes its file
