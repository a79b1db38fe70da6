"""TRIDENT at the paper's size, which no test can train: sizes, and operations and bytes against closed forms."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_trident import TINY

from reference_models.trident.config import PAPER, TridentConfig
from reference_models.trident.network import TridentNetwork, count_parameters

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import paper_size


def block_weights(width: int, ratio: int) -> int:
    """Self-attention 4 W^2, cross-attention 4 W^2, MLP 2 r W^2, with biases; three layer norms."""
    return (8 + 2 * ratio) * width**2 + (8 + ratio + 1) * width + 6 * width


def forward_flops(config: TridentConfig) -> int:
    """Of one image, matrix products alone, a product and a sum being two."""
    sizes, condition = config.transformer, config.condition
    width, tokens = sizes.width, (sizes.latent_size // sizes.patch) ** 2
    values = sizes.latent_channels * sizes.patch**2
    block = tokens * (4 + 2 * sizes.mlp_ratio) * width**2 + 2 * tokens**2 * width + 3 * width**2  # one condition token
    transformer = sizes.depth * block + 2 * tokens * values * width + (sizes.time_features + width) * width
    hidden, genes = condition.hidden, condition.genes
    mlps = (genes + hidden) * hidden + (condition.morgan_bits + hidden) * hidden
    mlps += (2 * hidden + condition.use_dose + 2 * width) * hidden + (width + 2 * genes) * hidden
    return 2 * (transformer + mlps)


def test_the_paper_s_network_is_built_without_memory() -> None:
    with torch.device("meta"):
        network = TridentNetwork(PAPER)
    blocks = sum(count_parameters(block) for block in network.transformer.blocks)
    assert len(network.transformer.blocks) == 28
    assert blocks == 28 * block_weights(1152, 4)
    assert count_parameters(network) == 601_672_500
    assert {part.device.type for part in network.parameters()} == {"meta"}


@pytest.mark.parametrize(
    "config", [TINY, replace(PAPER, name="short", transformer=replace(PAPER.transformer, depth=1))]
)
def test_operations_are_those_of_the_matrix_products(config: TridentConfig) -> None:
    """A step is three forward passes, but for the gradients of what is given, which nothing asks for."""
    forward = forward_flops(config)
    step = paper_size.count_flops(config, batch=2) / 2
    assert 2.6 * forward < step <= 3 * forward
    again = paper_size.count_flops(config, batch=2, recompute=True) / 2
    assert step + 0.5 * forward < again <= step + forward


def test_activations_grow_with_the_batch_and_are_fewer_where_they_are_computed_again() -> None:
    one = replace(PAPER, name="short", transformer=replace(PAPER.transformer, depth=4))
    kept = [paper_size.count_activations(one, batch) for batch in (1, 2, 4)]
    images = (kept[2] - kept[1]) / 2, kept[1] - kept[0]
    assert images[0] == pytest.approx(images[1], rel=0.01), "so much for each image, and the copies of the weights"
    # Of each token and block at least the inputs of its 6 products of width W (one of them 4 W), in bfloat16.
    assert images[0] > 4 * 1024 * 9 * 1152 * 2
    assert paper_size.count_activations(one, 4, recompute=True) < 0.3 * kept[2]


def test_the_page_is_of_this_network() -> None:
    """Its weights and operations, by the closed forms; the page itself is written by the benchmark."""
    page = (Path(__file__).parents[1] / "docs" / "paper-size.md").read_text(encoding="utf-8")
    with torch.device("meta"):
        weights = count_parameters(TridentNetwork(PAPER))
    assert f"| weights | {weights:,} |" in page
    shown = re.search(r"training step, per image \| ([\d.]+) TFLOP", page)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(3 * forward_flops(PAPER) / 1e12, rel=0.01)
    assert "**Nothing on this page was measured" in page


def test_hours_are_operations_over_the_share_of_peak_and_one_exchange() -> None:
    cost = paper_size.Costs(10**9, 3 * 10**12, 0, 0, 0)
    assert paper_size.seconds_per_step(cost, 0.5) == pytest.approx(3 / 156 + 7e9 / 300e9)


def test_a_real_step_of_the_whole_depth_teaches_the_network() -> None:
    """All 28 blocks and 16 heads, at a sixteenth of the width and an eighth of the resolution."""
    small = replace(
        PAPER, name="narrow", image_size=64, condition=replace(PAPER.condition, z_width=64),
        transformer=replace(PAPER.transformer, latent_size=8, width=64),
    )  # fmt: skip
    terms, _ = paper_size.one_step(small)
    assert all(torch.isfinite(torch.tensor(value)) for value in terms.values())
    # The output starts at zero, so that the squared error of the noise is its own, one per value.
    assert terms["diffusion_per_value"] == pytest.approx(1, abs=0.25)
