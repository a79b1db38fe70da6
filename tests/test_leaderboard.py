"""The board follows from the results alone, byte for byte, and refuses a result that does not fit."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from synthetic_report import manifest, report
from test_report import Page, loads, score

from morphobench.errors import BadInput
from morphobench.leaderboard.board import build, markdown
from morphobench.leaderboard.ranking import CONTROL_GROUP, rank_metric, rank_track
from morphobench.leaderboard.results import add_result, read_result, read_results
from morphobench.metrics import METRICS
from morphobench.schema import Report

SHIPPED = Path(__file__).parents[1] / "leaderboards/sim/results"
BOARD = ["sim/README.md", "sim/leaderboard.csv", "sim/site/index.html"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A leaderboards folder with three submissions, far apart, and two controls."""
    for seed, (name, group, quality) in enumerate(
        [
            ("weak", "other-lab", 0.1),
            ("strong", "morphobench", 0.9),
            ("middle", "other-lab", 0.5),
            ("vehicle", CONTROL_GROUP, 0.0),
            ("real-replicates", CONTROL_GROUP, 1.0),
        ]
    ):
        add_result(report(manifest(name, group), quality=quality, seed=seed), tmp_path)
    return tmp_path


def result(root: Path) -> Path:
    return root / "sim/results/other-lab__weak/0.1.0.json"


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refused(root: Path, *words: str) -> None:
    """`build` refuses in one line that has these words, and leaves no board."""
    with pytest.raises(BadInput) as caught:
        build(root)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not (root / "sim/README.md").exists()


def test_build_then_check_agree_and_the_bytes_repeat(root: Path) -> None:
    assert build(root) == BOARD
    first = [(root / name).read_bytes() for name in BOARD]
    assert build(root, check=True) == BOARD
    build(root)
    assert [(root / name).read_bytes() for name in BOARD] == first


@pytest.mark.parametrize("name", BOARD)
def test_check_names_the_drifted_file_and_writes_nothing(root: Path, name: str) -> None:
    build(root)
    path = root / name
    path.write_text(path.read_text() + "\n")
    before = path.read_bytes()
    with pytest.raises(BadInput, match=name.replace(".", r"\.")) as caught:
        build(root, check=True)
    assert [other for other in BOARD if other in str(caught.value)] == [name]
    assert path.read_bytes() == before


def test_check_of_a_board_never_built_names_all_files(root: Path) -> None:
    with pytest.raises(BadInput) as caught:
        build(root, check=True)
    assert all(name in str(caught.value) for name in BOARD)
    assert not (root / "sim/site").exists()


def test_check_sees_a_new_result(root: Path) -> None:
    build(root)
    add_result(report(manifest("late", "other-lab"), quality=0.7, seed=9), root)
    with pytest.raises(BadInput):
        build(root, check=True)


def test_order_and_places(root: Path) -> None:
    rows = rank_track(read_results(root, "sim"), "id")
    assert [(row.report.submission.name, row.place) for row in rows] == [
        ("strong", 1), ("middle", 2), ("weak", 3), ("real-replicates", None), ("vehicle", None),
    ]  # fmt: skip
    assert rows[0].images == rows[0].expression == 1.0
    assert "inception_score" not in rows[0].ranks
    assert "fid" not in rows[0].ranks


def committed(control: str, **values: float) -> Report:
    """A control's committed report as that of an outside group, with these values of the `id` track in its own."""
    (path,) = (SHIPPED / f"{CONTROL_GROUP}__{control}").glob("*.json")
    made = read_result(path)
    scores = tuple(
        s.model_copy(update={"value": values[s.key], "interval": None}) if s.track == "id" and s.key in values else s
        for s in made.scores
    )
    return made.model_copy(
        update={"submission": made.submission.model_copy(update={"group": "other-lab"}), "scores": scores}
    )


def test_a_submission_that_copies_is_shown_with_the_reason_and_takes_no_place_and_no_ranks(tmp_path: Path) -> None:
    """Real images handed in as a model's win; the same, told to be training images, have no place and rank nobody."""
    (path,) = (SHIPPED / "morphobench__trident").glob("*.json")
    trident = read_result(path)
    honest, copycat, repeated = (
        committed("real-replicates"),
        committed("real-replicates", train_copies=1.0),
        "mean-image",
    )
    assert [(row.report.submission.name, row.place) for row in rank_track([trident, honest], "id")] == [
        ("real-replicates", 1), ("trident", 2),
    ]  # fmt: skip
    rows = rank_track([copycat, trident, committed(repeated)], "id")
    assert [(row.report.submission.name, row.place) for row in rows] == [
        ("trident", 1), ("mean-image", None), ("real-replicates", None),
    ]  # fmt: skip
    assert rows[1].unplaced == "100% of its images are repeated; at most 5% may be"
    assert rows[2].unplaced == "100% of its images are copies of training images; at most 5% may be"
    assert not rows[2].ranks
    assert set(rows[0].ranks.values()) == {1}
    # Each track for itself: on the other one the report says 0 copies.
    assert [row.place for row in rank_track([copycat, trident], "ood")] == [1, 2]
    for made in (copycat, trident):
        add_result(made, tmp_path)
    build(tmp_path)
    table = (tmp_path / "sim/README.md").read_text()
    assert "| not placed | real-replicates" in table
    assert "(not placed: 100% of its images are copies of training images; at most 5% may be)" in table
    assert "<b>Not placed:</b> 100% of its images are copies" in (tmp_path / "sim/site/index.html").read_text()
    lines = csv.DictReader(io.StringIO((tmp_path / "sim/leaderboard.csv").read_text()))
    found = {(row["track"], row["submission"]): (row["place"], row["control"], row["unplaced"][:4]) for row in lines}
    assert found[("id", "real-replicates")] == ("", "False", "100%")
    assert found[("id", "trident")] == ("1", "False", "")


def test_the_limit_itself_has_a_place() -> None:
    at, over = (committed("real-replicates", train_copies=share) for share in (0.05, 0.0501))
    assert [row.place for row in rank_track([at], "id")] == [1]
    assert [row.place for row in rank_track([over], "id")] == [None]


def silent(made: Report, reason: str | None = None) -> Report:
    """The same without a value of `train_copies`: no such score, or one that has the reason."""
    kept = tuple(
        s.model_copy(update={"value": None, "interval": None, "reason": reason}) if s.key == "train_copies" else s
        for s in made.scores
        if s.key != "train_copies" or reason is not None
    )
    return made.model_copy(update={"scores": kept})


def named(name: str, made: Report) -> Report:
    return made.model_copy(update={"submission": made.submission.model_copy(update={"name": name})})


def test_silence_on_copies_costs_a_place_only_where_controls_or_most_submissions_tell() -> None:
    (path,) = (SHIPPED / "morphobench__trident").glob("*.json")
    (anchor,) = (SHIPPED / f"{CONTROL_GROUP}__vehicle").glob("*.json")
    trident, control = (read_result(file) for file in (path, anchor))
    newcomer = named("newcomer", trident)

    def unplaced(*reports: Report) -> dict[str, str]:
        return {row.report.submission.name: row.unplaced for row in rank_track(list(reports), "id") if row.unplaced}

    without = {"trident": "its report does not say how many of its images are copies of training images"}
    assert unplaced(silent(trident)) == {}, "a tier on which nobody can tell"
    assert unplaced(silent(trident), newcomer) == {}, "one report unplaces nobody"
    assert unplaced(silent(trident), newcomer, silent(control)) == {}
    assert unplaced(silent(trident), newcomer, named("third", trident)) == without, "two of three"
    assert unplaced(silent(trident), newcomer, control) == without
    assert unplaced(silent(trident), control) == without
    # A score that says why it has no value is no silence; one that says nothing is.
    assert unplaced(silent(trident, "test images are training images"), newcomer, control) == {}
    assert unplaced(silent(trident, ""), newcomer, control) == without


def test_overlapping_intervals_tie_and_the_next_rank_counts_them() -> None:
    assert rank_metric([score(5.0), score(5.5), score(20.0)]) == [1, 1, 3]
    assert rank_metric([score(5.0, direction="max"), score(9.0, direction="max")]) == [2, 1]
    # a chain: the ends differ, the middle overlaps both
    assert rank_metric([score(1.0), score(2.5), score(4.0)]) == [1, 1, 2]


def test_missing_values_come_last_and_unranked_metrics_have_no_rank() -> None:
    assert rank_metric([score(None), score(5.0), score(9.0)]) == [3, 1, 2]
    assert rank_metric([score(5.0, direction="none"), score(9.0, direction="none")]) == [None, None]


def test_a_wide_interval_lifts_nobody_over_a_better_value() -> None:
    assert rank_metric([score(1.0, half=0.1), score(2.0, half=0.1), score(3.0, half=5.0)]) == [1, 2, 2]
    assert rank_metric([score(9.0, half=20, direction="max"), score(1.0, direction="max")]) == [1, 1]
    # an equal value with a narrow interval is not a better one
    assert rank_metric([score(1.0, half=0.1), score(2.0, half=0.1), score(2.0, half=5.0)]) == [1, 2, 1]


def test_a_missing_interval_never_wins() -> None:
    """It beats nobody, and does not shield its own value."""
    assert rank_metric([score(1.0, interval=None), score(9.0)]) == [1, 1]
    assert rank_metric([score(1.0, half=0.5), score(2.0, interval=None)]) == [1, 2]
    assert rank_metric([score(1.0, half=0.5), score(1.6, half=0.5), score(1.6, interval=None)]) == [1, 1, 2]
    assert rank_metric([score(1.0, interval=None), score(9.0, interval=None)]) == [None, None]


def test_frechet_distances_are_shown_and_not_ranked() -> None:
    rows = rank_track([report(manifest("a", "lab"), quality=0.9), report(manifest("b", "lab"), quality=0.2)], "id")
    assert all("fd[efficientnet_lite0]" in row.scores for row in rows)
    assert all("fd[efficientnet_lite0]" not in row.ranks for row in rows)
    assert all("kd[efficientnet_lite0]" in row.ranks for row in rows)


def test_a_metric_that_one_submission_lacks_ranks_nobody() -> None:
    both = report(manifest("a", "lab"), quality=0.9)
    fewer = report(manifest("b", "lab"), quality=0.2)
    fewer = fewer.model_copy(update={"scores": tuple(s for s in fewer.scores if not s.key.startswith("kd["))})
    rows = rank_track([both, fewer], "id")
    assert all("kd[efficientnet_lite0]" not in row.ranks for row in rows)
    assert all("lda_separability" in row.ranks for row in rows)


def test_images_without_expression_lose_no_place() -> None:
    full = report(manifest("a", "lab"), quality=0.5)
    images = report(manifest("b", "lab"), quality=0.9)
    images = images.model_copy(update={"scores": tuple(s for s in images.scores if not s.key.startswith("lfc"))})
    first, second = rank_track([full, images], "id")
    assert (first.report.submission.name, first.place, second.place) == ("b", 1, 2)
    assert first.expression is None


def test_csv_is_tidy_and_exact(root: Path) -> None:
    build(root)
    rows = list(csv.DictReader(io.StringIO((root / "sim/leaderboard.csv").read_text())))
    reports = {r.submission.name: r for r in read_results(root, "sim")}
    assert len(rows) == sum(len(r.scores) for r in reports.values())
    for row in rows:
        found = next(s for s in reports[row["submission"]].scores if (s.track, s.key) == (row["track"], row["metric"]))
        assert (float(row["value"]) if row["value"] else None) == found.value
        assert (float(row["low"]), float(row["high"])) == found.interval if found.interval else row["low"] == ""


def test_site_is_well_formed_and_loads_nothing(root: Path) -> None:
    build(root)
    html = (root / "sim/site/index.html").read_text()
    page = Page(html)
    assert loads(page) == []
    assert "url(" not in html
    assert html.index("SIMULATED") < html.index("<header>")
    assert "SIMULATED" in (root / "sim/README.md").read_text()


def test_hostile_text_is_escaped(root: Path) -> None:
    attack = "</td><script>alert(1)</script> | [x](javascript:y) `"
    submission = manifest("attack", "lab", method=attack, code="javascript:alert(1)", paper='https://a.org/"onclick="x')
    made = report(submission, quality=0.3)
    scores = tuple(s.model_copy(update={"reason": attack}) if s.value is None else s for s in made.scores)
    add_result(made.model_copy(update={"scores": scores}), root)
    build(root)
    html = (root / "sim/site/index.html").read_text()
    assert sum(tag == "script" for tag, _ in Page(html).tags) == 1
    assert "javascript:" not in "".join(str(a.get("href")) for _, a in Page(html).tags)
    assert not any("onclick" in a for _, a in Page(html).tags)
    text = (root / "sim/README.md").read_text()
    assert "<script" not in text.replace(r"\<script", "")
    assert markdown("a|b\n<c>") == r"a\|b \<c\>"


def test_markdown_rows_have_one_cell_per_column(root: Path) -> None:
    build(root)
    tables: list[list[str]] = [[]]
    for line in (root / "sim/README.md").read_text().splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    filled = [table for table in tables if table]
    assert len(filled) == 4
    for table in filled:
        assert len({row.strip().count("|") for row in table}) == 1


def test_add_result_replaces_the_same_submission_only(root: Path) -> None:
    again = report(manifest("weak", "other-lab"), quality=0.3)
    path = add_result(again, root)
    assert path == result(root)
    assert Report.model_validate_json(path.read_bytes()) == again
    # "other-lab" + "x__y" and "other-lab__x" + "y" would share a folder
    add_result(report(manifest("x__y", "other-lab")), root)
    with pytest.raises(BadInput, match="another group or model name"):
        add_result(report(manifest("y", "other-lab__x")), root)


def test_add_result_refuses_another_split(root: Path) -> None:
    with pytest.raises(BadInput, match="split_sha256"):
        add_result(report(manifest("new", "lab", split_sha256="6" * 64)), root)
    assert not (root / "sim/results/lab__new").exists()


def test_unknown_key_is_refused(root: Path) -> None:
    edit(result(root), bonus=1)
    refused(root, "other-lab__weak/0.1.0.json", "bonus")


def test_missing_and_wrong_fields_are_refused(root: Path) -> None:
    edit(result(root), scores=[{"key": "fid", "metric": "fd"}])
    refused(root, "other-lab__weak/0.1.0.json", "scores.0.version")


@pytest.mark.parametrize("text", ["", "not json", "{", "[]", "\xff", '{"seed": NaN}'])
def test_a_file_that_is_no_report_is_refused(root: Path, text: str) -> None:
    result(root).write_bytes(text.encode("latin-1"))
    refused(root, "other-lab__weak/0.1.0.json")


def test_file_name_must_be_the_manifest(root: Path) -> None:
    result(root).rename(result(root).with_name("9.9.json"))
    refused(root, "9.9.json", "rename")


def test_another_split_hash_is_refused(root: Path) -> None:
    made = json.loads(result(root).read_text())
    made["submission"]["split_sha256"] = made["split_sha256"] = "6" * 64
    result(root).write_text(json.dumps(made))
    refused(root, "split_sha256")


def test_report_and_manifest_must_agree(root: Path) -> None:
    edit(result(root), split_sha256="6" * 64)
    refused(root, "other-lab__weak/0.1.0.json", "split_sha256")


def test_scores_of_another_version_than_the_words_of_the_board_are_refused(root: Path) -> None:
    made = json.loads(result(root).read_text())
    (row,) = (s for s in made["scores"] if s["key"] == "area_occupied_shift[cells]" and s["track"] == "id")
    assert row["version"] == METRICS["area_occupied_shift[cells]"].version == 2
    row["version"] = 1
    result(root).write_text(json.dumps(made))
    words = "other-lab__weak/0.1.0.json", "area_occupied_shift[cells] (id) is version 1", "version 2; score it again"
    refused(root, *words)
    old, before = Report.model_validate(made), sorted(root.rglob("*"))
    with pytest.raises(BadInput, match="score it again") as caught:
        add_result(old, root)
    assert all(word in str(caught.value) for word in words)
    # The old row is named, not the one that is added.
    with pytest.raises(BadInput, match=r"other-lab__weak.*score it again"):
        add_result(report(manifest("new", "lab")), root)
    assert sorted(root.rglob("*")) == before


def test_a_key_of_no_row_needs_one_version_among_the_rows(root: Path) -> None:
    for path, version in zip(sorted((root / "sim/results").rglob("*.json")), (1, 1, 1, 1, 2), strict=True):
        made = json.loads(path.read_text())
        made["scores"][0] |= {"key": "of_another_release", "metric": "of_another_release", "version": version}
        path.write_text(json.dumps(made))
    refused(root, "of_another_release is version 2", "other rows have 1")


def test_a_repeated_score_is_refused(root: Path) -> None:
    made = json.loads(result(root).read_text())
    made["scores"][0] = made["scores"][1]
    result(root).write_text(json.dumps(made))
    refused(root, "twice")


def test_stray_files_and_links_are_refused(root: Path) -> None:
    stray = result(root).with_name("notes.txt")
    stray.write_text("hello")
    refused(root, "notes.txt")
    stray.unlink()
    stray.with_suffix(".json").symlink_to(result(root))
    refused(root, "a link")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        build(tmp_path / "nowhere")
    assert build(tmp_path) == []
