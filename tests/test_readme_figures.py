"""The README's table of results against the committed results, to the digits that it prints."""

from __future__ import annotations

import re
from pathlib import Path

from morphobench.leaderboard.results import read_results

ROOT = Path(__file__).parents[1]
KEYS = {
    "kernel distance, lower is better": "kd[efficientnet_lite0]",
    "the same per compound": "kd_per_compound[efficientnet_lite0]",
    "LDA separability (chance 0.125), higher": "lda_separability",
    "AreaOccupied shift, cells, higher": "area_occupied_shift[cells]",
    "LFC Pearson per compound, higher": "lfc_pearson_vehicle",
    "drug-swap gap, 1 follows the drug": "drug_swap_gap",
    "near copies of training images, closer to 0.05": "near_copies",
}
CELL = re.compile(r"(-?\d+\.\d{3})(?: \((-?\d+\.\d{3}) to (-?\d+\.\d{3})\))?")


def table() -> list[list[str]]:
    """The cells of the README's table of results, header first, without the rule below it."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| score | track |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def test_every_figure_of_the_table_is_that_of_the_committed_results() -> None:
    scores = {
        (report.submission.name, score.track, score.key): score
        for report in read_results(ROOT / "leaderboards", "sim")
        for score in report.scores
    }
    header, *rows = table()
    assert len(rows) == 10
    for what, track, *cells in rows:
        for name, cell in zip(header[2:], cells, strict=True):
            score = scores[name.lower().replace(" ", "-"), track.strip("`"), KEYS[what]]
            found = CELL.fullmatch(cell)
            assert found is not None, f"{what}, {track}, {name}: {cell!r}"
            assert found[1] == f"{score.value:.3f}", f"{what}, {track}, {name}"
            if found[2] is not None or name == "TRIDENT":
                assert (found[2], found[3]) == tuple(f"{end:.3f}" for end in score.interval), f"{what}, {track}, {name}"
