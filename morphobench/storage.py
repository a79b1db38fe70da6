"""Hashes, atomic writes and locks: the only code that writes results and caches.

A file written through here is either whole or absent, whatever interrupts the process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath

import pooch
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from morphobench.errors import BadInput, Unavailable

CHUNK = 1 << 20
REINSTALL = "restore the shipped file or install the package again"
"""The mend for a changed file that ships with the package."""
LEFT_BEHIND = {
    ".ds_store", ".localized", "__macosx", ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems", "icon\r",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
    ".directory", "lost+found", "@eadir", "#recycle", "#snapshot", ".snapshot",
    ".git", ".gitattributes", ".gitignore", ".gitkeep", ".svn", ".hg", ".ipynb_checkpoints", "__pycache__",
}  # fmt: skip
"""Files and folders, in lower case, that file browsers, network drives and version control put beside a user's own."""
LEFT_BEHIND_STARTS = ("._", ".nfs", ".fuse_hidden")
"""A Mac's second half of a file on a foreign disk; a file that was deleted while it was open on a network drive."""
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a file system without locks answers to `flock`."""
LOCKS = (".lock", ".held")
"""How the files that `lock` leaves or makes end."""
LONGEST_NAME = 200
"""Bytes of a name to which more may be added: file systems take 255."""

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Where caches and built tiers live: $MORPHOBENCH_CACHE, or the platform's cache folder for this user.

    Raises Unavailable where neither is known: a container may run as a user without a home.
    """
    place = Path(os.environ.get("MORPHOBENCH_CACHE") or pooch.os_cache("morphobench"))
    try:
        return place.expanduser()
    except RuntimeError as error:
        raise Unavailable(f"{place}: this user has no home; set MORPHOBENCH_CACHE to a folder") from error


def left_behind(name: PurePath) -> bool:
    """Whether a relative name is, or lies in, something that an operating system or a tool put beside the user's."""
    return any(part.casefold() in LEFT_BEHIND or part.startswith(LEFT_BEHIND_STARTS) for part in name.parts)


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_text(*parts: str) -> str:
    """SHA-256 of strings, each ended by a zero byte so that ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces so that memory does not grow with its size."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_sha256(folder: Path, without: Collection[str] = ()) -> str:
    """Hash of every file under a folder by relative name and content, but for what is `left_behind`.

    without: names in the folder itself (files or folders) that are left out too.
    """
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    files = [folder / name for name in names if not left_behind(name) and name.parts[0] not in without]
    return sha256_text(*(f"{path.relative_to(folder).as_posix()}:{sha256_file(path)}" for path in files))


def check_folder(path: Path) -> None:
    """Refuse a path that cannot be a folder, because it or something above it is a file.

    Raises Unavailable for the cache, which is a matter of the machine's setting, and BadInput for any other path.
    """
    blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocked is None:
        return
    if _in_cache(path):
        raise Unavailable(f"{blocked}: is a file; set MORPHOBENCH_CACHE to a folder")
    raise BadInput(f"{blocked}: is a file; name a folder")


def check_file(path: Path) -> None:
    """Refuse a path that cannot be a file: a folder stands there, or something above it is a file."""
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name a file")
    check_folder(path.parent)


def check_writable(folder: Path) -> None:
    """Make a folder and write to it, so that one that may not be written is named before minutes of work and not after.

    Raises BadInput or Unavailable that names the folder.
    """
    check_folder(folder)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a folder that may not be written into one line that names the path.

    An error that names a file elsewhere is said of that one.
    """
    try:
        yield
    except OSError as error:
        place = path
        if isinstance(error.filename, str | os.PathLike):
            named = Path(error.filename)
            place = path if named.absolute().is_relative_to(path.parent.absolute()) else named
        own = _in_cache(place)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = "set MORPHOBENCH_CACHE to another place" if own else "choose another place"
            raise Unavailable(f"{place}: the disk is full; free some space or {mend}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            mend = "set MORPHOBENCH_CACHE to a folder that you own" if own else "choose a folder that you own"
            verb = "written" if place == path else "used"
            raise Unavailable(f"{place}: may not be {verb}; {mend}") from error
        raise


def _in_cache(path: Path) -> bool:
    return cache_dir() == path or cache_dir() in path.parents


def neighbour(path: Path, suffix: str) -> Path:
    """The hidden file beside `path` that serves it: its name and a suffix; of a very long name a hash stands in."""
    name = os.fsencode(path.name)
    return path.with_name(f".{path.name if len(name) <= LONGEST_NAME else sha256_bytes(name)[:32]}{suffix}")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well, remove it otherwise."""
    with disk_errors(path):
        check_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=neighbour(path, ".").name, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces `path` when the block ends well, and goes otherwise."""
    with disk_errors(path):
        check_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=neighbour(path, ".").name, dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            replace_dir(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def replace_dir(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`; an old one there comes back if that fails or is interrupted."""
    if not path.exists():
        new.replace(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=neighbour(path, ".old.").name, dir=path.parent))
    old = aside / path.name
    try:
        path.replace(old)
        new.replace(path)
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(aside)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, or a folder with all that is in it; the copy is whole or absent."""
    if source.is_dir():
        with atomic_dir(target) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a whole text file (UTF-8) or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def lock(path: Path, taken: str = "") -> Iterator[None]:
    """Hold an exclusive lock beside `path`, so that two processes do not build one thing.

    taken: BadInput that says so where another process holds the lock; by default it is waited for.
    Only what the lock itself needs is said to be `path`'s fault: what happens under it has errors of its own.
    """
    with disk_errors(path):
        check_folder(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _locked(neighbour(path, LOCKS[0]), taken)
    try:
        yield
    finally:
        held.release()


def _locked(path: Path, taken: str) -> BaseFileLock:
    """The lock at `path`, held; on a file system without locks a file that is there while the lock is held."""
    timeout = 0 if taken else -1
    try:
        held: BaseFileLock = FileLock(path, timeout)
        held.acquire()
    except Timeout as error:
        raise BadInput(f"{taken}; choose another folder, or wait for its end") from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        log.info("%s: no locks on this file system (%s); a file stands for one", path.parent, error)
        held = SoftFileLock(path.with_suffix(LOCKS[1]), timeout)
        try:
            held.acquire()
        except Timeout as late:
            raise BadInput(
                f"{taken}, or was killed; choose another folder, or, if none is running, remove {held.lock_file}"
            ) from late
    return held


def verify_sums(folder: Path, mend: str = REINSTALL) -> dict[str, str]:
    """Check every file listed in `folder/SHA256SUMS`; return {relative name: hash}.

    Raises BadInput that names the first file whose bytes differ or that is absent, and the mend.
    """
    sums = read_sums(folder, mend)
    for name, expected in sums.items():
        verify_file(folder, name, expected, mend)
    return sums


def read_sums(folder: Path, mend: str = REINSTALL) -> dict[str, str]:
    """The `SHA256SUMS` table of a folder, {relative name: hash}, unchecked."""
    table = folder / "SHA256SUMS"
    if not table.is_file():
        raise BadInput(f"{table}: not there; {mend}")
    sums = {}
    # Not splitlines(), which would also cut at a vertical tab or U+2028 in a file's name.
    for line in table.read_text(encoding="utf-8", errors="replace").split("\n"):
        digest, separator, name = line.partition("  ")
        if line and not separator:
            raise BadInput(f"{table}: {line[:80]!r} is not `HASH  NAME`; {mend}")
        if line:
            sums[name] = digest
    return sums


def verify_file(folder: Path, name: str, expected: str, mend: str = REINSTALL) -> Path:
    """Path of `folder/name` if its SHA-256 is `expected`; BadInput that names it and the mend otherwise."""
    path = folder / name
    if not path.is_file():
        raise BadInput(f"{path}: listed in SHA256SUMS but not there; {mend}")
    actual = sha256_file(path)
    if actual != expected:
        raise BadInput(f"{path}: sha256 {actual[:12]}... where SHA256SUMS says {expected[:12]}...; {mend}")
    return path


def verify_listed(folder: Path, path: Path) -> Path:
    """`path`, checked if `folder/SHA256SUMS` lists it: files made after the table was written are not in it."""
    if path.is_relative_to(folder) and (folder / "SHA256SUMS").is_file():
        sums, name = read_sums(folder), path.relative_to(folder).as_posix()
        if name in sums:
            return verify_file(folder, name, sums[name])
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
