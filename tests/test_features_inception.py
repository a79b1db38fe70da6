"""Inception-v3 against torch-fidelity's and torchmetrics' extractors, on the same weights.

Random weights, and the genuine ones where they lie in the cache folder (`inception` downloads them there).
"""

from pathlib import Path

import numpy as np
import pooch
import pytest
import requests
import torch

from morphobench.errors import BadInput, Unavailable
from morphobench.features import inception, load_extractor
from morphobench.features.checkpoint import StateDict, read_state_dict
from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.metrics.registry import key_for
from morphobench.storage import cache_dir, sha256_file

ensure_torchvision()
import torch_fidelity.feature_extractor_inceptionv3 as torch_fidelity_inception  # noqa: E402
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x  # noqa: E402
from torchmetrics.image.fid import NoTrainInceptionV3  # noqa: E402

SHA256 = "0" * 64


def random_state() -> StateDict:
    """A state_dict of the network that keeps activations of order one through its 94 layers."""
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(torch_fidelity_inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(torch_fidelity_inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *args: None)
        empty = torch_fidelity_inception.FeatureExtractorInceptionV3("inception", ["2048"]).state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in empty.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1)
        elif tensor.ndim > 1:
            state[name] = torch.randn(tensor.shape, generator=generator) * (2.0 / tensor[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            state[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        else:
            state[name] = torch.randn(tensor.shape, generator=generator) * 0.1
    return state


@pytest.fixture(scope="module", params=["random", "genuine"])
def state(request: pytest.FixtureRequest) -> StateDict:
    if request.param == "random":
        return random_state()
    path = cache_dir() / "weights" / inception.WEIGHTS_URL.rsplit("/", 1)[-1]
    if not path.is_file() or sha256_file(path) != inception.WEIGHTS_SHA256:
        pytest.skip(f"the genuine weights are not at {path}")
    return read_state_dict(path)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth images with detail, (12, 64, 64, 3)."""
    generator = np.random.default_rng(1)
    coarse = generator.uniform(0, 255, (12, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(coarse + generator.normal(0, 20, (12, 64, 64, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def oracle(
    state: StateDict, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> tuple[np.ndarray, np.ndarray]:
    """torch-fidelity's own embedding and logits of the images."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(state, path)
    network = torch_fidelity_inception.FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    with torch.no_grad():
        embedding, logits = network(torch.from_numpy(images).permute(0, 3, 1, 2))
    return embedding.numpy(), logits.numpy()


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of Gaussians fitted to rows, with fewer rows than columns; the trace term as a nuclear norm."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    centred = [(x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    spread = sum((x**2).sum() for x in centred)
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + spread - 2 * cross)


def test_features_and_probabilities_are_those_of_torch_fidelity(
    state: StateDict, images: np.ndarray, oracle: tuple[np.ndarray, np.ndarray]
) -> None:
    extractor = inception.inception_extractor(state, SHA256)
    features = extractor.extract(images)
    assert features.embedding.shape == (12, extractor.dimension)
    assert features.probabilities is not None
    assert features.embedding.dtype == features.probabilities.dtype == np.float32
    np.testing.assert_allclose(features.embedding, oracle[0], atol=1e-4)
    expected = torch.softmax(torch.from_numpy(oracle[1]), dim=1).numpy()
    np.testing.assert_allclose(features.probabilities, expected, atol=1e-5)
    ours = frechet_distance(features.embedding[:6], features.embedding[6:])
    theirs = frechet_distance(oracle[0][:6], oracle[0][6:])
    assert theirs > 1
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_batch_size_order_and_threads_do_not_move_a_bit(state: StateDict, images: np.ndarray) -> None:
    extract = inception.inception_extractor(state, SHA256).extract
    whole = extract(images)
    assert whole.probabilities is not None
    for size, count in ((1, 2), (7, 7)):
        parts = [extract(images[start : start + size]) for start in range(0, count, size)]
        embedding = np.concatenate([part.embedding for part in parts])
        np.testing.assert_array_equal(embedding, whole.embedding[: len(embedding)])
    order = np.random.default_rng(0).permutation(len(images))[:4]
    np.testing.assert_array_equal(extract(images[order]).probabilities, whole.probabilities[order])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            np.testing.assert_allclose(extract(images[:4]).embedding, whole.embedding[:4], rtol=1e-5, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_the_path_of_other_devices_is_the_same_network(
    state: StateDict, images: np.ndarray, oracle: tuple[np.ndarray, np.ndarray]
) -> None:
    """A GPU runs torch's plain convolutions on whole batches; here they run on the CPU."""
    network = inception.inception_network(state, fused=False)
    with torch.inference_mode():
        embedding, logits = network(torch.from_numpy(images).permute(0, 3, 1, 2))
    np.testing.assert_allclose(embedding.numpy(), oracle[0], atol=1e-4)
    np.testing.assert_allclose(logits.numpy(), oracle[1], atol=1e-3)


def test_bfloat16_is_another_extractor_within_its_stated_error(state: StateDict, images: np.ndarray) -> None:
    exact, short = (inception.inception_extractor(state, SHA256, bfloat16=half) for half in (False, True))
    assert (short.name, short.preprocessing) == ("inception_bf16", f"{exact.preprocessing}, bfloat16")
    assert key_for("fd", short.name) == "fd[inception_bf16]"
    a, b = (extractor.extract(images[:4]).embedding for extractor in (exact, short))
    assert b.dtype == np.float32
    assert 1e-4 < np.linalg.norm(a - b) / np.linalg.norm(a) < 2e-2


def test_torchmetrics_agrees_where_it_resizes_as_the_network_was_trained(
    state: StateDict, images: np.ndarray, oracle: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """Its default since 1.2 is antialiased bilinear, which is another score under the same name."""
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    network = NoTrainInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path), antialias=False)
    pixels = torch.from_numpy(images[:4]).permute(0, 3, 1, 2)
    ours = inception.inception_extractor(state, SHA256).extract(images[:4]).embedding
    with torch.no_grad():
        np.testing.assert_allclose(ours, network(pixels).numpy(), atol=1e-4)
        network.use_antialias = True
        assert np.abs(ours - network(pixels).numpy()).max() > 1e-2


@pytest.mark.parametrize("shape", [(128, 128), (299, 299), (512, 500), (33, 7)])
def test_the_resize_is_that_of_tensorflow_1(shape: tuple[int, int]) -> None:
    x = torch.rand((2, 3, *shape), generator=torch.Generator().manual_seed(0)) * 255
    expected = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    torch.testing.assert_close(inception.resize_tensorflow1(x, 299), expected, atol=2e-3, rtol=0)


def test_weights_with_another_hash_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(BadInput, match=r"6726825d0af5") as error:
        load_extractor("inception", path)
    assert str(path) in str(error.value)
    with pytest.raises(BadInput, match="no such file"):
        load_extractor("inception", tmp_path / "absent.pth")


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(BadInput, match="Inception-v3 2015-12-05") as error:
        inception.inception_network({"fc.weight": torch.zeros(2)})
    assert "\n" not in str(error.value)


def test_without_a_network_the_message_names_address_and_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise requests.ConnectionError("no route to host")

    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(Unavailable) as error:
        load_extractor("inception")
    place = tmp_path / "weights" / "weights-inception-2015-12-05-6726825d.pth"
    assert inception.WEIGHTS_URL in str(error.value)
    assert str(place) in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(place.parent.iterdir())


def test_a_download_that_is_not_the_genuine_file_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def cut_short(self: object, url: str, output: str, mother: object) -> None:
        Path(output).write_bytes(b"PK")

    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", cut_short)
    with pytest.raises(Unavailable, match="another file"):
        load_extractor("inception")
    assert not list((tmp_path / "weights").iterdir())
