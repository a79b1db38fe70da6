"""Training that survives an interruption: a resumable loop, and Algorithm 1 on top of it.

A run lives in one folder: `checkpoint.pt` (weights, average, optimizer, random state, step, log), rewritten
atomically, and `log.jsonl`. Stopped at any step and started again, it continues from the last checkpoint with the
same draws, so that on one machine it ends in the same weights as a run that was never stopped.
"""

from __future__ import annotations

import copy
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from morphobench.errors import BadInput
from morphobench.storage import atomic_path, atomic_write_text
from reference_models.trident.condition import Drugs
from reference_models.trident.config import Recipe, TridentConfig
from reference_models.trident.network import Noise, TridentNetwork


@dataclass
class Run:
    """Everything that changes while training."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator
    step: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write checkpoint and log; each is whole or the former one."""
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generator": self.generator.get_state(),
            "step": self.step,
            "log": self.log,
        }
        with atomic_path(folder / "checkpoint.pt") as temporary:
            torch.save(state, temporary)
        atomic_write_text(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.log))

    def resume(self, folder: Path) -> bool:
        """Load the folder's checkpoint if there is one. BadInput where it belongs to another model."""
        path = folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        try:
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise BadInput(f"{path}: a checkpoint of another model; remove it or choose another folder") from error
        self.generator.set_state(state["generator"])
        self.step, self.log = state["step"], state["log"]
        return True


def hardware() -> dict[str, Any]:
    """What the log says of the machine."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def train(
    run: Run,
    update: Callable[[Run], dict[str, float]],
    steps: int,
    folder: Path,
    log_every: int = 50,
    save_every: int = 500,
) -> None:
    """Call `update` until `run.step == steps`; every `log_every` steps log the mean of what it returns, and the
    speed."""
    if run.resume(folder):
        print(f"{folder}: continuing at step {run.step}", file=sys.stderr)
    else:
        run.log.append({"step": 0, **hardware()})
    sums: dict[str, float] = {}
    counted, started = 0, time.perf_counter()
    while run.step < steps:
        for name, value in update(run).items():
            sums[name] = sums.get(name, 0.0) + value
        run.step += 1
        counted += 1
        if run.step % log_every == 0 or run.step == steps:
            seconds = time.perf_counter() - started
            means = {name: round(value / counted, 5) for name, value in sums.items()}
            run.log.append({"step": run.step, **means, "steps_per_second": round(counted / seconds, 3)})
            print(json.dumps(run.log[-1]), file=sys.stderr, flush=True)
            sums, counted, started = {}, 0, time.perf_counter()
        if run.step % save_every == 0 or run.step == steps:
            run.save(folder)


def warm_up(recipe: Recipe, step: int) -> float:
    """Learning rate at a step (0, 1, ...): linear over `warmup` steps, then constant."""
    return recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warmup))


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights, in place."""
    for kept, new in zip(average.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


@dataclass(frozen=True)
class TrainingSet:
    """The paired samples of Algorithm 1, images already encoded.

    latents: (N, V, C, S, S) float16, V dihedral views of each image. g_pre, g_post: (N, G) float32 log2 expression.
    """

    latents: Tensor
    g_pre: Tensor
    g_post: Tensor
    drugs: Drugs


def new_run(config: TridentConfig, data: TrainingSet) -> Run:
    """Fresh weights, their average and the optimizer, all from the recipe's seed."""
    torch.manual_seed(config.recipe.seed)
    network = TridentNetwork(config)
    network.fit_standardisation(data.g_pre, data.g_post)
    network = network.to(data.latents.device)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=config.recipe.learning_rate,
        weight_decay=config.recipe.weight_decay,
        fused=True,
    )
    modules: dict[str, nn.Module] = {"network": network, "average": copy.deepcopy(network).requires_grad_(False)}
    return Run(modules, {"adamw": optimizer}, torch.Generator().manual_seed(config.recipe.seed))


def train_trident(
    config: TridentConfig, data: TrainingSet, folder: Path, bfloat16: bool = False, steps: int | None = None
) -> Run:
    """Algorithm 1 for the recipe's number of steps (or the first `steps` of it), continuing what `folder` holds.

    The loss is Eq. 10 divided by the number of latent values, a constant that only sets the scale of gradients.
    """
    run = new_run(config, data)
    recipe, (optimizer,) = config.recipe, run.optimizers.values()
    network, average = run.modules["network"], run.modules["average"]
    assert isinstance(network, TridentNetwork)
    latent_values = data.latents[0, 0].numel()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # On a CPU and at 64 tokens the fused kernel's backward pass takes a third of a step, plain matrix products a
    # seventh.
    on_cpu = data.latents.device.type == "cpu"
    attention = (
        [SDPBackend.MATH] if on_cpu else [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    )

    def update(run: Run) -> dict[str, float]:
        for group in optimizer.param_groups:
            group["lr"] = warm_up(recipe, run.step)
        rows, views, noise = draw_batch(config, data, run.generator)
        latents = data.latents[rows, views].float()
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=bfloat16), sdpa_kernel(attention):
            losses = network.losses(latents, data.g_pre[rows], data.g_post[rows], data.drugs[rows], noise)
        optimizer.zero_grad(set_to_none=True)
        (losses.total / latent_values).backward()
        norm = nn.utils.clip_grad_norm_(parameters, recipe.clip if recipe.clip is not None else float("inf"))
        optimizer.step()
        update_average(average, network, recipe.ema)
        terms = {name: float(value.detach()) for name, value in vars(losses).items()}
        return {**terms, "diffusion_per_value": terms["diffusion"] / latent_values, "gradient_norm": float(norm)}

    train(run, update, recipe.steps if steps is None else steps, folder)
    return run


def draw_batch(config: TridentConfig, data: TrainingSet, generator: torch.Generator) -> tuple[Tensor, Tensor, Noise]:
    """Rows, views and noise of one batch; drawn on the CPU, so that a seed means the same batch on every device."""
    size, device = config.recipe.batch, data.latents.device
    rows = torch.randint(data.latents.shape[0], (size,), generator=generator)
    views = torch.randint(data.latents.shape[1], (size,), generator=generator)
    z = torch.randn(size, config.condition.tokens, config.condition.z_width, generator=generator)
    steps = torch.randint(config.diffusion.timesteps, (size,), generator=generator)
    latents = torch.randn(size, *data.latents.shape[2:], generator=generator)
    noise = Noise(z.to(device), steps.to(device), latents.to(device))
    return rows.to(device), views.to(device), noise
