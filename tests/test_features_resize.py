"""The named resize against PIL's, which clean-fid takes as the reference."""

import numpy as np
import pytest
import torch
from PIL import Image

from morphobench.features.resize import image_tensor, resize_v1


@pytest.mark.parametrize(("shape", "size"), [((128, 128), 224), ((512, 512), 224), ((37, 90), 64), ((8, 8), 299)])
def test_resize_v1_is_pils_bicubic_in_float(shape: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    resized = resize_v1(image_tensor(image[None], "cpu").float(), size)[0].permute(1, 2, 0).numpy()
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    expected = np.stack([np.asarray(c.resize((size, size), Image.Resampling.BICUBIC)) for c in channels], axis=2)
    # PIL sums in double precision, torch in single: 2e-5 of the range.
    np.testing.assert_allclose(resized, expected.clip(0, 255), atol=5e-3)


def test_an_image_of_the_right_size_passes_unchanged() -> None:
    x = torch.rand(1, 3, 16, 16)
    assert resize_v1(x, 16) is x


def test_a_flat_image_stays_flat() -> None:
    assert torch.allclose(resize_v1(torch.full((1, 3, 50, 50), 17.0), 31), torch.tensor(17.0), atol=1e-4)
