"""What is asked for, once: every command and function that scores takes a `Request`, and works from its `Plan`.

The defaults of all options stand here and nowhere else, and so do the checks of what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from morphobench.errors import BadInput
from morphobench.features.engine import BUILTIN
from morphobench.features.registry import ENGINES
from morphobench.storage import check_folder

if TYPE_CHECKING:  # pandas, which the command line's --help does without
    from morphobench.datasets.tier import Tier
    from morphobench.models import Model
    from morphobench.schema import Manifest
    from morphobench.scoring.protocol import Protocol

DEFAULT_TIER = "sim"


@dataclass(frozen=True)
class Request:
    """What to score, on what, and with what. BadInput for what contradicts itself. Lists become tuples.

    model: an installed model's name, or any object with the members of `models.Model`; it generates first.
    submission: a folder or zip to score instead.
    checkpoint: the user's own weights of an installed model, a file or the folder of a training run.
    tier: its name, or a loaded one. tracks: the tier's default ones if none is named.
    out: folder of the submission that a model writes, and of the report; runs/TIER/NAME if none is given.
    seed: of the generation. device: torch device of models and extractors.
    extractors: features to score with besides the tier's. embedding: extractor of separability and of the maps, instead
    of the tier's. weights: extractor -> local file of its weights. engine: what segments, one of `registry.ENGINES`.
    enrich: compounds whose gene sets are reported besides the case study's.
    """

    model: str | Model | None = None
    submission: Path | None = None
    checkpoint: Path | None = None
    tier: str | Tier = DEFAULT_TIER
    tracks: Sequence[str] = ()
    out: Path | None = None
    seed: int = 0
    device: str = "cpu"
    extractors: Sequence[str] = ()
    embedding: str | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    engine: str = BUILTIN
    enrich: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("tracks", "extractors", "enrich"):
            names = getattr(self, name)
            if isinstance(names, str):  # it would be taken letter by letter
                raise BadInput(f"{name} {names!r}: a text where a list of names is wanted; give [{names!r}]")
            object.__setattr__(self, name, tuple(names))
        if self.model is not None and self.submission is not None:
            raise BadInput("give --model NAME or --submission PATH, one of the two")
        if self.checkpoint is not None and not isinstance(self.model, str):
            raise BadInput(f"--checkpoint {self.checkpoint}: is read by an installed model; give --model NAME with it")
        if self.seed < 0:
            raise BadInput(f"--seed {self.seed}: give a whole number from 0 on")
        if self.engine not in ENGINES:
            raise BadInput(f"--engine {self.engine!r}: unknown; choose {', '.join(ENGINES)}")
        absent = next((item for item in self.weights.items() if not item[1].is_file()), None)
        if absent is not None:
            raise BadInput(f"--weights {absent[0]}={absent[1]}: {absent[1]} is not a file; give NAME=FILE")
        if self.out is not None:
            check_folder(self.out)

    def resolve(self) -> Plan:
        """The plan of this request: names loaded and checked, nothing measured yet.

        BadInput for neither a model nor a submission, and for a tier, track, compound or extractor that is not there;
        Unavailable for a tier that is not built.
        """
        from morphobench.datasets import load_tier
        from morphobench.scoring.protocol import Protocol

        if self.model is None and self.submission is None:
            raise BadInput("give --model NAME or --submission PATH, one of the two")
        tier = load_tier(self.tier) if isinstance(self.tier, str) else self.tier
        tracks = chosen_tracks(tier, self.tracks)
        _check_compounds(tier, tracks, self.enrich)
        protocol = Protocol.of(tier, self.extractors, self.embedding, self.weights, self.device, self.engine)
        return Plan(self, tier, tracks, protocol)


@dataclass(frozen=True)
class Plan:
    """A request with everything that it names at hand; the only thing that generation and scoring are given."""

    request: Request
    tier: Tier
    tracks: tuple[str, ...]
    protocol: Protocol

    def each(self, subject: str | Model | Path) -> Plan:
        """The same plan for one of several models or submissions (a Path), with a folder of its own below `out`.

        What the protocol has loaded is shared.
        """
        model, submission = (None, subject) if isinstance(subject, Path) else (subject, None)
        out = None if model is None else self._runs / model_name(model)
        asked = replace(self.request, model=model, submission=submission, checkpoint=None, out=out)
        return replace(self, request=asked)

    def folder(self, manifest: Manifest | None = None) -> Path:
        """Where the submission of a model and the report go; a submission without `out` is named by its manifest."""
        if self.request.out is not None:
            return self.request.out
        if self.request.model is not None:
            return self._runs / model_name(self.request.model)
        assert manifest is not None
        return self._runs / f"{manifest.group}__{manifest.name}"

    @property
    def _runs(self) -> Path:
        return self.request.out or Path("runs") / self.tier.spec.name


def model_name(model: str | Model) -> str:
    """The name that a model goes by: that of its entry point, or of its class."""
    return model if isinstance(model, str) else type(model).__name__.lower()


def chosen_tracks(tier: Tier, names: Sequence[str]) -> tuple[str, ...]:
    """These tracks of a tier, each once, or its default ones; BadInput for one that it has not."""
    chosen = tuple(dict.fromkeys(names)) or tier.default_tracks
    for name in chosen:
        tier.track(name)
    return chosen


def _check_compounds(tier: Tier, tracks: Sequence[str], compounds: Sequence[str]) -> None:
    """BadInput for a compound that none of the tracks tests."""
    tested = {compound for track in tracks for compound in tier.test_rows(track)["compound"]}
    unknown = next((compound for compound in compounds if compound not in tested), None)
    if unknown is not None:
        near = ", ".join(get_close_matches(unknown, sorted(tested), n=3)) or "`morphobench data info` lists them"
        raise BadInput(f"--enrich {unknown!r}: no test compound of {', '.join(tracks)}; nearest names: {near}")
