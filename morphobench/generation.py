"""A model's answers to the conditions of a plan, written as a submission like anyone's; kept while nothing changes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from morphobench import models, provenance
from morphobench.datasets.swaps import swapped_conditions, swaps
from morphobench.errors import BadInput
from morphobench.ingest.expression import not_log2
from morphobench.ingest.submission import Answers, write_submission
from morphobench.request import Plan, model_name
from morphobench.schema import Conditions, Manifest, first_fault
from morphobench.storage import atomic_write_text, check_folder, folder_sha256, sha256_text


@cache
def code_sha256() -> str:
    """Hash of what computes: this package and the releases of those that it calls."""
    return sha256_text(folder_sha256(Path(__file__).parent), *(f"{k}={v}" for k, v in provenance.versions().items()))


def generate(plan: Plan) -> Path:
    """Let the plan's model answer the conditions of its tracks; returns the submission folder, FOLDER/submission.

    The swapped conditions of each track are asked for as well, see `datasets.swaps`. Of a model that draws images the
    extractors and the engine are loaded first: what is missing is better known before minutes of generation.

    A submission that is already there is kept if an installed model's package and weights, this package, the tier, the
    seed and the tracks are the same. A model given as an object always generates: nothing tells whether its weights
    changed. A folder that holds a submission from elsewhere is refused: it would be replaced.
    """
    model, folder = plan.request.model, plan.folder()
    assert model is not None
    name = model_name(model)
    place, stamp = folder / "submission", folder / "generation.sha256"
    check_folder(place)
    if place.exists() and not stamp.is_file():
        raise BadInput(f"{place}: not made by this command; choose another --out")
    key = _key(model, plan) if isinstance(model, str) else "object"
    if isinstance(model, str) and place.is_dir() and stamp.is_file() and stamp.read_bytes() == _stamped(key):
        return place
    weights = ""
    if isinstance(model, str):
        loaded = models.load_model(model, plan.tier, plan.protocol.device, plan.request.checkpoint)
        weights = models.weights_sha256(model, plan.tier, plan.request.checkpoint)
    else:
        loaded = model
    if isinstance(loaded, models.DrawsImages):
        _ = plan.protocol.loaded, plan.protocol.segmentation
    elif not isinstance(loaded, models.PredictsExpression):
        raise BadInput(f"model {name!r}: has neither generate nor predict_expression; offer one of the two")
    manifest = _manifest(name, loaded, weights, plan)
    images, expression = _answers(name, loaded, plan)
    # The stamp says from here on that the folder is ours, and by its key only when all of it is there.
    atomic_write_text(stamp, "unfinished\n")
    write_submission(place, manifest, images, expression)
    atomic_write_text(stamp, _stamped(key).decode())
    return place


def _stamped(key: str) -> bytes:
    """What the stamp beside a submission holds; compared as bytes, as a damaged one need not be text."""
    return f"{key}\n".encode()


def _key(model: str, plan: Plan) -> str:
    """Hash of everything that the submission of an installed model is made from."""
    spec = plan.tier.spec
    return sha256_text(
        model, models.model_sha256(model, plan.tier, plan.request.checkpoint), spec.name, spec.version,
        plan.tier.split_sha256, str(plan.request.seed), plan.protocol.device, code_sha256(), *plan.tracks,
    )  # fmt: skip


def _answers(name: str, model: models.Model, plan: Plan) -> tuple[Answers, Answers]:
    """Images of every track and of its swaps, and predicted expression of every track: what the model offers."""
    size, seed = plan.tier.spec.image_size, plan.request.seed
    images: dict[str, tuple[Conditions, np.ndarray]] = {}
    expression: dict[str, tuple[Conditions, np.ndarray]] = {}
    for track in plan.tracks:
        conditions = plan.tier.conditions(track)
        if isinstance(model, models.DrawsImages):
            asked = {track: conditions, **swapped_conditions(track, swaps(plan.tier, conditions))}
            images |= {place: (wanted, _generated(name, model, wanted, size, seed)) for place, wanted in asked.items()}
        if isinstance(model, models.PredictsExpression):
            expression[track] = (conditions, _predicted(name, model, conditions))
    return images, expression


def _generated(name: str, model: models.DrawsImages, conditions: Conditions, size: int, seed: int) -> np.ndarray:
    pixels = np.asarray(model.generate(conditions, seed))
    expected = (len(conditions), size, size, 3)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise BadInput(f"model {name!r}: generate gave {pixels.dtype} {pixels.shape}; uint8 {expected} is wanted")
    return pixels


def _predicted(name: str, model: models.PredictsExpression, conditions: Conditions) -> np.ndarray:
    values = np.asarray(model.predict_expression(conditions))
    expected = (len(conditions), len(conditions.genes))
    if values.shape != expected or values.dtype.kind not in "fiu":
        raise BadInput(
            f"model {name!r}: predict_expression gave {values.dtype} {values.shape}; numbers {expected} are wanted"
        )
    if (fault := not_log2(values)) is not None:
        row, gene, why = fault
        about = f"{conditions.records[row].compound}, gene {conditions.genes[gene]}"
        raise BadInput(f"model {name!r}: predict_expression: {about}: {why}")
    return values


def _manifest(name: str, model: models.Model, weights_sha256: str, plan: Plan) -> Manifest:
    spec = plan.tier.spec
    fields: dict[str, Any] = {
        "name": name, "group": "morphobench", "version": f"v{provenance.versions()['morphobench']}", **model.manifest,
        "tier": spec.name, "tier_version": spec.version, "split_sha256": plan.tier.split_sha256,
        "seed": plan.request.seed,
    }  # fmt: skip
    if weights_sha256:
        fields["weights_sha256"] = weights_sha256
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        raise BadInput(f"model {name!r}: manifest: {first_fault(error)}") from error
