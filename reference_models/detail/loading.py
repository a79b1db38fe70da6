"""The flow of detail from its file: the one that was trained on an autoencoder's images, and no other."""

from __future__ import annotations

from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from reference_models.core import weight_file
from reference_models.detail.config import TrainedDetail
from reference_models.detail.network import DetailFlow


def load_detail(path: Path, autoencoder_sha256: str, tier: Tier) -> DetailFlow:
    """The flow in a file, in inference mode.

    BadInput where the file is of another model, tier or size, or completes the images of another autoencoder.
    """
    file = weight_file.read(path)
    weight_file.check(file, "detail", tier)
    completes = file.metadata.get("autoencoder_sha256", "")
    if completes != autoencoder_sha256:
        raise BadInput(
            f"{path}: completes the images of the autoencoder with sha256 {completes[:12]}..., not of "
            f"{autoencoder_sha256[:12]}...; train one on that (morphobench train detail --autoencoder) and put its "
            "weights beside TRIDENT's, detail.safetensors"
        )
    config = weight_file.configuration(file, TrainedDetail)
    return weight_file.filled(lambda: DetailFlow(config), file).eval().requires_grad_(False)
