"""Where a model runs, in how many processes, and what differs between the places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.attention import SDPBackend

from morphobench.errors import BadInput, Unavailable
from morphobench.features.registry import check_device
from morphobench.trainers import TrainingRequest

CPU = torch.device("cpu")
LAUNCHED = "WORLD_SIZE"
"""What a launcher (`accelerate launch`, torchrun) sets in each of the processes that it starts."""
NO_MEMORY = "can't allocate memory"
"""In what torch says where a processor has none left; a GPU's has an error of its own."""
LONGEST_WAIT = timedelta(hours=2)
"""That processes wait for the first, which encodes images and draws samples."""


def chosen_device(name: str) -> torch.device:
    """A device by name; BadInput where this machine has none such."""
    check_device(name)
    return torch.device(name)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself; elsewhere it would be imitated."""
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def mixed_precision(device: torch.device, bfloat16: bool) -> torch.autocast:
    """Matrix products in bfloat16 where asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def attention_kernels(device: torch.device) -> list[SDPBackend]:
    """The kernels of attention that training may take.

    On a CPU and at 64 tokens the fused kernel's backward pass takes a third of a step, plain matrix products a seventh.
    """
    if device.type == "cpu":
        return [SDPBackend.MATH]
    return [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True)
class Compute:
    """How a step is computed; which numbers it computes depends on it only by rounding.

    device: this process's. bfloat16: matrix products in bfloat16. accumulate, recompute, compiled: see
    `morphobench.trainers.TrainingRequest`. rank: of this process among `processes`.
    """

    device: torch.device = CPU
    bfloat16: bool = False
    accumulate: int = 1
    recompute: bool = False
    compiled: bool = False
    rank: int = 0
    processes: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    @property
    def about(self) -> dict[str, str]:
        """What of it moves the rounding, so that a run that goes on must have the same."""
        return {
            "bfloat16": str(self.bfloat16),
            "accumulate": str(self.accumulate),
            "recompute": str(self.recompute),
            "compiled": str(self.compiled),
            "processes": str(self.processes),
        }

    def autocast(self) -> torch.autocast:
        """Matrix products in the chosen precision."""
        return mixed_precision(self.device, self.bfloat16)

    def parts(self, batch: int) -> list[slice]:
        """The rows of a global batch that this process takes, in `accumulate` parts one after the other.

        Every process draws the whole batch from one seed, so that a seed means the same batches whatever the number of
        processes. BadInput where the batch cannot be dealt evenly: the mean of the processes' means would be another.
        """
        pieces = self.processes * self.accumulate
        if batch % pieces:
            raise BadInput(
                f"recipe.batch {batch}: no multiple of {self.processes} processes x --accumulate {self.accumulate}; "
                f"--set recipe.batch={batch - batch % pieces or pieces}, or change them"
            )
        size = batch // pieces
        first = self.rank * self.accumulate
        return [slice((first + part) * size, (first + part + 1) * size) for part in range(self.accumulate)]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of one type by their means over all processes, in place, in one exchange."""
        if self.processes == 1:
            return
        own = list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in own])
        with _exchange():
            distributed.all_reduce(flat)
        flat /= self.processes
        for tensor, mean in zip(own, flat.split([tensor.numel() for tensor in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def join_gradients(self, parameters: Iterable[nn.Parameter], clip: float | None) -> Tensor:
        """Average the gradients over the processes, then scale them to norm `clip` at most; returns the norm before."""
        own = [parameter for parameter in parameters if parameter.grad is not None]
        self.average(parameter.grad for parameter in own if parameter.grad is not None)
        return nn.utils.clip_grad_norm_(own, float("inf") if clip is None else clip)

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes."""
        if self.processes == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        with _exchange():
            distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return bool(told)

    def gather(self, own: object) -> list[object]:
        """What each process gives, by rank."""
        if self.processes == 1:
            return [own]
        everyone: list[object] = [None] * self.processes
        with _exchange():
            distributed.all_gather_object(everyone, own)
        return everyone

    def wait(self) -> None:
        """Until every process is here."""
        if self.processes > 1:
            with _exchange():
                distributed.barrier()


@contextmanager
def _exchange() -> Iterator[None]:
    """Unavailable where an exchange fails because one of the others has ended: that one says why."""
    try:
        yield
    except RuntimeError as error:
        raise Unavailable(f"another process of this training ended ({' '.join(str(error).split())[:80]})") from error


@contextmanager
def memory_errors(place: Path, device: str) -> Iterator[None]:
    """Unavailable where the block asks for more memory than a device has."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and NO_MEMORY not in str(error):
            raise
        raise Unavailable(
            f"{place}: too little memory on {device}; in another folder take each batch in parts (--accumulate N, the "
            "same step), or smaller ones (--set recipe.batch=N)"
        ) from error


def joined(request: TrainingRequest) -> Compute:
    """How this process computes; where it is one of several that were launched, it joins them by accelerate.

    BadInput for a device that is not here.
    """
    device, rank, processes = chosen_device(request.device), 0, 1
    if int(os.environ.get(LAUNCHED, "1")) > 1:
        from accelerate import PartialState  # a second to import, and only several processes need it

        if device.index is not None:
            raise BadInput(f"--device {request.device}: each process has a device of its own; give {device.type}")
        state = PartialState(cpu=device.type == "cpu", timeout=LONGEST_WAIT)
        device, rank, processes = state.device, state.process_index, state.num_processes
    bfloat16 = request.precision == "bfloat16"
    return Compute(device, bfloat16, request.accumulate, request.recompute, request.compiled, rank, processes)


def mean_of(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Means of terms over the equal parts of a batch."""
    return {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}
