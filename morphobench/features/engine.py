"""A segmentation engine: what turns images into profiles.

The built-in one is the protocol of every tier. Scores of another carry its name, as those of other features do, and
nothing is ever replaced by something similar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from morphobench.datasets.tier import ImageSet

BUILTIN = "builtin"


@dataclass(frozen=True)
class Engine:
    """An engine ready to run.

    version: changes whenever a mask may change; part of the key of every cached profile.
    rows: (images, smallest and largest nucleus in pixels, processes, cache folder) -> for each image in order its
    values of `profile.PROFILE_COLUMNS`. The folder is for parts that a stopped run need not measure again.
    """

    name: str
    version: str
    rows: Callable[[ImageSet, tuple[float, float], int, Path], Iterator[list[float]]]

    @property
    def suffix(self) -> str:
        """What the keys of its scores end in: nothing for the built-in engine, `[name]` for another."""
        return "" if self.name == BUILTIN else f"[{self.name}]"
