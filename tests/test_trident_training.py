"""Training: the joint loss, resumption, the autoencoder, and weights on disk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from morphobench.errors import BadInput, Unavailable
from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.schema import Condition
from reference_models.trident.autoencoder import (
    ConvolutionalAutoencoder,
    StableDiffusionAutoencoder,
    dihedral,
    to_tensor,
    to_uint8,
)
from reference_models.trident.autoencoder_training import reconstruction_loss, train_autoencoder
from reference_models.trident.condition import featurise
from reference_models.trident.config import (
    PAPER,
    SIM,
    AutoencoderConfig,
    ConditionConfig,
    DiffusionConfig,
    Recipe,
    TransformerConfig,
    TridentConfig,
)
from reference_models.trident.diffusion import add_noise
from reference_models.trident.network import TridentNetwork
from reference_models.trident.training import TrainingSet, draw_batch, new_run, train_trident, update_average, warm_up
from reference_models.trident.weights import export, identity, restore

TINY = TridentConfig(
    name="tiny",
    image_size=32,
    autoencoder=AutoencoderConfig("convolutional", latent_channels=2, widths=(16, 16, 8)),
    condition=ConditionConfig(z_width=32, genes=12, hidden=16),
    transformer=TransformerConfig(latent_channels=2, latent_size=4, patch=2, width=32, depth=2, heads=4),
    diffusion=DiffusionConfig(),
    sampler=SIM.sampler,
    recipe=Recipe(steps=12, batch=8, learning_rate=3e-3, warmup=4, clip=1.0, ema=0.9),
)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    torch.manual_seed(0)
    smiles = ["CCO", "CCN", "c1ccccc1", None]
    records = [
        Condition(track="t", compound=str(i), index=0, smiles=s, dose_um=1.0, plate="P") for i, s in enumerate(smiles)
    ]
    g_pre = 8 + torch.randn(4, 12)
    return TrainingSet(
        torch.randn(4, 8, 2, 4, 4).half(), g_pre, g_pre + torch.randn(4, 12), featurise(records, TINY.condition)
    )


def test_paper_config_is_the_published_one() -> None:
    sizes = PAPER.transformer
    assert (sizes.depth, sizes.width, sizes.heads, PAPER.image_size) == (28, 1152, 16, 512)
    assert (PAPER.recipe.learning_rate, PAPER.recipe.batch, PAPER.recipe.steps) == (1e-4, 32, 10_000)
    with pytest.raises(ValueError, match="added"):
        replace(PAPER, condition=ConditionConfig(z_width=64))


def test_losses_are_equation_10_term_by_term(data: TrainingSet) -> None:
    """Eqs. 1, 2, 3, 6, 9 and 10 of the paper written out in numpy and scipy; only f_theta's output is the network's."""
    torch.manual_seed(3)
    network = new_run(TINY, data).modules["network"]
    assert isinstance(network, TridentNetwork)
    torch.nn.init.normal_(network.transformer.output.weight, std=0.1)
    rows, views, noise = draw_batch(TINY, data, torch.Generator().manual_seed(1))
    latents, drugs = data.latents[rows, views].float(), data.drugs[rows]
    losses = network.losses(latents, data.g_pre[rows], data.g_post[rows], drugs, noise)

    weights = {name: value.double().numpy() for name, value in network.condition.state_dict().items()}

    def layers(name: str, inputs: np.ndarray) -> np.ndarray:
        hidden = inputs @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"]
        hidden = hidden * expit(hidden)
        return hidden @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]

    def standardised(expression: torch.Tensor) -> np.ndarray:
        known = expression.double().numpy()
        return ((known - known.mean(0)) / known.std(0, ddof=1))[rows.numpy()]

    x_drug = np.where(
        drugs.known.numpy()[:, None],
        layers("encode_drug", drugs.features.double().numpy()),
        weights["unknown_drug"],
    )
    parts = [layers("encode_rna", standardised(data.g_pre)), x_drug]
    if TINY.condition.use_dose:
        parts.append(drugs.log_dose.double().numpy())
    mean, log_variance = np.split(layers("encode_perturbation", np.concatenate(parts, axis=1)), 2, axis=1)
    z = mean + np.exp(log_variance / 2) * noise.z.flatten(1).double().numpy()
    g_mean, g_log_variance = np.split(layers("decode_perturbation", z), 2, axis=1)
    reconstruction = -norm.logpdf(standardised(data.g_post), g_mean, np.exp(g_log_variance / 2)).sum(axis=1).mean()
    # log(sigma_p / sigma_q) + (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2) - 1/2, of q from p = N(0, 1).
    kl = (np.log(1 / np.exp(log_variance / 2)) + (np.exp(log_variance) + mean**2) / 2 - 0.5).sum(axis=1).mean()

    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[noise.steps.numpy()][:, None, None, None]
    epsilon = noise.latents.double().numpy()
    noisy = np.sqrt(alpha_bar) * latents.double().numpy() + np.sqrt(1 - alpha_bar) * epsilon
    with torch.no_grad():
        found = network.transformer(
            torch.from_numpy(noisy).float(), torch.from_numpy(z).float().view_as(noise.z), noise.steps
        )
    assert found.abs().max() > 0.01
    diffusion = ((epsilon - found.double().numpy()) ** 2).sum(axis=(1, 2, 3)).mean()
    assert losses.reconstruction.item() == pytest.approx(reconstruction, rel=1e-4)
    assert losses.kl.item() == pytest.approx(kl, rel=1e-4)
    assert losses.diffusion.item() == pytest.approx(diffusion, rel=1e-4)
    assert losses.total.item() == pytest.approx(reconstruction + kl + diffusion, rel=1e-4)


def test_skip_starts_as_the_best_guess_that_knows_nothing(data: TrainingSet) -> None:
    """f_theta starts at zero. For unit-variance latents sqrt(1 - abar) X^t is then the noise's regression on X^t."""
    network = TridentNetwork(replace(TINY, diffusion=replace(TINY.diffusion, noise_skip=True)))
    steps = torch.tensor([0, 300, 999])
    latents, noise = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    noisy = add_noise(network.schedule, latents, noise, steps)
    predicted = network.predict_noise(noisy, torch.randn(3, 1, 32), steps)
    alpha_bar = network.schedule.alpha_bar[steps].float()
    torch.testing.assert_close(predicted, (1 - alpha_bar).sqrt().view(3, 1, 1, 1) * noisy)
    plain = TridentNetwork(TINY).predict_noise(noisy, torch.randn(3, 1, 32), steps)
    assert not plain.any()


def test_standardisation_comes_from_the_training_set(data: TrainingSet) -> None:
    network = TridentNetwork(TINY)
    constant = data.g_pre.clone()
    constant[:, 0] = 5.0
    network.fit_standardisation(constant, data.g_post)
    scaled = (constant - network.pre_mean) / network.pre_std
    torch.testing.assert_close(scaled[:, 1:].std(0), torch.ones(11))
    assert not scaled[:, 0].any(), "a gene that never varies is centred, not divided by nothing"


def test_gradients_reach_every_part_but_the_unused_queries_and_keys(data: TrainingSet) -> None:
    run = new_run(TINY, data)
    network = run.modules["network"]
    assert isinstance(network, TridentNetwork)
    torch.nn.init.normal_(network.transformer.output.weight, std=0.1)
    rows, views, noise = draw_batch(TINY, data, run.generator)
    losses = network.losses(
        data.latents[rows, views].float(), data.g_pre[rows], data.g_post[rows], data.drugs[rows], noise
    )
    losses.diffusion.backward()
    without = {name for name, part in network.named_parameters() if part.grad is None}
    assert all(
        "cross_attention.query" in name or "norm_cross" in name or "decode_perturbation" in name for name in without
    )
    assert network.condition.encode_drug[0].weight.grad.abs().sum() > 0, "images teach the drug encoder"


def test_loss_falls_on_four_samples(data: TrainingSet, tmp_path: Path) -> None:
    config = replace(TINY, recipe=replace(TINY.recipe, steps=150, batch=32))
    log = train_trident(config, data, tmp_path).log
    assert log[-1]["reconstruction"] < 0.8 * log[1]["reconstruction"]
    assert log[-1]["diffusion"] < 0.9 * log[1]["diffusion"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == log
    assert {"cpu", "threads", "torch"} <= set(log[0])


def test_stopped_and_resumed_equals_never_stopped(data: TrainingSet, tmp_path: Path) -> None:
    straight = train_trident(TINY, data, tmp_path / "straight")
    train_trident(TINY, data, tmp_path / "resumed", steps=5)
    torch.manual_seed(99)
    resumed = train_trident(TINY, data, tmp_path / "resumed")
    assert resumed.step == straight.step == 12
    for part in ("network", "average"):
        for name, value in straight.modules[part].state_dict().items():
            assert torch.equal(value, resumed.modules[part].state_dict()[name]), name


def test_checkpoint_of_another_model_is_named(data: TrainingSet, tmp_path: Path) -> None:
    train_trident(TINY, data, tmp_path, steps=1)
    wider = replace(TINY, condition=replace(TINY.condition, hidden=20))
    with pytest.raises(BadInput, match=r"checkpoint\.pt: a checkpoint of another model"):
        train_trident(wider, data, tmp_path)


def test_schedule_and_average() -> None:
    assert [warm_up(TINY.recipe, step) / 3e-3 for step in (0, 1, 3, 50)] == pytest.approx([0.25, 0.5, 1, 1])
    average, module = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    expected = 0.9 * average.weight + 0.1 * module.weight
    update_average(average, module, 0.9)
    torch.testing.assert_close(average.weight, expected)


def test_eight_views_are_different_and_the_first_is_the_image() -> None:
    image = torch.arange(9).view(1, 3, 3)
    views = [dihedral(image, view) for view in range(8)]
    assert torch.equal(views[0], image)
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8


def test_pixels_survive_the_round_trip() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(to_uint8(to_tensor(images, torch.device("cpu"))), images)


def test_autoencoder_learns_and_standardises(tmp_path: Path) -> None:
    torch.manual_seed(0)
    grid = torch.linspace(0, 255, 32)
    images = torch.stack(
        [torch.stack([grid.expand(32, 32), grid.expand(32, 32).T, 255 - grid.expand(32, 32)]) * s for s in (0.5, 1)]
    )
    images = images.to(torch.uint8)
    config = TINY.autoencoder
    trained = train_autoencoder(config, images, tmp_path, steps=100, batch=4)
    real = images.float() / 127.5 - 1
    latents = trained.encode(real)
    assert latents.shape == (2, 2, 4, 4)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)
    untrained = ConvolutionalAutoencoder(config)
    before = reconstruction_loss(real, untrained.decode(untrained.encode(real)))
    assert reconstruction_loss(real, trained.decode(latents)) < 0.6 * before


def test_stable_diffusion_vae_loads_from_a_folder(tmp_path: Path) -> None:
    ensure_torchvision()
    from diffusers import AutoencoderKL

    block = "DownEncoderBlock2D", "UpDecoderBlock2D"
    small = AutoencoderKL(
        down_block_types=(block[0],) * 4, up_block_types=(block[1],) * 4, block_out_channels=(8,) * 4, norm_num_groups=4
    )
    small.save_pretrained(tmp_path)
    autoencoder = StableDiffusionAutoencoder(tmp_path, PAPER.autoencoder)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    latents = autoencoder.encode(images)
    assert latents.shape == (1, 4, 4, 4)
    torch.testing.assert_close(latents, small.encode(images).latent_dist.mode() * 0.18215)
    assert autoencoder.decode(latents).shape == images.shape
    with pytest.raises(Unavailable, match="no stable-diffusion VAE there"):
        StableDiffusionAutoencoder(tmp_path / "absent", PAPER.autoencoder)


def test_half_precision_round_trip_and_its_guards(data: TrainingSet, tmp_path: Path) -> None:
    network = new_run(TINY, data).modules["network"]
    metadata = identity(TINY, "1")
    path = export(network, "tiny.safetensors", metadata, tmp_path)
    again = TridentNetwork(TINY)
    restore(again, "tiny.safetensors", metadata, tmp_path)
    for name, value in network.named_parameters():
        assert torch.equal(again.state_dict()[name], value.detach().half().float()), name
    assert isinstance(network, TridentNetwork)
    assert torch.equal(again.pre_mean, network.pre_mean), "statistics keep all their digits"
    with pytest.raises(BadInput, match="another tier_version"):
        restore(again, "tiny.safetensors", identity(TINY, "2"), tmp_path)
    with pytest.raises(Unavailable, match="no such weights ship"):
        restore(again, "other.safetensors", metadata, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match="sha256"):
        restore(again, "tiny.safetensors", metadata, tmp_path)
    path.unlink()
    with pytest.raises(BadInput, match="not there"):
        restore(again, "tiny.safetensors", metadata, tmp_path)
