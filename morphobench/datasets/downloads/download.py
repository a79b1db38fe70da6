"""Many files from the network, a few at a time, into one folder that remembers what they were.

Before the first byte every size is asked for and the disk is checked. A file that has arrived is looked at
(`file_kinds`), hashed, moved into place and noted in `downloads.json`. Its hash must be the known one where upstream
publishes one. Otherwise a file that is there must have the hash of its first arrival; to remove it is the user's way to
ask for another, and the note is then of the one that comes. A file whose size and time of change are as noted is not
read again.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from morphobench import storage
from morphobench.datasets.downloads import file_kinds, transfer
from morphobench.datasets.downloads.arrivals import Notes, changed
from morphobench.datasets.downloads.transfer import Source
from morphobench.errors import BadInput, MorphoBenchError, Unavailable

GB = 1e9
JOBS = 4
TOLD_EVERY = 60.0  # seconds
_RESERVE = 100_000_000  # bytes that a disk must have left: notes, tables, other programs


def download(
    sources: Sequence[Source],
    folder: Path,
    jobs: int = JOBS,
    progress: Callable[[str], None] = lambda line: None,
    wait_s: float = 1.0,
) -> None:
    """Bring every file of `sources` into `folder`, `jobs` at a time; a `.gctx.gz` is unpacked and its archive removed.

    What is there and unchanged is left alone. `progress` gets one line per step; on a terminal, bars with rate and
    total are drawn on stderr. wait_s: seconds before a failed file is tried again, doubled each time.

    Raises Unavailable where a file cannot be had, is not what its name says or not the published one, or the disk is
    too small, and BadInput for a file on disk that is not what its name says or changed since it arrived. What arrived
    stays for the next call, in part too.
    """
    with storage.lock(folder / "downloads"):
        notes = Notes(folder)
        missing = [source for source in sources if not _at_hand(unpacked(source), source, notes, progress)]
        wanted = [source for source in missing if not _at_hand(source.file, source, notes, progress)]
        if wanted:
            _fetch_all(wanted, folder, notes, jobs, progress, wait_s)
        for source in missing:
            if unpacked(source) != source.file:
                progress(f"{source.file}: unpacking")
                _unpack(source, notes, progress)


def unpacked(source: Source) -> str:
    """The name of a file as it is used: HDF5 cannot be read in slices inside a `.gctx.gz`, so that is unpacked."""
    return source.file.removesuffix(".gz") if source.file.endswith(".gctx.gz") else source.file


def _fetch_all(
    wanted: Sequence[Source],
    folder: Path,
    notes: Notes,
    jobs: int,
    progress: Callable[[str], None],
    wait_s: float,
) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            offers = list(pool.map(lambda source: transfer.ask(source, stop, wait_s), wanted))
        except BaseException:
            stop.set()
            raise
    sizes = {source.file: offer.size for source, offer in zip(wanted, offers, strict=True)}
    progress(_check_disk(folder, wanted, sizes))
    _Batch(folder, notes, sizes, progress, stop, wait_s).run(wanted, jobs)


def _at_hand(name: str, source: Source, notes: Notes, progress: Callable[[str], None]) -> bool:
    path = notes.folder / name
    if notes.untouched(name):
        return True
    if not path.is_file():
        return False
    strange = file_kinds.strange_file(name, path)
    if strange:
        raise BadInput(f"{path}: is {strange}; remove it, and it is downloaded from {source.address}")
    progress(f"{name}: hashing {path.stat().st_size / GB:.2f} GB that were there already")
    digest = storage.sha256_file(path)
    if name == source.file and source.sha256 and digest != source.sha256:
        raise BadInput(changed(path, digest, source.sha256))
    notes.compare(name, digest)
    notes.add(name, digest, source.address)
    return True


def _check_disk(folder: Path, missing: Sequence[Source], sizes: dict[str, int]) -> str:
    """One line about what is to come; Unavailable if the disk cannot hold it."""
    total = sum(sizes.values())
    there = sum(transfer.arrived(source, _part(folder, source)) for source in missing)
    matrices = sum(source.matrix_bytes for source in missing if unpacked(source) != source.file)
    needed, free = total - there + matrices, shutil.disk_usage(folder).free
    about = f"{len(missing)} files, {total / GB:.2f} GB to download ({there / GB:.2f} GB of it there)"
    if matrices:
        about += f" and {matrices / GB:.2f} GB to unpack"
    if needed + _RESERVE > free:
        raise Unavailable(
            f"{folder}: needs {needed / GB:.2f} GB, {free / GB:.2f} GB free: {about}; free some space, name "
            "another folder with --download, or build fewer plates with --plates"
        )
    return f"{about}; {free / GB:.2f} GB free at {folder}"


def _part(folder: Path, source: Source) -> Path:
    return folder / f"{source.file}.part"


@dataclass
class _Batch:
    """The files of one call on their way."""

    folder: Path
    notes: Notes
    sizes: dict[str, int]
    progress: Callable[[str], None]
    stop: threading.Event
    wait_s: float
    started: float = field(default_factory=time.monotonic)
    finished: int = 0
    received: int = 0
    told: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, missing: Sequence[Source], jobs: int) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bars:
            total = bars.add_task("all", total=sum(self.sizes.values()))
            with ThreadPoolExecutor(jobs) as pool:
                futures = {pool.submit(self._one, source, bars, total): source for source in missing}
                try:
                    # a file that cannot be had does not keep the others from arriving; a full disk or Ctrl-C ends all
                    wait(futures, return_when=FIRST_EXCEPTION)
                    while not self.stop.is_set() and not all(future.done() for future in futures):
                        wait([future for future in futures if not future.done()], return_when=FIRST_EXCEPTION)
                finally:
                    self.stop.set()
                    pool.shutdown(wait=True, cancel_futures=True)
        errors = [future.exception() for future in futures if not future.cancelled()]
        failed = [error for error in errors if error is not None and not isinstance(error, transfer.Stopped)]
        if not failed:
            return
        first = failed[0]
        if len(failed) > 1 and isinstance(first, MorphoBenchError):
            raise type(first)(f"{len(failed)} of {len(missing)} files did not arrive, the first: {first}") from first
        raise first

    def _one(self, source: Source, bars: Progress, total: TaskID) -> None:
        if self.stop.is_set():
            raise transfer.Stopped
        part, path = _part(self.folder, source), self.folder / source.file
        part.parent.mkdir(parents=True, exist_ok=True)
        task = bars.add_task(source.file, total=self.sizes[source.file])
        transfer.forget_another(source, part, self.sizes[source.file])
        seen = transfer.arrived(source, part)
        bars.update(task, completed=seen)
        bars.advance(total, seen)

        def advance(done: int) -> None:
            nonlocal seen
            bars.update(task, completed=done)
            bars.advance(total, done - seen)
            self._count(max(done - seen, 0), tell=bars.disable)
            seen = done

        try:
            offer = transfer.fetch(source, part, self.stop, advance, self.progress, self.wait_s)
            if offer.size != self.sizes[source.file]:
                raise Unavailable(
                    f"{source.address}: {offer.size:,} bytes came where {self.sizes[source.file]:,} were announced; "
                    "the file changed on the server or the server is wrong about it: run the same command again"
                )
            self._keep(source, part, path)
        except OSError as error:
            self.stop.set()
            with storage.disk_errors(part):
                raise error
        except Unavailable as error:
            if getattr(error.__cause__, "errno", None) is not None:  # the disk: the other files have no place either
                self.stop.set()
            raise
        finally:
            bars.remove_task(task)

    def _count(self, received: int, tell: bool) -> None:
        with self._lock:
            self.received += received
            if tell and time.monotonic() - self.told > TOLD_EVERY:  # a log file has no bars
                self.told = time.monotonic()
                self.progress(f"{self.finished} of {len(self.sizes)} files whole, {self._so_far()}")

    def _so_far(self) -> str:
        rate = self.received / max(time.monotonic() - self.started, 1e-9) / 1e6
        return f"{self.received / GB:.2f} GB in this run at {rate:.1f} MB/s"

    def _keep(self, source: Source, part: Path, path: Path) -> None:
        strange = file_kinds.strange_file(source.file, part)
        if strange:
            transfer.forget(part)
            raise Unavailable(transfer.not_the_file(source, strange))
        digest = storage.sha256_file(part)
        if source.sha256 and digest != source.sha256:
            transfer.forget(part)
            raise Unavailable(
                f"{source.address}: sha256 {digest[:12]}... arrived where {source.sha256[:12]}... is the one "
                "published; the file changed upstream or on the way: try again; if it stays so, a tier made from it is "
                "another"
            )
        _tell_of_another(source.file, self.notes, digest, self.progress)
        transfer.settle(part, path)
        self.notes.add(source.file, digest, source.address)
        with self._lock:
            self.finished += 1
            self.progress(
                f"{source.file}: {self.sizes[source.file] / GB:.3f} GB, file {self.finished} of {len(self.sizes)}, "
                f"{self._so_far()}"
            )


def _tell_of_another(name: str, notes: Notes, digest: str, progress: Callable[[str], None]) -> None:
    before = notes.expected(name)
    if before and digest != before:
        progress(
            f"{name}: was removed, and another came: sha256 {before[:12]}... is replaced by {digest[:12]}...; a tier "
            "made from it is another"
        )


def _unpack(source: Source, notes: Notes, progress: Callable[[str], None]) -> None:
    name = unpacked(source)
    packed_path, path = notes.folder / source.file, notes.folder / name
    part = path.with_name(f"{path.name}.part")
    try:
        with storage.disk_errors(part), gzip.open(packed_path) as packed, part.open("wb") as plain:
            shutil.copyfileobj(packed, plain, storage.CHUNK)
        strange = file_kinds.strange_file(name, part)
        if strange:
            raise BadInput(f"{packed_path}: holds {strange}; remove it, and it is downloaded from {source.address}")
        digest = storage.sha256_file(part)
        _tell_of_another(name, notes, digest, progress)
        part.replace(path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{packed_path}: cannot be unpacked ({error}); remove it, and it is downloaded again") from error
    finally:
        part.unlink(missing_ok=True)
    notes.add(name, digest, source.address)
    packed_path.unlink()  # as large as all the plates, and not read again
