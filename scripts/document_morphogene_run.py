"""Build MorphoGene from real files, score the controls on it, and write the console output to docs/morphogene-run.md.

    python scripts/document_morphogene_run.py ../shared/data

The argument is the folder of real test files (BBBC021's tables, a CC0 Cell Painting field, L1000 in GCTX). The layout
of the pixels takes 3.4 GB in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from morphobench import provenance
from morphobench.scoring.controls import CONTROLS
from morphobench.storage import atomic_write_text

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "morphogene-run.md"
CELLS = ["--cell", "HT115", "--hours", "6"]
PROTOCOL = ["--tier", "morphogene", "--extractor", "efficientnet_lite0", "--embedding", "efficientnet_lite0"]
HEAD = """# A run on real files

What `morphobench` printed when it built MorphoGene from real files and scored the controls on it, written by
`python scripts/document_morphogene_run.py ../shared/data`.

- **Real**: BBBC021's image table and mechanism table; Level 3 L1000 profiles (GCTX) of BBBC021 compounds in HT115
  cells, 6 h, with their vehicle wells; the pixels, 16-bit, of a CC0 Cell Painting field (BBBC022, U2OS).
- **Not what it will be**: BBBC021's own pixels may not be redistributed and were not at hand. Windows of that CC0
  field, tiled by reflection, stand in the files that BBBC021's table names, chosen by file name and not by compound.
  **So the images carry no drug effect, and the image scores of real replicates, vehicle and wrong compound must come
  out alike**; only `mean-image` must fail. The expression is real, and there the controls must differ.
- A part of the tier: 9 of 55 plates and 6 of 98 compounds, too few for intervals, and the report says so. The licence
  line is that of the tier with BBBC021's own pixels.
- The profiles are one per compound: `copycat` is a lookup and scores 1 on trained compounds, and `real-replicates`
  predicts nothing, since a replicate's profile would be the answer itself.
- The genuine Inception weights were out of reach; the second command shows what happens then, and the others name
  EfficientNet-Lite0.
"""


def say(words: list[str], environment: dict[str, str], folder: Path, hide: dict[str, str]) -> str:
    """Run one `morphobench` command; returns it with what it printed (and its exit code where that is not 0)."""
    command = [sys.executable, "-m", "morphobench", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    shown = " ".join(["$ morphobench", *words])
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    text = "\n".join([shown, *lines] + ([f"(exit code {done.returncode})"] if done.returncode else []))
    for path, name in hide.items():
        text = text.replace(path, name)
    return f"```text\n{text}\n```\n"


def main() -> None:
    """Lay the pixels out, run the commands, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real test files")
    data = parser.parse_args().data.resolve()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images = place / "images"
        layout = str(ROOT / "tests" / "bbbc021_layout.py")
        subprocess.run([sys.executable, layout, str(data), str(images), "--wells", "4", "--sites", "4"], check=True)
        environment = os.environ | {"MORPHOBENCH_CACHE": str(place / "cache"), "COLUMNS": "130", "NO_COLOR": "1"}
        hide = {str(images): "IMAGES", str(data / "l1000"): "L1000", str(place / "cache"): "CACHE"}
        commands = [
            ["data", "build", "morphogene", "--images", str(images), "--l1000", str(data / "l1000"), *CELLS],
            ["evaluate", "--model", "vehicle", "--tier", "morphogene"],
            ["data", "info", "--tier", "morphogene"],
            ["data", "verify", "--tier", "morphogene"],
            ["data", "controls", *PROTOCOL],
            *(["evaluate", "--model", control, *PROTOCOL] for control in CONTROLS),
        ]
        start = time.perf_counter()
        parts = [say(words, environment, place, hide) for words in commands]
        seconds = time.perf_counter() - start
    machine = "; ".join(f"{key}: {value}" for key, value in provenance.hardware("cpu").items())
    packages = ", ".join(f"{key} {value}" for key, value in provenance.versions().items())
    foot = f"All commands together took {seconds:.0f} s ({machine}; {packages})."
    foot = textwrap.fill(foot, 120, break_long_words=False, break_on_hyphens=False)
    atomic_write_text(OUT, "\n".join([HEAD, *parts, f"{foot}\n"]))


if __name__ == "__main__":
    main()
