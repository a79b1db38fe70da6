"""The folder of a training run, and nothing outside it: what was asked for, the state, the log, the weights.

- `run.json`: what the run is of (the metadata of its weights) and the command; a run of something else is refused.
- `checkpoint.pt`: all that changes while training, whole or the former one.
- `log.jsonl`: the losses.
- `weights.safetensors`: the result, and what `morphobench evaluate --checkpoint FOLDER` reads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from morphobench.errors import BadInput
from morphobench.storage import atomic_path, atomic_write_text, check_folder
from reference_models.core import weight_file
from reference_models.shipped import RUN_WEIGHTS

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class RunFolder:
    """metadata: what the weights will say they are, see `core.weight_file.describe`."""

    path: Path
    metadata: dict[str, str]

    def claim(self) -> None:
        """Begin or go on here; BadInput names what differs where the folder holds another run."""
        check_folder(self.path)
        place = self.path / "run.json"
        if not place.is_file():
            if (self.path / CHECKPOINT).exists():
                raise BadInput(f"{self.path}: a checkpoint without run.json; choose another folder")
            about = {"of": self.metadata, "command": " ".join(["python", *sys.argv])}
            atomic_write_text(place, json.dumps(about, indent=1) + "\n")
            return
        try:
            found = dict(_flat(json.loads(place.read_text(encoding="utf-8"))["of"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{place}: does not say what the run is of; choose another folder") from error
        wanted = dict(_flat(self.metadata))
        other = next((name for name in {**found, **wanted} if found.get(name) != wanted.get(name)), None)
        if other is not None:
            raise BadInput(
                f"{self.path}: holds another run: {other} is {found.get(other)} there and {wanted.get(other)} here; "
                "choose another folder"
            )

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, on the CPU; None where there is none yet. BadInput where it is damaged."""
        path = self.path / CHECKPOINT
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except PermissionError:
            raise
        except Exception as error:  # whatever the unpickler raises is said of the file
            raise BadInput(f"{path}: cut short, or not a checkpoint; remove it to start the run anew") from error

    def save(self, state: dict[str, Any], log: list[dict[str, Any]]) -> None:
        """Write checkpoint and log; each is whole or the former one."""
        with atomic_path(self.path / CHECKPOINT) as temporary:
            torch.save({**state, "log": log}, temporary)
        atomic_write_text(self.path / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))

    def write_weights(self, module: nn.Module, step: int, steps: int) -> Path:
        """Write the result as it stands at `step` of the recipe's `steps`."""
        path = self.path / RUN_WEIGHTS
        weight_file.write(path, module, self.metadata | {"training": json.dumps({"step": step, "steps": steps})})
        return path


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of each leaf of nested tables, JSON texts opened."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
