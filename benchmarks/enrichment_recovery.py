"""Precision and recall of the planted GO programmes, for profiles whose worth is known. SIMULATED.

    python benchmarks/enrichment_recovery.py [--write]

Each profile is tested twice: as log2 fold change from the vehicle, and beyond the mean drug (less the mean over the
track's compounds). `--write` puts the table into docs/metrics.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from metric_validation import write_between
from planted_programmes import Recovery, recovery

from morphobench.datasets import load_tier
from morphobench.datasets.simulate.expression import response
from morphobench.datasets.tier import Tier
from morphobench.scoring.measurements import compound_means
from morphobench.scoring.trivial_predictions import training_changes, trivial_changes

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"


def profiles(tier: Tier, track: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Test compounds of a track, and profile name -> log2 fold change (C, 978)."""
    rows = tier.test_rows(track)
    compounds = rows["compound"].to_numpy(dtype=str)
    g_pre, g_post = tier.expression(rows)
    names, measured = compound_means((g_post - g_pre).astype(np.float64), compounds)
    clean = np.stack(
        [
            response(tier.spec.version, compound, float(dose))
            for compound, dose in zip(compounds, rows["dose_um"], strict=True)
        ]
    )
    replicate = tier.replicate_rows(track)
    before, after = tier.expression(replicate)
    _, again = compound_means((after - before).astype(np.float64), replicate["compound"].to_numpy(dtype=str))
    found = {"noiseless truth": compound_means(clean, compounds)[1], "measured": measured, "real replicates": again}
    trivial = trivial_changes(training_changes(tier, track), tier.compounds, names.tolist())
    return tuple(names.tolist()), found | {name: lfc for name, lfc in trivial.items() if np.isfinite(lfc).all()}


def rows(tier: Tier, track: str) -> Iterator[tuple[str, Recovery, Recovery]]:
    """Profile name, its recovery from the vehicle and beyond the mean drug."""
    compounds, found = profiles(tier, track)
    for name, lfc in found.items():
        yield name, recovery(lfc, compounds), recovery(lfc - lfc.mean(axis=0), compounds)


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/metrics.md")
    write, tier = parser.parse_args().write, load_tier("sim")
    lines = [
        "| track | profile | compounds | precision | recall | precision beyond the mean drug | recall beyond it |",
        "|---|---|---|---|---|---|---|",
    ]
    for track in tier.default_tracks:
        for name, whole, beyond in rows(tier, track):
            values = (whole.precision, whole.recall, beyond.precision, beyond.recall)
            cells = " | ".join(f"{value.mean():.2f}" for value in values)
            lines.append(f"| {track} | {name} | {len(whole.compounds)} | {cells} |")
    print("\n".join(lines))
    if write:
        write_between(PAGE, "recovery", lines)


if __name__ == "__main__":
    main()
