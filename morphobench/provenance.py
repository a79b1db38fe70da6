"""What a report says of the code and the machine that made it."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "morphobench", "numpy", "scipy", "scikit-learn", "scikit-image", "centrosome", "numba", "pandas", "pillow", "torch",
    "timm", "torch-fidelity", "diffusers", "accelerate", "gseapy", "umap-learn", "rdkit",
)  # fmt: skip
"""Every package whose release can move a number."""


@cache
def versions() -> dict[str, str]:
    """Python and package versions; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def hardware(device: str) -> dict[str, str]:
    """Processor, cores this process may use, memory, and the accelerator if one is used."""
    described = {"processor": processor(), "cores": str(usable_cores()), "system": platform.system()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    described["memory"] = f"{memory:.0f} GiB"
    if device.startswith("cuda"):
        import torch

        described["accelerator"] = torch.cuda.get_device_name(device)
    return described


def usable_cores() -> int:
    """Processor cores that this process may run on, which a scheduler may have made fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
