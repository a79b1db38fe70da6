"""The records that cross a boundary: conditions, submissions, scores, reports. Frozen; an unknown key is an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError, model_validator

GENES = 978
"""L1000 landmark genes in every expression vector."""

OWN = "own"
"""Of `Manifest.training_set`: for each track a model trained on that track's training set, or none at all."""

NO_IMAGES = "the submission draws no images"
"""Why every score of images of a submission that predicts expression alone is absent."""

Direction = Literal["min", "max", "target", "none"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A group, model, version or tier: it becomes part of a file name."""


class Record(BaseModel):
    """Base of every record: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_fault(error: ValidationError) -> str:
    """The key of the first value that a record refuses, if it is not all of it, and why."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return f"{key}: {first['msg']}" if key else first["msg"]


class Condition(Record):
    """What a model may know of one image, its expression apart (`Conditions.g_pre`)."""

    track: str
    compound: str
    index: int = Field(ge=0, description="0, 1, ... within (track, compound)")
    smiles: str | None = Field(description="None where no verified structure is known")
    dose_um: float = Field(ge=0, description="micromolar")
    plate: str
    swapped_from: str = Field(
        default="", description="of a swapped condition: the compound whose image, of this index, is asked for again"
    )


@dataclass(frozen=True)
class Conditions:
    """The conditions of a track, in the order in which a model must return its images.

    `g_pre` is (N, 978) float32: log2 expression of the matched vehicle wells, landmark order of the tier.
    `genes` are the 978 symbols.
    """

    records: tuple[Condition, ...]
    g_pre: np.ndarray
    genes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.g_pre.shape != (len(self.records), len(self.genes)):
            raise ValueError(f"{self.g_pre.shape=} != {(len(self.records), len(self.genes))}")

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.records)

    def take(self, rows: Sequence[int] | np.ndarray) -> Conditions:
        """The conditions at `rows`, in that order."""
        rows = np.asarray(rows, dtype=int)
        return Conditions(tuple(self.records[row] for row in rows), self.g_pre[rows], self.genes)


class Manifest(Record):
    """`submission.toml`: who made the images, how, and with what knowledge."""

    name: Name
    group: Name
    version: Name
    tier: Name
    tier_version: str
    split_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    method: str = Field(min_length=1)
    parameters: int | None = Field(default=None, ge=0, description="trained weights")
    sampler: str = ""
    steps: int | None = Field(default=None, ge=0)
    seed: int = 0
    training_data: str = ""
    training_set: str = Field(
        default="", description=f"track whose training set was used; {OWN!r}: each track's images use its own"
    )
    licence: str = ""
    code: str = ""
    paper: str = ""
    weights_sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the file of weights that drew the images"
    )
    uses_measured_g_post: bool = Field(default=False, description="measured post-treatment RNA used at test time")


class Trivial(Record):
    """An expression score of a prediction that learns nothing, beside that of a submission."""

    name: str
    value: FiniteFloat | None
    reason: str = Field(default="", description="why `value` is absent")
    difference: tuple[FiniteFloat, FiniteFloat] | None = Field(
        default=None, description="95% interval of the submission's score minus this one, on the same draws"
    )


class CompoundScore(Record):
    """One compound's part of a score that is a mean over compounds."""

    compound: str
    value: FiniteFloat | None = Field(description="absent where it is not defined")
    interval: tuple[FiniteFloat, FiniteFloat] | None = Field(default=None, description="95%")
    controls: dict[str, FiniteFloat | None] = Field(default_factory=dict)


class Score(Record):
    """One number with what is needed to read it.

    `key` is made of its row and of what it is named after (`metrics.Metric.printed_key`), and nothing takes it apart.
    """

    key: str
    metric: str = Field(min_length=1, description="key of its row of METRICS, without brackets")
    part: str = Field(default="", description="which of several rows of that key: a compartment")
    features: str = Field(default="", description="extractor it is named after; empty for the tier's own embedding")
    engine: str = Field(default="", description="engine it is named after; empty for the built-in one")
    version: int = Field(ge=1)
    track: str
    value: FiniteFloat | None
    reason: str = Field(default="", description="why `value` is absent")
    n: int = Field(ge=0, description="images (or profiles) the value was computed from")
    nan: int = Field(default=0, ge=0, description="items left out because their value was not a number")
    interval: tuple[FiniteFloat, FiniteFloat] | None = Field(default=None, description="95%")
    direction: Direction
    target: float | None = None
    unit: str
    floor: FiniteFloat | None = Field(default=None, description="real replicates at the same N")
    controls: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    trivial: tuple[Trivial, ...] = Field(default=(), description="predictions of expression that learn nothing")
    by_compound: tuple[CompoundScore, ...] = Field(default=(), description="what a mean over compounds is taken of")
    scaled: FiniteFloat | None = Field(default=None, description="0 = vehicle, 1 = real replicates; not clipped")

    @model_validator(mode="after")
    def _interval_runs_upwards(self) -> Self:
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"interval {self.interval} ends below its start")
        return self


class Enrichment(Record):
    """One gene set enriched in one compound's up or down genes."""

    compound: str
    direction: Literal["up", "down"]
    source: Literal["predicted", "measured"]
    term: str
    overlap: str
    p_adjusted: FiniteFloat


class Report(Record):
    """All scores of a submission, and what made them."""

    schema_version: Literal[2] = 2
    submission: Manifest
    tier: Name
    tier_version: str
    simulated: bool
    split_sha256: str
    images_sha256: str = Field(description="of all images; empty where the submission draws none")
    scores: tuple[Score, ...]
    enrichment: tuple[Enrichment, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int
    protocol: dict[str, str] = Field(description="extractor or engine -> weights sha256 or version")
    versions: dict[str, str]
    hardware: dict[str, str]
    seconds: dict[str, float]

    @property
    def draws_images(self) -> bool:
        """Whether the submission holds images; otherwise it predicts expression alone."""
        return self.images_sha256 != ""
