"""What a run says of itself while it goes on: a line or a bar of progress, a plot of its log, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from morphobench.errors import MorphoBenchError, Unavailable
from morphobench.storage import atomic_path

PLOT = "losses.png"
PLOT_SECONDS = 60.0
"""Least time between two plots."""
NOT_TERMS = {"step", "steps_per_second"}
NOT_CURVES = NOT_TERMS | {"scored"}


class Reporter:
    """Is given each line of a log (as `loop.train`'s `report`); a context manager, which draws the plot at the end."""

    def __init__(self, folder: Path, steps: int, tensorboard: bool = False) -> None:
        """steps: of the whole recipe. Unavailable where TensorBoard is asked for and not installed."""
        self.folder, self.steps = folder, steps
        self.lines: list[dict[str, Any]] = []
        self.plotted = time.monotonic()
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"), console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self.task = self.progress.add_task("steps", total=steps, terms="")
        self.writer = _summary_writer() if tensorboard else None
        self.events: Any = None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        if self.events is not None:
            self.events.close()
        # A plot that cannot be written must not take the place of what went wrong before.
        with suppress(MorphoBenchError) if error is not None else nullcontext():
            if self.lines:
                self._plot()

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Show a line, and write it for TensorBoard."""
        if not self.lines:
            self.lines = earlier(self.folder, line["step"])
        self.lines.append(dict(line))
        terms = ", ".join(f"{name} {value:.4g}" for name, value in line.items() if name not in NOT_TERMS)
        if self.console.is_terminal:
            rate = f"{line['steps_per_second']:.3g}/s " if "steps_per_second" in line else ""
            self.progress.update(self.task, completed=line["step"], terms=f"{rate}{terms}")
        else:
            self.console.print(progress_line(line, self.steps, terms), highlight=False, markup=False, soft_wrap=True)
        self._write_events(line)
        if time.monotonic() - self.plotted > PLOT_SECONDS:
            self._plot()

    def _write_events(self, line: Mapping[str, Any]) -> None:
        if self.writer is None:
            return
        if self.events is None:  # events of a run that was stopped after its last checkpoint are taken back
            self.events = self.writer(str(self.folder / "tensorboard"), purge_step=line["step"])
        for name, value in line.items():
            if name != "step":
                self.events.add_scalar(name, value, line["step"])
        self.events.flush()

    def _plot(self) -> None:
        plot(self.lines, self.folder / PLOT)
        self.plotted = time.monotonic()


def progress_line(line: Mapping[str, Any], steps: int, terms: str) -> str:
    """`step 500 of 10000, 8.8 steps/s, 18.0 min left: diffusion 31.2, kl 20.1`."""
    at, rate = f"step {line['step']} of {steps}", line.get("steps_per_second")
    if not rate:
        return f"{at}: {terms}"
    seconds = (steps - line["step"]) / rate
    units = ((3600, "h"), (60, "min"))
    left = next((f"{seconds / unit:.1f} {name}" for unit, name in units if seconds >= 2 * unit), f"{seconds:.0f} s")
    return f"{at}, {rate:.3g} steps/s, {left} left: {terms}"


def earlier(folder: Path, step: int) -> list[dict[str, Any]]:
    """The lines of the log of a run before a step, without that on the machine.

    They are for the plot alone: a log that cannot be read is written anew from the checkpoint.
    """
    path = folder / "log.jsonl"
    try:
        lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if 0 < line["step"] < step]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def plot(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Every term of a log over its steps, one panel each, as PNG; logarithmic where all its values are positive.

    Nothing is drawn where there is no term.
    """
    from matplotlib.figure import Figure  # half a second, which a short run does not pay at its start

    terms = [name for name in dict.fromkeys(name for line in lines for name in line) if name not in NOT_CURVES]
    if not terms:
        return
    across = min(3, len(terms))
    down = -(-len(terms) // across)
    figure = Figure(figsize=(4 * across, 2.6 * down), layout="constrained")
    for axes, name in zip(figure.subplots(down, across, squeeze=False).flat, terms, strict=False):
        steps, values = zip(*[(line["step"], line[name]) for line in lines if name in line], strict=True)
        axes.plot(steps, values, marker="." if len(steps) < 30 else "")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        if min(values) > 0:
            axes.set_yscale("log")
    for axes in figure.axes[len(terms) :]:
        axes.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise Unavailable(
            "--tensorboard: the package tensorboard is not installed; pip install 'morphobench[train]'"
        ) from error
    return SummaryWriter
