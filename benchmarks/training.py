"""Steps per second of TRIDENT's training on `sim`: in one process and in two, in float32 and in bfloat16.

    python benchmarks/training.py [--steps 200]

The configuration is `sim` and every process has one thread. Two processes take half of each batch (torchrun, gloo).
Latents come from the cache, which the first run fills; it is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from morphobench.provenance import processor, usable_cores


def steps_per_second(folder: Path, processes: int, precision: str, steps: int) -> float:
    """Of the last half of a run of so many steps."""
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    command = [
        sys.executable, *launch, "-m", "morphobench", "train", "trident", "--out", str(folder),
        "--precision", precision, "--stop-after", str(steps), "--log-every", str(steps // 2),
        "--save-every", str(2 * steps),
    ]  # fmt: skip
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return float(lines[-1]["steps_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{processor()}, {usable_cores()} cores, one thread a process, configuration sim")
    with tempfile.TemporaryDirectory() as place:
        steps_per_second(Path(place) / "first", 1, "float32", 2)
        for precision in ("float32", "bfloat16"):
            one, two = (
                steps_per_second(Path(place) / f"{precision}-{processes}", processes, precision, arguments.steps)
                for processes in (1, 2)
            )
            print(f"{precision}: one process {one:.2f} steps/s, two {two:.2f}, {two / one:.2f} times", flush=True)


if __name__ == "__main__":
    main()
