"""Denoising transformer: sizes, shapes, and what one condition token does."""

from dataclasses import replace

import pytest
import torch

from reference_models.trident.config import PAPER, SIM, TransformerConfig
from reference_models.trident.network import TridentNetwork, count_parameters
from reference_models.trident.transformer import (
    CrossAttention,
    DenoisingTransformer,
    patchify,
    sincos_positions,
    unpatchify,
)

SMALL = TransformerConfig(latent_channels=3, latent_size=8, patch=2, width=32, depth=2, heads=4)


def parameter_count(config: TransformerConfig) -> int:
    """Trained weights of the transformer in closed form (biases included, the frozen position table not)."""
    width, channels, latent = config.width, config.stem_width or config.latent_channels, config.latent_channels
    patch_values = channels * config.patch**2
    attention = 4 * width**2 + 4 * width
    mlp = 2 * config.mlp_ratio * width**2 + (config.mlp_ratio + 1) * width
    block = 2 * attention + mlp + 3 * 2 * width
    time = config.time_features * width + width + width**2 + width
    stem = 0
    if config.stem_width is not None:
        convolutions = 2 * (9 * channels**2 + channels) + 2 * 2 * channels + width * 2 * channels + 2 * channels
        ends = 9 * latent * channels + channels + 9 * channels * latent + latent
        stem = 4 * convolutions + ends + (2 * channels**2 + channels) + 2 * channels
    ends_of_tokens = (patch_values * width + width) + 2 * width + (width * patch_values + patch_values)
    return stem + ends_of_tokens + time + config.depth * block


@pytest.mark.parametrize("config", [PAPER.transformer, SIM.transformer, SMALL])
def test_parameters_in_closed_form(config: TransformerConfig) -> None:
    with torch.device("meta"):
        assert count_parameters(DenoisingTransformer(config)) == parameter_count(config)


def test_paper_and_sim_sizes() -> None:
    """DiT-XL/2 has 675.1 million with adaptive norms (6 W^2 a block); ours has cross-attention (4 W^2) and the
    condition module."""
    width, depth = PAPER.transformer.width, PAPER.transformer.depth
    assert parameter_count(PAPER.transformer) == pytest.approx(depth * 16 * width**2, rel=0.01)
    assert (PAPER.transformer.latent_size // PAPER.transformer.patch) ** 2 == 1024
    with torch.device("meta"):
        assert count_parameters(TridentNetwork(SIM)) == pytest.approx(7.5e6, rel=0.1)
    assert (SIM.transformer.latent_size // SIM.transformer.patch) ** 2 == 64


def test_patches_come_back() -> None:
    latents = torch.randn(2, 3, 8, 8)
    tokens = patchify(latents, 2)
    assert tokens.shape == (2, 16, 12)
    assert set(tokens[0, 1].tolist()) == set(latents[0, :, 0:2, 2:4].flatten().tolist())
    assert torch.equal(unpatchify(tokens, 2, 3), latents)


def test_positions_are_frozen_and_all_different() -> None:
    table = sincos_positions(4, 32)
    assert table.shape == (16, 32)
    assert torch.cdist(table, table).add(torch.eye(16) * 9).min() > 0.1
    assert "positions" not in dict(DenoisingTransformer(SMALL).named_parameters())


def test_one_condition_token_shortcut_is_exact() -> None:
    """Softmax over one key is 1, so the block adds one vector to every token, and queries get no gradient."""
    torch.manual_seed(0)
    attention = CrossAttention(32, 4).double()
    x, condition = torch.randn(2, 16, 32).double(), torch.randn(2, 1, 32).double()
    short = attention(x, condition)
    attention.exact_shortcut = False
    full = attention(x, condition)
    torch.testing.assert_close(short.expand_as(full), full, rtol=0, atol=1e-14)
    full.square().sum().backward()
    assert attention.query.weight.grad is not None
    assert attention.query.weight.grad.abs().max() < 1e-12


def test_more_condition_tokens_take_the_full_path() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(32, 4)
    x, condition = torch.randn(2, 16, 32), torch.randn(2, 3, 32)
    out = attention(x, condition)
    assert out.shape == x.shape
    assert out.std(1).max() > 1e-3, "with several keys the answer depends on the query"


def test_normalised_condition_weighs_z_and_time_equally() -> None:
    network = DenoisingTransformer(SMALL)
    z, steps = 100 * torch.randn(2, 1, 32), torch.tensor([5, 900])
    time_part = network.condition(z, steps) - torch.nn.functional.rms_norm(z, (32,))
    torch.testing.assert_close(time_part.square().mean(-1), torch.ones(2, 1), rtol=1e-3, atol=1e-3)
    plain = DenoisingTransformer(replace(SMALL, normalise_condition=False))
    plain.load_state_dict(network.state_dict())
    assert (plain.condition(z, steps) - z).abs().max() < 10


def test_forward_starts_at_zero_and_reads_its_condition() -> None:
    torch.manual_seed(0)
    network = DenoisingTransformer(SMALL)
    latents, steps = torch.randn(2, 3, 8, 8), torch.tensor([0, 999])
    assert not network(latents, torch.randn(2, 1, 32), steps).any()
    torch.nn.init.normal_(network.output.weight)
    one, other = (network(latents, torch.randn(2, 1, 32), steps) for _ in range(2))
    assert one.shape == latents.shape
    assert not torch.allclose(one, other)


def test_stem_lets_a_patch_see_its_neighbours_and_starts_at_zero() -> None:
    """Without the transformer's tokens a far patch cannot matter: the stem's reach is 2 + 2 blocks of two 3 x 3."""
    torch.manual_seed(0)
    config = TransformerConfig(latent_channels=2, latent_size=32, patch=2, width=32, depth=1, heads=4, stem_width=16)
    network = DenoisingTransformer(config)
    latents, z, steps = torch.randn(1, 2, 32, 32), torch.randn(1, 1, 32), torch.tensor([7])
    assert torch.equal(network(latents, z, steps), torch.zeros(1, 2, 32, 32))
    assert network.stem is not None
    for block in (*network.stem.before, *network.stem.after):  # norms see the whole image: they are another matter
        block.norm_first = block.norm_second = torch.nn.Identity()
    condition = network.condition(z, steps)
    latents.requires_grad_()
    opened = network.stem.open(latents, condition)
    (reached,) = torch.autograd.grad(opened[0, :, 16, 16].sum(), latents)
    rows = reached[0].abs().sum((0, 2)).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (16 - 5, 16 + 5)  # the entrance and two blocks: 1 + 2 + 2


def test_condition_reaches_the_stem() -> None:
    torch.manual_seed(0)
    config = TransformerConfig(latent_channels=2, latent_size=4, patch=2, width=32, depth=1, heads=4, stem_width=16)
    network = DenoisingTransformer(config)
    assert network.stem is not None
    torch.nn.init.normal_(network.stem.leave.weight)
    with torch.no_grad():
        for block in network.blocks:  # silence every other way in
            block.cross_attention.output.weight.zero_()
    latents, steps = torch.randn(1, 2, 4, 4), torch.tensor([7])
    one, other = (network(latents, torch.randn(1, 1, 32), steps) for _ in range(2))
    assert not torch.allclose(one, other)
