"""Trainings of seconds: the tiny TRIDENT and its autoencoder on the tiny tier, through the trainers of the real ones.

As a program, which tests start, stop and kill, `python tests/tiny_training.py MODEL FOLDER [FIELD=JSON ...]` trains
what a `TrainingRequest` of these fields asks for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_tier import tiny_tier
from tiny_trident import AUTOENCODER, TINY_DETAIL, TINY_GENES

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, MorphoBenchError
from morphobench.trainers import TrainingRequest
from reference_models.autoencoder.trainer import TRAINER as AUTOENCODER_TRAINER
from reference_models.detail.trainer import TRAINER as DETAIL_TRAINER
from reference_models.training import trainer
from reference_models.trident.trainer import TRAINER as TRIDENT_TRAINER

TRAINERS: dict[str, trainer.Trainer[Any]] = {
    "autoencoder": replace(AUTOENCODER_TRAINER, configurations={"tiny": AUTOENCODER}),
    "detail": replace(DETAIL_TRAINER, configurations={"tiny": TINY_DETAIL}),
    "trident": replace(TRIDENT_TRAINER, configurations={"tiny": TINY_GENES}),
}


def load_tiny(folder: Path) -> Callable[[str], Tier]:
    """What takes the place of `load_tier`."""

    def load(name: str) -> Tier:
        if name != "tiny":
            raise BadInput(f"tier {name!r}: there is tiny")
        return tiny_tier(folder)

    return load


def request(model: str, folder: Path, **fields: Any) -> TrainingRequest:
    """One with steps that are saved often."""
    fields = {"tier": "tiny", "save_every": 4, "log_every": 2} | fields
    if "settings" in fields:
        fields["settings"] = tuple(fields["settings"])
    if "autoencoder" in fields:
        fields["autoencoder"] = Path(fields["autoencoder"])
    return TrainingRequest(model=model, out=folder / model, **fields)


if __name__ == "__main__":
    model, place, *pairs = sys.argv[1:]
    trainer.load_tier = load_tiny(Path(place))  # type: ignore[assignment]
    given = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    try:
        print(TRAINERS[model].train(request(model, Path(place), **given)))
    except MorphoBenchError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
