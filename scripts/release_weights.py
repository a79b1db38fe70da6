"""Put the weights of a finished training run into the package, with their log and hash.

python scripts/release_weights.py runs/sim-trident trident__sim
python scripts/release_weights.py runs/sim-vit sim_vit --into morphobench/features/weights
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reference_models.shipped import FOLDER
from reference_models.training.command import one_line_errors
from reference_models.training.release import release


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("name", help="of the file, without .safetensors: MODEL__TIER")
    parser.add_argument("--into", type=Path, default=FOLDER, help="default: reference_models/weights")
    parser.add_argument("--unfinished", action="store_true", help="also a run that stopped before its end")
    arguments = parser.parse_args()
    with one_line_errors():
        print(release(arguments.run, arguments.name, arguments.into.resolve(), arguments.unfinished))


if __name__ == "__main__":
    main()
