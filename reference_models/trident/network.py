"""TRIDENT's trained part: condition module and transformer, their joint loss (Algorithm 1) and sampling (Algorithm
2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_models.core import solvers
from reference_models.trident import diffusion
from reference_models.trident.condition import ConditionModule, Drugs, gaussian_nll, kl_to_standard_normal
from reference_models.trident.config import SamplerConfig, TridentConfig
from reference_models.trident.transformer import DenoisingTransformer


@dataclass(frozen=True)
class Noise:
    """Every random draw of one training batch (Algorithm 1, lines 8, 15 and 16)."""

    z: Tensor  # (N, K, W)
    steps: Tensor  # (N,) in 0..T-1
    latents: Tensor  # (N, C, S, S)
    hidden_features: Tensor | None = None  # (N, F) bool
    hidden_structures: Tensor | None = None  # (N,) bool

    def __getitem__(self, rows: slice) -> Noise:
        return Noise(
            self.z[rows],
            self.steps[rows],
            self.latents[rows],
            None if self.hidden_features is None else self.hidden_features[rows],
            None if self.hidden_structures is None else self.hidden_structures[rows],
        )


@dataclass(frozen=True)
class Losses:
    """Batch means of per-image sums: over genes, over z, over the latent."""

    reconstruction: Tensor
    kl: Tensor
    diffusion: Tensor

    @property
    def total(self) -> Tensor:
        """Eqs. 3 and 10: L_VAE + L_LDM, with beta = 1."""
        return self.reconstruction + self.kl + self.diffusion


class TridentNetwork(nn.Module):
    """phi, psi, theta and gamma of Algorithm 1. Expression is standardised by the training set's per-gene mean and
    deviation, which travel with the weights."""

    pre_mean: Tensor
    pre_std: Tensor
    post_mean: Tensor
    post_std: Tensor

    def __init__(self, config: TridentConfig) -> None:
        super().__init__()
        self.config = config
        self.condition = ConditionModule(config.condition)
        self.transformer = DenoisingTransformer(config.transformer)
        self.schedule = diffusion.Schedule(config.diffusion)
        for name in ("pre", "post"):
            self.register_buffer(f"{name}_mean", torch.zeros(config.condition.genes))
            self.register_buffer(f"{name}_std", torch.ones(config.condition.genes))

    def fit_standardisation(self, g_pre: Tensor, g_post: Tensor) -> None:
        """Set the per-gene statistics from training expression (N, G). A gene that never varies keeps deviation 1."""
        for name, values in (("pre", g_pre), ("post", g_post)):
            std = values.std(0)
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def losses(self, latents: Tensor, g_pre: Tensor, g_post: Tensor, drugs: Drugs, noise: Noise) -> Losses:
        """Algorithm 1, lines 6-22, for latents (N, C, S, S), log2 expression (N, G) and N drugs."""
        if noise.hidden_features is not None and noise.hidden_structures is not None:
            drugs = drugs.hidden(noise.hidden_features, noise.hidden_structures)
        condition = self.condition((g_pre - self.pre_mean) / self.pre_std, drugs, noise.z)
        target = (g_post - self.post_mean) / self.post_std
        noisy = diffusion.add_noise(self.schedule, latents, noise.latents, noise.steps)
        predicted = self.predict_noise(noisy, condition.z, noise.steps)
        return Losses(
            gaussian_nll(target, condition.g_post_mean.float(), condition.g_post_log_variance.float()).mean(),
            kl_to_standard_normal(condition.mean.float(), condition.log_variance.float()).mean(),
            self._weighted(diffusion.squared_error(noise.latents, predicted.float()), noise.steps).mean(),
        )

    def _weighted(self, errors: Tensor, steps: Tensor) -> Tensor:
        """Squared errors of the noise (N,) at steps (N,), weighted as the configuration says."""
        if self.config.diffusion.weighting == "noise":
            return errors
        return errors / self.schedule.signal[steps].square()

    def predict_noise(self, latents: Tensor, z: Tensor, steps: Tensor) -> Tensor:
        """Noise in latents (N, C, S, S) at steps (N,), given z (N, K, W)."""
        output = self.transformer(latents, z, steps)
        if not self.config.diffusion.noise_skip:
            return output
        # sqrt(alpha_bar_t) f_theta + sqrt(1 - alpha_bar_t) X^t: the weights are those of Eq. 6.
        return diffusion.add_noise(self.schedule, output.float(), latents, steps)

    @torch.no_grad()
    def sample(
        self, g_pre: Tensor, drugs: Drugs, sampler: SamplerConfig, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Algorithm 2, lines 1-13: latents (N, C, S, S) for log2 G_pre (N, G) and N drugs; one generator per image."""
        sizes = self.config.transformer
        z_noise = solvers.draw((self.config.condition.tokens, sizes.width), generators, g_pre.device)
        z = self.condition((g_pre - self.pre_mean) / self.pre_std, drugs, z_noise).z
        shape = (sizes.latent_channels, sizes.latent_size, sizes.latent_size)
        start = solvers.draw(shape, generators, g_pre.device)
        return diffusion.sample(
            lambda latents, steps: self.predict_noise(latents, z, steps),
            self.schedule,
            sampler,
            start,
            generators,
        )

    @torch.no_grad()
    def predict_expression(self, g_pre: Tensor, drugs: Drugs) -> Tensor:
        """Predicted log2 G_post (N, G): the mean of D_perturb at z = mu_z."""
        sizes = self.config.condition
        at_mean = torch.zeros(len(g_pre), sizes.tokens, sizes.z_width, device=g_pre.device)  # no noise: z = mu_z
        out = self.condition((g_pre - self.pre_mean) / self.pre_std, drugs, at_mean)
        return out.g_post_mean * self.post_std + self.post_mean


def count_parameters(module: nn.Module) -> int:
    """Weights of a module; the frozen position table is a buffer and does not count."""
    return sum(parameter.numel() for parameter in module.parameters())
