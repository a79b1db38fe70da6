"""Options that several commands take: parsing only. Defaults and checks are `request.Request`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphobench.errors import BadInput
from morphobench.features.registry import ENGINES

TierName = Annotated[str, typer.Option("--tier", help="Data set and protocol to score on.")]
EngineName = Annotated[
    str, typer.Option(help=f"What segments the images, {', '.join(ENGINES)}; CellProfiler: docs/precision.md.")
]
TrackNames = Annotated[
    list[str] | None, typer.Option("--track", help="Only this track; repeat. The tier's default ones if none.")
]
WeightFiles = Annotated[list[str] | None, typer.Option(help="NAME=FILE: local weights of an extractor.")]
MoreExtractors = Annotated[
    list[str] | None,
    typer.Option(help="Score with these features too: inception (genuine FID), timm:NAME. Repeat for several."),
]
EmbeddingName = Annotated[str | None, typer.Option(help="Extractor of separability and maps instead of the tier's.")]
GenerationSeed = Annotated[int, typer.Option(help="Seed of the generation, from 0 on.")]
DeviceName = Annotated[str, typer.Option(help="torch device of models and extractors.")]


def local_weights(pairs: list[str] | None) -> dict[str, Path]:
    """Extractor -> file, of NAME=FILE; BadInput for another form."""
    paths = {}
    for pair in pairs or []:
        name, separator, path = pair.partition("=")
        if not separator:
            raise BadInput(f"--weights {pair!r}: give NAME=FILE, for example inception=weights.pth")
        paths[name] = Path(path)
    return paths
