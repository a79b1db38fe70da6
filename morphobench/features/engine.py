"""A segmentation engine: what turns images into profiles.

The built-in one is the protocol of every tier. Scores of another carry its name, as those of other features do, and
nothing is ever replaced by something similar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pandas, which whoever only names an engine does without
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
    def printed_name(self) -> str:
        """Whose name its scores bear: "" for the built-in engine, which is the protocol of every tier."""
        return "" if self.name == BUILTIN else self.name

    @property
    def suffix(self) -> str:
        """What its name in a report's protocol ends in."""
        return f"[{self.printed_name}]" if self.printed_name else ""
