"""The seam for models: what one must offer, and how it is found by name.

A model is any object with the members of `Model`; there is no base class. A package offers one through an entry point
of the group `morphobench.models` that names a function `load(tier, device) -> Model`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.schema import Conditions
from morphobench.storage import folder_sha256, sha256_file

GROUP = "morphobench.models"


class Model(Protocol):
    """What `morphobench evaluate --model` needs.

    manifest: the fields of `schema.Manifest` that the model knows of itself (method, parameters, sampler, steps, ...).
    """

    manifest: Mapping[str, Any]

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        """uint8 (N, H, W, 3), one image per condition in order; the same for the same conditions and seed."""
        ...


@runtime_checkable
class PredictsExpression(Protocol):
    """A model that also predicts the transcriptome."""

    def predict_expression(self, conditions: Conditions) -> np.ndarray:
        """Predicted log2 G_post, (N, 978), in the order of `conditions.genes`."""
        ...


def available_models() -> tuple[str, ...]:
    """Names of the installed models, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def load_model(name: str, tier: Tier, device: str) -> Model:
    """The model of that name, ready for a tier; BadInput lists the names there are."""
    return _entry_point(name).load()(tier, device)


def source_sha256(name: str) -> str:
    """Hash of the package that holds a model, so that a model whose code or weights were edited is run again.

    A loader in a single-file module is hashed with that file alone.
    """
    loader: Callable[..., Model] = _entry_point(name).load()
    module = sys.modules[loader.__module__]
    if module.__file__ is None:
        raise BadInput(f"model {name!r}: {loader.__module__} has no source file; install it as a regular package")
    source = Path(module.__file__)
    return folder_sha256(source.parent) if module.__package__ else sha256_file(source)


def _entry_point(name: str) -> EntryPoint:
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise BadInput(f"model {name!r}: not installed; there are {', '.join(sorted(points)) or 'none'}")
    return points[name]
