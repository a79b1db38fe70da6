"""What each row of METRICS costs on one track: seconds of its value, and of its 95% interval besides.

    python benchmarks/costs.py [--track id] [--write]

Real replicates of the sim tier are scored as a model's images would be, from measurements that are already at hand.
Value and interval each start from the arrays, with nothing that another row, or the value, may have left. `--write`
puts the table into docs/metrics.md. The images are rendered and measured on first use.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import textwrap
import time
from pathlib import Path

from metric_validation import write_between

from morphobench import evaluation, provenance
from morphobench.datasets import load_tier
from morphobench.request import Request
from morphobench.scoring.measurements import Measurements, measure_track
from morphobench.scoring.scores import BOOTSTRAP_SEED, REPLICATES
from morphobench.scoring.tasks import Task, tasks
from morphobench.storage import cache_dir

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"


def measurements(track: str) -> Measurements:
    """What `morphobench evaluate --model real-replicates` measures of a track of the sim tier."""
    tier = load_tier("sim")
    watch = evaluation.Stopwatch()
    with tempfile.TemporaryDirectory() as place:
        plan = Request(model="real-replicates", tier=tier, tracks=(track,), out=Path(place)).resolve()
        submission = evaluation.answered(plan, watch)
        return measure_track(submission, tier, track, plan.protocol, cache_dir(), watch.stage)


def cost(task: Task) -> tuple[float, float]:
    """Seconds of a row's value, and of its interval from the same arrays without what the value left behind."""
    start = time.perf_counter()
    value = task.metric.score(dataclasses.replace(task.inputs))
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    task.metric.interval(dataclasses.replace(task.inputs), REPLICATES, BOOTSTRAP_SEED, value)
    return seconds, time.perf_counter() - start


def main() -> None:
    """Measure, print, write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--track", default="id")
    parser.add_argument("--write", action="store_true", help="into docs/metrics.md")
    arguments = parser.parse_args()
    measured = measurements(arguments.track)
    lines = ["| score | N | value, s | interval, s |", "|---|---|---|---|"]
    for task in tasks(measured, load_tier("sim")):
        if task.inputs is not None:
            seconds = (f"{each:.3f}" for each in cost(task))
            lines.append(f"| `{task.key}` | {task.metric.count(task.inputs):,} | {' | '.join(seconds)} |")
        else:
            lines.append(f"| `{task.key}` | | not asked: {task.reason} | |")
    setting = provenance.hardware("cpu") | provenance.versions()
    note = f"`python benchmarks/costs.py`; {', '.join(f'{name} {value}' for name, value in setting.items())}."
    note = textwrap.fill(note, 120, break_long_words=False, break_on_hyphens=False)
    print("\n".join([*lines, "", note]))
    if arguments.write:
        write_between(PAGE, "costs", [*lines, "", note])


if __name__ == "__main__":
    main()
