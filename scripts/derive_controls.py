"""Score the controls of the sim tier and ship their scores: morphobench/datasets/controls/sim.json.

    python scripts/derive_controls.py && python scripts/derive_manifest.py --sums-only

They are the floors and scales of every report on the tier. The submissions and their reports are left in runs/sim/.
"""

from __future__ import annotations

import shutil

from morphobench import run
from morphobench.datasets import load_tier
from morphobench.request import Request
from morphobench.scoring import controls
from morphobench.storage import atomic_path


def main() -> None:
    """Score them from nothing and put the file into the package."""
    shipped = controls.shipped_controls_path(load_tier("sim"))
    controls.own_controls_path(load_tier("sim")).unlink(missing_ok=True)
    made = run.run_controls(Request(tier="sim"))
    with atomic_path(shipped) as temporary:
        shutil.copyfile(made, temporary)
    made.unlink()


if __name__ == "__main__":
    main()
