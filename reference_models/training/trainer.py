"""From what is asked to a finished run: the only way in which a model of this package is trained.

A model brings its named configurations and two functions; everything else is the same for all.
"""

from __future__ import annotations

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
from morphobench.features.registry import load_extractor
from morphobench.schema import Name, first_fault
from morphobench.trainers import TrainingRequest
from reference_models.core import weight_file
from reference_models.shipped import RUN_WEIGHTS
from reference_models.training.devices import Compute, joined, memory_errors
from reference_models.training.loop import Observer, Trainee, ended_by_sigterm, train
from reference_models.training.reporting import Reporter
from reference_models.training.run_folder import ABOUT, RunFolder
from reference_models.training.settings import as_values, chosen
from reference_models.training.snapshots import Snapshots
from reference_models.training.watching import (
    SHOWN,
    Draws,
    Part,
    SampleGrid,
    SelfScore,
    held_plate,
    part_of,
    parted,
)


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
    """One training. folder: of the run, where a model may put what it needs beside its weights. autoencoder: what
    `--autoencoder` named. resume: whether the folder holds the run already."""

    config: Configuration
    tier: Tier
    compute: Compute
    folder: Path
    autoencoder: Path | None
    resume: bool


@dataclass(frozen=True)
class Trainer(Generic[Configuration]):
    """How a model is trained (a `morphobench.trainers.Trainer`).

    describe: what the weights have to say of themselves besides `core.weight_file.describe`; it refuses, in one line,
    what cannot be trained. It is called before anything is written, `build` when the folder is held.
    """

    model: str
    configurations: Mapping[str, Configuration]
    describe: Callable[[Job[Configuration]], dict[str, str]]
    build: Callable[[Job[Configuration]], Trainee]

    def train(self, request: TrainingRequest) -> Path:
        """Train what is asked for, or go on with it; returns the file of weights.

        BadInput for a device, tier, configuration, field or folder that will not do; Unavailable for a full disk, for
        too little memory and for SIGTERM. Of several processes the first alone says so.
        """
        compute = joined(request)
        try:
            with memory_errors(request.out, request.device):
                return self._train(request, compute)
        except MorphoBenchError as error:
            if compute.main:
                raise
            raise SystemExit(error.exit_code) from error

    def _train(self, request: TrainingRequest, compute: Compute) -> Path:
        tier = load_tier(request.tier)
        plate = held_plate(tier) if request.score_every else None
        learnt, looked_at = parted(tier, plate)
        job = Job(
            self._checked_name(self._configuration(request)),
            learnt,
            compute,
            request.out,
            request.autoencoder,
            request.resume,
        )
        recipe = job.config.recipe
        compute.parts(recipe.batch)  # refuses a batch that cannot be dealt
        metadata = weight_file.describe(self.model, job.config, tier) | self.describe(job) | compute.about
        folder = RunFolder(request.out, metadata | ({"held_plate": plate} if plate else {}), request.keep)
        if not compute.main:
            compute.wait()
            self._loop(job, folder, request)
            return request.out / RUN_WEIGHTS
        reporter = Reporter(request.out, recipe.steps, request.tensorboard)
        with folder.held():
            folder.claim(request.resume, self._begun(request))
            compute.wait()
            with reporter:
                self._loop(job, folder, request, reporter, lambda: part_of(tier, looked_at))
        return request.out / RUN_WEIGHTS

    def _loop(
        self,
        job: Job[Configuration],
        folder: RunFolder,
        request: TrainingRequest,
        reporter: Reporter | None = None,
        part: Callable[[], Part] | None = None,
    ) -> None:
        """Build and train. reporter and part, what is looked at on the way, are the first process's alone."""
        recipe = job.config.recipe
        with ended_by_sigterm(request.out):  # images may be encoded first, for minutes
            trainee = self.build(job)
            looking = [] if part is None else observers(trainee, job, folder, request, part)
        if job.compute.main:
            folder.begin()
        train(
            trainee, folder, recipe.seed, recipe.steps, request.stop_after, request.log_every, request.save_every,
            job.compute, looking, reporter,
        )  # fmt: skip

    def _checked_name(self, config: Configuration) -> Configuration:
        """BadInput for a name under which nothing can be submitted: better now than after the training."""
        submitted = f"{self.model}-{config.name}"
        try:
            for name in (config.name, submitted):
                TypeAdapter(Name).validate_python(name)
        except ValidationError as error:
            raise BadInput(
                f"name {config.name!r}: nothing can be submitted as {submitted!r}: at most 64 letters, digits, '.', "
                "'_' and '-', the first a letter or digit; choose another, --set name=NAME"
            ) from error
        return config

    def _configuration(self, request: TrainingRequest) -> Configuration:
        """What was asked for; of a run that goes on, and for which nothing is, what it began with."""
        if request.config is None and request.resume and (request.out / ABOUT).is_file():
            begun = RunFolder(request.out, {}).recorded()
            self._check_model(begun, request)
            if not request.settings:
                return self._recorded(begun, request.out / ABOUT)
            return chosen({"": self._recorded(begun, request.out / ABOUT)}, "", request.settings)
        return chosen(self.configurations, request.config or request.tier, request.settings)

    def _begun(self, request: TrainingRequest) -> dict[str, str] | None:
        """What the run in the folder is of, with the defaults of fields that came after it; None without a run."""
        if not request.resume or not (request.out / ABOUT).is_file():
            return None
        begun = RunFolder(request.out, {}).recorded()
        self._check_model(begun, request)
        values = as_values(self._recorded(begun, request.out / ABOUT))
        return begun | {"configuration": json.dumps(values)}

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


def observers(
    trainee: Trainee, job: Job[Any], folder: RunFolder, request: TrainingRequest, part: Callable[[], Part]
) -> list[Observer]:
    """Who looks at the training of a trainee, as it was asked for; BadInput where it cannot be looked at.

    part: the images that are scored on, some of which are shown; read only if they are asked for.
    """
    found: list[Observer] = []
    if isinstance(trainee, KeepsAverages) and trainee.averages:
        found.append(Snapshots(trainee.snapshot_every, folder, trainee.averages))
    if not request.sample_every and not request.score_every:
        return found
    if not isinstance(trainee, Draws):
        raise BadInput("--sample-every, --score-every: this training draws no images; leave them out")
    images = part()
    if request.sample_every:
        found.append(SampleGrid(request.sample_every, request.out, trainee, images.spread(SHOWN)))
    if request.score_every:
        extractor = load_extractor(job.tier.spec.embedding, device=str(job.compute.device))
        found.append(SelfScore(request.score_every, trainee, images, extractor))
    return found
