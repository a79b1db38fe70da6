"""TRIDENT as the benchmark sees it: conditions in, uint8 images and predicted expression out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from morphobench.errors import BadInput
from morphobench.schema import Condition, Conditions
from morphobench.storage import sha256_text
from reference_models.autoencoder.network import ConvolutionalAutoencoder, ImageAutoencoder
from reference_models.core.pixels import to_uint8
from reference_models.detail.network import DetailDecoder, DetailFlow
from reference_models.training.devices import has_bfloat16, mixed_precision
from reference_models.trident.condition import Drugs, featurise
from reference_models.trident.config import SamplerConfig
from reference_models.trident.network import TridentNetwork, count_parameters

PAPER_TITLE = (
    "TRIDENT: A Trimodal Cascade Generative Framework for Drug and RNA-Conditioned Cellular Morphology Synthesis"
)
STANDARD = ("paper", "sim")
"""Configurations that are the model itself; a variant or ablation is submitted under a name of its own."""
BATCH = 64
"""Images per forward pass; the images do not depend on it."""


class Trident:
    """A trained TRIDENT.

    The noise of an image comes from (seed, track, compound, index) alone, so that neither the batch size nor which
    other images are asked for changes it, beyond float rounding. A swapped condition keeps the noise of the one it was
    made from: what then differs is the condition's. Where the device has bfloat16, matrix products of the images are
    taken in it, which is part of that rounding; expression is predicted in float32.
    """

    def __init__(
        self,
        network: TridentNetwork,
        autoencoder: ImageAutoencoder,
        training_data: str,
        device: str = "cpu",
        sampler: SamplerConfig | None = None,
        weights_sha256: str = "",
        detail: DetailFlow | None = None,
    ) -> None:
        """detail: draws what the autoencoder leaves out, in as many steps as the sampler says.

        ValueError where the sampler has such steps and there is none.
        """
        self.device = torch.device(device)
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.autoencoder = autoencoder
        self.in_bfloat16 = has_bfloat16(self.device)
        self.sampler = sampler or network.config.sampler
        self.completed: DetailDecoder | None = None
        if self.sampler.detail_steps:
            if detail is None or not isinstance(autoencoder, ConvolutionalAutoencoder):
                raise ValueError(
                    f"{self.sampler.detail_steps=}: needs the flow of detail of a convolutional autoencoder"
                )
            self.completed = DetailDecoder(autoencoder, detail, self.sampler.detail_steps, self.in_bfloat16).to(
                self.device
            )
        self.manifest: dict[str, Any] = {
            "method": "latent diffusion transformer conditioned on drug structure and pre-treatment expression",
            "parameters": count_parameters(network),
            "sampler": self.sampler.solver,
            "steps": self.sampler.steps,
            "training_data": training_data,
            "licence": "Apache-2.0",
            "code": "reference_models/trident",
            "paper": PAPER_TITLE,
            "weights_sha256": weights_sha256,
            "uses_measured_g_post": False,
        }
        if network.config.name not in STANDARD:
            self.manifest["name"] = f"trident-{network.config.name}"

    def generate(self, conditions: Conditions, seed: int, batch: int = BATCH) -> np.ndarray:
        """Images uint8 (N, H, W, 3), one per condition, in their order. Progress goes to stderr."""
        size = self.network.config.image_size
        images = np.empty((len(conditions), size, size, 3), np.uint8)
        starts = range(0, len(conditions), batch)
        console = Console(stderr=True)
        silent = not console.is_terminal
        for start in track(starts, "TRIDENT samples", console=console, transient=True, disable=silent):
            part = conditions.take(np.arange(start, min(start + batch, len(conditions))))
            images[start : start + len(part)] = self._generate(part, seed)
        return images

    def _generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        generators = [torch.Generator().manual_seed(noise_seed(seed, record)) for record in conditions]
        g_pre, drugs = self._inputs(conditions)
        with mixed_precision(self.device, self.in_bfloat16):
            latents = self.network.sample(g_pre, drugs, self.sampler, generators).float()
        with torch.no_grad():
            if self.completed is not None:
                return to_uint8(self.completed.draw(latents, generators))
            return to_uint8(self.autoencoder.decode(latents))

    def predict_expression(self, conditions: Conditions) -> np.ndarray:
        """Predicted log2 G_post, float32 (N, 978): the mean of D_perturb at z = mu_z. No image is drawn for it."""
        return self.network.predict_expression(*self._inputs(conditions)).cpu().numpy()

    def _inputs(self, conditions: Conditions) -> tuple[torch.Tensor, Drugs]:
        g_pre = torch.from_numpy(np.ascontiguousarray(conditions.g_pre, dtype=np.float32)).to(self.device)
        genes = self.network.config.condition.genes
        if g_pre.shape[1] != genes:
            raise BadInput(f"G_pre has {g_pre.shape[1]} genes, the model reads {genes}; use the tier it was trained on")
        return g_pre, featurise(conditions.records, self.network.config.condition).to(self.device)


def noise_seed(seed: int, record: Condition) -> int:
    """Seed of one image's noise, 63 bits of SHA-256."""
    digest = sha256_text(str(seed), record.track, record.swapped_from or record.compound, str(record.index))
    return int(digest[:16], 16) >> 1
