"""Vision transformers: the small one trained on the simulated tier, and any of timm's by name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from morphobench.errors import BadInput
from morphobench.features.checkpoint import (
    StateDict,
    download,
    load_weights,
    read_architecture,
    read_state_dict,
    require_file,
)
from morphobench.features.extractor import TIMM_PREFIX, Extractor, Features
from morphobench.features.resize import RESIZE, exact_inference, image_tensor, resize_v1
from morphobench.features.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

SIM_VIT_WEIGHTS = Path(__file__).parent / "weights" / "sim_vit.safetensors"
HUB = "https://huggingface.co"
LARGEST_INPUT = 224
"""Largest input of timm's ViTs: that of the published Fréchet distances of DINOv2 (Stein et al., NeurIPS 2023)."""
CLASSIFIERS = ("head", "head_dist")
"""Layers behind the embedding, which is all that is used."""
RESAMPLED = ("flexi", "radio")
BUILDING = (TypeError, ValueError, AssertionError, AttributeError, ZeroDivisionError, RuntimeError)
"""Raised by timm and torch for arguments that make no network."""


def load_sim_vit(weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor `sim_vit`: pooled embedding of a small ViT trained without labels on the simulated training images.

    weights: a .safetensors file whose metadata holds, under "architecture", the JSON arguments of timm's
    VisionTransformer; the shipped one by default. Raises BadInput for another file.
    """
    path = weights or SIM_VIT_WEIGHTS
    sha256 = require_file(path)
    network = sim_vit_network(path).to(device)
    size, _ = network.patch_embed.img_size
    return _extractor("sim_vit", network, sha256, device, size, (0.5,) * 3, (0.5,) * 3)


def sim_vit_network(path: Path) -> VisionTransformer:
    """timm's VisionTransformer with the file's own architecture and weights, without a classifier."""
    ensure_torchvision()
    from timm.models.vision_transformer import VisionTransformer

    architecture: dict[str, Any] = {**read_architecture(path), "num_classes": 0}
    unknown = sorted(set(architecture) - set(inspect.signature(VisionTransformer).parameters))
    if unknown:
        raise BadInput(f"{path}: architecture has {unknown[0]!r}, which timm's VisionTransformer does not take")
    state = read_state_dict(path)
    blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    if architecture.get("depth", blocks) != blocks:  # even without memory, a billion blocks take for ever
        raise BadInput(
            f"{path}: architecture has depth {architecture['depth']!r}, the file holds {blocks} blocks; save it again"
        )
    try:
        with torch.device("meta"):  # sizes that are wrong are known before memory is taken for them
            load_weights(VisionTransformer(**architecture), state, path, f"a VisionTransformer with {architecture}")
        network = VisionTransformer(**architecture)
    except BUILDING as error:
        reason = " ".join(str(error).split())[:160]
        raise BadInput(f"{path}: architecture {architecture} makes no VisionTransformer ({reason})") from error
    load_weights(network, state, path, f"a VisionTransformer with {architecture}")
    network.eval().requires_grad_(False)
    return network


def load_timm_vit(model: str, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor `timm:<model>`: pooled embedding (before the classifier) of a vision transformer of timm.

    model: timm's name, with or without the tag of its weights, e.g. "vit_small_patch14_dinov2.lvd142m".
    weights: a local .safetensors or torch file, with the classifier or without; by default downloaded from the hub.
    Images are resized whole (no crop) to the model's input size, at most LARGEST_INPUT, and normalised by its own mean
    and deviation. Raises BadInput for an unknown model or a file of another one, Unavailable where the download fails.
    """
    ensure_torchvision()
    import timm
    from timm.models import get_pretrained_cfg

    name = f"{TIMM_PREFIX}{model}"
    architecture, _, tag = model.partition(".")
    listed = architecture in timm.list_models(module="vision_transformer")
    config = get_pretrained_cfg(model) if listed and (not tag or timm.is_model_pretrained(model)) else None
    if config is None:
        raise BadInput(f"extractor {name!r}: timm has no such vision transformer; see timm.list_models('vit_*')")
    if weights is not None:
        path = weights
    elif config.hf_hub_id is not None:
        path = download(f"{HUB}/{config.hf_hub_id}/resolve/main/model.safetensors", f"{model}.safetensors")
    else:
        raise BadInput(f"extractor {name!r}: timm publishes no weights under that name; give a file of weights")
    sha256 = require_file(path)
    size = min(config.input_size[-1], LARGEST_INPUT)
    state = read_state_dict(path)
    try:
        _check_tensors(state, model, path)
        # timm renames the tensors of each family's published files and resamples positions to another input size.
        network: Any = timm.create_model(
            model, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, img_size=size, num_classes=0
        )
    except (RuntimeError, KeyError, AttributeError) as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(f"{path}: not weights of {model} ({detail})") from error
    network = network.eval().requires_grad_(False).to(device)
    return _extractor(name, network, sha256, device, size, config.mean, config.std)


def _check_tensors(state: StateDict, model: str, path: Path) -> None:
    """BadInput where a file's tensors are not those of a model of timm at its own input size, but for its classifier.

    timm would resample the kernels and positions of another patch or input size, and load a network that nobody
    trained. Families in RESAMPLED are published to be resampled; of theirs only the names are compared.
    """
    import timm
    from timm.models.vision_transformer import checkpoint_filter_fn

    with torch.device("meta"):
        own: Any = timm.create_model(model, pretrained=False, num_classes=0)
    expected = {name: tuple(tensor.shape) for name, tensor in own.state_dict().items()}
    renamed = {
        name: tensor
        for name, tensor in checkpoint_filter_fn(dict(state), own).items()
        if name.rpartition(".")[0] not in CLASSIFIERS
    }
    odd = sorted(set(expected) ^ set(renamed))
    if odd:
        where = "lacks" if odd[0] in expected else "has, and the model has not,"
        raise BadInput(f"{path}: not weights of {model}: the file {where} {odd[0]!r}, and {len(odd) - 1} more differ")
    kept = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    for name, shape in expected.items():
        held = tuple(renamed[name].shape)
        if renamed[name].untyped_storage().data_ptr() not in kept and not any(part in model for part in RESAMPLED):
            held = next((tuple(value.shape) for key, value in state.items() if key.endswith(name)), held)
        if held != shape:
            raise BadInput(
                f"{path}: not weights of {model}: {name} is {_written(held)} in the file and {_written(shape)} in the "
                "model; name the model that the file is of"
            )


def _written(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _extractor(
    name: str,
    network: VisionTransformer,
    sha256: str,
    device: str,
    size: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Extractor:
    centre = torch.tensor(mean, device=device).view(1, 3, 1, 1)
    scale = torch.tensor(deviation, device=device).view(1, 3, 1, 1)
    preprocessing = f"{RESIZE} to {size}, (x / 255 - {tuple(mean)}) / {tuple(deviation)}"

    def extract(images: np.ndarray) -> Features:
        with exact_inference():
            pixels = resize_v1(image_tensor(images, device).float(), size)
            tokens = network.forward_features((pixels / 255.0 - centre) / scale)
            return Features(network.forward_head(tokens, pre_logits=True).float().cpu().numpy(), None)

    return Extractor(name, network.num_features, sha256, preprocessing, extract)
