"""Vision transformers: the file's own architecture, timm's by name, and files that are neither."""

import json
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from safetensors.torch import save_file

from morphobench.errors import BadInput, Unavailable
from morphobench.features import load_extractor, vit
from morphobench.features.torchvision_ops import ensure_torchvision

ensure_torchvision()
import timm  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)


def save_small(path: Path, architecture: dict[str, object]) -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(**SMALL, num_classes=0)
    save_file(network.state_dict(), path, metadata={"architecture": json.dumps(architecture)})
    return network.eval()


def test_sim_vit_is_the_pooled_output_of_timms_network(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "small.safetensors"
    network = save_small(path, SMALL)
    extractor = load_extractor("sim_vit", path)
    features = extractor.extract(images)
    with torch.no_grad():
        expected = network((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5).numpy()
    assert extractor.dimension == 24
    assert features.probabilities is None
    np.testing.assert_allclose(features.embedding, expected, atol=1e-5)
    for size in (1, 7):
        parts = [extractor.extract(images[start : start + size]).embedding for start in range(0, 9, size)]
        np.testing.assert_allclose(np.concatenate(parts), features.embedding, atol=1e-5)


def test_the_hash_of_the_weights_tells_two_files_apart(tmp_path: Path) -> None:
    save_small(tmp_path / "a.safetensors", SMALL)
    save_small(tmp_path / "b.safetensors", {**SMALL, "num_classes": 5})
    a, b = (load_extractor("sim_vit", tmp_path / f"{name}.safetensors") for name in "ab")
    assert a.weights_sha256 != b.weights_sha256


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({**SMALL, "depth": 3}, "has depth 3, the file holds 2 blocks"),
        ({**SMALL, "embed_dim": 25}, "'embed_dim': 25"),
        ({**SMALL, "depth": 10**9}, "has depth 1000000000, the file holds 2 blocks"),
        ({**SMALL, "depth": "two"}, "has depth 'two', the file holds 2 blocks"),
        ({**SMALL, "embed_dim": 2 * 10**9}, "'embed_dim': 2000000000"),
        ({**SMALL, "img_size": 8 * 10**6}, "'img_size': 8000000"),
        ({**SMALL, "mlp_ratio": 1e9}, "'mlp_ratio': 1000000000"),
        ({**SMALL, "colour": "red"}, "'colour'"),
        ([1, 2], "not a table"),
    ],
    ids=[
        "another depth",
        "impossible width",
        "a billion blocks",
        "no number",
        "a width",
        "a size",
        "a ratio",
        "unknown argument",
        "list",
    ],
)
def test_another_architecture_is_named(tmp_path: Path, architecture: dict[str, object], message: str) -> None:
    path = tmp_path / "other.safetensors"
    save_small(path, architecture)
    with pytest.raises(BadInput) as error:
        load_extractor("sim_vit", path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_an_architecture_or_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(BadInput, match="architecture"):
        load_extractor("sim_vit", path)
    save_small(path, SMALL)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cut short"):
        load_extractor("sim_vit", path)


def test_a_timm_vit_from_a_local_file_is_timms_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True).numpy()
    for path in (tmp_path / "tiny.safetensors", tmp_path / "tiny.pth"):
        (save_file if path.suffix == ".safetensors" else torch.save)(network.state_dict(), path)
        extractor = load_extractor("timm:vit_tiny_patch16_224", path)
        assert (extractor.name, extractor.dimension) == ("timm:vit_tiny_patch16_224", 192)
        np.testing.assert_allclose(extractor.extract(images).embedding, expected, atol=1e-5)
    with pytest.raises(BadInput, match="not weights of vit_small_patch16_224"):
        load_extractor("timm:vit_small_patch16_224", tmp_path / "tiny.pth")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ("vit_tiny_patch16_384", "pos_embed is 1 x 577 x 192 in the file and 1 x 197 x 192 in the model"),
        ("vit_small_patch16_224", "cls_token is 1 x 1 x 384 in the file and 1 x 1 x 192 in the model"),
        ("vit_small_patch32_224", "cls_token is 1 x 1 x 384 in the file and 1 x 1 x 192 in the model"),
    ],
)
def test_a_file_of_another_vit_is_named_with_both_shapes(tmp_path: Path, other: str, says: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model(other, pretrained=False).state_dict(), path)
    with pytest.raises(BadInput) as error:
        load_extractor("timm:vit_tiny_patch16_224", path)
    assert str(error.value) == (
        f"{path}: not weights of vit_tiny_patch16_224: {says}; name the model that the file is of"
    )


def test_kernels_of_another_patch_are_not_resampled(tmp_path: Path) -> None:
    """timm itself would load this file: same width and depth, patches of 32 pixels for 16."""
    path = tmp_path / "patch32.safetensors"
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, patch_size=32, num_classes=0)
    save_file(network.state_dict(), path)
    overlay = {"state_dict": network.state_dict()}
    assert timm.create_model("vit_tiny_patch16_224", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    with pytest.raises(BadInput, match=r"pos_embed is 1 x 50 x 192 in the file and 1 x 197 x 192 in the model"):
        load_extractor("timm:vit_tiny_patch16_224", path)
    state = {**network.state_dict(), "pos_embed": torch.zeros(1, 197, 192)}
    save_file(state, path)
    with pytest.raises(BadInput, match=r"proj.weight is 192 x 3 x 32 x 32 in the file and 192 x 3 x 16 x 16 in"):
        load_extractor("timm:vit_tiny_patch16_224", path)


def test_the_classifier_is_not_needed_and_a_checkpoint_is_unwrapped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict()
    headless = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    fewer = {**headless, "head.weight": torch.ones(5, 192), "head.bias": torch.ones(5)}
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    found = []
    files = (state, headless, fewer, {"state_dict": state, "epoch": 3}, {"model": headless, "optimizer": {"lr": 0.1}})
    for number, content in enumerate(files):
        torch.save(content, tmp_path / f"{number}.pth")
        found.append(load_extractor("timm:vit_tiny_patch16_224", tmp_path / f"{number}.pth").extract(image).embedding)
    for embedding in found[1:]:
        np.testing.assert_array_equal(embedding, found[0])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"teacher": {}, "epoch": 3}, "holds no table of tensors by name ('teacher', 'epoch'); save the network's"),
        ([1], "holds no table of tensors by name (no table); save the network's state_dict() alone"),
        ({"model": {}, "args": Path("x")}, "holds objects that run code; save the network's state_dict() alone"),
    ],
    ids=["other names", "list", "other objects"],
)
def test_a_checkpoint_without_a_table_of_tensors_says_what_to_save(tmp_path: Path, content: object, says: str) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(BadInput) as error:
        load_extractor("timm:vit_tiny_patch16_224", tmp_path / "file.pth")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    state = timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict()
    del state["blocks.3.attn.qkv.bias"]
    save_file(state, tmp_path / "file.safetensors")
    with pytest.raises(BadInput, match=r"the file lacks 'blocks.3.attn.qkv.bias', and 0 more differ"):
        load_extractor("timm:vit_tiny_patch16_224", tmp_path / "file.safetensors")


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(BadInput, match=r"model\.pth"):
        load_extractor("timm:vit_tiny_patch16_224", path)


@pytest.mark.parametrize("model", ["resnet50", "vit_enormous", "", "vit_tiny_patch16_224.no_such_tag"])
def test_an_unknown_timm_name_is_refused(model: str) -> None:
    with pytest.raises(BadInput, match="timm"):
        load_extractor(f"timm:{model}")


def test_without_a_network_the_message_names_model_address_and_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise requests.ConnectionError("no route to host")

    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(Unavailable) as error:
        load_extractor("timm:vit_small_patch14_dinov2.lvd142m")
    assert f"{vit.HUB}/timm/vit_small_patch14_dinov2.lvd142m" in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_dinov2_takes_its_published_size(tmp_path: Path) -> None:
    model = "vit_small_patch14_dinov2.lvd142m"
    path = tmp_path / "dinov2.safetensors"
    save_file(timm.create_model(model, pretrained=False).state_dict(), path)
    extractor = load_extractor(f"timm:{model}", path)
    assert "to 224" in extractor.preprocessing
    assert extractor.extract(np.zeros((1, 64, 64, 3), dtype=np.uint8)).embedding.shape == (1, 384)
