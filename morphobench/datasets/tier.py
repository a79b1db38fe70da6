"""A tier: a data set with its splits and protocol, read from one TOML file and its data.

`load_tier("sim")` is the only loader. The sim tier renders its images on first use; a built tier (morphogene) reads
them from its folder. Both give the same object, so that nothing after this file knows which of the two it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field, ValidationError

from morphobench.datasets import held_out
from morphobench.datasets.tables import toml
from morphobench.errors import BadInput
from morphobench.schema import Condition, Conditions, Record, first_fault

HERE = Path(__file__).parent
SPLITS = ("train", "id", "ood", "id_replicate", "ood_replicate", "vehicle")
"""Values of the `split` column. `id` and `ood` are the test images of the two tracks; `*_replicate` are further real
images of the same compounds on other plates, the floor of every score; `vehicle` are DMSO wells on every plate."""
SAMPLE_COLUMNS = ("sample_id", "split", "compound", "index", "dose_um", "plate", "well")


Splits = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""One split or several; a TOML may give one as a string."""


class Track(Record):
    """A test set of a tier, and the training set that belongs to it.

    Its test, replicate and training images are those of three (groups of) splits. Where `held_out` names compounds, its
    test and replicate images are of these alone, and its training images of all others.
    """

    title: str
    split: Splits
    replicate_split: Splits
    training_split: Splits = ("train",)
    held_out: tuple[str, ...] = ()
    default: bool = Field(default=True, description="scored unless other tracks are asked for")

    def tests(self, samples: pd.DataFrame) -> pd.Series:
        """Which of these samples are test images of the track: bool, one per row."""
        return self._of_its_compounds(samples, self.split)

    def replicates(self, samples: pd.DataFrame) -> pd.Series:
        """Which of these samples are replicates of the track: bool, one per row."""
        return self._of_its_compounds(samples, self.replicate_split)

    def trains(self, samples: pd.DataFrame) -> pd.Series:
        """Which of these samples may be trained on for the track: bool, one per row."""
        return samples["split"].isin(self.training_split) & ~samples["compound"].isin(self.held_out)

    def _of_its_compounds(self, samples: pd.DataFrame, splits: tuple[str, ...]) -> pd.Series:
        chosen = samples["split"].isin(splits)
        return chosen & samples["compound"].isin(self.held_out) if self.held_out else chosen


class TierSpec(Record):
    """The TOML of a tier."""

    name: str
    version: str
    title: str
    kind: Literal["sim", "built"]
    simulated: bool
    image_size: int = Field(ge=16)
    um_per_pixel: float = Field(gt=0)
    channels: tuple[str, str, str] = Field(description="what red, green and blue hold")
    extractor: str = Field(description="frozen protocol of the realism scores")
    embedding: str = Field(description="extractor of the separability score and the maps")
    nucleus_diameter: tuple[float, float] = Field(description="smallest and largest, pixels")
    batch: Literal["plate", "week"] = Field(description="what was prepared together; a week is in its plates' names")
    tracks: dict[str, Track]
    counts: dict[str, int] = Field(description="images per split")
    panel_compounds: tuple[str, ...] = Field(description="the drugs of the report's image panel")
    licence: str


class ImageSet(Protocol):
    """Images that can be counted, identified and read in batches, never all at once."""

    def __len__(self) -> int: ...

    def digest(self) -> str:
        """Hash of what the images are, in order; the key of every cache."""
        ...

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 arrays (<= size, H, W, 3), in order."""
        ...

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (len(rows), H, W, 3): the images at these rows."""
        ...


@dataclass(frozen=True)
class Tier:
    """A loaded tier.

    samples: one row per real image, columns SAMPLE_COLUMNS.
    compounds: one row per compound (name, smiles, mechanism, ...), manifest order.
    genes: the 978 landmark symbols.
    """

    spec: TierSpec
    folder: Path
    split_sha256: str
    compounds: pd.DataFrame
    samples: pd.DataFrame
    genes: tuple[str, ...]
    read_images: Callable[[pd.DataFrame], ImageSet]
    read_expression: Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]

    def rows(self, split: str) -> pd.DataFrame:
        """The samples of one split, in frozen order."""
        return self.samples[self.samples["split"] == split].reset_index(drop=True)

    def test_rows(self, track: str) -> pd.DataFrame:
        """The test images of a track, in frozen order."""
        return self.samples[self.track(track).tests(self.samples)].reset_index(drop=True)

    def replicate_rows(self, track: str) -> pd.DataFrame:
        """Further real images of a track's compounds, the floor of its scores, in frozen order."""
        return self.samples[self.track(track).replicates(self.samples)].reset_index(drop=True)

    def training_rows(self, track: str) -> pd.DataFrame:
        """The training images of a track (vehicle images aside), in frozen order."""
        return self.samples[self.track(track).trains(self.samples)].reset_index(drop=True)

    @property
    def default_tracks(self) -> tuple[str, ...]:
        """The tracks that are scored unless others are asked for."""
        return tuple(name for name, track in self.spec.tracks.items() if track.default)

    def held_out(self, track: str) -> tuple[str, ...]:
        """Compounds that a track tests and that its training images lack, manifest order."""
        missing = set(self.test_rows(track)["compound"]) - set(self.training_rows(track)["compound"])
        return tuple(compound for compound in self.compounds["compound"] if compound in missing)

    def distances(self, track: str) -> pd.DataFrame:
        """How far each held-out compound of a track is from its training compounds, see `held_out.distances`."""
        trained = set(self.training_rows(track)["compound"])
        return held_out.distances(self.compounds, self.held_out(track), sorted(trained))

    def track(self, name: str) -> Track:
        """A track by name; BadInput lists the names there are."""
        if name not in self.spec.tracks:
            raise BadInput(f"track {name!r}: tier {self.spec.name} has {', '.join(self.spec.tracks)}")
        return self.spec.tracks[name]

    def conditions(self, track: str) -> Conditions:
        """What a model may know of the test images of a track, in their order."""
        return self.conditions_of(self.test_rows(track), track)

    def conditions_of(self, rows: pd.DataFrame, track: str) -> Conditions:
        """Conditions for any samples (training ones included), labelled with `track`."""
        smiles = dict(zip(self.compounds["compound"], self.compounds["smiles"], strict=True))
        g_pre, _ = self.read_expression(rows)
        records = tuple(
            Condition(
                track=track,
                compound=row.compound,
                index=int(row.index_),
                smiles=smiles.get(row.compound) or None,
                dose_um=float(row.dose_um),
                plate=row.plate,
            )
            for row in rows.rename(columns={"index": "index_"}).itertuples()
        )
        return Conditions(records, g_pre.astype(np.float32), self.genes)

    def mechanisms(self, rows: pd.DataFrame) -> np.ndarray:
        """Mechanism of action of each sample, '' where none is annotated, (N,) str.

        A tier whose samples carry a `mechanism` column (joined on compound and concentration) uses that; otherwise a
        compound's annotation holds at every dose of it.
        """
        if "mechanism" in rows:
            return rows["mechanism"].to_numpy(dtype=str)
        mechanisms = dict(zip(self.compounds["compound"], self.compounds["moa"], strict=True))
        return np.array([mechanisms.get(compound, "") for compound in rows["compound"]], dtype=str)

    def batches(self, rows: pd.DataFrame) -> np.ndarray:
        """What each sample was prepared with, (N,) str: its plate, or the week before the `_` of its plate's name."""
        plates = rows["plate"].astype(str)
        return (plates.str.partition("_")[0] if self.spec.batch == "week" else plates).to_numpy(dtype=str)

    def images(self, rows: pd.DataFrame) -> ImageSet:
        """The real images of these samples."""
        return self.read_images(rows)

    def expression(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(G_pre, G_post), each (N, 978) float32 log2 expression: matched-plate vehicle mean, and treated profile."""
        return self.read_expression(rows)


def read_spec(path: Path) -> TierSpec:
    """A tier's TOML, checked; BadInput names the file and the key."""
    try:
        return TierSpec.model_validate(toml(path.read_bytes(), str(path)))
    except ValidationError as error:
        raise BadInput(f"{path}: {first_fault(error)}") from error
