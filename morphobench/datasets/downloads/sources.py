"""What MorphoGene is made from, where it lies on the network, and fetching what a build needs of it.

`sources.csv` lists every file: BBBC021's tables and its 55 plates, and the Level 3 matrices of LINCS L1000 from one of
two releases. No hash but those of two tables is published, so that the others are held to what first arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from morphobench import storage
from morphobench.datasets import bbbc021
from morphobench.datasets.downloads.download import JOBS, download
from morphobench.datasets.downloads.transfer import Source
from morphobench.datasets.frozen import HERE, verified
from morphobench.errors import BadInput

DEFAULT_RELEASE = "lincs2020"
IMAGES, L1000 = "bbbc021", "l1000"
"""Folders in the download folder; the releases of L1000 have one each in the second."""


@dataclass(frozen=True)
class Catalogue:
    """The files of `sources.csv`: BBBC021's tables, its plates by name, and L1000's releases by name."""

    tables: tuple[Source, ...]
    plates: dict[str, Source]
    l1000: dict[str, tuple[Source, ...]]


def load_catalogue(folder: Path = HERE) -> Catalogue:
    """The shipped catalogue; BadInput names `sources.csv` if a byte of it changed."""
    # every column but the two numbers is text, and an empty hash is no NaN
    table = pd.read_csv(verified(folder, "sources.csv"), keep_default_na=False, dtype=str)
    groups: dict[str, list[tuple[str, Source]]] = {}
    for row in table.itertuples():
        place = IMAGES if row.group in ("tables", "plates") else f"{L1000}/{row.group}"
        numbers = int(row.bytes or 0), row.sha256, int(row.matrix_bytes or 0)
        source = Source(f"{place}/{row.file}", row.address, *numbers)
        groups.setdefault(row.group, []).append((row.plate, source))
    return Catalogue(
        tables=tuple(source for _, source in groups.pop("tables")),
        plates=dict(groups.pop("plates")),
        l1000={group: tuple(source for _, source in rows) for group, rows in groups.items()},
    )


def download_folder() -> Path:
    """Where downloads go unless the user names a folder: `downloads` in the cache folder (see `storage.cache_dir`)."""
    return storage.cache_dir() / "downloads"


@dataclass(frozen=True)
class Fetcher:
    """Fetches what is missing of a catalogue into `folder`, `jobs` files at a time."""

    folder: Path
    catalogue: Catalogue
    jobs: int = JOBS
    progress: Callable[[str], None] = lambda line: None
    wait_s: float = 1.0

    @property
    def images(self) -> Path:
        """Folder of BBBC021's tables and plates."""
        return self.folder / IMAGES

    def tables(self) -> Path:
        """Fetch BBBC021's tables; returns `images`."""
        self._download(self.catalogue.tables)
        return self.images

    def everything(self, fields: pd.DataFrame | None, release: str) -> Path:
        """Fetch a release of L1000 and, if given, the plates of `fields` together; returns the folder of the release.

        Raises BadInput for a release or a plate that has no address.
        """
        if release not in self.catalogue.l1000:
            raise BadInput(f"--l1000-source {release!r}: choose one of {', '.join(self.catalogue.l1000)}")
        zips = [] if fields is None else self._zips(fields)
        self._download([*zips, *self.catalogue.l1000[release]])
        return self.folder / L1000 / release

    def plates(self, fields: pd.DataFrame) -> Path:
        """Fetch the plates of `fields` (columns plate, path) that do not lie there unpacked; returns `images`."""
        self._download(self._zips(fields))
        return self.images

    def _zips(self, fields: pd.DataFrame) -> list[Source]:
        zips = {name: self._plate(name) for name in sorted(set(fields["plate"]))}
        there = bbbc021.plates_on_disk(self.images, fields)
        unpacked = {name for name in there if not (self.folder / zips[name].file).is_file()}
        return [zips[name] for name in zips if name not in unpacked]

    def _plate(self, name: str) -> Source:
        if name not in self.catalogue.plates:
            raise BadInput(f"plate {name}: no address is known of it; give its folder with --images")
        return self.catalogue.plates[name]

    def _download(self, sources: Sequence[Source]) -> None:
        download(sources, self.folder, self.jobs, self.progress, self.wait_s)
