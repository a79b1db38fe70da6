"""Inception-v3 of 2015-12-05, the network that `fid`, `kid` and `inception_score` are named after.

Network and weights are torch-fidelity's (TensorFlow's graph converted; Heusel et al. 2017, Salimans et al. 2016): uint8
images, resized to 299 x 299 by TensorFlow 1's bilinear rule (no antialiasing, no half-pixel centres), (x - 128) / 128.
The layers are torch-fidelity's own; here each batch norm is folded into its convolution, memory is channels-last, the
resize is two small matrix products and an average pool runs after the linear convolution that follows it, on a third of
the channels or fewer. On the CPU, oneDNN convolutions hold their weights in its own layout and apply the ReLU. All of
this changes features by rounding only (docs/precision.md).
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
BRANCHES: dict[str, tuple[tuple[str | tuple[str, str], ...], ...]] = {
    "InceptionA": (
        ("branch1x1",),
        ("branch5x5_1", "branch5x5_2"),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    ),
    "InceptionC": (
        ("branch1x1",),
        ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
        ("branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"),
    ),
    "InceptionE_1": (
        ("branch1x1",),
        ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
    ),
}
"""Branches of the blocks with an average pool, which is their last branch; a pair of convolutions reads one input."""
CHUNK = 4
"""Images that run together on the CPU: their largest layer (22 MB) fits the last cache. Fewer are filled up with black,
so that an image meets the same arithmetic whichever batch it comes in."""


def load(weights: Path | None = None, device: str = "cpu", bfloat16: bool = False) -> Extractor:
    """The extractor `inception`: 2,048-d pooled embedding, and 1,008 class probabilities without the last layer's bias.

    bfloat16: the extractor `inception_bf16`, see `inception_extractor`.
    weights: the genuine file (sha256 6726825d...), under any name; downloaded into the cache folder by default.
    Raises BadInput for any other file, Unavailable where the download fails.
    """
    path = weights or download(WEIGHTS_URL, WEIGHTS_URL.rsplit("/", 1)[-1], WEIGHTS_SHA256)
    sha256 = require_file(path, WEIGHTS_SHA256)
    return inception_extractor(read_state_dict(path), sha256, device, bfloat16)


def inception_extractor(state: StateDict, sha256: str, device: str = "cpu", bfloat16: bool = False) -> Extractor:
    """The extractor around any weights of the network; `sha256` says which.

    bfloat16: convolutions on 8 bits of mantissa, for processors that have them. Features move by half a percent, which
    is another extractor, with a name of its own: its scores are never called `fid` or `kid`.
    """
    fused = torch.device(device).type == "cpu" and torch.backends.mkldnn.is_available()
    network = inception_network(state, fused, torch.bfloat16 if bfloat16 else torch.float32).to(device)

    def extract(images: np.ndarray) -> Features:
        with exact_inference():
            embedding, logits = network(image_tensor(images, device))
            return Features(embedding.cpu().numpy(), torch.softmax(logits, dim=1).cpu().numpy())

    if bfloat16:
        return Extractor("inception_bf16", DIMENSION, sha256, f"{PREPROCESSING}, bfloat16", extract)
    return Extractor("inception", DIMENSION, sha256, PREPROCESSING, extract)


def inception_network(state: StateDict, fused: bool = False, dtype: torch.dtype = torch.float32) -> InceptionV3:
    """The network filled from a state_dict of torch-fidelity's FeatureExtractorInceptionV3, ready for inference.

    fused, dtype: see `InceptionV3`.

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
    return InceptionV3(original, fused, dtype)


class InceptionV3(nn.Module):
    """torch-fidelity's network for inference: uint8 (B, 3, H, W) -> embedding (B, 2048), logits (B, 1008).

    fused: use oneDNN's convolutions, CHUNK images at a time; for the CPU.
    dtype: of the blocks; the resize, the mean over places and the classes are float32.
    """

    def __init__(self, original: nn.Module, fused: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.fused, self.dtype = fused, dtype
        self.blocks = nn.Sequential(*(_prepared(original.get_submodule(name), fused) for name in BLOCKS))
        self.classes = nn.Linear(DIMENSION, 1008, bias=False)  # the Inception score is defined on the unbiased logits
        self.classes.load_state_dict({"weight": original.get_submodule("fc").state_dict()["weight"]})
        self.blocks.to(dtype)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.fused:
            return self._run(images)
        missing = -len(images) % CHUNK
        filled = torch.cat([images, images.new_zeros((missing, *images.shape[1:]))])
        embedding, logits = (torch.cat(parts) for parts in zip(*map(self._run, filled.split(CHUNK)), strict=True))
        return embedding[: len(images)], logits[: len(images)]

    def _run(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = (resize_tensorflow1(images.float(), INPUT_SIZE) - 128.0) / 128.0
        pixels = pixels.to(self.dtype).contiguous(memory_format=torch.channels_last)
        pooled = self.blocks(pixels).float().mean(dim=(2, 3))
        return pooled, self.classes(pooled)


class AveragePoolBlock(nn.Module):
    """A block of torch-fidelity whose last branch is an average pool and a 1 x 1 convolution, which change places.

    Both are linear and the pool's windows leave the padding out, so that a bias passes through it; the ReLU comes last.
    """

    def __init__(self, block: nn.Module, fused: bool) -> None:
        super().__init__()
        self.branches = BRANCHES[type(block).__name__]
        self.layers = nn.ModuleDict(
            {name: _convolution(layer, fused, relu=name != "branch_pool") for name, layer in block.named_children()}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = []
        for branch in self.branches:
            ends = [x]
            for step in branch:
                ends = [self.layers[name](ends[0]) for name in ((step,) if isinstance(step, str) else step)]
            branches += ends
        pool = nn.functional.avg_pool2d(self.layers["branch_pool"](x), 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([*branches, pool.relu_()], dim=1)


class Convolution(nn.Module):
    """A convolution with its batch norm folded in, and ReLU where asked for."""

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x)
        return y.relu_() if self.relu else y


class FusedConvolution(nn.Module):
    """The same as one call of oneDNN, by the operators that torch's own compiler emits for the CPU.

    torch's plain convolution brings the weights into oneDNN's layout at every call, which takes as long as a 1 x 1
    convolution itself. Here they are kept in the layout that suits the first input.
    """

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.weight: torch.Tensor = convolution.weight.detach()
        self.bias = convolution.bias
        self.geometry = (list(convolution.padding), list(convolution.stride), list(convolution.dilation))
        self.activation = "relu" if relu else "none"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.weight.is_mkldnn:
            weight = self.weight.to(x.dtype)
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, 1, list(x.shape))
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.geometry, 1, self.activation, [None], ""
        )


def _prepared(module: nn.Module, fused: bool) -> nn.Module:
    """The module with the parts of torch-fidelity's replaced by those above."""
    if type(module).__name__ == "BasicConv2d":
        return _convolution(module, fused, relu=True)
    if type(module).__name__ in BRANCHES:
        return AveragePoolBlock(module, fused)
    for name, child in list(module.named_children()):
        setattr(module, name, _prepared(child, fused))
    return module


def _convolution(basic: nn.Module, fused: bool, relu: bool) -> nn.Module:
    """torch-fidelity's BasicConv2d (convolution, batch norm, ReLU) as one module."""
    convolution, norm = basic.get_submodule("conv"), basic.get_submodule("bn")
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    kind = FusedConvolution if fused else Convolution
    return kind(fuse_conv_bn_eval(convolution, norm), relu)


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
