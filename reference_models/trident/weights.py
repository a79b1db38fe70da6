"""Shipped weights: half-precision safetensors, hashed in SHA256SUMS, that say what they are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from morphobench.errors import BadInput, Unavailable
from morphobench.storage import atomic_path, atomic_write_text, read_sums, sha256_file, verify_file
from reference_models.trident.config import TridentConfig

FOLDER = Path(__file__).parent / "weights"


AUTOENCODER_PARTS = ("autoencoder",)
NETWORK_PARTS = ("autoencoder", "condition", "transformer", "diffusion")


def identity(config: TridentConfig, tier_version: str, parts: tuple[str, ...] = NETWORK_PARTS) -> dict[str, str]:
    """What a file of weights must match to be used: the sizes of its parts, and the tier it was trained on."""
    sizes = asdict(config)
    architecture = json.dumps({part: sizes[part] for part in parts}, sort_keys=True)
    return {"architecture": architecture, "tier": config.name, "tier_version": tier_version}


def export(module: nn.Module, name: str, metadata: dict[str, str], folder: Path = FOLDER) -> Path:
    """Write a module's weights as `folder/name` and enter its hash in SHA256SUMS. Parameters become float16; buffers
    (statistics, whose digits matter) stay float32."""
    parameters = {key for key, _ in module.named_parameters()}
    tensors = {
        key: value.detach().cpu().to(torch.float16 if key in parameters else torch.float32).contiguous()
        for key, value in module.state_dict().items()
    }
    path = folder / name
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)
    sums = read_sums(folder) if (folder / "SHA256SUMS").is_file() else {}
    sums[name] = sha256_file(path)
    atomic_write_text(folder / "SHA256SUMS", "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items())))
    return path


def restore(module: nn.Module, name: str, metadata: dict[str, str], folder: Path = FOLDER) -> None:
    """Load `folder/name` into a module as float32.

    Unavailable where no such weights ship. BadInput where the bytes differ from SHA256SUMS, or where the file is of
    another model: its metadata must hold all of `metadata`.
    """
    path = folder / name
    sums = read_sums(folder) if (folder / "SHA256SUMS").is_file() else {}
    if name not in sums:
        raise Unavailable(f"{path}: no such weights ship; train them with scripts/train_trident.py")
    verify_file(folder, name, sums[name])
    try:
        with safe_open(path, framework="pt") as stream:
            found = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key).float() for key in stream.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise BadInput(f"{path}: not a safetensors file ({error}); restore the shipped file") from error
    for key, value in metadata.items():
        if found.get(key) != value:
            raise BadInput(f"{path}: made for another {key} than this code's; restore the shipped file or train again")
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(f"{path}: weights of another network; restore the shipped file or train again") from error
