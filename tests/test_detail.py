"""The flow of detail: what it draws has the deviation that is left, image by image, and belongs to one autoencoder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_tier import tiny_tier
from tiny_trident import AUTOENCODER, TINY, TINY_DETAIL

from morphobench.errors import BadInput
from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.core import weight_file
from reference_models.detail.loading import load_detail
from reference_models.detail.network import DetailDecoder, DetailFlow
from reference_models.detail.training import DetailTraining
from reference_models.training.devices import Compute
from reference_models.trident.model import Trident
from reference_models.trident.network import TridentNetwork


@pytest.fixture(scope="module")
def autoencoder() -> ConvolutionalAutoencoder:
    torch.manual_seed(0)
    return ConvolutionalAutoencoder(AUTOENCODER.autoencoder).eval().requires_grad_(False)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_reconstruction_is_what_decode_gives(autoencoder: ConvolutionalAutoencoder) -> None:
    latents = torch.randn(2, 2, 4, 4)
    mean, half, quarter = autoencoder.reconstruction(latents)
    torch.testing.assert_close(mean, autoencoder.decode(latents))
    assert half.shape == (2, 8, 16, 16)
    assert quarter.shape == (2, 16, 8, 8)


def test_untrained_it_adds_noise_of_its_own_to_each_image(autoencoder: ConvolutionalAutoencoder) -> None:
    """The velocity starts at zero and the deviation at exp(-3), so that what is added is normal noise of that size."""
    decoder = DetailDecoder(autoencoder, DetailFlow(TINY_DETAIL), steps=3, bfloat16=False)
    latents = torch.randn(3, 2, 4, 4)
    drawn = decoder.draw(latents, generators(1, 2, 3))
    added = (drawn - autoencoder.decode(latents)) / torch.exp(torch.tensor(-3.0))
    noise = torch.stack([torch.randn(3, 32, 32, generator=one) for one in generators(1, 2, 3)])
    torch.testing.assert_close(added, noise, atol=1e-4, rtol=0)
    alone = decoder.draw(latents[1:2], generators(2))
    torch.testing.assert_close(alone, drawn[1:2], atol=1e-5, rtol=1e-5)


def test_it_learns_the_deviation_and_the_correlation_that_were_put_in(autoencoder: ConvolutionalAutoencoder) -> None:
    """Images are the autoencoder's own plus noise of a known deviation, the same in both rows of every pair of rows."""
    torch.manual_seed(0)
    latents = torch.randn(64, 2, 4, 4)
    clean = autoencoder.decode(latents)
    trainee = DetailTraining(TINY_DETAIL, autoencoder, torch.zeros(1, 3, 32, 32, dtype=torch.uint8), Compute())
    generator = torch.Generator().manual_seed(0)
    for step in range(TINY_DETAIL.recipe.steps):
        rows = torch.randint(64, (4,), generator=generator)
        added = 0.1 * torch.randn(4, 3, 16, 32, generator=generator).repeat_interleave(2, 2)
        times, noise = torch.rand(4, generator=generator), torch.randn(4, 3, 32, 32, generator=generator)
        known = autoencoder.reconstruction(latents[rows])
        losses = trainee.losses(clean[rows] + added, known, noise, times)
        sum(losses.values()).backward()
        trainee.step(step)
    decoder = DetailDecoder(autoencoder, trainee.average.eval(), steps=8, bfloat16=False)
    drawn = decoder.draw(latents, generators(*range(64))) - clean
    assert float(drawn.std()) == pytest.approx(0.1, rel=0.15)
    above, below = drawn[:, :, 0::2].flatten(), drawn[:, :, 1::2].flatten()
    across = float(torch.corrcoef(torch.stack([drawn[..., :-1].flatten(), drawn[..., 1:].flatten()]))[0, 1])
    assert float(torch.corrcoef(torch.stack([above, below]))[0, 1]) > 0.8
    assert abs(across) < 0.15


def test_a_flow_of_another_autoencoder_is_refused(tmp_path: Path) -> None:
    tier = tiny_tier(tmp_path / "tier")
    path = tmp_path / "detail.safetensors"
    about = weight_file.describe("detail", TINY_DETAIL, tier) | {"autoencoder_sha256": "a" * 64}
    weight_file.write(path, DetailFlow(TINY_DETAIL), about)
    assert load_detail(path, "a" * 64, tier).given is not None
    with pytest.raises(BadInput, match="completes the images of the autoencoder with sha256 aaaaaaaaaaaa"):
        load_detail(path, "b" * 64, tier)


def test_trident_with_steps_of_detail_needs_the_flow() -> None:
    config = replace(TINY, sampler=replace(TINY.sampler, detail_steps=2))
    plain = ConvolutionalAutoencoder(config.autoencoder)
    with pytest.raises(ValueError, match="needs the flow of detail"):
        Trident(TridentNetwork(config), plain, "none")
    model = Trident(TridentNetwork(config), plain, "none", detail=DetailFlow(TINY_DETAIL))
    assert model.completed is not None
    assert model.completed.steps == 2
