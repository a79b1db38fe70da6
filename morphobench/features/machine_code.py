"""Where the machine code that numba compiles is kept: an installed package may be one that nobody may write to.

numba would keep it beside each source, else in the home. Where it may write to neither, importing umap or cp-measure
ends in an error, after minutes of scoring.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from morphobench.storage import cache_dir

SETTING = "NUMBA_CACHE_DIR"


def keep_machine_code() -> None:
    """Have numba keep its code in the cache folder, or, where that may not be written, for as long as this runs.

    $NUMBA_CACHE_DIR, if it is set, stays what it is; worker processes inherit the place. Called before anything is
    compiled.
    """
    if os.environ.get(SETTING):
        return
    place = cache_dir() / "machine-code"
    if not _may_be_written(place):
        place = Path(tempfile.mkdtemp(prefix="morphobench-machine-code-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.environ[SETTING] = str(place)
    if "numba" in sys.modules:  # it reads the setting once, when it is imported
        sys.modules["numba"].config.CACHE_DIR = str(place)


def _may_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
