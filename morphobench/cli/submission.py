"""Commands on a submission: new, validate, pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphobench.cli.options import TierName, TrackNames
from morphobench.request import DEFAULT_TIER

app = typer.Typer(help="Start, check and pack generated images for scoring.", no_args_is_help=True)


@app.command("new")
def submission_new(
    folder: Path,
    tier: TierName = DEFAULT_TIER,
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


@app.command("validate")
def submission_validate(path: Path, tier: TierName = DEFAULT_TIER, track: TrackNames = None) -> None:
    """Check a folder or zip: every condition answered, nothing else, every image readable."""
    from morphobench.datasets import load_tier
    from morphobench.ingest.submission import open_submission

    opened = open_submission(path, load_tier(tier), track)
    if not opened.images:
        print(f"{path}: valid; no images: expression alone is predicted and will be scored")
        return
    images = sum(len(track) for track in opened.images.values())
    predicted = "with" if opened.expression else "without"
    swapped = sum(len(images) for images in opened.swapped.values())
    asked = f"{swapped:,} of swapped conditions, " if swapped else ""
    print(f"{path}: valid; {images:,} images in {len(opened.images)} tracks, {asked}{predicted} predicted expression")


@app.command("pack")
def submission_pack(folder: Path, out: Path, tier: TierName = DEFAULT_TIER, track: TrackNames = None) -> None:
    """Check a folder and write it as one zip."""
    from morphobench.datasets import load_tier
    from morphobench.ingest.submission import pack_submission

    packed = pack_submission(folder, out, load_tier(tier), track)
    print(f"{packed}: {packed.stat().st_size / 2**20:.1f} MiB")
