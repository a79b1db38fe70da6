"""Images per second of the feature extractors, side by side in one run.

    python benchmarks/features.py [--images 64] [--size 128] [--rounds 3] [--processor-time]

Inception runs on random weights (speed does not depend on them) against torch-fidelity's own extractor; rounds
alternate and the best of each is printed, so that other work on the machine touches both. OpenVINO is timed where it is
installed. On a busy machine, OMP_NUM_THREADS=1 with --processor-time counts only the seconds in which the benchmark
itself ran.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import time
from collections.abc import Callable

import numpy as np
import torch

from morphobench.features import inception, load_extractor
from morphobench.features.checkpoint import StateDict
from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.metrics import frechet_distance


def random_torch_fidelity() -> torch.nn.Module:
    """torch-fidelity's Inception extractor with seeded random weights."""
    ensure_torchvision()
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        """The same network without a file of weights to read."""

        def load_state_dict(self, *args: object, **kwargs: object) -> None:
            for module in self.modules():
                if isinstance(module, torch.nn.Conv2d):
                    torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    torch.manual_seed(0)
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    return Untrained("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=nothing)


def openvino_inception(state: StateDict, images: np.ndarray, expected: np.ndarray) -> Callable[[], np.ndarray]:
    """The same network compiled by OpenVINO in float32; prints how far its features are from `expected`."""
    import openvino

    chunk = inception.CHUNK
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))[: len(images) // chunk * chunk]
    parts = pixels.reshape(-1, chunk, *pixels.shape[1:])
    network = inception.inception_network(state)
    model = openvino.convert_model(network, example_input=torch.from_numpy(parts[0]), input=[parts[0].shape])
    settings = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }  # fmt: skip
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def run() -> np.ndarray:
        return np.concatenate([compiled([part])[0] for part in parts])

    found = run()
    print(f"largest difference of a feature, OpenVINO: {np.abs(found - expected[: len(found)]).max():.1e}")
    return run


def best_rates(
    contenders: dict[str, Callable[[], object]], images: int, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Images per second of each, the best of `rounds` alternating rounds after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: images / min(times[1:]) for name, times in seconds.items()}


def main() -> None:
    """Print one line per extractor."""
    parser = argparse.ArgumentParser(description="images per second of the feature extractors")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true")
    arguments = parser.parse_args()
    shape = (arguments.images, arguments.size, arguments.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    batches = [images[start : start + 32] for start in range(0, len(images), 32)]

    original = random_torch_fidelity()
    ours = inception.inception_extractor(original.state_dict(), "0" * 64)
    short = inception.inception_extractor(original.state_dict(), "0" * 64, bfloat16=True)
    lite = load_extractor("efficientnet_lite0")

    def torch_fidelity() -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([original(torch.from_numpy(b).permute(0, 3, 1, 2))[0].numpy() for b in batches])

    def inception_ours() -> np.ndarray:
        return np.concatenate([ours.extract(batch).embedding for batch in batches])

    theirs, mine, rounded = torch_fidelity(), inception_ours(), short.extract(images).embedding
    half = len(images) // 2
    distances = [frechet_distance(features[:half], features[half:]) for features in (theirs, mine, rounded)]
    contenders = {
        "inception, torch-fidelity": torch_fidelity,
        "inception": inception_ours,
        "inception_bf16": lambda: [short.extract(batch) for batch in batches],
        "efficientnet_lite0": lambda: [lite.extract(batch) for batch in batches],
    }
    if importlib.util.find_spec("openvino"):
        contenders["inception, OpenVINO"] = openvino_inception(original.state_dict(), images, mine)
    clock = time.process_time if arguments.processor_time else time.perf_counter
    rates = best_rates(contenders, arguments.images, arguments.rounds, clock)
    print(f"{arguments.images} images of {arguments.size} x {arguments.size}, {torch.get_num_threads()} threads")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:8.1f} images/s")
    print(f"inception v torch-fidelity: {rates['inception'] / rates['inception, torch-fidelity']:.2f} x the images/s")
    print(f"largest difference of a feature: {np.abs(theirs - mine).max():.1e}")
    print(f"Frechet distance of the two halves: {distances[0]:.6f}, {distances[1]:.6f}; bf16 {distances[2]:.6f}")


if __name__ == "__main__":
    main()
