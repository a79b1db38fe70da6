"""TRIDENT at the paper's size: memory, operations and hours of a training on 8 A100s, computed and not measured.

    python benchmarks/paper_size.py [--step] [--out docs/paper-size.md]

The network is built on the meta device, where tensors have sizes and no numbers. Operations are counted by
`torch.utils.flop_counter` over one training step of it; activations are counted by what autograd keeps. `--step` also
takes one real step of the whole architecture (28 blocks, width 1152, 16 heads) at a reduced resolution on this machine,
and says how much memory it took: about 12 GiB.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from morphobench.schema import Condition
from reference_models.training.latents import size_on_disk
from reference_models.trident.condition import Drugs, feature_count, featurise
from reference_models.trident.config import PAPER, TridentConfig
from reference_models.trident.network import Noise, TridentNetwork, count_parameters
from reference_models.trident.training import TrainingSet, TridentTraining

A100_FLOPS = 312e12
"""Peak of one A100 in bfloat16, dense (NVIDIA's data sheet)."""
A100_GB = 80
NVLINK = 300e9
"""Bytes per second that one A100 sends to the others (NVIDIA's data sheet: 600 GB/s, both directions)."""
GPUS = 8
SHARES = (0.3, 0.4, 0.5)
IMAGES = 35_200
"""44 compounds, 1,000 images each, 8 of 10 for training."""
STEPS = (10_000, 100_000)
STATE_BYTES = 4 + 4 + 4 + 8
"""Of one weight: itself, its gradient, its average and AdamW's two moments, all in float32."""
GIB = 2**30


@dataclass(frozen=True)
class Costs:
    """What one training step of a batch costs one device. flops: forward and backward, a product and a sum are two."""

    parameters: int
    flops: int
    flops_recompute: int
    activations: int
    activations_recompute: int


def inputs(config: TridentConfig, batch: int) -> tuple[Tensor, Tensor, Tensor, Drugs, Noise]:
    """Arguments of `TridentNetwork.losses`, on the default device."""
    sizes, genes = config.transformer, config.condition.genes
    shape = (batch, sizes.latent_channels, sizes.latent_size, sizes.latent_size)
    drugs = Drugs(
        torch.zeros(batch, feature_count(config.condition)), torch.ones(batch, dtype=torch.bool), torch.zeros(batch, 1)
    )
    noise = Noise(
        torch.zeros(batch, config.condition.tokens, config.condition.z_width),
        torch.zeros(batch, dtype=torch.long),
        torch.zeros(shape),
    )
    return torch.zeros(shape), torch.zeros(batch, genes), torch.zeros(batch, genes), drugs, noise


def count_flops(config: TridentConfig, batch: int, recompute: bool = False) -> int:
    """Operations of one step, forward and backward, on the meta device."""
    with torch.device("meta"):
        network = built(config, recompute)
        given = inputs(config, batch)
    # Attention as plain products: the counter knows them, and they are the same ones as in a fused kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network.losses(*given).total.backward()
    return counter.get_total_flops()


def count_activations(config: TridentConfig, batch: int, recompute: bool = False) -> int:
    """Bytes that autograd keeps between the forward and the backward pass, in bfloat16 where autocast computes so.

    Fake tensors of the CPU, whose fused attention keeps what that of a GPU keeps: no matrix of tokens by tokens.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    with FakeTensorMode():
        network = built(config, recompute)
        own = {id(part.untyped_storage()) for part in (*network.parameters(), *network.buffers())}
        given = inputs(config, batch)
        hooks = saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            total = network.losses(*given).total
    assert total.requires_grad
    return sum(size for storage, size in kept.items() if storage not in own)


def built(config: TridentConfig, recompute: bool) -> TridentNetwork:
    """The network, its blocks computed again in the backward pass where asked for."""
    network = TridentNetwork(config)
    if recompute:
        for block in network.transformer.blocks:
            forward = block.forward
            block.forward = lambda *given, forward=forward: checkpoint(forward, *given, use_reentrant=False)
    return network


def costs(config: TridentConfig, batch: int) -> Costs:
    """Costs of a step of `batch` images on one device."""
    with torch.device("meta"):
        parameters = count_parameters(TridentNetwork(config))
    return Costs(
        parameters,
        count_flops(config, batch),
        count_flops(config, batch, recompute=True),
        count_activations(config, batch),
        count_activations(config, batch, recompute=True),
    )


def seconds_per_step(cost: Costs, share: float) -> float:
    """Of a step whose gradients are averaged after it: operations at a share of peak, then one ring exchange."""
    exchange = 2 * (GPUS - 1) / GPUS * 4 * cost.parameters / NVLINK
    return cost.flops / (share * A100_FLOPS) + exchange


def table(cost: Costs, batch: int) -> str:
    """The page."""
    state, cached = STATE_BYTES * cost.parameters / GIB, size_on_disk(IMAGES, (4, 64, 64))
    recompute = cost.flops_recompute / cost.flops - 1
    lines = [
        "# The paper's size",
        "",
        "Computed by `benchmarks/paper_size.py` from counted operations and bytes. **Nothing on this page was measured",
        "on a GPU.** The paper trains for four days on 8 A100s; it does not say at which share of their peak, nor",
        "whether images were encoded at every step.",
        "",
        "| TRIDENT, configuration `paper`: 28 blocks, width 1152, 16 heads, 512 px | computed |",
        "|---|---|",
        f"| weights | {cost.parameters:,} |",
        f"| image tokens | {(PAPER.transformer.latent_size // PAPER.transformer.patch) ** 2:,} |",
        f"| operations of a training step, per image | {cost.flops / batch / 1e12:.2f} TFLOP |",
        f"| the same with `--recompute` | {cost.flops_recompute / batch / 1e12:.2f} TFLOP (+{recompute:.0%}) |",
        f"| state on each GPU: weights, gradients, average, AdamW, float32 | {state:.1f} GiB |",
        f"| activations of {batch} images, bfloat16 | {cost.activations / GIB:.1f} GiB |",
        f"| the same with `--recompute` | {cost.activations_recompute / GIB:.2f} GiB |",
        f"| together, of {A100_GB} GB | {state + cost.activations / GIB:.1f} GiB |",
        f"| latents of {IMAGES:,} images in eight views, half precision | {cached / 1e9:.2f} GB on disk |",
        "",
        f"Hours on {GPUS} A100s (312 TFLOP/s each in bfloat16), {batch} images on each ({GPUS * batch} a step), with",
        "latents from the cache and gradients averaged after the backward pass at 300 GB/s:",
        "",
        "| share of peak | seconds a step | images a second | " + " | ".join(f"{n:,} steps" for n in STEPS) + " |",
        "|---|---|---|" + "---|" * len(STEPS),
    ]
    for share in SHARES:
        seconds = seconds_per_step(cost, share)
        hours = " | ".join(f"{n * seconds / 3600:.2f} h" for n in STEPS)
        lines.append(f"| {share:.0%} | {seconds:.3f} | {GPUS * batch / seconds:.0f} | {hours} |")
    return "\n".join(lines) + "\n"


def one_step(config: TridentConfig, batch: int = 2) -> tuple[dict[str, float], float]:
    """One real step on this machine; its terms, and seconds."""
    sizes = config.transformer
    records = [
        Condition(track="t", compound=str(row), index=0, smiles="CCO", dose_um=1.0, plate="P") for row in range(4)
    ]
    generator = torch.Generator().manual_seed(0)
    g_pre = 8 + torch.randn(4, config.condition.genes, generator=generator)
    shape = (4, 8, sizes.latent_channels, sizes.latent_size, sizes.latent_size)
    data = TrainingSet(
        torch.randn(shape, generator=generator).half(), g_pre, g_pre + 0.1, featurise(records, config.condition)
    )
    trainee = TridentTraining(replace(config, recipe=replace(config.recipe, batch=batch)), data)
    before = trainee.network.transformer.output.weight.clone()
    start = time.perf_counter()
    terms = {name: float(value) for name, value in trainee.update(0, generator).items()}
    seconds = time.perf_counter() - start
    assert not torch.equal(before, trainee.network.transformer.output.weight)
    return terms, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", action="store_true", help="take one real step at a reduced resolution, and stop")
    parser.add_argument("--out", type=Path, help="file for the page; printed if none is given")
    arguments = parser.parse_args()
    if arguments.step:
        small = replace(PAPER, name="step", image_size=64, transformer=replace(PAPER.transformer, latent_size=8))
        terms, seconds = one_step(small)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        sizes = PAPER.transformer
        print(f"one step of {sizes.depth} x {sizes.width} at 64 px: {seconds:.1f} s, {peak:.1f} GiB, {terms}")
        return
    batch = PAPER.recipe.batch // GPUS
    page = table(costs(PAPER, batch), batch)
    if arguments.out is None:
        print(page)
    else:
        arguments.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
