"""One loop for every model. It counts steps, logs, saves and resumes; what a step is, the trainee knows.

Stopped at any step and started again with the same folder, a run goes on at its last checkpoint with the same draws, so
that on one machine it ends in the same weights as a run that was never stopped.
"""

from __future__ import annotations

import json
import math
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from morphobench import provenance
from morphobench.errors import BadInput, Unavailable
from reference_models.training.devices import Compute
from reference_models.training.random_state import kept_random_state, random_state, restore_random_state, seed_all
from reference_models.training.run_folder import RunFolder

ASK_EVERY = 10
"""Steps between the questions of several processes to one another whether one of them was told to stop."""


class Trainee(Protocol):
    """What the loop trains."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Every network and average whose tensors are state."""
        ...

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Those that `update` steps, one or several."""
        ...

    @property
    def device(self) -> torch.device: ...

    def update(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """One step. Batches are drawn from `generator`, on the CPU, so that a seed means the same ones on every device.

        Returns what is to be logged: detached scalars, which stay on their device until they are.
        """
        ...

    def finish(self) -> nn.Module:
        """What is left to do after the last step; returns the module whose weights are the result."""
        ...


class Observer(Protocol):
    """What looks at a training now and then and changes nothing of it."""

    @property
    def every(self) -> int:
        """Steps between two looks."""
        ...

    def look(self, step: int) -> Mapping[str, float]:
        """What is to be kept in the log, if anything. The loop puts all random state back afterwards."""
        ...


@dataclass
class Means:
    """Running means of scalars that are read from the device only when they are asked for."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Count one step. A term that is not there does not count as zero."""
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self, compute: Compute | None = None) -> dict[str, float]:
        """Mean of each term over the steps that had it, and over the processes; one transfer from the device."""
        if not self.sums:
            return {}
        sums = torch.stack([value.float() for value in self.sums.values()])
        if compute is not None:
            compute.average([sums])
        return {name: total / self.counts[name] for name, total in zip(self.sums, sums.tolist(), strict=True)}


@dataclass
class Progress:
    """Where a run stands."""

    step: int
    log: list[dict[str, Any]]


def train(
    trainee: Trainee,
    folder: RunFolder,
    seed: int,
    steps: int,
    stop_after: int | None = None,
    log_every: int = 50,
    save_every: int = 500,
    compute: Compute | None = None,
    observers: Sequence[Observer] = (),
    report: Callable[[Mapping[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train for the recipe's `steps`, or the first `stop_after` of them, going on from what `folder` holds.

    Leaves checkpoints, log and weights in the folder and returns the log: one line on the machine, then every
    `log_every` steps the means of what `update` returned, and the speed. `report` is given each line; by default it is
    printed on stderr. Of several processes the first alone writes and reports; observers belong to it alone, and the
    others wait for it in their next exchange.

    BadInput where a loss is no longer finite, which is known when it is logged; Unavailable where the process is told
    to end (SIGTERM): a checkpoint is written first.
    """
    compute, report = compute or Compute(trainee.device), report or _print
    generator = torch.Generator().manual_seed(seed)
    at = _start(trainee, folder, generator, seed, compute)
    until = steps if stop_after is None else min(steps, max(at.step, stop_after))
    means, started, counted = Means(), time.perf_counter(), 0
    with _told_to_end() as told:
        while at.step < until:
            means.add(trainee.update(at.step, generator))
            at.step, counted = at.step + 1, counted + 1
            ending = _is_ending(told, at.step, compute)
            save = at.step % save_every == 0 or at.step == until or ending
            if at.step % log_every == 0 or save:
                values = means.read(compute)
                _check_finite(values, at.step, folder)
                speed = round(counted / (time.perf_counter() - started), 3)
                _note(at, _rounded(values) | {"steps_per_second": speed}, compute, report)
                means, started, counted = Means(), time.perf_counter(), 0
            began = time.perf_counter()
            looked = _look(observers, at.step)
            if looked:
                _note(at, _rounded(looked), compute, report)
            started += time.perf_counter() - began
            if save:
                _save(trainee, folder, generator, at, compute)
            if ending:
                raise Unavailable(
                    f"{folder.path}: told to end at step {at.step} of {steps}; a checkpoint is kept, the same command "
                    "with --resume goes on"
                )
    module = trainee.finish()
    if compute.main:
        folder.write_weights(module, at.step, steps)
    compute.wait()
    return at.log


def _start(trainee: Trainee, folder: RunFolder, generator: torch.Generator, seed: int, compute: Compute) -> Progress:
    """Step and log to go on from, with the trainee and all random state as they were there."""
    state = folder.load()
    if state is None:
        seed_all(seed)
        return Progress(0, [{"step": 0, **_machine(trainee.device)}])
    try:
        for name, module in trainee.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in trainee.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        generator.set_state(state["generator"])
        restore_random_state(state["random"][compute.rank])
        at = Progress(int(state["step"]), list(state["log"]))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"{folder.path}: a checkpoint of other networks; choose another folder") from error
    if compute.main:
        print(f"{folder.path}: going on at step {at.step}", file=sys.stderr)
    return at


def _save(trainee: Trainee, folder: RunFolder, generator: torch.Generator, at: Progress, compute: Compute) -> None:
    random = compute.gather(random_state())
    if compute.main:
        state = {
            "step": at.step,
            "modules": {name: dict(module.state_dict()) for name, module in trainee.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in trainee.optimizers.items()},
            "generator": generator.get_state(),
            "random": random,
        }
        folder.save(state, at.log, at.step)
    compute.wait()


def _look(observers: Sequence[Observer], step: int) -> dict[str, float]:
    """What the observers whose turn it is have to say."""
    looked: dict[str, float] = {}
    for observer in (observer for observer in observers if step % observer.every == 0):
        with kept_random_state():
            looked |= observer.look(step)
    return looked


def _note(
    at: Progress, values: Mapping[str, float], compute: Compute, report: Callable[[Mapping[str, Any]], None]
) -> None:
    """Add a line to the log, and report it."""
    at.log.append({"step": at.step, **values})
    if compute.main:
        report(at.log[-1])


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in values.items()}


@contextmanager
def ended_by_sigterm(place: Path) -> Iterator[None]:
    """Unavailable at once where SIGTERM comes while the block runs, so that it removes what it has half written."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # another one would interrupt the removal
        raise Unavailable(f"{place}: told to end before the first step; give the same command again")

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _told_to_end() -> Iterator[list[int]]:
    """Signals that asked the process to end while the block ran. What a step has begun is finished first."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    former = signal.signal(signal.SIGTERM, note)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, former)


def _is_ending(told: Sequence[int], step: int, compute: Compute) -> bool:
    """Whether to end now. Several processes agree on it, as one that left alone would leave the others waiting."""
    if compute.processes == 1:
        return bool(told)
    return step % ASK_EVERY == 0 and compute.any(bool(told))


def _check_finite(values: Mapping[str, float], step: int, folder: RunFolder) -> None:
    broken = next((name for name, value in values.items() if not math.isfinite(value)), None)
    if broken is not None:
        raise BadInput(
            f"{folder.path}: {broken} is {values[broken]} by step {step}: the run diverged; its last checkpoint is "
            "kept, start another with a lower learning rate"
        )


def _print(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), file=sys.stderr, flush=True)


def _machine(device: torch.device) -> dict[str, Any]:
    """What the log says of the machine."""
    return {
        **provenance.hardware(str(device)),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
