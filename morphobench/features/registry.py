"""Every extractor and segmentation engine by name; `load_extractor(name)` and `load_engine(name)` are the only ways in.

A score is named after what measured it, so a name stands for one network, one file of weights and one preprocessing;
nothing is ever replaced by something similar. Each is imported when it is asked for: torch and timm take seconds.
"""

from __future__ import annotations

from pathlib import Path

from morphobench.errors import BadInput
from morphobench.features.engine import BUILTIN, Engine
from morphobench.features.extractor import TIMM_PREFIX, Extractor

EXTRACTORS = ("efficientnet_lite0", "inception", "inception_bf16", "sim_vit")
ENGINES = (BUILTIN, "cellprofiler", "cellprofiler-memory")


def load_extractor(name: str, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """Build an extractor by name.

    name: one of EXTRACTORS, or "timm:<model name>", e.g. "timm:vit_base_patch16_224".
    weights: a local file of weights; by default the shipped, installed or downloaded one.
    device: a torch device.

    Raises BadInput for an unknown name or device and for a file that is not the network's, Unavailable where a download
    is needed and fails.
    """
    check_device(device)
    if name in ("inception", "inception_bf16"):
        from morphobench.features import inception

        return inception.load(weights, device, bfloat16=name == "inception_bf16")
    if name == "efficientnet_lite0":
        from morphobench.features import efficientnet

        return efficientnet.load(weights, device)
    if name == "sim_vit":
        from morphobench.features import vit

        return vit.load_sim_vit(weights, device)
    if name.startswith(TIMM_PREFIX):
        from morphobench.features import vit

        return vit.load_timm_vit(name.removeprefix(TIMM_PREFIX), weights, device)
    raise BadInput(f"extractor {name!r}: unknown; choose {', '.join(EXTRACTORS)} or {TIMM_PREFIX}<model name>")


def load_engine(name: str) -> Engine:
    """Build an engine by name, one of ENGINES.

    Raises BadInput for an unknown name, Unavailable where CellProfiler is not installed.
    """
    if name == BUILTIN:
        from morphobench.features import profile

        return profile.BUILTIN_ENGINE
    if name in ENGINES:
        from morphobench.features import cellprofiler

        return cellprofiler.load(name)
    raise BadInput(f"--engine {name!r}: unknown; choose {', '.join(ENGINES)}")


def check_device(device: str) -> None:
    """BadInput for a torch device that this machine has not."""
    import torch

    try:
        # A result that comes back: some devices, like "meta", hold shapes and no numbers.
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise BadInput(f"device {device!r}: not on this machine; use cpu") from error
