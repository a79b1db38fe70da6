"""Files of weights: downloaded whole or not at all, checked by hash, read without running code from them."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pooch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from morphobench.errors import BadInput, Unavailable
from morphobench.storage import atomic_path, cache_dir, sha256_file

DOWNLOAD_ERRORS = (OSError, ValueError)
"""Raised where a download fails: the errors of requests are OSErrors, a bad address is a ValueError."""
UNREADABLE = (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError)
"""Raised for a file of weights that is cut short, of another format, or holds code."""
WRAPPERS = ("state_dict", "model")
"""Names under which training scripts put a network's tensors beside their own state."""

StateDict = dict[str, torch.Tensor]
log = logging.getLogger(__name__)


def require_file(path: Path, sha256: str | None = None) -> str:
    """SHA-256 of a file of weights; BadInput where it is absent or is not the one asked for."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file of weights")
    own = sha256_file(path)
    if sha256 is not None and own != sha256:
        raise BadInput(
            f"{path}: sha256 is {own[:12]}..., the genuine weights have {sha256[:12]}...; cut short or another file, "
            "download it again"
        )
    return own


def read_state_dict(path: Path) -> StateDict:
    """Tensors by name from a .safetensors or torch file; those of a training checkpoint under one of WRAPPERS.

    Raises BadInput where it is cut short or another format, or a weight is not finite (every feature would be NaN).
    """
    state: Any
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
            raise BadInput(f"{path}: holds objects that run code; save the network's state_dict() alone") from error
        raise BadInput(f"{path}: cut short, or not a .safetensors or torch file of weights; fetch it again") from error
    if isinstance(state, dict):
        wrapped = [inner for name in WRAPPERS if isinstance(inner := state.get(name), dict)]
        state = wrapped[0] if wrapped else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        held = ", ".join(repr(str(name)) for name in list(state)[:5]) if isinstance(state, dict) else "no table"
        raise BadInput(f"{path}: holds no table of tensors by name ({held}); save the network's state_dict() alone")
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise BadInput(
            f"{path}: {len(broken)} of {len(state)} tensors hold values that are not finite, the first is "
            f"{broken[0]!r}; save weights of a training run that did not diverge"
        )
    return state


def read_architecture(path: Path) -> dict[str, object]:
    """The JSON under "architecture" in a .safetensors file's metadata; BadInput where there is none."""
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
        architecture = json.loads(metadata["architecture"])
    except SafetensorError as error:
        raise BadInput(f"{path}: cut short, or not a .safetensors file; fetch it again") from error
    except (KeyError, json.JSONDecodeError) as error:
        raise BadInput(
            f'{path}: no JSON under "architecture" in its metadata; save it by the training script'
        ) from error
    if not isinstance(architecture, dict):
        raise BadInput(f'{path}: "architecture" in its metadata is not a table of arguments')
    return architecture


def load_weights(network: torch.nn.Module, state: StateDict, path: Path, architecture: str) -> None:
    """Fill a network; BadInput names the file and the architecture where names or shapes of the tensors differ."""
    try:
        # A network without memory (torch.device("meta")) takes the file's own.
        network.load_state_dict(state, assign=any(parameter.is_meta for parameter in network.parameters()))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(f"{path}: not weights of {architecture} ({detail})") from error


def download(url: str, name: str, sha256: str | None = None) -> Path:
    """The file at `url`, kept as `name` in the cache folder; a kept copy with another hash than `sha256` is replaced.

    Raises Unavailable that names the address and the place to put the file where it cannot be fetched.
    """
    path = cache_dir() / "weights" / name
    if path.is_file() and sha256 in (None, sha256_file(path)):
        return path
    log.info("downloading %s", url)
    genuine = f" (sha256 {sha256})" if sha256 else ""
    try:
        with atomic_path(path) as temporary:
            pooch.HTTPDownloader(timeout=30)(url, str(temporary), None)
            require_file(temporary, sha256)
    except BadInput as error:
        raise Unavailable(f"{url}: what arrived is another file{genuine}; fetch it and put it at {path}") from error
    except DOWNLOAD_ERRORS as error:
        raise Unavailable(f"{url}: cannot be downloaded; fetch it and put it at {path}{genuine}") from error
    return path
