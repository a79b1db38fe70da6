"""Commands on the data of a tier: build, info, path, truth, verify, controls, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from morphobench.cli.options import (
    DeviceName,
    EmbeddingName,
    EngineName,
    GenerationSeed,
    MoreExtractors,
    TierName,
    TrackNames,
    WeightFiles,
    local_weights,
)
from morphobench.request import DEFAULT_TIER, Request

app = typer.Typer(help="Build, check and describe the tiers.", no_args_is_help=True)


@app.command("build")
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
    from morphobench.datasets.downloads.sources import Fetcher, download_folder, load_catalogue
    from morphobench.datasets.morphogene.build import build

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    built = build(
        name, images, l1000, plates=plates, compounds=compounds, cell=cell, hours=hours, matching=matching,
        dose=dose, progress=progress,
        fetcher=Fetcher(download or download_folder(), load_catalogue(), jobs, progress), l1000_source=l1000_source,
    )  # fmt: skip
    print(built)


@app.command("info")
def data_info(
    tier: TierName = DEFAULT_TIER,
    track: Annotated[
        list[str] | None, typer.Option(help="List each held-out compound of this track with its distance; repeat.")
    ] = None,
) -> None:
    """Describe a tier: images per split and track, distances to training, copies in training, protocol, licence.

    A tier that is not built here is described from its frozen tables.
    """
    from morphobench.datasets import BUILT, load_tier
    from morphobench.datasets.describe import describe, describe_track, distance_table
    from morphobench.datasets.morphogene.folder import load_frozen
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


@app.command("path")
def data_path(tier: TierName = DEFAULT_TIER) -> None:
    """Print the folder that holds a tier's files, damaged or not."""
    from morphobench.datasets import BUILT, load_tier
    from morphobench.datasets.morphogene import folder

    print(folder.where(tier) if tier in BUILT else load_tier(tier).folder)


@app.command("truth")
def data_truth(
    out: Annotated[Path, typer.Option(help="New folder for the tables.")],
    tier: TierName = DEFAULT_TIER,
) -> None:
    """Write the truth of every SIMULATED sample: pathway activities, parameters, cells, noiseless expression."""
    from rich.progress import Progress

    from morphobench.datasets import load_tier
    from morphobench.datasets.simulate.truth import write_truth

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Truth of SIMULATED samples", total=None)
        write_truth(load_tier(tier), out, lambda done, total: bar.update(task, completed=done, total=total))
    print(out)


@app.command("verify")
def data_verify(
    tier: TierName = DEFAULT_TIER,
    download: Annotated[
        Path | None, typer.Option(help="Hash every file of this download folder again as well.")
    ] = None,
) -> None:
    """Check every file of a tier against its SHA256SUMS."""
    from morphobench.datasets import BUILT, load_tier
    from morphobench.datasets.downloads import arrivals
    from morphobench.datasets.morphogene import folder
    from morphobench.storage import verify_sums

    count = folder.verify(tier) if tier in BUILT else len(verify_sums(load_tier(tier).folder))
    print(f"{tier}: {count:,} files as recorded")
    if download is not None:
        print(f"{download}: {arrivals.verify(download):,} files as they first arrived")


@app.command("controls")
def data_controls(
    tier: TierName = DEFAULT_TIER,
    track: TrackNames = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the controls' submissions. Default: runs/TIER.")
    ] = Request.out,
    seed: GenerationSeed = Request.seed,
    device: DeviceName = Request.device,
    extractor: MoreExtractors = None,
    embedding: EmbeddingName = Request.embedding,
    weights: WeightFiles = None,
    engine: EngineName = Request.engine,
) -> None:
    """Score the controls of a tier: the floors and scales that every report of it shows."""
    from morphobench import run

    request = Request(
        tier=tier, tracks=track or (), out=out, seed=seed, device=device, extractors=extractor or (),
        embedding=embedding, weights=local_weights(weights), engine=engine,
    )  # fmt: skip
    print(run.run_controls(request))


@app.command("export")
def data_export(
    format_: Annotated[str, typer.Option("--format", help="png, zarr, profiles, cell-profiles, anndata or croissant.")],
    out: Annotated[Path, typer.Option(help="New folder to write; an earlier export there is replaced.")],
    tier: TierName = DEFAULT_TIER,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; repeat for several.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first samples of each split.")] = None,
) -> None:
    """Write a tier in the shape another tool reads: images, profiles, AnnData, or files described by Croissant."""
    from morphobench.datasets import load_tier
    from morphobench.export import export

    count = export(load_tier(tier), format_, out, split or (), limit)
    print(f"{out}: {count:,} samples as {format_}")
