"""The seam for models: what one must offer, how it is found by name, and what it is made of.

A model is any object with the members of `Model`; there is no base class. A package offers one through an entry point
of the group `morphobench.models`, which names a `Loader`. Only what a command needs of a model is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.schema import Conditions
from morphobench.storage import folder_sha256, sha256_file, sha256_text

GROUP = "morphobench.models"
WEIGHTS_GROUP = "morphobench.weights"
WEIGHTS_FOLDER = "weights"
"""Folder of a top-level package that is not code where the model says in WEIGHTS_GROUP what it reads."""


class Model(Protocol):
    """What `morphobench evaluate --model` needs, besides the member of `DrawsImages`, of `PredictsExpression` or both.

    manifest: the fields of `schema.Manifest` that the model knows of itself (method, parameters, sampler, steps, ...).
    """

    manifest: Mapping[str, Any]


@runtime_checkable
class DrawsImages(Protocol):
    """A model that draws images. One that does not is scored on the rows of expression alone."""

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        """uint8 (N, H, W, 3), one image per condition in order; the same for the same conditions and seed."""
        ...


@runtime_checkable
class PredictsExpression(Protocol):
    """A model that predicts the transcriptome."""

    def predict_expression(self, conditions: Conditions) -> np.ndarray:
        """Predicted log2 G_post, (N, 978), in the order of `conditions.genes`."""
        ...


class Loader(Protocol):
    """What an entry point of GROUP names.

    weights: the user's own weights instead of those that ship, a file or the folder of a training run. A model that has
    none leaves the argument out: `load(tier, device)` is a loader too.
    """

    def __call__(self, tier: Tier, device: str, weights: Path | None = None) -> Model:
        """The model, ready for the tier; BadInput or Unavailable in one line."""
        ...


WeightFiles = Callable[[Tier, Path | None], Sequence[Path]]
"""What an entry point of WEIGHTS_GROUP names, under the name of its model: (tier, weights) -> the files that `load`
would read. It imports nothing heavy. With it the rest of the package's folder `weights/` is not part of the key;
without it every file of the package is."""


def available_models() -> tuple[str, ...]:
    """Names of the installed models, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def load_model(name: str, tier: Tier, device: str, weights: Path | None = None) -> Model:
    """The model of that name, ready for a tier, with its own weights or those at `weights`.

    BadInput lists the names there are, and refuses weights for a model that reads none.
    """
    loader = _imported(_model_point(name))
    if weights is None:
        return loader(tier, device)
    _check_weights(name, loader, weights)
    return loader(tier, device, weights=weights)


def model_sha256(name: str, tier: Tier, weights: Path | None = None) -> str:
    """Hash of what a model is made of, so that one whose code or weights changed is run again.

    The code is that of the top-level package (or single-file module) which the entry point names. BadInput as in
    `load_model`, and what the model's `WeightFiles` raises.
    """
    return sha256_text(_code_sha256(_model_point(name)), weights_sha256(name, tier, weights))


def weights_sha256(name: str, tier: Tier, weights: Path | None = None) -> str:
    """SHA-256 of the file that a model would read its weights from; of their hashes, where there are several.

    "" for a model that reads none, or that does not say which and is given none.
    """
    point = _model_point(name)
    if weights is not None:
        _check_weights(name, _imported(point), weights)
    says = _point(WEIGHTS_GROUP, name)
    if says is not None:
        digests = [sha256_file(path) for path in _imported(says)(tier, weights)]
        return digests[0] if len(digests) == 1 else sha256_text(*digests) if digests else ""
    if weights is None:
        return ""
    return folder_sha256(weights) if weights.is_dir() else sha256_file(weights)


def _code_sha256(point: EntryPoint) -> str:
    """Hash of every file of the package that an entry point names, found without importing it.

    A package of a namespace is hashed without its neighbours there, a single-file module alone.
    """
    parts = point.module.split(".")
    for end in range(1, len(parts) + 1):
        try:
            spec = find_spec(".".join(parts[:end]))
        except ImportError as error:
            raise _broken(point, error) from error
        if spec is None:
            raise _broken(point, ModuleNotFoundError(f"No module named {'.'.join(parts[:end])!r}"))
        if spec.origin is None:
            continue
        source = Path(spec.origin)
        if not source.is_file():
            break
        if not spec.submodule_search_locations:
            return sha256_file(source)
        without = (WEIGHTS_FOLDER,) if _point(WEIGHTS_GROUP, point.name) else ()
        return folder_sha256(source.parent, without)
    raise BadInput(f"model {point.name!r}: {point.module} has no source file; install it as a regular package")


def _check_weights(name: str, loader: Loader, weights: Path) -> None:
    if not weights.exists():
        raise BadInput(f"--checkpoint {weights}: not there; name a file of weights or the folder of a training run")
    try:
        inspect.signature(loader).bind(None, "cpu", weights=weights)
    except TypeError as error:
        raise BadInput(f"model {name!r}: its load(tier, device) takes no weights; leave --checkpoint out") from error


def _imported(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise _broken(point, error) from error


def _broken(point: EntryPoint, error: Exception) -> BadInput:
    reason = " ".join(str(error).split())
    return BadInput(f"model {point.name!r}: {point.value} cannot be imported ({reason}); install its package again")


def _model_point(name: str) -> EntryPoint:
    point = _point(GROUP, name)
    if point is None:
        raise BadInput(f"model {name!r}: not installed; there are {', '.join(available_models()) or 'none'}")
    return point


def _point(group: str, name: str) -> EntryPoint | None:
    return next((point for point in entry_points(group=group) if point.name == name), None)
