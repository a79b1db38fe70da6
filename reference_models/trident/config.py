"""Every size and choice of TRIDENT. `PAPER` is the published model where the paper speaks and the field's default
where it is silent; `SIM` is the model that ships for the sim tier, and names each deviation.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from reference_models.autoencoder.config import SIM as SIM_AUTOENCODER
from reference_models.autoencoder.config import AutoencoderConfig
from reference_models.training.recipe import STRICT, Recipe, Timesteps

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class ConditionConfig:
    """Transcription-drug condition module (paper section 3.2)."""

    z_width: PositiveInt
    """Width of one condition token; equals the transformer's width, because z and the time embedding are added."""
    tokens: PositiveInt = 1
    """Condition tokens K. 1 is the paper: one key, so that cross-attention reduces to a projection."""
    genes: PositiveInt = 978
    morgan_radius: Annotated[NonNegativeInt, Field(le=100)] = 2
    morgan_bits: PositiveInt = 1024
    drug_features: Literal["morgan", "rdkit2d"] = "morgan"
    use_dose: bool = False
    """Append log10 dose (micromolar) to the drug embedding. The paper has no dose input."""
    hidden: PositiveInt = 512
    """Hidden width of the four MLPs and width of X_rna and X_drug."""
    drug_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """In training each image loses a share of its drug's features, drawn between 0 and this, and its whole structure
    with a tenth of this chance; the module then cannot lean on a few features that name one compound."""
    seen_features: bool = False
    """Leave out features that no training compound has: their weights are never trained, and in an unseen compound they
    would be noise."""
    log_variance_bound: PositiveFloat = 10.0
    """Both predicted log variances are kept within +-this, so that exp() stays finite."""


@dataclass(frozen=True, config=STRICT)
class TransformerConfig:
    """Denoising transformer f_theta (paper section 3.3 and appendix A)."""

    latent_channels: PositiveInt
    latent_size: PositiveInt
    patch: PositiveInt
    width: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    mlp_ratio: PositiveInt = 4
    time_features: PositiveInt = 256
    normalise_condition: bool = True
    """RMS-normalise z and the time embedding before their sum, so that neither drowns the other."""
    stem_width: PositiveInt | None = None
    """Channels of the convolutional stem, two residual blocks before the patches are cut and two after they are joined
    again. None is the paper: a linear map each way."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"{self.width=} is no multiple of {self.heads=}")
        if self.latent_size % self.patch:
            raise ValueError(f"{self.latent_size=} is no multiple of {self.patch=}")


@dataclass(frozen=True, config=STRICT)
class DiffusionConfig:
    """Forward process (Eqs. 4-6): T steps, beta linear between the ends."""

    timesteps: Timesteps = 1000
    beta_start: Share = 1e-4
    beta_end: Share = 0.02
    noise_skip: bool = False
    """Predict the noise as sqrt(1 - alpha_bar_t) X^t + sqrt(alpha_bar_t) f_theta instead of f_theta alone. The
    objective stays Eq. 9. At large t the noise is nearly X^t itself, and an error of 1% in it is one of 150% in X^0:
    the skip takes that burden off a small network."""
    weighting: Literal["noise", "velocity"] = "noise"
    """`noise` is Eq. 9. `velocity` divides it by alpha_bar_t: with the skip it is the squared error of
    v = sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) X^0 (Salimans and Ho 2022), so that the steps at which the
    layout of an image is decided weigh as much as those at which its grain is."""
    log_snr: tuple[float, PositiveFloat] | None = None
    """Mean and deviation of the log signal-to-noise ratio of the steps that are trained on; None draws them
    uniformly."""


@dataclass(frozen=True, config=STRICT)
class SamplerConfig:
    """`ddpm` is Algorithm 2 over all T steps; `ddim` is deterministic and takes any number of them; `dpmsolver++` is
    diffusers' second-order multistep ODE solver. See `core.solvers`."""

    solver: Literal["ddpm", "ddim", "dpmsolver++"] = "ddpm"
    steps: Timesteps = 1000
    detail_steps: NonNegativeInt = 0
    """Steps of the flow that draws what the autoencoder's latents do not say of an image (`reference_models.detail`);
    0 is the autoencoder's own reconstruction."""


@dataclass(frozen=True, config=STRICT)
class TridentConfig:
    """One complete model. An ablation or variant is one with a name of its own."""

    name: str
    image_size: PositiveInt
    autoencoder: AutoencoderConfig
    condition: ConditionConfig
    transformer: TransformerConfig
    diffusion: DiffusionConfig
    sampler: SamplerConfig
    recipe: Recipe

    def __post_init__(self) -> None:
        if self.condition.z_width != self.transformer.width:
            raise ValueError(
                f"{self.condition.z_width=} != {self.transformer.width=}: z and the time embedding are added"
            )
        if self.transformer.latent_channels != self.autoencoder.latent_channels:
            raise ValueError(f"{self.transformer.latent_channels=} != {self.autoencoder.latent_channels=}")
        if self.transformer.latent_size * self.autoencoder.downsampling != self.image_size:
            raise ValueError(
                f"{self.transformer.latent_size=} x {self.autoencoder.downsampling=} != {self.image_size=}"
            )


PAPER_10K = Recipe(steps=10_000)
"""The comparison of the paper's Table 1 trains every model this long."""

PAPER = TridentConfig(
    name="paper",
    image_size=512,
    autoencoder=AutoencoderConfig("stable-diffusion", latent_channels=4, scale=0.18215),
    condition=ConditionConfig(z_width=1152),
    transformer=TransformerConfig(latent_channels=4, latent_size=64, patch=2, width=1152, depth=28, heads=16),
    diffusion=DiffusionConfig(),
    sampler=SamplerConfig("ddpm", 1000),
    recipe=PAPER_10K,
)

SIM = TridentConfig(
    name="sim",
    image_size=128,
    autoencoder=SIM_AUTOENCODER.autoencoder,
    condition=ConditionConfig(z_width=256, use_dose=True, hidden=96, drug_dropout=0.5, seen_features=True),
    transformer=TransformerConfig(
        latent_channels=8, latent_size=16, patch=2, width=256, depth=6, heads=8, stem_width=64
    ),
    diffusion=DiffusionConfig(noise_skip=True, weighting="velocity", log_snr=(0.5, 3.0)),
    sampler=SamplerConfig("dpmsolver++", 20, detail_steps=4),
    recipe=Recipe(steps=5_200, learning_rate=1e-3, warmup=300, decay=0.28, clip=1.0, ema=0.999),
)
"""Deviations from the paper, each for the small size or the short run: 128 px and our own autoencoder, whose images a
flow of detail completes; 6 x 256 x 8 (64 image tokens) between convolutions; dose as an input (the tier's images differ
in dose); dropout of drug features; the velocity's error at steps whose log SNR is normal; a learning rate of 1e-3 after
300 steps of warm-up, falling to zero over the last 2,400, with gradients clipped to norm 1; EMA 0.999 (0.9999 would
still hold half of the initial weights after 6,000 steps); 20 solver steps."""
