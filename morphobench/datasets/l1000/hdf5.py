"""HDF5 files opened for reading, whoever else has them open and whatever the file system."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import h5py

from morphobench.errors import BadInput, Unavailable
from morphobench.storage import NO_LOCKS

HELD = (errno.EAGAIN, errno.EWOULDBLOCK)
"""What a lock that another program holds answers."""
MARKED = "already open for write"
"""HDF5's words for the mark that a file written in its newer format bears while, or since, it was not closed."""


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; on a file system without locks it is read without one.

    Raises Unavailable where another program is writing to it, BadInput where it may not be read, and OSError where it
    is cut short or not HDF5.
    """
    with _opened(path) as file:
        yield file


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except PermissionError as error:
        raise BadInput(f"{path}: may not be read; give yourself the right to read it") from error
    except OSError as error:
        if error.errno in HELD:
            raise Unavailable(
                f"{path}: locked by another program that writes to it; close it there and run again"
            ) from error
        if MARKED in str(error):
            raise Unavailable(
                f"{path}: being written by another program, or left unclosed by one that was killed; wait for it, or "
                f"run `h5clear -s {path.name}` if there is none"
            ) from error
        if error.errno not in NO_LOCKS:
            raise
    return h5py.File(path, "r", locking=False)
