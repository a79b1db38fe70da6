"""The command line: parsing and printing only.

Exit codes: 0 done, 1 the machine or the network failed, 2 the input is wrong.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

import morphobench
from morphobench.errors import BadInput, MorphoBenchError
from morphobench.schema import Report, Score

if TYPE_CHECKING:
    from morphobench.comparison import Comparison


class Interrupted(MorphoBenchError):
    """Ctrl-C."""


class Commands(TyperGroup):
    """The commands; Ctrl-C in one of them is an expected failure, which click would call `Aborted!`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; complete files are kept, nothing is half-written") from error


app = typer.Typer(
    name="morphobench",
    cls=Commands,
    help="Benchmark of generative cell morphology: does a model draw what a drug does to cells?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
submission_app = typer.Typer(help="Start, check and pack generated images for scoring.", no_args_is_help=True)
data_app = typer.Typer(help="Build, check and describe the tiers.", no_args_is_help=True)
leaderboard_app = typer.Typer(help="Results and the board made from them.", no_args_is_help=True)
app.add_typer(submission_app, name="submission")
app.add_typer(data_app, name="data")
app.add_typer(leaderboard_app, name="leaderboard")

WIDTH = 132

MACHINE_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO, errno.ENAMETOOLONG,
}  # fmt: skip
"""What a disk or its owner may answer; any other OSError is a defect of ours and keeps its traceback."""

TierName = Annotated[str, typer.Option("--tier", help="Data set and protocol to score on.")]
EngineName = Annotated[
    Literal["builtin", "cellprofiler", "cellprofiler-memory"],
    typer.Option(help="What segments the images; CellProfiler: docs/precision.md."),
]
TrackNames = Annotated[
    list[str] | None, typer.Option("--track", help="Only this track; repeat. The tier's default ones if none.")
]


def main() -> None:
    """Run the command line; every expected failure is one line on stderr."""
    try:
        app(prog_name="morphobench")
    except MorphoBenchError as error:
        sys.exit(_say(str(error), error.exit_code))
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        sys.exit(_say(f"{error.filename or 'disk'}: {error.strerror}; free some space or choose another folder", 1))


def _say(message: str, code: int) -> int:
    print(f"morphobench: {' '.join(message.split())}", file=sys.stderr)
    return code


def _version(wanted: bool) -> None:
    if wanted:
        print(morphobench.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="An installed model, e.g. trident; it generates, then is scored.")
    ] = None,
    submission: Annotated[Path | None, typer.Option(help="A submission folder or zip to score instead.")] = None,
    tier: TierName = "sim",
    track: TrackNames = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the submission and the report. Default: runs/TIER/NAME.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generation.")] = 0,
    device: Annotated[str, typer.Option(help="torch device of models and extractors.")] = "cpu",
    extractor: Annotated[
        list[str] | None,
        typer.Option(help="Score with these features too: inception (genuine FID), timm:NAME. Repeat for several."),
    ] = None,
    embedding: Annotated[
        str | None, typer.Option(help="Extractor of separability and maps instead of the tier's.")
    ] = None,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: local weights of an extractor.")] = None,
    engine: EngineName = "builtin",
    enrich: Annotated[
        list[str] | None, typer.Option(help="Report the gene sets of this compound too, beside docetaxel's; repeat.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Score a model or a submission; leaves report.json and report.html."""
    from morphobench import run

    request = run.Request(
        model=model, submission=submission, tier=tier, tracks=tuple(track or ()), out=out, seed=seed, device=device,
        extractors=tuple(extractor or ()), embedding=embedding, weights=_weights(weights or []), engine=engine,
        enrich=tuple(enrich or ()),
    )  # fmt: skip
    report, folder = run.run(request)
    if as_json:
        print(report.model_dump_json(indent=1))
        return
    # A pipe has no width of its own, and 80 columns fold the table.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for name in dict.fromkeys(score.track for score in report.scores):
        console.print(_table(report, name))
    for note in report.notes:
        console.print(f"note: {escape(note)}", style="yellow", highlight=False)
    console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


@app.command()
def compare(
    submission: Annotated[
        list[Path] | None, typer.Option(help="A submission folder or zip; twice, or once beside a --model.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="An installed model, which generates first.")] = None,
    tier: TierName = "sim",
    track: TrackNames = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what models generate. Default: runs/TIER, as `evaluate`.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generation.")] = 0,
    device: Annotated[str, typer.Option(help="torch device of models and extractors.")] = "cpu",
    extractor: Annotated[list[str] | None, typer.Option(help="Score with these features too; repeat.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Extractor of separability instead of the tier's.")] = None,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: local weights of an extractor.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")] = False,
) -> None:
    """Compare two submissions score by score, with paired 95% intervals. A is the first model, or submission."""
    from morphobench import comparison

    sides = [*(model or ()), *(submission or ())]
    if len(sides) != 2:
        raise BadInput(f"give two of --submission PATH and --model NAME, not {len(sides)}")
    found = comparison.compare(
        sides[0], sides[1], tier=tier, tracks=track or (), folder=out, seed=seed, device=device,
        extractors=extractor or (), embedding=embedding, weights=_weights(weights or []),
    )  # fmt: skip
    if as_json:
        print(found.as_json())
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for name in dict.fromkeys(row.track for row in found.differences):
        console.print(_difference_table(found, name))
    console.print(f"{found.replicates:,} draws of compounds and plates, the same for both.", highlight=False)


@submission_app.command("new")
def submission_new(
    folder: Path,
    tier: TierName = "sim",
    track: TrackNames = None,
    swaps: Annotated[
        bool, typer.Option("--swaps", help="Ask for swapped conditions too: is the drug used, is the RNA?")
    ] = False,
) -> None:
    """Write submission.toml to fill in, and the conditions every image must answer."""
    from morphobench.datasets import load_tier
    from morphobench.ingest.submission import new_submission

    new_submission(folder, load_tier(tier), track or (), swaps)
    print(
        f"{folder}: fill in submission.toml, write the images that conditions.csv names, "
        "then `morphobench submission validate`"
    )


@submission_app.command("validate")
def submission_validate(path: Path, tier: TierName = "sim", track: TrackNames = None) -> None:
    """Check a folder or zip: every condition answered, nothing else, every image readable."""
    from morphobench.datasets import load_tier
    from morphobench.ingest.submission import open_submission

    opened = open_submission(path, load_tier(tier), track)
    images = sum(len(track) for track in opened.images.values())
    predicted = "with" if opened.expression else "without"
    swapped = sum(len(images) for images in opened.swapped.values())
    asked = f"{swapped:,} of swapped conditions, " if swapped else ""
    print(f"{path}: valid; {images:,} images in {len(opened.images)} tracks, {asked}{predicted} predicted expression")


@submission_app.command("pack")
def submission_pack(folder: Path, out: Path, tier: TierName = "sim", track: TrackNames = None) -> None:
    """Check a folder and write it as one zip."""
    from morphobench.datasets import load_tier
    from morphobench.ingest.submission import pack_submission

    packed = pack_submission(folder, out, load_tier(tier), track)
    print(f"{packed}: {packed.stat().st_size / 2**20:.1f} MiB")


@data_app.command("build")
def data_build(
    name: Annotated[str, typer.Argument(help="A tier to build: morphogene or morphogene-paper.")],
    images: Annotated[Path | None, typer.Option(help="Folder with BBBC021's tables and plate zips or folders.")] = None,
    l1000: Annotated[Path | None, typer.Option(help="Folder with L1000 GCTX or GCT files.")] = None,
    compounds: Annotated[list[str] | None, typer.Option(help="Only these compounds, and vehicle; repeat.")] = None,
    plates: Annotated[list[str] | None, typer.Option(help="Only these plates; repeat.")] = None,
    cell: Annotated[str, typer.Option(help="Cell line of the L1000 profiles.")] = "MCF7",
    hours: Annotated[float, typer.Option(min=0, help="Hours of treatment of the L1000 profiles.")] = 24.0,
    matching: Annotated[
        Literal["structure", "name"], typer.Option(help="How L1000's compounds are found: docs/l1000.md.")
    ] = "structure",
    dose: Annotated[float | None, typer.Option(min=0, help="uM: only the wells nearest to it. [default: all]")] = None,
    download: Annotated[
        Path | None, typer.Option(help="Folder that downloads go to. Default: downloads in the cache folder.")
    ] = None,
    l1000_source: Annotated[
        str | None,
        typer.Option(
            help="L1000 to download: gse92742 (a packed matrix, 65 GB once unpacked) or lincs2020 (98 GB). "
            "[default: lincs2020]"
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Files to download at a time.")] = 4,
) -> None:
    """Build a tier, downloading what --images and --l1000 do not give; a stopped build goes on where it was."""
    from morphobench.datasets.build import build
    from morphobench.datasets.sources import Fetcher, download_folder, load_catalogue

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    built = build(
        name, images, l1000, plates=plates, compounds=compounds, cell=cell, hours=hours, matching=matching,
        dose=dose, progress=progress,
        fetcher=Fetcher(download or download_folder(), load_catalogue(), jobs, progress), l1000_source=l1000_source,
    )  # fmt: skip
    print(built)


@data_app.command("info")
def data_info(
    tier: TierName = "sim",
    track: Annotated[
        list[str] | None, typer.Option(help="List each held-out compound of this track with its distance; repeat.")
    ] = None,
) -> None:
    """Describe a tier: images per split and track, distances to training, copies in training, protocol, licence.

    A tier that is not built here is described from its frozen tables.
    """
    from morphobench.datasets import BUILT, load_tier
    from morphobench.datasets.built import load_frozen
    from morphobench.datasets.describe import describe, describe_track, distance_table
    from morphobench.errors import Unavailable

    try:
        loaded = load_tier(tier)
    except Unavailable:
        if tier not in BUILT:
            raise
        loaded = load_frozen(tier)
        print("not built on this machine: this is the whole tier as it is frozen, and the hash is that of its table")
    for name in track or ():
        print("\n".join(describe_track(loaded, name)))
        print(distance_table(loaded, name))
    if not track:
        print("\n".join(describe(loaded)))


@data_app.command("path")
def data_path(tier: TierName = "sim") -> None:
    """Print the folder that holds a tier's files, damaged or not."""
    from morphobench.datasets import BUILT, built, load_tier

    print(built.where(tier) if tier in BUILT else load_tier(tier).folder)


@data_app.command("truth")
def data_truth(
    out: Annotated[Path, typer.Option(help="New folder for the tables.")],
    tier: TierName = "sim",
) -> None:
    """Write the truth of every SIMULATED sample: pathway activities, parameters, cells, noiseless expression."""
    from rich.progress import Progress

    from morphobench.datasets import load_tier
    from morphobench.datasets.simulate.truth import write_truth

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Truth of SIMULATED samples", total=None)
        write_truth(load_tier(tier), out, lambda done, total: bar.update(task, completed=done, total=total))
    print(out)


@data_app.command("verify")
def data_verify(
    tier: TierName = "sim",
    download: Annotated[
        Path | None, typer.Option(help="Hash every file of this download folder again as well.")
    ] = None,
) -> None:
    """Check every file of a tier against its SHA256SUMS."""
    from morphobench.datasets import BUILT, arrivals, built, load_tier
    from morphobench.storage import verify_sums

    count = built.verify(tier) if tier in BUILT else len(verify_sums(load_tier(tier).folder))
    print(f"{tier}: {count:,} files as recorded")
    if download is not None:
        print(f"{download}: {arrivals.verify(download):,} files as they first arrived")


@data_app.command("controls")
def data_controls(
    tier: TierName = "sim",
    track: TrackNames = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the controls' submissions. Default: runs/TIER.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the controls' draws.")] = 0,
    extractor: Annotated[list[str] | None, typer.Option(help="Score with these features too; repeat.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Extractor of separability instead of the tier's.")] = None,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: local weights of an extractor.")] = None,
    engine: EngineName = "builtin",
    device: Annotated[str, typer.Option(help="torch device of the extractors.")] = "cpu",
) -> None:
    """Score the controls of a tier: the floors and scales that every report of it shows."""
    from morphobench import run

    request = run.Request(
        tier=tier, tracks=tuple(track or ()), out=out, seed=seed, device=device, extractors=tuple(extractor or ()),
        embedding=embedding, weights=_weights(weights or []), engine=engine,
    )  # fmt: skip
    print(run.run_controls(request))


@data_app.command("export")
def data_export(
    format_: Annotated[str, typer.Option("--format", help="png, zarr, profiles, cell-profiles, anndata or croissant.")],
    out: Annotated[Path, typer.Option(help="New folder to write; an earlier export there is replaced.")],
    tier: TierName = "sim",
    split: Annotated[list[str] | None, typer.Option(help="Only this split; repeat for several.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first samples of each split.")] = None,
) -> None:
    """Write a tier in the shape another tool reads: images, profiles, AnnData, or files described by Croissant."""
    from morphobench.datasets import load_tier
    from morphobench.export import export

    count = export(load_tier(tier), format_, out, split or (), limit)
    print(f"{out}: {count:,} samples as {format_}")


@leaderboard_app.command("build")
def leaderboard_build(
    root: Annotated[Path, typer.Option(help="Folder of the boards.")] = Path("leaderboards"),
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if the board differs from the results.")
    ] = False,
) -> None:
    """Make every board again from its results."""
    from morphobench.leaderboard.board import build

    for name in build(root, check=check):
        print(f"{name}: as the results give" if check else name)


@leaderboard_app.command("add")
def leaderboard_add(
    report: Annotated[Path, typer.Argument(help="A report.json made by `morphobench evaluate`.")],
    root: Annotated[Path, typer.Option(help="Folder of the boards.")] = Path("leaderboards"),
) -> None:
    """File a report among the results of its tier."""
    from morphobench.leaderboard.results import add_result, read_result

    if not report.is_file():
        raise BadInput(f"{report}: not a file; give the report.json that `morphobench evaluate` left")
    print(add_result(read_result(report), root))


def _weights(pairs: list[str]) -> dict[str, Path]:
    found = {}
    for pair in pairs:
        name, separator, path = pair.partition("=")
        if not separator:
            raise BadInput(f"--weights {pair!r}: give NAME=FILE, for example inception=weights.pth")
        if not Path(path).is_file():
            raise BadInput(f"--weights {pair!r}: {path} is not a file")
        found[name] = Path(path)
    return found


def _table(report: Report, track: str) -> Table:
    simulated = "SIMULATED " if report.simulated else ""
    table = Table(title=f"{escape(report.submission.name)} on {simulated}{report.tier} / {track}", title_justify="left")
    for heading in ("score", "better", "value", "95% interval", "N", "real replicates", "vehicle", "scaled"):
        # A key that does not fit is folded: cut, it would name another score.
        table.add_column(heading, justify="left" if heading in ("score", "better") else "right", overflow="fold")
    for score in report.scores:
        if score.track == track:
            # Keys hold brackets, which rich would read as markup.
            table.add_row(*map(escape, _row(score)))
    return table


def _difference_table(found: Comparison, track: str) -> Table:
    simulated = "SIMULATED " if found.simulated else ""
    a, b = (f"{side.name} {side.version}" for side in (found.a, found.b))
    title = f"A {a}, B {b} on {simulated}{found.tier} / {track}"
    table = Table(title=escape(title), title_justify="left")
    for heading in ("score", "A", "B", "A - B", "95% interval", "in words"):
        table.add_column(heading, justify="left" if heading in ("score", "in words") else "right", overflow="fold")
    for row in found.differences:
        if row.track == track:
            interval = f"{row.interval[0]:.4g} to {row.interval[1]:.4g}" if row.interval else "-"
            words = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
            numbers = (_number(row.a), _number(row.b), _number(row.difference))
            table.add_row(*map(escape, (row.key, *numbers, interval, words)))
    return table


def _row(score: Score) -> list[str]:
    better = {"min": "lower", "max": "higher", "target": f"{score.target}", "none": "-"}[score.direction]
    if score.value is None:
        return [score.key, better, "absent", score.reason, str(score.n), "", "", ""]
    interval = f"{score.interval[0]:.4g} to {score.interval[1]:.4g}" if score.interval else "-"
    return [
        score.key, better, f"{score.value:.4g}", interval, str(score.n), _number(score.floor),
        _number(score.controls.get("vehicle")), _number(score.scaled),
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
