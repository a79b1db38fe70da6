"""HDF5 files that another program has open, or that lie where there are no locks: neither is a damaged file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from l1000_files import write_gctx

from morphobench.datasets.l1000.hdf5 import open_hdf5
from morphobench.errors import BadInput, Unavailable

WRITER = """
import sys, h5py
with h5py.File(sys.argv[1], "a", libver=sys.argv[2]) as file:
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "level3.gctx", "w", libver="latest") as file:
        file["values"] = np.arange(3)
    return tmp_path / "level3.gctx"


def writer(path: Path, version: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), version], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_file_that_another_program_writes_to_is_not_called_cut_short(path: Path) -> None:
    """Of 98 GB that would mean a night's download."""
    process = writer(path, "latest")
    said = r"level3.gctx: (locked by another program that writes|being written by another program)"
    with pytest.raises(Unavailable, match=said), open_hdf5(path):
        pass
    process.communicate("")
    with open_hdf5(path) as file:
        assert file["values"][:].tolist() == [0, 1, 2]


def test_a_file_whose_writer_was_killed_is_named_with_the_command_that_frees_it(path: Path) -> None:
    process = writer(path, "latest")
    process.kill()
    process.communicate()
    said = r"left unclosed by one that was killed; .*`h5clear -s level3.gctx`"
    with pytest.raises(Unavailable, match=said), open_hdf5(path):
        pass


def test_a_gctx_file_that_is_locked_says_so(tmp_path: Path) -> None:
    from morphobench.datasets.l1000.gctx import open_expression

    wells = pd.DataFrame({"id": ["a", "b"]})
    made = write_gctx(tmp_path / "made.gctx", wells, np.zeros((2, 2), np.float32), ["1", "2"])
    process = writer(made, "earliest")
    with pytest.raises(Unavailable, match=r"made.gctx: locked by another program"):
        open_expression(made)
    process.communicate("")
    file = open_expression(made)
    process = writer(made, "earliest")
    with pytest.raises(Unavailable, match=r"made.gctx: locked by another program"):
        file.read_block(np.arange(2), np.arange(2))
    process.communicate("")


def refusing(number: int) -> Callable[..., h5py.File]:
    real = h5py.File

    def open_file(path: Path, mode: str, locking: bool | None = None) -> h5py.File:
        if locking is None:
            raise OSError(number, f"Unable to synchronously open file (unable to lock file, errno = {number})")
        return real(path, mode, locking=locking)

    return open_file


@pytest.mark.parametrize("name", ["ENOLCK", "ENOTSUP", "ENOSYS"])
def test_where_a_file_system_has_no_locks_the_file_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(h5py, "File", refusing(getattr(errno, name)))
    with open_hdf5(path) as file:
        assert file["values"][:].tolist() == [0, 1, 2]


def test_a_file_that_may_not_be_read_says_so_and_a_damaged_one_stays_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(h5py, "File", refusing(errno.EACCES))
        with pytest.raises(BadInput, match=r"level3.gctx: may not be read"), open_hdf5(path):
            pass
    os.truncate(path, 100)
    with pytest.raises(OSError, match=r"truncated|superblock") as caught, open_hdf5(path):
        pass
    assert not isinstance(caught.value, BadInput)
