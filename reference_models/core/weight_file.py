"""Files of weights: safetensors that say what they are of, and are refused where that is something else.

The metadata hold five things apart: the model (which code), its configuration (every size and choice, with the name of
the ablation, if it is one), the tier and the tier's version (which images), and the order of the genes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.schema import first_fault
from morphobench.storage import atomic_path, sha256_file, sha256_text

FORMAT = "morphobench-weights-1"
Network = TypeVar("Network", bound=nn.Module)
PICKLES = (b"PK\x03\x04", b"\x80")
"""First bytes of what torch and pickle write."""


@dataclass(frozen=True)
class WeightFile:
    """A file that was read: its metadata, and float32 tensors by name."""

    path: Path
    sha256: str
    metadata: dict[str, str]
    tensors: dict[str, torch.Tensor]


def describe(model: str, configuration: object, tier: Tier) -> dict[str, str]:
    """The metadata of weights of a model in a configuration (a dataclass), trained on a tier."""
    return {
        "format": FORMAT,
        "model": model,
        "configuration": json.dumps(
            TypeAdapter(type(configuration)).dump_python(configuration, mode="json"), sort_keys=True
        ),
        "tier": tier.spec.name,
        "tier_version": tier.spec.version,
        "genes_sha256": genes_sha256(tier.genes),
    }


def genes_sha256(genes: Sequence[str]) -> str:
    """Hash of the genes in their order."""
    return sha256_text(*genes)


def write(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    """Write a module's weights. Parameters become float16; buffers (statistics, whose digits matter) stay float32.

    The same weights and metadata are the same bytes, so that a hash stands for them.
    """
    parameters = {key for key, _ in module.named_parameters()}
    tensors = {
        key: value.detach().cpu().to(torch.float16 if key in parameters else torch.float32).contiguous()
        for key, value in module.state_dict().items()
    }
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as they are, otherwise as `write`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(_in_order(save(tensors, metadata)))


def _in_order(raw: bytes) -> bytes:
    """A safetensors file with its header sorted: the library writes metadata in an order that changes by process."""
    size = int.from_bytes(raw[:8], "little")
    header = json.dumps(json.loads(raw[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format wants its data aligned
    return len(header).to_bytes(8, "little") + header + raw[8 + size :]


def read(path: Path) -> WeightFile:
    """A file of `write`; BadInput where it is cut short, another format, or holds a number that is not finite.

    It is read as safetensors whatever it is called: a pickle, which could run code, never is.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key).float() for key in stream.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        with path.open("rb") as raw:
            head = raw.read(9)
        # The length at the start of a safetensors file may begin with any byte; its header begins with a brace.
        if head.startswith(PICKLES) and head[8:] != b"{":
            raise BadInput(f"{path}: a pickle, which can run code; name the weights.safetensors of a run") from error
        raise BadInput(f"{path}: cut short, or not a safetensors file ({error}); copy it again") from error
    if metadata.get("format") != FORMAT:
        raise BadInput(f"{path}: does not say what it is of (no {FORMAT} metadata); name the weights of a run")
    broken = next((key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise BadInput(f"{path}: {broken} is not finite; the run diverged, train again")
    return WeightFile(path, sha256_file(path), metadata, tensors)


def check(file: WeightFile, model: str, tier: Tier) -> None:
    """BadInput that says what was found and what is wanted, where a file is of another model, tier or gene order."""
    again = "train on it (docs/trident.md) or give other weights"
    metadata = file.metadata
    if metadata.get("model") != model:
        raise BadInput(f"{file.path}: weights of model {metadata.get('model')!r}; {model!r} is wanted")
    if metadata.get("tier") != tier.spec.name:
        raise BadInput(f"{file.path}: trained on tier {metadata.get('tier')!r}, this is {tier.spec.name!r}; {again}")
    if metadata.get("tier_version") != tier.spec.version:
        raise BadInput(
            f"{file.path}: trained on version {metadata.get('tier_version')} of tier {tier.spec.name}, this is version "
            f"{tier.spec.version}; {again}"
        )
    if metadata.get("genes_sha256") != genes_sha256(tier.genes):
        raise BadInput(f"{file.path}: trained on other genes than tier {tier.spec.name}'s, or another order; {again}")


def configuration(file: WeightFile, kind: type[Any]) -> Any:
    """The configuration that a file was trained in, an object of the dataclass `kind`; BadInput names an odd field."""
    try:
        return TypeAdapter(kind).validate_json(file.metadata.get("configuration", "null"))
    except ValidationError as error:
        raise BadInput(f"{file.path}: configuration of another release: {first_fault(error)}") from error


@contextmanager
def _no_larger_than(file: WeightFile) -> Iterator[None]:
    """ValueError for far more modules than a file has tensors: even without memory, a billion take for ever."""
    most, seen = 1000 + 10 * len(file.tensors), count(1)

    def counted(*_: object) -> None:
        if next(seen) > most:
            raise ValueError(f"more than {most:,} modules, for {len(file.tensors):,} tensors")

    hook = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


def filled(build: Callable[[], Network], file: WeightFile) -> Network:
    """The network that `build` makes, with the tensors of a file; BadInput where they are of other sizes than its own.

    build: makes a network of the file's configuration.
    """
    try:
        with torch.device("meta"), _no_larger_than(file):  # a size that is wrong is known before memory is taken for it
            build().load_state_dict(file.tensors, assign=True)
        network = build()
        network.load_state_dict(file.tensors)
        return network
    except (RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(
            f"{file.path}: its tensors are not those of its configuration ({detail}); copy it again"
        ) from error
