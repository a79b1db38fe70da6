"""Which metric sees what, measured on simulated images of which it is known how good they are.

    python benchmarks/metric_validation.py [--images 4] [--write]

Two kinds of ladders. Doses: generated sets of each of the twelve mechanisms at 0, 1/4, 1/2 and all of the real set's
activity; every metric of DOSED must prefer the next. Corruptions: a growing share of a good set is replaced by images
of the wrong compound, blurred, noisy, ... ones; every metric that claims to see it must get worse with it.
Exit code 1 where one does not. `--write` puts the short tables into docs/metrics.md and all values into
benchmarks/metric_validation.md. SIMULATED; seeded; measurements are kept in the cache folder.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from validation_ladders import (
    CLEAR,
    CORRUPTIONS,
    DROPPED,
    STEP,
    Experiment,
    Ladder,
    Ladders,
    corrupted,
    key_for_row,
    ladders,
    scores,
)
from validation_sets import DOSES, Design

from morphobench import provenance
from morphobench.datasets import load_tier
from morphobench.metrics.registry import METRICS, key_for
from morphobench.storage import atomic_write_text

HERE = Path(__file__).parent
SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Of the images that are replaced."""
MOVED = 2.0
"""Standard deviations of vehicle images by which planted areas must move before an area metric must follow.

A quarter of it is then half a deviation; two samples of one law, 32 images each, lie about 0.3 apart by Wasserstein-1.
"""
AREAS = tuple(key for key in METRICS if key.startswith("area_occupied_shift"))
DOSED = tuple(key for key, row in METRICS.items() if "dose" in row.sees)
"""Rows that must prefer each next dose; those of features with the tier's own extractor alone."""
CLAIMS = {name: tuple(key for key, row in METRICS.items() if name in row.sees) for name in CORRUPTIONS}
"""Rows that claim to see a corruption; those of features with the tier's own extractor alone."""
EXTRACTOR = "efficientnet_lite0"


def dose_ladders(experiment: Experiment) -> dict[str, Ladders]:
    """By mechanism: its area shifts and its kernel distances; under "all" every score of all mechanisms together."""
    design = experiment.design
    sets = [experiment.dose(dose) for dose in DOSES]
    found = {}
    for number, mechanism in enumerate(design.mechanisms):
        rows = number * design.slots + np.arange(design.slots)
        found[mechanism] = ladders(scores(experiment, sets, rows, _own), rising=True)
    rows = np.arange(len(design.compounds))
    found["all"] = ladders(scores(experiment, sets, rows), rising=True)
    return found


def _own(key: str) -> bool:
    return key_for_row(key) == "kd" or key in AREAS


def shares(corruption: str) -> tuple[float, ...]:
    """The rungs of a corruption: no more than half of the mechanisms can be dropped without a repeated image."""
    return tuple(share for share in SHARES if corruption != DROPPED or share <= 0.5)


def corruption_ladders(experiment: Experiment, wanted: Callable[[str], bool] = lambda key: True) -> dict[str, Ladders]:
    """By corruption, every score along the growing share."""
    rows = np.arange(len(experiment.design.compounds))
    (clean,) = scores(experiment, [experiment.dose(1.0)], rows, wanted)
    found = {}
    for name in CORRUPTIONS:
        sets = [corrupted(experiment, name, share) for share in shares(name)[1:]]
        found[name] = ladders([clean, *scores(experiment, sets, rows, wanted)], rising=False)
    return found


def claimed(corruption: str, key: str) -> bool:
    """Whether a score claims to see a corruption."""
    return _expected(key, CLAIMS[corruption])


def _expected(key: str, rows: Sequence[str]) -> bool:
    row = key_for_row(key)
    return row in rows and (METRICS[row].genuine is None or key == key_for(row, EXTRACTOR))


def planted_effect(key: str, effects: dict[str, float]) -> float | None:
    """How far full activity moves what an area metric looks at, in vehicle standard deviations; None for others.

    The cytoplasm is asked of the cells. Cells away from the border change as their number does, too: the least of both.
    """
    if key not in AREAS:
        return None
    effect = abs(effects["nuclei" if "nuclei" in key else "cells"])
    return min(effect, abs(effects["number"])) if "no_edge" in key else effect


def failures(
    doses: dict[str, Ladders], corruptions: dict[str, Ladders], effects: dict[str, dict[str, float]]
) -> list[str]:
    """Every expectation that the measurements do not bear out, a line each."""
    found = []
    for mechanism, by_key in doses.items():
        for key, ladder in by_key.items():
            if not _expected(key, DOSED):
                continue
            effect = planted_effect(key, effects[mechanism]) if mechanism in effects else None
            must_move = effect is None or effect >= MOVED
            # A mechanism alone has a twelfth of the images: its ends must differ by what counts as a step.
            needed = STEP if mechanism in effects else CLEAR
            if ladder.back or (must_move and ladder.whole < needed):
                found.append(f"dose, {mechanism}: {key} {ladder.values}, steps {ladder.signs}")
    for corruption, by_key in corruptions.items():
        for key, ladder in by_key.items():
            if claimed(corruption, key) and not ladder.monotone:
                found.append(f"{corruption}: {key} {ladder.values}, {ladder.whole:.1f} standard errors")
    return found


def dose_tables(doses: dict[str, Ladders], effects: dict[str, dict[str, float]]) -> list[str]:
    """Markdown: steps by mechanism and metric."""
    keys = list(next(iter(doses.values())))
    heads = [key.replace("area_occupied_shift", "area").replace("efficientnet_lite0", "lite0") for key in keys]
    lines = [f"| mechanism | {' | '.join(f'`{head}`' for head in heads)} |", "|---" * (len(keys) + 1) + "|"]
    for mechanism, own in effects.items():
        cells = [_dose_cell(doses[mechanism][key], planted_effect(key, own)) for key in keys]
        lines.append(f"| {mechanism} | {' | '.join(cells)} |")
    return lines


def _dose_cell(ladder: Ladder, effect: float | None) -> str:
    if effect is not None and effect < MOVED and not ladder.monotone:
        return f"{ladder.signs} little to follow ({effect:.1f})"
    return ladder.signs


def pooled_table(ladders: Ladders) -> list[str]:
    """Markdown: values of all mechanisms together by dose."""
    lines = [f"| score | {' | '.join(f'{dose:g}' for dose in DOSES)} | steps |", "|---" * (len(DOSES) + 2) + "|"]
    for key, ladder in ladders.items():
        signs = ladder.signs if METRICS[key_for_row(key)].direction != "none" else "no direction"
        lines.append(f"| `{key}` | {ladder.values.replace(' → ', ' | ')} | {signs} |")
    return lines


def corruption_table(corruptions: dict[str, Ladders]) -> list[str]:
    """Markdown: from which share each score sees each corruption; what it claims is bold, what it refuses is said."""
    lines = [f"| score | {' | '.join(corruptions)} |", "|---" * (len(corruptions) + 1) + "|"]
    for key in next(iter(corruptions.values())):
        cells = []
        for name, by_key in corruptions.items():
            text = _corruption_cell(by_key[key], shares(name)) if key in by_key else "refused"
            cells.append(f"**{text}**" if claimed(name, key) else text)
        lines.append(f"| `{key}` | {' | '.join(cells)} |")
    return lines


def _corruption_cell(ladder: Ladder, rungs: tuple[float, ...]) -> str:
    if ladder.seen_from is not None:
        return f"{rungs[ladder.seen_from]:.0%}"
    if ladder.scores[0].direction == "none" and ladder.whole <= -CLEAR:
        return "rises"
    return "better" if ladder.whole <= -CLEAR else "no" if ladder.whole < CLEAR else "not in order"


def value_tables(title: str, by_group: dict[str, Ladders]) -> list[str]:
    """Markdown: every ladder with its values and the standard errors of its steps and of the whole."""
    lines = [f"## {title}", "", "| ladder | score | values | errors of the steps | whole |", "|---|---|---|---|---|"]
    for group, by_key in by_group.items():
        for key, ladder in by_key.items():
            steps = ", ".join(f"{step:.1f}" for step in ladder.steps)
            lines.append(f"| {group} | `{key}` | {ladder.values} | {steps} | {ladder.whole:.1f} |")
    return lines


def write_between(path: Path, name: str, lines: Sequence[str]) -> None:
    """Replace what stands between the markers `<!-- name -->` and `<!-- /name -->` of a page."""
    text = path.read_text(encoding="utf-8")
    block = f"<!-- {name} -->\n\n" + "\n".join(lines) + f"\n\n<!-- /{name} -->"
    new, count = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda match: block, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{path}: {count} pairs of markers {name}; one is needed")
    atomic_write_text(path, new)


def main() -> None:
    """Measure, print, write if asked, and exit with 1 where an expectation fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6, help="per plate and mechanism, on eight plates")
    parser.add_argument("--write", action="store_true", help="into docs/metrics.md and benchmarks/metric_validation.md")
    arguments = parser.parse_args()
    start = time.perf_counter()
    tier = load_tier("sim")
    design = Design(tier, images=arguments.images)
    experiment, effects = Experiment(design), design.effects()
    doses, corruptions = dose_ladders(experiment), corruption_ladders(experiment)
    failed = failures(doses, corruptions, effects)
    pooled = doses.pop("all")
    seconds = time.perf_counter() - start
    setting = {"sim": tier.spec.version} | provenance.hardware("cpu") | provenance.versions()
    said = (
        f"`python benchmarks/metric_validation.py --images {arguments.images}`, {seconds:.0f} s; {design.slots} images "
        f"per mechanism and set; SIMULATED. {', '.join(f'{name} {value}' for name, value in setting.items())}."
    )
    note = textwrap.wrap(said, 120, break_long_words=False, break_on_hyphens=False)
    failing = [f"- fails: {line}" for line in failed] or ["Every expectation holds."]
    tables = {
        "doses": dose_tables(doses, effects),
        "pooled": pooled_table(pooled),
        "corruptions": corruption_table(corruptions),
    }
    short = [line for name in tables for line in (*tables[name], "")] + note + ["", *failing]
    full = ["# Which metric sees what: all values", "", *note, "", *failing, ""]
    full += [*value_tables("Doses", doses | {"all": pooled}), "", *value_tables("Corruptions", corruptions), ""]
    print("\n".join([*full, *short]))
    if arguments.write:
        for name, lines in (tables | {"setting": [*note, "", *failing]}).items():
            write_between(HERE.parent / "docs" / "metrics.md", f"validation {name}", lines)
        atomic_write_text(HERE / "metric_validation.md", "\n".join(full))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
