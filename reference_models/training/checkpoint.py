"""Checkpoints of a run: each whole or absent, the newest few kept, any torn byte noticed.

One is a folder `step-00000500` with the tensors (`state.safetensors`), everything else (`state.json`) and the hashes of
both (`SHA256SUMS`). It gets its name when all three are written.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from morphobench.errors import BadInput
from morphobench.storage import atomic_dir, sha256_file
from reference_models.training.tree import put_together, taken_apart

FOLDER = "checkpoints"
TENSORS, REST, SUMS = "state.safetensors", "state.json", "SHA256SUMS"


def save(run: Path, state: dict[str, Any], step: int, keep: int) -> Path:
    """Write the state (see `tree`) of a run at a step, then remove all but the newest `keep` checkpoints.

    Those of later steps are removed too: they were torn, as the run went on from before them.
    Unavailable where the disk is full; the former ones are untouched then.
    """
    for left in (run / FOLDER).glob(".step-*"):  # by a process that was killed while it wrote
        shutil.rmtree(left)
    path = run / FOLDER / f"step-{step:08d}"
    with atomic_dir(path) as temporary:
        tensors, rest = taken_apart(state)
        save_file(tensors, temporary / TENSORS)
        (temporary / REST).write_text(json.dumps(rest), encoding="utf-8")
        (temporary / SUMS).write_bytes(_sums(temporary))
    former = [one for one in checkpoints(run) if one.name <= path.name]
    for old in set(checkpoints(run)) - set(former[:keep]):
        shutil.rmtree(old)
    return path


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    return sorted((path for path in (run / FOLDER).glob("step-*") if path.is_dir()), reverse=True)


def load_newest(run: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint that is whole; None where there is none at all.

    One that is torn is named on stderr and the former one taken. BadInput where all are torn.
    """
    torn: BadInput | None = None
    for path in checkpoints(run):
        try:
            state = _load(path)
        except BadInput as error:
            torn = torn or error
            continue
        if torn is not None:
            print(f"{torn}; going on from {path}", file=sys.stderr)
        return state
    if torn is not None:
        raise BadInput(f"{torn}; no former one is whole: start the run anew in another folder") from torn
    return None


def _load(path: Path) -> dict[str, Any]:
    try:
        if (path / SUMS).read_bytes() != _sums(path):
            raise BadInput(f"{path}: torn, its files are not those of its {SUMS}")
        tensors = load_file(path / TENSORS)
        return put_together(tensors, json.loads((path / REST).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: torn, has no {Path(error.filename).name}") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a checkpoint ({error})") from error


def _sums(path: Path) -> bytes:
    """What `SHA256SUMS` has to say."""
    return "".join(f"{sha256_file(path / name)}  {name}\n" for name in (TENSORS, REST)).encode()
