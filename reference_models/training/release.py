"""Weights of a run into the package: an explicit step, which training never takes."""

from __future__ import annotations

import json
import math
from pathlib import Path

from morphobench.errors import BadInput
from morphobench.storage import atomic_write_text, copy_whole, read_sums, sha256_file
from reference_models.core import weight_file
from reference_models.shipped import FOLDER, given_path

LOG_LINES = 200
"""Most lines of a training log that ship, evenly spaced; the first and the last come on top."""


def release(run: Path, name: str, folder: Path = FOLDER, unfinished: bool = False) -> Path:
    """Copy a run's weights to `folder/name.safetensors`, its thinned log beside, and enter the hash in SHA256SUMS.

    name: MODEL__TIER of the weights, or MODEL-VARIANT__TIER; in another folder MODEL will do. BadInput for another
    name, for a run that stopped before its recipe's end (unless `unfinished`), and for a model whose autoencoder is not
    in `folder`.
    """
    source = given_path(run)
    metadata = weight_file.read(source).metadata
    _check_name(name if folder == FOLDER or "__" in name else f"{name}__{metadata['tier']}", metadata, source)
    step, steps = _progress(metadata)
    if (step is None or step != steps) and not unfinished:
        raise BadInput(
            f"{run}: stopped at step {step} of {steps}; go on with it by --resume, or release it with --unfinished"
        )
    sums = read_sums(folder) if (folder / "SHA256SUMS").is_file() else {}
    companion = metadata.get("autoencoder_sha256")
    if companion is not None and companion not in sums.values():
        raise BadInput(
            f"{run}: its autoencoder (sha256 {companion[:12]}...) is not in {folder}; release that run first"
        )
    path = folder / f"{name}.safetensors"
    copy_whole(source, path)
    _write_log(run, path.with_suffix(".log.jsonl"))
    if folder == FOLDER or sums:
        sums[path.name] = sha256_file(path)
        _write_sums(folder, sums)
    return path


def _progress(metadata: dict[str, str]) -> tuple[int | None, int | None]:
    """The step at which a training stopped and how many its recipe has, each None where the file does not say so."""
    training = json.loads(metadata.get("training", "{}"))
    return training.get("step"), training.get("steps")


def _write_sums(folder: Path, sums: dict[str, str]) -> None:
    atomic_write_text(folder / "SHA256SUMS", "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items())))


def _check_name(name: str, metadata: dict[str, str], source: Path) -> None:
    model, _, tier = name.rpartition("__")
    fits = model == metadata["model"] or model.startswith(f"{metadata['model']}-")
    if not fits or tier != metadata["tier"]:
        right = f"{metadata['model']}__{metadata['tier']}"
        raise BadInput(f"{source}: release it as {right} (or a variant of it), not {name}")


def _write_log(run: Path, path: Path) -> None:
    if not (run / "log.jsonl").is_file():  # a run that took no step
        return
    first, *lines = (run / "log.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    command = json.loads((run / "run.json").read_text(encoding="utf-8"))["command"]
    kept = lines[:: max(1, math.ceil(len(lines) / LOG_LINES))]
    if lines and kept[-1] != lines[-1]:
        kept.append(lines[-1])
    head = json.dumps({**json.loads(first), "command": command})
    atomic_write_text(path, "".join(f"{line}\n" for line in (head, *kept)))
