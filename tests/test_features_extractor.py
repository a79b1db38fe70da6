"""Extractors by name: what is refused, and what importing the package costs."""

import subprocess
import sys

import numpy as np
import pytest

from morphobench.errors import BadInput
from morphobench.features import EXTRACTORS, load_extractor


@pytest.mark.parametrize("name", ["clip", "Inception", "timm", ""])
def test_an_unknown_name_lists_the_names(name: str) -> None:
    with pytest.raises(BadInput) as error:
        load_extractor(name)
    assert all(known in str(error.value) for known in EXTRACTORS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu0", "cuda:99", "meta", "hpu"])
def test_an_absent_device_is_named(device: str) -> None:
    with pytest.raises(BadInput, match=device):
        load_extractor("efficientnet_lite0", device=device)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, morphobench.features; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), dtype=np.float32),
        np.zeros((2, 32, 32, 3), dtype=np.uint16),
        np.zeros((2, 32, 32), dtype=np.uint8),
        np.zeros((2, 32, 32, 1), dtype=np.uint8),
        np.zeros((2, 3, 32, 32), dtype=np.uint8),
        np.zeros((32, 32, 3), dtype=np.uint8),
        np.zeros((2, 0, 32, 3), dtype=np.uint8),
    ],
    ids=["float", "16-bit", "greyscale", "one channel", "channels first", "single image", "empty"],
)
def test_other_dtypes_and_shapes_are_refused(images: np.ndarray) -> None:
    extract = load_extractor("efficientnet_lite0").extract
    with pytest.raises(ValueError, match="images must be"):
        extract(images)
