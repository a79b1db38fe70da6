"""Every benchmark, one after the other, in one run: the figures that README.md and docs/ quote.

    python benchmarks/run_all.py [--data FOLDER] [--cellprofiler PYTHON] | tee benchmarks/results.txt

FOLDER holds real files (`bbbc021`, `cellprofiler`, `images`, `l1000`) and PYTHON is an interpreter with CellProfiler
4.2.8.1; what asks for one that is not given is named and left out. Takes under an hour on two cores. Each part also
runs alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def parts(data: Path | None, cellprofiler: str | None) -> tuple[list[list[str]], list[str]]:
    """The commands to run, benchmarks first, and those that lack what they need."""
    everywhere = [
        ["evaluate.py"], ["frechet.py", "--all"], ["frechet_compounds.py"], ["interval_coverage.py"],
        ["small_samples.py"], ["features.py"], ["memory.py"], ["costs.py"], ["sim.py"], ["export.py"],
        ["metric_validation.py"], ["reliance.py"], ["enrichment_recovery.py"], ["profiles.py"], ["build.py"],
        ["l1000.py"], ["paper_size.py"], ["training.py"], ["trident_steps.py"],
    ]  # fmt: skip
    with_data = [
        ["ljosa.py", "--data", f"{data}/bbbc021"],
        ["expression_real.py", f"{data}/l1000"],
        ["sim_realism.py", "--real", f"{data}/images"],
    ]
    with_both = [
        ["segmentation.py", "--folder", f"{data}/cellprofiler", "--cellprofiler", f"{cellprofiler}", "--command", "100"]
    ]
    wanted = everywhere + (with_data if data else []) + (with_both if data and cellprofiler else [])
    left = ([] if data else with_data) + ([] if data and cellprofiler else with_both)
    tests = ["-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    return [[str(HERE / script), *rest] for script, *rest in wanted] + [tests], [script for script, *_ in left]


def main() -> None:
    """Run the parts; the first that fails ends the run with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real files")
    parser.add_argument("--cellprofiler", metavar="PYTHON", help="an interpreter with CellProfiler 4.2.8.1")
    arguments = parser.parse_args()
    wanted, left = parts(arguments.data, arguments.cellprofiler)
    for part in wanted:
        shown = " ".join(word.replace(f"{HERE}", "benchmarks") for word in part)
        print(f"\n## python {shown}\n", flush=True)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *part], cwd=HERE.parent)
        print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
        if done.returncode:
            sys.exit(done.returncode)
    if left:
        print(f"\nleft out, for want of --data or --cellprofiler: {', '.join(left)}")


if __name__ == "__main__":
    main()
