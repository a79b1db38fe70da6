"""The seam for trainings: what is asked of one, and how the one of a model is found by its name.

A package offers one through an entry point of the group `morphobench.trainers`, under the name of its model; it names a
`Trainer`. What a training is made of is the package's own matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from morphobench.errors import BadInput
from morphobench.storage import check_folder

GROUP = "morphobench.trainers"
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingRequest:
    """What to train, on what, how and where. BadInput for a number that cannot be.

    out: folder of the run. resume: whether it goes on with the run that is there, or begins one where none is.
    tier: name of a tier with training images.
    config: name of one of the trainer's configurations, or a TOML file; when a run goes on, what it began with.
    settings: NAME=VALUE, each changes one field of the configuration.
    autoencoder: weights of the image autoencoder of a latent model, a file or a folder; those that ship if None.
    device: torch device; where several processes were launched, its kind. precision: of the matrix products.
    accumulate: parts that each process takes its rows of a batch in, one after the other, to need less memory.
    recompute: activations are computed again in the backward pass instead of kept. compiled: by torch.compile.
    stop_after: stop after this many of the steps; 0 writes the weights as they stand.
    save_every: steps between checkpoints. keep: how many of them are kept. log_every: steps between lines of the log.
    sample_every: steps between grids of samples, 0 for none. score_every: steps between scores of itself on a plate of
    training images, which it then does not learn from; 0 for none. tensorboard: the log is written for it too.
    """

    model: str
    out: Path
    resume: bool = False
    tier: str = "sim"
    config: str | None = None
    settings: tuple[str, ...] = ()
    autoencoder: Path | None = None
    device: str = "cpu"
    precision: Precision = "float32"
    accumulate: int = 1
    recompute: bool = False
    compiled: bool = False
    stop_after: int | None = None
    save_every: int = 500
    keep: int = 2
    log_every: int = 50
    sample_every: int = 0
    score_every: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        least = {"accumulate": 1, "stop_after": 0, "save_every": 1, "keep": 1, "log_every": 1}
        least |= {"sample_every": 0, "score_every": 0}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in least and value is not None and value < least[field.name]:
                option = field.name.replace("_", "-")
                raise BadInput(f"--{option} {value}: give a whole number from {least[field.name]} on")
        if self.precision not in get_args(Precision):
            raise BadInput(f"--precision {self.precision!r}: choose {' or '.join(get_args(Precision))}")
        check_folder(self.out)


class Trainer(Protocol):
    """What an entry point of GROUP names."""

    @property
    def configurations(self) -> Mapping[str, Any]:
        """Named configurations, each a frozen dataclass."""
        ...

    def train(self, request: TrainingRequest) -> Path:
        """Train, or go on; returns the file of weights. BadInput or Unavailable in one line."""
        ...


def available_trainers() -> tuple[str, ...]:
    """Names of the models that can be trained, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def load_trainer(name: str) -> Trainer:
    """The trainer of the model of that name; BadInput lists the names there are."""
    point = next((point for point in entry_points(group=GROUP) if point.name == name), None)
    if point is None:
        raise BadInput(f"model {name!r}: no training of it is installed; there are {_listed()}")
    return _imported(point)


def _listed() -> str:
    return ", ".join(available_trainers()) or "none"


def _imported(point: EntryPoint) -> Trainer:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"training of {point.name!r}: {point.value} cannot be imported ({error}); install its package again"
        ) from error
