"""The table of faults that the tests do not see: whole, and every one with its reason."""

import csv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "benchmarks" / "mutation.md").read_text()


def test_every_module_of_the_metrics_has_a_row_and_every_survivor_a_reason():
    metrics = ROOT / "morphobench" / "metrics"
    names = {str(path.relative_to(metrics).with_suffix("")) for path in metrics.rglob("*.py")}
    listed = {line.split("|")[1].strip() for line in TABLE.splitlines() if line.startswith("| ")}
    assert {name for name in names if not name.endswith("__init__")} <= listed
    assert "NOT EXPLAINED" not in TABLE
    with (ROOT / "benchmarks" / "mutation_survivors.csv").open(newline="") as stream:
        assert all(row["why"] for row in csv.DictReader(stream))


def test_the_counts_add_up():
    rows = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][1:]
    counts = {name: [int(count.replace(",", "")) for count in rest] for name, *rest in rows}
    whole = counts.pop("all")
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == whole
    assert all(tried == killed + left and tried <= made for made, tried, killed, left in counts.values())
    assert TABLE.count("```text") == whole[3]
