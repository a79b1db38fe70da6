"""`morphobench evaluate --model trident` from nothing and again with nothing changed: seconds and peak memory.

    python benchmarks/evaluate.py [--model trident]

Memory is the largest sum of the resident sets of the command and all its children, sampled five times a second; pages
that two processes share count twice, so the figure errs upwards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from morphobench import provenance

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(root: int) -> int:
    """Bytes of resident memory of a process and everything below it."""
    parents, pages = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                pages[int(entry.name)] = int((entry / "statm").read_text().split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(pages.get(pid, 0) for pid in family) * PAGE


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak GiB of a command; raises CalledProcessError where it fails."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, peak / 2**30


def main() -> None:
    """Run the command twice in an empty place and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="trident")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as place:
        environment = os.environ | {"MORPHOBENCH_CACHE": f"{place}/cache"}
        command = [sys.executable, "-m", "morphobench", "evaluate", "--model", model, "--out", f"{place}/out"]
        print(" ".join(f"{key}: {value};" for key, value in provenance.hardware("cpu").items()))
        print(" ".join(f"{key} {value}" for key, value in provenance.versions().items()))
        for label in ("from nothing", "nothing changed"):
            seconds, memory = timed(command, environment)
            print(f"morphobench evaluate --model {model}, {label}: {seconds:.1f} s, {memory:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
