"""One loop for every model. It counts steps, logs, saves and resumes; what a step is, the trainee knows.

Stopped at any step and started again with the same folder, a run goes on at its last checkpoint with the same draws, so
that on one machine it ends in the same weights as a run that was never stopped.
"""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from morphobench import provenance
from morphobench.errors import BadInput
from reference_models.training.random_state import random_state, restore_random_state, seed_all
from reference_models.training.run_folder import RunFolder


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

    def read(self) -> dict[str, float]:
        """Mean of each term over the steps that had it; one transfer from the device."""
        if not self.sums:
            return {}
        totals = torch.stack([value.float() for value in self.sums.values()]).tolist()
        return {name: total / self.counts[name] for name, total in zip(self.sums, totals, strict=True)}


def train(
    trainee: Trainee,
    folder: RunFolder,
    seed: int,
    steps: int,
    stop_after: int | None = None,
    log_every: int = 50,
    save_every: int = 500,
) -> list[dict[str, Any]]:
    """Train for the recipe's `steps`, or the first `stop_after` of them, going on from what `folder` holds.

    Leaves checkpoint, log and weights in the folder and returns the log: one line on the machine, then every
    `log_every` steps the means of what `update` returned, and the speed. BadInput where the folder holds another run,
    or where a loss is no longer finite; the last checkpoint then stays.
    """
    folder.claim()
    generator = torch.Generator().manual_seed(seed)
    step, log = _start(trainee, folder, generator, seed)
    until = steps if stop_after is None else min(steps, max(step, stop_after))
    means, counted, started = Means(), 0, time.perf_counter()
    while step < until:
        means.add(trainee.update(step, generator))
        step, counted = step + 1, counted + 1
        save = step % save_every == 0 or step == until
        if step % log_every == 0 or save:
            values = means.read()
            _check_finite(values, step, folder)
            seconds = time.perf_counter() - started
            rounded = {name: round(value, 5) for name, value in values.items()}
            log.append({"step": step, **rounded, "steps_per_second": round(counted / seconds, 3)})
            print(json.dumps(log[-1]), file=sys.stderr, flush=True)
            means, counted, started = Means(), 0, time.perf_counter()
        if save:
            folder.save(_state(trainee, generator, step), log)
    folder.write_weights(trainee.finish(), step, steps)
    return log


def _start(
    trainee: Trainee, folder: RunFolder, generator: torch.Generator, seed: int
) -> tuple[int, list[dict[str, Any]]]:
    """Step and log to go on from, with the trainee and all random state as they were there."""
    state = folder.load()
    if state is None:
        seed_all(seed)
        return 0, [{"step": 0, **_machine(trainee.device)}]
    try:
        for name, module in trainee.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in trainee.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        generator.set_state(state["generator"])
        restore_random_state(state["random"])
        step, log = int(state["step"]), list(state["log"])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"{folder.path}: a checkpoint of other networks; choose another folder") from error
    print(f"{folder.path}: going on at step {step}", file=sys.stderr)
    return step, log


def _state(trainee: Trainee, generator: torch.Generator, step: int) -> dict[str, Any]:
    return {
        "step": step,
        "modules": {name: module.state_dict() for name, module in trainee.modules.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in trainee.optimizers.items()},
        "generator": generator.get_state(),
        "random": random_state(),
    }


def _check_finite(values: Mapping[str, float], step: int, folder: RunFolder) -> None:
    broken = next((name for name, value in values.items() if not math.isfinite(value)), None)
    if broken is not None:
        raise BadInput(
            f"{folder.path}: {broken} is {values[broken]} by step {step}: the run diverged; its last checkpoint is "
            "kept, start another with a lower learning rate"
        )


def _machine(device: torch.device) -> dict[str, Any]:
    """What the log says of the machine."""
    return {
        **provenance.hardware(str(device)),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
