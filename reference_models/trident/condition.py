"""Transcription-drug condition module: (G_pre, drug) -> z -> G_post (paper section 3.2, Eqs. 1-3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, pi

import numpy as np
import torch
from rdkit.Chem import Descriptors
from torch import Tensor, nn

from morphobench.datasets.frozen import morgan_fingerprint, parse_smiles
from morphobench.errors import BadInput
from morphobench.schema import Condition
from reference_models.trident.config import ConditionConfig

LOWEST_DOSE_UM = 1e-4
"""Below every dose of BBBC021; stands for a vehicle's zero under the logarithm."""


@dataclass(frozen=True)
class Drugs:
    """What the drug encoder reads, one row per image.

    features: (N, F) float32, zero where the structure is unknown. has_structure: (N,) bool. log_dose: (N, 1), log10 of
    micromolar.
    """

    features: Tensor
    has_structure: Tensor
    log_dose: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Drugs:
        return Drugs(self.features[rows], self.has_structure[rows], self.log_dose[rows])

    def hidden(self, features: Tensor, structures: Tensor) -> Drugs:
        """Without the features (N, F) and the whole structures (N,) that are True."""
        return Drugs(self.features.masked_fill(features, 0), self.has_structure & ~structures, self.log_dose)

    def to(self, device: torch.device) -> Drugs:
        return Drugs(self.features.to(device), self.has_structure.to(device), self.log_dose.to(device))


def feature_count(config: ConditionConfig) -> int:
    """Length F of one drug's feature vector."""
    return config.morgan_bits if config.drug_features == "morgan" else len(Descriptors.descList)


def featurise(records: Sequence[Condition], config: ConditionConfig) -> Drugs:
    """Drug features of each record: a Morgan fingerprint (Rogers and Hahn 2010) or RDKit's 2D descriptors.

    A record without SMILES is marked unknown. BadInput names the compound whose SMILES does not parse.
    """
    features = np.zeros((len(records), feature_count(config)), np.float32)
    for row, record in enumerate(records):
        if record.smiles:
            features[row] = _describe(record.compound, record.smiles, config)
    has_structure = np.array([bool(record.smiles) for record in records], bool)
    dose = np.array([record.dose_um for record in records], np.float32).reshape(-1, 1)
    log_dose = np.log10(np.maximum(dose, np.float32(LOWEST_DOSE_UM)))
    return Drugs(torch.from_numpy(features), torch.from_numpy(has_structure), torch.from_numpy(log_dose))


@lru_cache(maxsize=4096)
def _describe(compound: str, smiles: str, config: ConditionConfig) -> np.ndarray:
    try:
        if config.drug_features == "morgan":
            return morgan_fingerprint(smiles, config.morgan_radius, config.morgan_bits).astype(np.float32)
        molecule = parse_smiles(smiles)
    except BadInput as error:
        raise BadInput(f"compound {compound!r}: {error}") from error
    values = np.array([function(molecule) for _, function in Descriptors.descList], np.float64)
    # Descriptors range over ten decades, and a few are undefined for some molecules (no charges, say).
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with SiLU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


@dataclass(frozen=True)
class ConditionOutput:
    """z and the two Gaussians of a batch; K tokens of width W, G genes (standardised units)."""

    z: Tensor  # (N, K, W)
    mean: Tensor  # (N, K * W) mu_z
    log_variance: Tensor  # (N, K * W) log sigma_z^2
    g_post_mean: Tensor  # (N, G)
    g_post_log_variance: Tensor  # (N, G)


class ConditionModule(nn.Module):
    """E_rna, E_drug, E_perturb and D_perturb. Expression goes in and comes out per-gene standardised."""

    seen: Tensor | None

    def __init__(self, config: ConditionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden
        self.encode_rna = mlp(config.genes, width, width)
        self.encode_drug = mlp(feature_count(config), width, width)
        self.unknown_drug = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("seen", torch.ones(feature_count(config)) if config.seen_features else None)
        self.encode_perturbation = mlp(2 * width + config.use_dose, width, 2 * config.tokens * config.z_width)
        self.decode_perturbation = mlp(config.tokens * config.z_width, width, 2 * config.genes)

    def fit_features(self, drugs: Drugs) -> None:
        """Note which features the training drugs have, where the configuration leaves out the others."""
        if self.seen is not None:
            self.seen.copy_((drugs.features != 0).any(0))

    def encode(self, g_pre: Tensor, drugs: Drugs) -> tuple[Tensor, Tensor]:
        """Eq. 1: mu_z and log sigma_z^2, each (N, K * W), from G_pre (N, G) and N drugs."""
        x_rna = self.encode_rna(g_pre)  # (N, H)
        features = drugs.features if self.seen is None else drugs.features * self.seen
        x_drug = torch.where(drugs.has_structure[:, None], self.encode_drug(features), self.unknown_drug)  # (N, H)
        joined = [x_rna, x_drug, drugs.log_dose] if self.config.use_dose else [x_rna, x_drug]
        mean, log_variance = self.encode_perturbation(torch.cat(joined, 1)).chunk(2, 1)
        return mean, self._bounded(log_variance)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 2: mean and log variance of G_post, each (N, G), from z (N, K, W) or (N, K * W)."""
        mean, log_variance = self.decode_perturbation(z.flatten(1)).chunk(2, 1)
        return mean, self._bounded(log_variance)

    def forward(self, g_pre: Tensor, drugs: Drugs, noise: Tensor) -> ConditionOutput:
        """z = mu_z + sigma_z * noise, with noise (N, K, W), and G_post predicted from it."""
        mean, log_variance = self.encode(g_pre, drugs)
        z = (mean + torch.exp(0.5 * log_variance) * noise.flatten(1)).view_as(noise)
        return ConditionOutput(z, mean, log_variance, *self.decode(z))

    def _bounded(self, log_variance: Tensor) -> Tensor:
        return log_variance.clamp(-self.config.log_variance_bound, self.config.log_variance_bound)


def gaussian_nll(target: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(target; mean, exp(log_variance)) summed over the last axis: (N, G) -> (N,). First term of Eq. 3."""
    squared = (target - mean).square() * torch.exp(-log_variance)
    return 0.5 * (squared + log_variance + log(2 * pi)).sum(-1)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) summed over the last axis: (N, Z) -> (N,). Second term of Eq. 3."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
