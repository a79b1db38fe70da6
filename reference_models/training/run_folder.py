"""The folder of a training run, and nothing outside it: what was asked for, the state, the log, the weights.

- `run.json`: what the run is of (the metadata of its weights), the command and the versions of the packages.
- `checkpoints/`: all that changes while training, see `checkpoint`.
- `log.jsonl`: the losses.
- `weights.safetensors`: the result, and what `morphobench evaluate --checkpoint FOLDER` reads.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from morphobench import provenance
from morphobench.errors import BadInput
from morphobench.storage import atomic_write_text, check_writable, lock
from reference_models.core import weight_file
from reference_models.shipped import RUN_WEIGHTS
from reference_models.training import checkpoint

ABOUT = "run.json"
MEND = "go on with it by --resume, or choose another folder"


@dataclass(frozen=True)
class RunFolder:
    """metadata: what the weights will say they are, see `core.weight_file.describe`."""

    path: Path
    metadata: dict[str, str]
    keep: int = 2
    """Checkpoints that are kept."""

    def claim(self, resume: bool, begun: Mapping[str, str] | None = None) -> None:
        """Whether a run can begin here, or go on with what is here; writes nothing.

        begun: what the run that is here is of, where that is known better than by `run.json`.
        BadInput where a new run would lie in the folder of another, where there is none to go on with, and where that
        is another run: it names what differs.
        """
        if not (self.path / ABOUT).is_file():
            if resume:
                raise BadInput(f"{self.path}: holds no run to go on with; leave --resume out to begin one")
            if checkpoint.checkpoints(self.path) or (self.path / "checkpoint.pt").exists():
                raise BadInput(f"{self.path}: a checkpoint without {ABOUT}; choose another folder")
            return
        if not resume:
            raise BadInput(f"{self.path}: holds a run; {MEND}")
        recorded, wanted = (dict(_flat(dict(of))) for of in (begun or self.recorded(), self.metadata))
        other = next((name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)), None)
        if other is not None:
            raise BadInput(
                f"{self.path}: holds another run: {other} is {recorded.get(other)} there and {wanted.get(other)} here; "
                "give what it began with, or choose another folder"
            )

    def begin(self) -> None:
        """Say what the run is of, where that is not said yet. Called when all that it needs is at hand."""
        place = self.path / ABOUT
        if not place.is_file():
            about = {"of": self.metadata, "command": command(), "versions": provenance.versions()}
            atomic_write_text(place, json.dumps(about, indent=1) + "\n")

    def recorded(self) -> dict[str, str]:
        """What the run in the folder is of; BadInput where `run.json` does not say so."""
        place = self.path / ABOUT
        try:
            of = json.loads(place.read_text(encoding="utf-8"))["of"]
            dict(_flat(of))
            return dict(of)
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{place}: does not say what the run is of; choose another folder") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, no other training can be in this folder; BadInput where one is."""
        check_writable(self.path)
        with lock(self.path / ABOUT, taken=f"{self.path}: another training is running in it"):
            yield

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, on the CPU; None where there is none. BadInput where all are torn."""
        return checkpoint.load_newest(self.path)

    def save(self, state: dict[str, Any], log: list[dict[str, Any]], step: int) -> None:
        """Write checkpoint and log; each is whole or the former one."""
        checkpoint.save(self.path, {**state, "log": log}, step, self.keep)
        atomic_write_text(self.path / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))

    def write_weights(self, module: nn.Module, step: int, steps: int) -> Path:
        """Write the result as it stands at `step` of the recipe's `steps`."""
        path = self.path / RUN_WEIGHTS
        weight_file.write(path, module, self.metadata | {"training": json.dumps({"step": step, "steps": steps})})
        return path


def command() -> str:
    """The command line of this process, as it can be given to a shell again."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return shlex.join(["python", "-m", program.parent.name, *sys.argv[1:]])
    return shlex.join(["python", *sys.argv] if program.suffix == ".py" else [program.name, *sys.argv[1:]])


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of each leaf of nested tables, JSON texts opened."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
