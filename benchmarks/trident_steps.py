"""Distance against network evaluations: of TRIDENT's image path alone, and of what TRIDENT draws.

    python benchmarks/trident_steps.py [--images 352] [--only path|sampler] [--write]

*Path*: real replicates of track `id` are sent once through encoder and decoder; what is lost is what no latent model
can win back. *Sampler*: TRIDENT draws the same conditions of `id` with more and fewer solver steps. Both are scored by
the kernel distance on `efficientnet_lite0` features against the real images of `id`, and, without any network, by the
log spectrum. SIMULATED. `--write` puts the tables into docs/trident.md.
"""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from metric_validation import write_between

from morphobench import provenance
from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.features.registry import load_extractor
from morphobench.metrics.kernel import kernel_distance
from reference_models import trident
from reference_models.core import solvers
from reference_models.core.pixels import to_tensor, to_uint8
from reference_models.core.solvers import Flow
from reference_models.trident.model import Trident

PAGE = Path(__file__).parents[1] / "docs" / "trident.md"
BATCH = 32


def spectrum(images: np.ndarray) -> np.ndarray:
    """Log power (64, 3) by spatial frequency, in cycles per image, and channel of uint8 images (N, H, W, 3)."""
    values = images.astype(np.float32)
    power = (np.abs(np.fft.fft2(values - values.mean((1, 2), keepdims=True), axes=(1, 2))) ** 2).mean(0)
    size = images.shape[1]
    ring = (np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))) * size).astype(int)
    rows = [power[ring == radius].mean(0) for radius in range(1, size // 2)]
    return np.log(np.stack(rows))


class Scorer:
    """Distances of images to the real ones of `id`."""

    def __init__(self, real: np.ndarray) -> None:
        self.extractor = load_extractor("efficientnet_lite0")
        self.features, self.spectrum = self._embed(real), spectrum(real)

    def _embed(self, images: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), BATCH)
        return np.concatenate([self.extractor.extract(images[start : start + BATCH]).embedding for start in starts])

    def row(self, name: str, evaluations: int, images: np.ndarray, seconds: float) -> str:
        distance = kernel_distance(self._embed(images), self.features)
        apart = np.abs(spectrum(images) - self.spectrum).mean()
        rate = f"{seconds * 64 / len(images):.2f}" if seconds else ""
        line = f"| {name} | {evaluations} | {distance:.4f} | {apart:.3f} | {rate} |"
        print(line, flush=True)
        return line


def path_rows(model: Trident, replicates: np.ndarray) -> Iterator[tuple[str, int, np.ndarray, float]]:
    """(name, evaluations, images, seconds) of replicates as they are and after each way of decoding their latents."""
    yield "untouched", 0, replicates, 0.0
    decoder = model.completed
    if decoder is None:
        raise SystemExit("the weights that ship have no flow of detail; nothing to compare")
    batches = [to_tensor(replicates[start : start + BATCH], model.device) for start in range(0, len(replicates), BATCH)]
    with torch.no_grad():
        latents = [decoder.autoencoder.encode(batch) for batch in batches]
        start = time.perf_counter()
        plain = np.concatenate([to_uint8(decoder.autoencoder.decode(part)) for part in latents])
        yield "autoencoder", 0, plain, time.perf_counter() - start
        for name, solver, steps in [
            ("noise of the predicted deviation", "euler", 0), *[("flow, Euler", "euler", steps) for steps in (2, 4, 8)],
            ("flow, Heun", "heun", 4),
        ]:  # fmt: skip
            generator, start, images = torch.Generator().manual_seed(0), time.perf_counter(), []
            for part in latents:
                with torch.autocast(model.device.type, torch.bfloat16, enabled=decoder.in_bfloat16):
                    given = decoder.flow.given(*decoder.autoencoder.reconstruction(part))
                    x = torch.randn(given.mean.shape, generator=generator)
                    if steps:
                        predict = lambda x, times, given=given: decoder.flow(x, times, given)  # noqa: E731
                        x = solvers.sample(predict, Flow(), solver, steps, x, [generator])
                images.append(to_uint8(given.mean + given.deviation * x))
            yield name, steps * (2 if solver == "heun" else 1), np.concatenate(images), time.perf_counter() - start


def sampler_rows(model: Trident, tier: Tier, rows: np.ndarray) -> Iterator[tuple[str, int, np.ndarray, float]]:
    """(name, evaluations, images, seconds) of what TRIDENT draws for some rows of `id`."""
    conditions = tier.conditions("id").take(rows)
    for steps in (5, 8, 12, 20, 40):
        model.sampler = replace(model.sampler, solver="dpmsolver++", steps=steps)
        start = time.perf_counter()
        images = model.generate(conditions, seed=0)
        yield "DPM-Solver++", steps, images, time.perf_counter() - start


def main() -> None:
    """Measure, print, write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=352)
    parser.add_argument("--only", choices=("path", "sampler"))
    parser.add_argument("--write", action="store_true", help="into docs/trident.md")
    arguments = parser.parse_args()
    tier, model = load_tier("sim"), trident.load(load_tier("sim"))
    everything = np.concatenate(list(tier.images(tier.rows("id")).batches(64)))
    chosen = np.linspace(0, len(everything) - 1, arguments.images).astype(int)
    scorer = Scorer(everything[chosen])
    head = [
        "| images | evaluations | kernel distance | log spectrum, mean difference | s per 64 images |",
        "|---" * 5 + "|",
    ]
    setting = provenance.hardware("cpu") | provenance.versions()
    note = f"`python benchmarks/trident_steps.py --images {arguments.images}`; " + ", ".join(
        f"{name} {value}" for name, value in setting.items()
    )
    note = textwrap.fill(note + ".", 120, break_long_words=False, break_on_hyphens=False)
    print("\n".join(head))
    if arguments.only != "sampler":
        rows = tier.rows("id_replicate").iloc[chosen]
        replicates = np.concatenate(list(tier.images(rows).batches(64)))
        lines = [scorer.row(*each) for each in path_rows(model, replicates)]
        if arguments.write:
            write_between(PAGE, "path", [*head, *lines, "", note])
    if arguments.only != "path":
        lines = [scorer.row(*each) for each in sampler_rows(model, tier, chosen)]
        if arguments.write:
            write_between(PAGE, "sampler", [*head, *lines, "", note])
    print(note)


if __name__ == "__main__":
    main()
