"""Commands that score: evaluate and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

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
from morphobench.cli.tables import difference_table, score_table, wide_console
from morphobench.errors import BadInput
from morphobench.request import DEFAULT_TIER, Request


def evaluate(
    model: Annotated[
        str | None, typer.Option(help="An installed model, e.g. trident; it generates, then is scored.")
    ] = None,
    submission: Annotated[Path | None, typer.Option(help="A submission folder or zip to score instead.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Your own weights of the model: a file, or the folder of a training run.")
    ] = Request.checkpoint,
    tier: TierName = DEFAULT_TIER,
    track: TrackNames = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the submission and the report. Default: runs/TIER/NAME.")
    ] = Request.out,
    seed: GenerationSeed = Request.seed,
    device: DeviceName = Request.device,
    extractor: MoreExtractors = None,
    embedding: EmbeddingName = Request.embedding,
    weights: WeightFiles = None,
    engine: EngineName = Request.engine,
    enrich: Annotated[
        list[str] | None, typer.Option(help="Report the gene sets of this compound too, beside docetaxel's; repeat.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Score a model or a submission; leaves report.json and report.html."""
    from morphobench import run

    request = Request(
        model=model, submission=submission, checkpoint=checkpoint, tier=tier, tracks=track or (), out=out,
        seed=seed, device=device, extractors=extractor or (), embedding=embedding,
        weights=local_weights(weights), engine=engine, enrich=enrich or (),
    )  # fmt: skip
    report, folder = run.run(request)
    if as_json:
        print(report.model_dump_json(indent=1))
        return
    console = wide_console()
    for name in dict.fromkeys(score.track for score in report.scores):
        console.print(score_table(report, name))
    for note in report.notes:
        console.print(f"note: {escape(note)}", style="yellow", highlight=False)
    console.print(f"report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)


def compare(
    submission: Annotated[
        list[Path] | None, typer.Option(help="A submission folder or zip; twice, or once beside a --model.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="An installed model, which generates first.")] = None,
    tier: TierName = DEFAULT_TIER,
    track: TrackNames = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what models generate. Default: runs/TIER, as `evaluate`.")
    ] = Request.out,
    seed: GenerationSeed = Request.seed,
    device: DeviceName = Request.device,
    extractor: MoreExtractors = None,
    embedding: EmbeddingName = Request.embedding,
    weights: WeightFiles = None,
    engine: EngineName = Request.engine,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")] = False,
) -> None:
    """Compare two submissions score by score, with paired 95% intervals. A is the first model, or submission."""
    from morphobench import comparison

    sides = [*(model or ()), *(submission or ())]
    if len(sides) != 2:
        raise BadInput(f"give two of --submission PATH and --model NAME, not {len(sides)}")
    compared = comparison.compare(
        sides[0], sides[1], tier=tier, tracks=track or (), folder=out, seed=seed, device=device,
        extractors=extractor or (), embedding=embedding, weights=local_weights(weights), engine=engine,
    )  # fmt: skip
    if as_json:
        print(compared.as_json())
        return
    console = wide_console()
    for name in dict.fromkeys(row.track for row in compared.differences):
        console.print(difference_table(compared, name))
    console.print(f"{compared.replicates:,} draws of compounds and plates, the same for both.", highlight=False)
