"""TRIDENT as the benchmark calls it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from morphobench.errors import BadInput
from morphobench.schema import Condition, Conditions
from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.trident.config import SIM, SamplerConfig
from reference_models.trident.model import Trident, noise_seed
from reference_models.trident.network import TridentNetwork

FAST = SamplerConfig("dpmsolver++", 4)


def conditions(n: int, genes: int = 978) -> Conditions:
    records = tuple(
        Condition(
            track="id",
            compound=f"c{i % 3}",
            index=i // 3,
            smiles=("CCO", "CCN", None)[i % 3],
            dose_um=1 + i,
            plate="E01",
        )
        for i in range(n)
    )
    g_pre = np.random.default_rng(0).normal(8, 1, (n, genes)).astype(np.float32)
    return Conditions(records, g_pre, tuple(f"g{i}" for i in range(genes)))


@pytest.fixture(scope="module")
def model() -> Trident:
    """Random weights; the output layer too, which starts at zero, so that the condition shows in the images."""
    torch.manual_seed(0)
    network = TridentNetwork(SIM)
    assert network.transformer.stem is not None
    torch.nn.init.normal_(network.transformer.stem.leave.weight, std=0.05)
    return Trident(network, ConvolutionalAutoencoder(SIM.autoencoder).eval(), "none", sampler=FAST)


@pytest.mark.parametrize(("bfloat16", "most"), [(False, 1), (True, 24)])
def test_images_do_not_depend_on_batch_or_company(
    bfloat16: bool, most: int, model: Trident, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a grey level in float32; bfloat16 has three digits, and a batch of another size is summed in another order."""
    monkeypatch.setattr(model, "in_bfloat16", bfloat16)
    whole = conditions(7)
    together = model.generate(whole, seed=3)
    assert together.shape == (7, 128, 128, 3)
    assert together.dtype == np.uint8
    apart = model.generate(whole, seed=3, batch=2)
    alone = model.generate(whole.take([5]), seed=3)
    for difference in (together.astype(int) - apart.astype(int), together[5].astype(int) - alone[0].astype(int)):
        assert np.abs(difference).max() <= most
        assert np.abs(difference).mean() < 1
    assert np.abs(together[0].astype(int) - together[5].astype(int)).mean() > 10


def test_same_seed_same_images_other_seed_others(model: Trident) -> None:
    few = conditions(2)
    np.testing.assert_array_equal(model.generate(few, 0), model.generate(few, 0))
    assert (model.generate(few, 0) != model.generate(few, 1)).mean() > 0.1


def test_noise_is_keyed_by_track_compound_and_index() -> None:
    first, *_ = conditions(1)
    others = [{"track": "ood"}, {"compound": "x"}, {"index": 9}]
    seeds = {noise_seed(0, first.model_copy(update=change)) for change in [{}, *others]} | {noise_seed(1, first)}
    assert len(seeds) == 5
    assert noise_seed(0, first) == noise_seed(0, first.model_copy(update={"plate": "E02", "dose_um": 7.0}))
    assert max(seeds) < 2**63


def test_algorithm_2_runs_through_the_same_face() -> None:
    config = replace(SIM, diffusion=replace(SIM.diffusion, timesteps=3))
    sampler = SamplerConfig("ddpm", 3)
    model = Trident(TridentNetwork(config), ConvolutionalAutoencoder(config.autoencoder), "none", sampler=sampler)
    assert model.generate(conditions(2), 0).shape == (2, 128, 128, 3)
    assert (model.manifest["sampler"], model.manifest["steps"]) == ("ddpm", 3)


def test_expression_is_the_decoder_mean_in_log2_units(model: Trident) -> None:
    few = conditions(4)
    network = model.network
    network.post_mean.fill_(8.0)
    network.post_std.fill_(2.0)
    predicted = model.predict_expression(few)
    assert predicted.shape == (4, 978)
    assert predicted.dtype == np.float32
    g_pre, drugs = model._inputs(few)
    mean, _ = network.condition.encode((g_pre - network.pre_mean) / network.pre_std, drugs)
    np.testing.assert_allclose(predicted, 8 + 2 * network.condition.decode(mean)[0].numpy(), rtol=1e-5)


def test_bad_conditions_are_one_line(model: Trident) -> None:
    record = Condition(track="id", compound="taxol", index=0, smiles="C1CC", dose_um=1, plate="E01")
    with pytest.raises(BadInput, match="'taxol'"):
        model.generate(Conditions((record,), np.zeros((1, 978), np.float32), ("g",) * 978), 0)
    with pytest.raises(BadInput, match="5 genes, the model reads 978"):
        model.predict_expression(conditions(1, genes=5))


def test_the_network_asks_only_forward_of_its_condition_module(model: Trident) -> None:
    """So that an ablation is another module with the same `forward`."""

    class OnlyForward(torch.nn.Module):
        def forward(self, *given: object) -> object:
            return inner(*given)

    few = conditions(2)
    before = model.generate(few, 0), model.predict_expression(few)
    inner = model.network.condition
    model.network.condition = OnlyForward()  # type: ignore[assignment]
    try:
        after = model.generate(few, 0), model.predict_expression(few)
    finally:
        model.network.condition = inner
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_an_ablation_is_submitted_under_a_name_of_its_own(model: Trident) -> None:
    assert "name" not in model.manifest
    config = replace(SIM, name="no-dose", condition=replace(SIM.condition, use_dose=False))
    variant = Trident(TridentNetwork(config), ConvolutionalAutoencoder(config.autoencoder), "none", sampler=FAST)
    assert variant.manifest["name"] == "trident-no-dose"
