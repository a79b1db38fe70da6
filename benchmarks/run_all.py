"""Every benchmark, one after the other, in one run: the figures that README.md and docs/ quote.

    python benchmarks/run_all.py | tee benchmarks/results.txt

Takes about twenty minutes on two cores. Each part also runs alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PARTS = (
    [str(HERE / "evaluate.py")],
    [str(HERE / "frechet.py"), "--all"],
    [str(HERE / "frechet_compounds.py")],
    [str(HERE / "interval_coverage.py")],
    [str(HERE / "features.py")],
    [str(HERE / "memory.py")],
    [str(HERE / "segmentation.py")],
    [str(HERE / "profiles.py")],
    [str(HERE / "sim.py")],
    [str(HERE / "export.py")],
    [str(HERE / "metric_validation.py")],
    [str(HERE / "reliance.py")],
    [str(HERE / "build.py")],
    [str(HERE / "l1000.py")],
    [str(HERE / "ljosa.py")],
    ["-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"],
)


def main() -> None:
    """Run the parts; the first that fails ends the run with its exit code."""
    for part in PARTS:
        shown = " ".join(word.replace(f"{HERE}", "benchmarks") for word in part)
        print(f"\n## python {shown}\n", flush=True)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *part], cwd=HERE.parent)
        print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
