"""Image autoencoders: pixels and views, training with two optimisers, and the stable-diffusion one from a folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_trident import AUTOENCODER

from morphobench.errors import Unavailable
from morphobench.features.torchvision_ops import ensure_torchvision
from reference_models.autoencoder.network import ConvolutionalAutoencoder, StableDiffusionAutoencoder
from reference_models.autoencoder.training import AutoencoderTraining, reconstruction_loss
from reference_models.core.pixels import dihedral, to_tensor, to_uint8
from reference_models.training.devices import Compute
from reference_models.training.loop import train
from reference_models.training.run_folder import RunFolder
from reference_models.trident.config import PAPER


def test_eight_views_are_different_and_the_first_is_the_image() -> None:
    image = torch.arange(9).view(1, 3, 3)
    views = [dihedral(image, view) for view in range(8)]
    assert torch.equal(views[0], image)
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8


def test_pixels_survive_the_round_trip() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(to_uint8(to_tensor(images, torch.device("cpu"))), images)


def two_pictures() -> torch.Tensor:
    """uint8 (2, 3, 32, 32), ramps."""
    grid = torch.linspace(0, 255, 32).expand(32, 32)
    return torch.stack([torch.stack([grid, grid.T, 255 - grid]) * s for s in (0.5, 1)]).to(torch.uint8)


def trained(folder: Path, steps: int, stop_after: int | None = None) -> AutoencoderTraining:
    config = replace(AUTOENCODER, recipe=replace(AUTOENCODER.recipe, steps=steps))
    trainee = AutoencoderTraining(config, two_pictures(), Compute())
    train(trainee, RunFolder(folder, {"model": "autoencoder"}), 0, steps, stop_after)
    return trainee


def test_autoencoder_learns_and_standardises(tmp_path: Path) -> None:
    made = trained(tmp_path, 100).autoencoder
    real = two_pictures().float() / 127.5 - 1
    with torch.no_grad():
        latents = made.encode(real)
        assert latents.shape == (2, 2, 4, 4)
        torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
        torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)
        untrained = ConvolutionalAutoencoder(AUTOENCODER.autoencoder)
        before = reconstruction_loss(real, untrained.decode(untrained.encode(real)))
        assert reconstruction_loss(real, made.decode(latents)) < 0.6 * before


@pytest.mark.parametrize("stop", [5, 9])
def test_two_optimisers_stopped_and_resumed_equal_never_stopped(stop: int, tmp_path: Path) -> None:
    """The discriminator joins at step 8 of 12: once after the stop, once before."""
    straight = trained(tmp_path / "straight", 12)
    trained(tmp_path / "resumed", 12, stop)
    torch.manual_seed(99)
    resumed = trained(tmp_path / "resumed", 12)
    for part in ("autoencoder", "discriminator"):
        for name, value in straight.modules[part].state_dict().items():
            assert torch.equal(value, resumed.modules[part].state_dict()[name]), (part, name)
    fresh = AutoencoderTraining(AUTOENCODER, two_pictures(), Compute()).discriminator.state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in straight.discriminator.state_dict().items())


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
