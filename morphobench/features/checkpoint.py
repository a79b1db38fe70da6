"""Files of weights: downloaded whole or not at all, checked by hash, read without running code from them."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pooch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from morphobench.errors import BadInput, Unavailable
from morphobench.storage import atomic_path, cache_dir, disk_errors, sha256_file

DOWNLOAD_ERRORS = (OSError, ValueError)
"""Raised where a download fails: requests' and the hub's own errors are OSErrors, a malformed address is a ValueError."""
UNREADABLE = (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError)
"""Raised for a file of weights that is cut short, of another format, or holds code."""

StateDict = dict[str, torch.Tensor]


def require_file(path: Path, sha256: str | None = None) -> str:
    """SHA-256 of a file of weights; BadInput where it is absent or is not the one asked for."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file of weights")
    found = sha256_file(path)
    if sha256 is not None and found != sha256:
        raise BadInput(
            f"{path}: sha256 is {found[:12]}..., the genuine weights have {sha256[:12]}...; cut short or another file, "
            "download it again"
        )
    return found


def read_state_dict(path: Path) -> StateDict:
    """Tensors by name from a .safetensors or torch file; BadInput where it is cut short, another format or holds code."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise BadInput(f"{path}: cut short, or not a .safetensors or torch file of weights; fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"{path}: holds no table of tensors by name; save the network's state_dict()")
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
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(f"{path}: not weights of {architecture} ({detail})") from error


def download(url: str, sha256: str) -> Path:
    """The file at `url`, kept in the cache folder and hash-checked every time; Unavailable says how to do without."""
    path = cache_dir() / "weights" / url.rsplit("/", 1)[-1]
    if path.is_file() and sha256_file(path) == sha256:
        return path
    logging.getLogger(__name__).info("downloading %s", url)
    try:
        with atomic_path(path) as temporary:
            pooch.HTTPDownloader(timeout=30)(url, str(temporary), None)
            require_file(temporary, sha256)
    except BadInput as error:
        raise Unavailable(f"{url}: what arrived has another sha256 than {sha256[:12]}...; try again") from error
    except DOWNLOAD_ERRORS as error:
        raise Unavailable(f"{url}: cannot be downloaded; fetch it and put it at {path} (sha256 {sha256})") from error
    return path


def download_from_hub(repository: str, filename: str, model: str) -> Path:
    """A file of a Hugging Face repository, in the hub's own cache; Unavailable says how to do without."""
    from huggingface_hub import hf_hub_download

    address = f"https://huggingface.co/{repository}/resolve/main/{filename}"
    try:
        with disk_errors(cache_dir()):
            return Path(hf_hub_download(repository, filename))
    except DOWNLOAD_ERRORS as error:
        raise Unavailable(
            f"{model}: {address} cannot be downloaded; fetch that file elsewhere and give its path as weights"
        ) from error
