"""Import torchvision beside a torch that its compiled operators were not built for.

A torchvision wheel built for CUDA cannot load its operators beside a CPU torch, and its import then fails with
"operator torchvision::nms does not exist": while it registers shape functions for detection operators that nothing here
calls. Declaring the two operators whose shape functions have no guard lets the import finish. Where the compiled
operators load, nothing is declared.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

UNGUARDED_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # torch forgets a library's operators when its Library object is collected


def ensure_torchvision() -> None:
    """Import torchvision; declare its two missing operators first where its compiled ones do not load.

    Call it before importing a library that imports torchvision (timm, torch-fidelity). Any other failure of the import
    is raised as it is.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _declared or "operator torchvision::" not in str(error):
            raise
        _forget_half_import()
        _declare()
        importlib.import_module("torchvision")


def _forget_half_import() -> None:
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in UNGUARDED_OPERATORS:
        library.define(schema)
    _declared.append(library)
