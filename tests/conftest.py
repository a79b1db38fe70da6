"""Fixtures shared by the tests: the real files, when they are at hand."""

import os
import signal
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job hands down an ignored SIGINT, and commands that a test interrupts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core already: libraries that start a thread per core in each would slow one another down.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import oracles
import pytest
from oracles import Oracle

from morphobench.storage import cache_dir

# Tests that have a cache of their own need not compile anew.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "machine-code"))

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real BBBC021, L1000 and CellProfiler files beside the checkout; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real test files (../shared/data) are not beside this checkout")
    return SHARED_DATA


@pytest.fixture
def plain_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report's page is one line, where a test does not look at it: its pictures take seconds."""

    def write(evaluation: object, folder: Path) -> Path:
        (folder / "report.html").write_text("<!doctype html>")
        return folder / "report.html"

    monkeypatch.setattr("morphobench.run.write_report", write)


@pytest.fixture
def oracle(request: pytest.FixtureRequest) -> Oracle:
    """By name: one of the project's own, or one of the files beside the checkout, without which the test skips."""
    if request.param in oracles.OWN:
        return oracles.own(request.param)
    return oracles.shared(request.getfixturevalue("shared_data") / "cellprofiler", request.param)
