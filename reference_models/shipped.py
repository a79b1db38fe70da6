"""Which file of weights a model reads: the user's, or the one that ships in `weights/` for the tier.

These functions are the entry points of `morphobench.weights`. They import nothing heavy, so that whether anything has
changed is known before torch is loaded.
"""

from __future__ import annotations

from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, Unavailable
from morphobench.storage import read_sums, verify_file

FOLDER = Path(__file__).parent / "weights"
RUN_WEIGHTS = "weights.safetensors"
"""The result of a training run, in its folder."""
STABLE_DIFFUSION = "autoencoder"
"""Folder beside the weights of a model that draws by the stable-diffusion VAE: that VAE, in diffusers' layout."""
BESIDE_WEIGHTS = (STABLE_DIFFUSION, "autoencoder.safetensors", "detail.safetensors")
"""Other models that a latent model draws with, where they lie beside its weights."""


def trident(tier: Tier, weights: Path | None = None) -> tuple[Path, ...]:
    """TRIDENT's file, that of a flow of detail, and those of a stable-diffusion VAE beside it.

    Any other autoencoder is named in the file by its hash, so that the file's own hash stands for both.
    """
    path = weight_path("trident", tier.spec.name, weights)
    detail = [beside(path, "detail", tier.spec.name)] if _ships_or_lies_beside(path, "detail", tier.spec.name) else []
    return (path, *detail, *sorted(file for file in (path.parent / STABLE_DIFFUSION).rglob("*") if file.is_file()))


def beside(path: Path, model: str, tier: str) -> Path:
    """The file of a model that another needs: MODEL.safetensors in the folder of the other's, or the one that ships.

    Unavailable where there is neither.
    """
    own = path.parent / f"{model}.safetensors"
    if own.is_file():
        return own
    try:
        return _shipped(model, tier)
    except Unavailable as error:
        raise Unavailable(
            f"{path}: draws with a {model}, and none ships for tier {tier!r}; put yours beside it, {own.name}"
        ) from error


def _ships_or_lies_beside(path: Path, model: str, tier: str) -> bool:
    return (path.parent / f"{model}.safetensors").is_file() or f"{model}__{tier}.safetensors" in read_sums(FOLDER)


def nothing(tier: Tier, weights: Path | None = None) -> tuple[Path, ...]:
    """The controls are made of real images."""
    return ()


def weight_path(model: str, tier: str, weights: Path | None = None) -> Path:
    """The file that a model reads: of `weights`, see `given_path`, or the one that ships.

    Unavailable where none ships for the tier; BadInput where the shipped one was changed.
    """
    return _shipped(model, tier) if weights is None else given_path(weights)


def given_path(weights: Path) -> Path:
    """The file of weights at a path that is the file, or the folder of a run; BadInput where there is none."""
    if weights.is_file():
        return weights
    if not weights.is_dir():
        raise BadInput(f"{weights}: no such file of weights; correct the path")
    path = weights / RUN_WEIGHTS
    if not path.is_file():
        raise BadInput(
            f"{weights}: no {RUN_WEIGHTS} in it; go on with the run by --resume, or by --resume --stop-after 0 to have "
            "its weights now"
        )
    return path


def _shipped(model: str, tier: str) -> Path:
    name, sums = f"{model}__{tier}.safetensors", read_sums(FOLDER)
    if name not in sums:
        tiers = [
            file.removeprefix(f"{model}__").removesuffix(".safetensors")
            for file in sums
            if file.startswith(f"{model}__")
        ]
        raise Unavailable(
            f"tier {tier!r}: no weights of {model} ship for it; give your own with --checkpoint, or choose tier "
            f"{', '.join(tiers) or 'and model that have some'}"
        )
    return verify_file(FOLDER, name, sums[name])
