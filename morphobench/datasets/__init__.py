"""Data sets: the frozen tables and the tiers. `load_tier` is the one way in."""

from morphobench.datasets.frozen import load_compounds, load_gene_sets, load_landmarks
from morphobench.datasets.tier import SPLITS, ImageSet, Tier, TierSpec, Track
from morphobench.errors import BadInput

BUILT = ("morphogene", "morphogene-paper")


def available_tiers() -> tuple[str, ...]:
    """Names that `load_tier` knows; a built one needs `morphobench data build` first."""
    return ("sim", *BUILT)


def load_tier(name: str) -> Tier:
    """The tier of this name.

    Raises BadInput for an unknown name (it lists those there are) or a changed file, Unavailable for a tier that is
    not built yet.
    """
    if name == "sim":
        from morphobench.datasets.sim import load_sim

        return load_sim()
    if name in BUILT:
        from morphobench.datasets.morphogene.build import load_built

        return load_built(name)
    raise BadInput(f"tier {name!r}: unknown; choose one of {', '.join(available_tiers())}")


__all__ = [
    "BUILT",
    "SPLITS",
    "ImageSet",
    "Tier",
    "TierSpec",
    "Track",
    "available_tiers",
    "load_compounds",
    "load_gene_sets",
    "load_landmarks",
    "load_tier",
]
