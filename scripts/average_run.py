"""Put together the average of any width from those that a run kept on its way (`recipe.ema_widths`).

python scripts/average_run.py runs/trident 0.08 --out runs/trident-0.08
morphobench evaluate --model trident --checkpoint runs/trident-0.08
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reference_models.training.command import one_line_errors
from reference_models.training.snapshots import put_together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("width", type=float, help="relative width of the profile, e.g. 0.08")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and autoencoder")
    arguments = parser.parse_args()
    with one_line_errors():
        print(put_together(arguments.run, arguments.width, arguments.out))


if __name__ == "__main__":
    main()
