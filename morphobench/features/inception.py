"""Inception-v3 of 2015-12-05, the network that `fid`, `kid` and `inception_score` are named after.

Network and weights are torch-fidelity's (TensorFlow's graph converted; Heusel et al. 2017, Salimans et al. 2016): uint8
images, resized to 299 x 299 by TensorFlow 1's bilinear rule (no antialiasing, no half-pixel centres), (x - 128) / 128.
The blocks are torch-fidelity's own modules; here each batch norm is folded into its convolution, memory is channels-
last and the resize is two small matrix products, which changes features by rounding only (1e-4).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morphobench.errors import BadInput
from morphobench.features.checkpoint import StateDict, download, read_state_dict, require_file
from morphobench.features.extractor import Extractor, Features
from morphobench.features.resize import exact_inference, image_tensor
from morphobench.features.torchvision_ops import ensure_torchvision

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
DIMENSION = 2048
INPUT_SIZE = 299
PREPROCESSING = f"tensorflow1_bilinear to {INPUT_SIZE}, (x - 128) / 128"
BLOCKS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
"""torch-fidelity's names, in the order in which they run."""


def load(weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor `inception`: 2,048-d pooled embedding, and 1,008 class probabilities without the last layer's bias.

    weights: the genuine file (sha256 6726825d...), under any name; downloaded into the cache folder by default.
    Raises BadInput for any other file, Unavailable where the download fails.
    """
    path = weights or download(WEIGHTS_URL, WEIGHTS_URL.rsplit("/", 1)[-1], WEIGHTS_SHA256)
    sha256 = require_file(path, WEIGHTS_SHA256)
    return inception_extractor(read_state_dict(path), sha256, device)


def inception_extractor(state: StateDict, sha256: str, device: str = "cpu") -> Extractor:
    """The extractor around any weights of the network; `sha256` says which."""
    network = inception_network(state).to(device)

    def extract(images: np.ndarray) -> Features:
        with exact_inference():
            embedding, logits = network(image_tensor(images, device))
            return Features(embedding.cpu().numpy(), torch.softmax(logits, dim=1).cpu().numpy())

    return Extractor("inception", DIMENSION, sha256, PREPROCESSING, extract)


def inception_network(state: StateDict) -> InceptionV3:
    """The network filled from a state_dict of torch-fidelity's FeatureExtractorInceptionV3, ready for inference.

    Raises BadInput where names or shapes of the tensors differ.
    """
    ensure_torchvision()
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    stream = io.BytesIO()  # its constructor insists on reading a file
    torch.save(state, stream)
    stream.seek(0)
    try:
        original = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=stream)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(f"weights are not those of Inception-v3 2015-12-05 ({detail})") from error
    return InceptionV3(original)


class InceptionV3(nn.Module):
    """torch-fidelity's network, batch norms folded: uint8 (B, 3, H, W) -> embedding (B, 2048), logits (B, 1008)."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_folded(original.get_submodule(name)) for name in BLOCKS))
        self.classes = nn.Linear(DIMENSION, 1008, bias=False)  # the Inception score is defined on the unbiased logits
        self.classes.load_state_dict({"weight": original.get_submodule("fc").state_dict()["weight"]})
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = (resize_tensorflow1(images.float(), INPUT_SIZE) - 128.0) / 128.0
        pooled = self.blocks(pixels.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))
        return pooled, self.classes(pooled)


class ConvolutionReLU(nn.Module):
    """A convolution with its batch norm folded in, and ReLU."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x).relu_()


def _folded(module: nn.Module) -> nn.Module:
    """The module with each torch-fidelity BasicConv2d (convolution, batch norm, ReLU) replaced by a ConvolutionReLU."""
    children = dict(module.named_children())
    match children:
        case {"conv": nn.Conv2d() as convolution, "bn": nn.BatchNorm2d() as norm}:
            return ConvolutionReLU(fuse_conv_bn_eval(convolution, norm))
    for name, child in children.items():
        setattr(module, name, _folded(child))
    return module


def resize_tensorflow1(images: torch.Tensor, size: int) -> torch.Tensor:
    """Float images (B, C, H, W) -> (B, C, size, size) by TensorFlow 1's `resize_bilinear`, align_corners=False.

    Output pixel i reads input position i * H / size, with no half-pixel shift.
    """
    rows = _bilinear_matrix(images.shape[2], size).to(images.device)  # (size, H)
    columns = _bilinear_matrix(images.shape[3], size).to(images.device)  # (size, W)
    return rows @ (images @ columns.T)


def _bilinear_matrix(length: int, size: int) -> torch.Tensor:
    position = torch.arange(size, dtype=torch.float32) * (length / size)
    low = position.long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    weight = position - low
    matrix = torch.zeros(size, length)
    matrix[torch.arange(size), low] += 1.0 - weight
    matrix[torch.arange(size), high] += weight
    return matrix
