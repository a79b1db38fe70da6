"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from morphobench.errors import BadInput

TierName = Annotated[str, typer.Option("--tier", help="Data set and protocol to score on.")]
EngineName = Annotated[
    Literal["builtin", "cellprofiler", "cellprofiler-memory"],
    typer.Option(help="What segments the images; CellProfiler: docs/precision.md."),
]
TrackNames = Annotated[
    list[str] | None, typer.Option("--track", help="Only this track; repeat. The tier's default ones if none.")
]
WeightFiles = Annotated[list[str] | None, typer.Option(help="NAME=FILE: local weights of an extractor.")]
MoreExtractors = Annotated[list[str] | None, typer.Option(help="Score with these features too; repeat.")]
EmbeddingName = Annotated[str | None, typer.Option(help="Extractor of separability instead of the tier's.")]
GenerationSeed = Annotated[int, typer.Option(min=0, help="Seed of the generation.")]
DeviceName = Annotated[str, typer.Option(help="torch device of models and extractors.")]


def local_weights(pairs: list[str]) -> dict[str, Path]:
    """Extractor -> file, of NAME=FILE; BadInput for another form or a file that is not there."""
    found = {}
    for pair in pairs:
        name, separator, path = pair.partition("=")
        if not separator:
            raise BadInput(f"--weights {pair!r}: give NAME=FILE, for example inception=weights.pth")
        if not Path(path).is_file():
            raise BadInput(f"--weights {pair!r}: {path} is not a file")
        found[name] = Path(path)
    return found
