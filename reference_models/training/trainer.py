"""From what is asked to a finished run: the only way in which a model of this package is trained.

A model brings its named configurations and two functions; everything else is the same for all.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from torch import nn

from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, MorphoBenchError
from morphobench.schema import first_fault
from morphobench.trainers import TrainingRequest
from reference_models.core import weight_file
from reference_models.shipped import RUN_WEIGHTS
from reference_models.training.devices import Compute, joined
from reference_models.training.loop import Observer, Trainee, train
from reference_models.training.run_folder import ABOUT, RunFolder
from reference_models.training.settings import chosen
from reference_models.training.snapshots import Snapshots


class HasRecipe(Protocol):
    """What the loop reads of a recipe."""

    @property
    def steps(self) -> int: ...

    @property
    def batch(self) -> int: ...

    @property
    def seed(self) -> int: ...


class HasName(Protocol):
    """What is read of every configuration."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> HasRecipe: ...


Configuration = TypeVar("Configuration", bound=HasName)


@dataclass(frozen=True)
class Job(Generic[Configuration]):
    """One training. autoencoder: what `--autoencoder` named. folder: of the run, where a model may put what it needs
    beside its weights."""

    config: Configuration
    tier: Tier
    compute: Compute
    folder: Path
    autoencoder: Path | None = None


@dataclass(frozen=True)
class Trainer(Generic[Configuration]):
    """How a model is trained (a `morphobench.trainers.Trainer`).

    describe: what the weights have to say of themselves besides `core.weight_file.describe`; it refuses, in one line,
    what cannot be trained. It is called before anything is written, `build` after the folder is claimed.
    """

    model: str
    configurations: Mapping[str, Configuration]
    describe: Callable[[Job[Configuration]], dict[str, str]]
    build: Callable[[Job[Configuration]], Trainee]

    def train(self, request: TrainingRequest) -> Path:
        """Train what is asked for, or go on with it; returns the file of weights.

        BadInput for a device, tier, configuration, field or folder that will not do; Unavailable for a full disk and
        for SIGTERM. Of several processes the first alone says so.
        """
        compute = joined(request)
        try:
            return self._train(request, compute)
        except MorphoBenchError as error:
            if compute.main:
                raise
            raise SystemExit(error.exit_code) from error

    def _train(self, request: TrainingRequest, compute: Compute) -> Path:
        tier = load_tier(request.tier)
        job = Job(self._configuration(request), tier, compute, request.out, request.autoencoder)
        recipe = job.config.recipe
        compute.parts(recipe.batch)  # refuses a batch that cannot be dealt
        metadata = weight_file.describe(self.model, job.config, tier) | self.describe(job) | compute.about
        folder = RunFolder(request.out, metadata, request.keep)
        with folder.held() if compute.main else contextlib.nullcontext():
            if compute.main:
                folder.claim(request.resume)
            compute.wait()
            trainee = self.build(job)
            train(
                trainee, folder, recipe.seed, recipe.steps, request.stop_after, request.log_every,
                request.save_every, compute, observers(trainee, folder),
            )  # fmt: skip
        return request.out / RUN_WEIGHTS

    def _configuration(self, request: TrainingRequest) -> Configuration:
        """What was asked for; of a run that goes on, and for which nothing is, what it began with."""
        if request.config is None and request.resume and (request.out / ABOUT).is_file():
            begun = RunFolder(request.out, {}).recorded()
            self._check_model(begun, request)
            if not request.settings:
                return self._recorded(begun, request.out / ABOUT)
            return chosen({"": self._recorded(begun, request.out / ABOUT)}, "", request.settings)
        return chosen(self.configurations, request.config or request.tier, request.settings)

    def _check_model(self, begun: Mapping[str, Any], request: TrainingRequest) -> None:
        if begun.get("model") != self.model:
            raise BadInput(
                f"{request.out}: holds another run: model is {begun.get('model')} there and {self.model} here; choose "
                "another folder"
            )

    def _recorded(self, begun: Mapping[str, Any], place: Path) -> Configuration:
        kind = type(next(iter(self.configurations.values())))
        try:
            return TypeAdapter(kind).validate_python(json.loads(begun["configuration"]))
        except (KeyError, TypeError, ValueError) as error:
            fault = first_fault(error) if isinstance(error, ValidationError) else "none"
            raise BadInput(f"{place}: configuration of another release: {fault}; choose another folder") from error


@runtime_checkable
class KeepsAverages(Protocol):
    """A trainee that has averages of several widths, to be kept on the way."""

    @property
    def averages(self) -> Mapping[float, nn.Module]: ...

    @property
    def snapshot_every(self) -> int: ...


def observers(trainee: Trainee, folder: RunFolder) -> list[Observer]:
    """What looks at the training of a trainee."""
    found: list[Observer] = []
    if isinstance(trainee, KeepsAverages) and trainee.averages:
        found.append(Snapshots(trainee.snapshot_every, folder, trainee.averages))
    return found
