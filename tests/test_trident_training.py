"""TRIDENT's training step: the joint loss, what it teaches, and that a stopped run ends as one that was not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm
from tiny_tier import tiny_tier
from tiny_trident import TINY, TINY_GENES, tiny_training_set

from morphobench.training_data import TierDataset
from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.core.pixels import dihedral, to_tensor
from reference_models.training.latents import cached_latents
from reference_models.training.loop import train
from reference_models.training.run_folder import RunFolder
from reference_models.trident.condition import featurise
from reference_models.trident.config import PAPER, ConditionConfig, TridentConfig
from reference_models.trident.diffusion import add_noise
from reference_models.trident.network import TridentNetwork
from reference_models.trident.training import TrainingSet, TridentTraining, draw_batch, training_set


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return tiny_training_set()


def trained(
    config: TridentConfig, data: TrainingSet, folder: Path, stop_after: int | None = None
) -> tuple[TridentTraining, list[dict[str, Any]]]:
    trainee = TridentTraining(config, data)
    log = train(trainee, RunFolder(folder, {"model": "trident"}), config.recipe.seed, config.recipe.steps, stop_after)
    return trainee, log


def test_paper_config_is_the_published_one() -> None:
    sizes = PAPER.transformer
    assert (sizes.depth, sizes.width, sizes.heads, PAPER.image_size) == (28, 1152, 16, 512)
    assert (PAPER.recipe.learning_rate, PAPER.recipe.batch, PAPER.recipe.steps) == (1e-4, 32, 10_000)
    with pytest.raises(ValueError, match="added"):
        replace(PAPER, condition=ConditionConfig(z_width=64))


def test_losses_are_equation_10_term_by_term(data: TrainingSet) -> None:
    """Eqs. 1, 2, 3, 6, 9 and 10 of the paper written out in numpy and scipy; only f_theta's output is the network's."""
    network = TridentTraining(TINY, data).network
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
        drugs.has_structure.numpy()[:, None],
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
    network = TridentTraining(TINY, data).network
    torch.nn.init.normal_(network.transformer.output.weight, std=0.1)
    rows, views, noise = draw_batch(TINY, data, torch.Generator().manual_seed(0))
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
    _, log = trained(config, data, tmp_path)
    assert log[-1]["reconstruction"] < 0.8 * log[1]["reconstruction"]
    assert log[-1]["diffusion"] < 0.9 * log[1]["diffusion"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == log


@pytest.mark.parametrize("stop", [1, 5])
def test_stopped_and_resumed_equals_never_stopped(stop: int, data: TrainingSet, tmp_path: Path) -> None:
    straight, _ = trained(TINY, data, tmp_path / "straight")
    trained(TINY, data, tmp_path / "resumed", stop_after=stop)
    torch.manual_seed(99)
    resumed, log = trained(TINY, data, tmp_path / "resumed")
    assert log[-1]["step"] == 12
    for part in ("network", "average"):
        for name, value in straight.modules[part].state_dict().items():
            assert torch.equal(value, resumed.modules[part].state_dict()[name]), name
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("straight", "resumed")]
    assert weights[0] == weights[1]


def test_the_training_set_is_the_tier_s_own_images_expression_and_drugs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = tiny_tier(tmp_path)
    autoencoder = ConvolutionalAutoencoder(TINY_GENES.autoencoder)
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    dataset = TierDataset(tier, "train")
    latents = cached_latents(dataset.images, autoencoder.encode, "untrained", torch.device("cpu"))
    made = training_set(dataset, latents, TINY_GENES)
    rows = tier.rows("train")
    images = to_tensor(tier.images(rows).take([3]), torch.device("cpu"))
    pre, post = tier.expression(rows)
    assert made.latents.shape == (12, 8, 2, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(
            made.latents[torch.tensor([3]), torch.tensor([5])].float(),
            autoencoder.encode(dihedral(images, 5)),
            atol=2e-3,
            rtol=0,
        )
    assert torch.equal(made.g_pre, torch.from_numpy(pre))
    assert torch.equal(made.g_post, torch.from_numpy(post))
    assert torch.equal(
        made.drugs.features, featurise(tier.conditions_of(rows, "id").records, TINY_GENES.condition).features
    )


def test_velocity_weighting_is_the_squared_error_of_the_velocity(data: TrainingSet) -> None:
    """v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) X^0: with the skip the transformer's output is v."""
    config = replace(TINY, diffusion=replace(TINY.diffusion, noise_skip=True, weighting="velocity"))
    torch.manual_seed(1)
    network = TridentNetwork(config)
    torch.nn.init.normal_(network.transformer.output.weight, std=0.1)
    rows, views, noise = draw_batch(config, data, torch.Generator().manual_seed(2))
    latents = data.latents[rows, views].float()
    loss = network.losses(latents, data.g_pre[rows], data.g_post[rows], data.drugs[rows], noise).diffusion
    alpha_bar = network.schedule.alpha_bar[noise.steps].float().view(-1, 1, 1, 1)
    noisy = alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise.latents
    z = network.condition((data.g_pre[rows] - network.pre_mean) / network.pre_std, data.drugs[rows], noise.z).z
    velocity = alpha_bar.sqrt() * noise.latents - (1 - alpha_bar).sqrt() * latents
    error = velocity - network.transformer(noisy, z, noise.steps)
    torch.testing.assert_close(loss, error.square().flatten(1).sum(1).mean())


def test_dropout_hides_features_of_a_batch_and_only_where_asked_for(data: TrainingSet) -> None:
    config = replace(TINY, recipe=replace(TINY.recipe, batch=400), condition=replace(TINY.condition, drug_dropout=0.5))
    *_, noise = draw_batch(config, data, torch.Generator().manual_seed(0))
    assert noise.hidden_features is not None
    assert noise.hidden_structures is not None
    shares = noise.hidden_features.float().mean(1)  # uniform between 0 and 0.5
    assert float(shares.mean()) == pytest.approx(0.25, abs=0.03)
    assert float(shares.max()) < 0.56
    assert float(shares.min()) < 0.02
    assert float(noise.hidden_structures.float().mean()) == pytest.approx(0.05, abs=0.03)
    *_, plain = draw_batch(TINY, data, torch.Generator().manual_seed(0))
    assert plain.hidden_features is None
    assert plain.hidden_structures is None
