"""What a submission is measured with: the tier's frozen protocol, and what the user asked for besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.features.engine import Engine
from morphobench.features.extractor import Extractor
from morphobench.features.registry import load_engine, load_extractor


@dataclass(frozen=True)
class Protocol:
    """What a submission is measured with.

    extractors: names whose realism scores are computed; the tier's frozen one, where it runs (`of`), comes first.
    embedding: extractor of separability and of the maps.
    weights: local weights by extractor name.
    engine: what segments the images, one of `features.registry.ENGINES`.
    """

    extractors: tuple[str, ...]
    embedding: str
    weights: Mapping[str, Path]
    device: str
    engine: str

    @classmethod
    def of(
        cls,
        tier: Tier,
        extra: Sequence[str],
        embedding: str | None,
        weights: Mapping[str, Path],
        device: str,
        engine: str,
    ) -> Protocol:
        """The tier's protocol, widened by the extractors the user asked for.

        A built tier's extractors may need weights that are not at hand; naming others replaces them, and the scores
        carry the names of those that ran. The weights of the sim tier's own protocol ship with it: BadInput for others,
        and for weights of an extractor that would not run.
        """
        given = set(weights) & {tier.spec.extractor, tier.spec.embedding}
        if tier.spec.kind == "sim" and given:
            raise BadInput(f"--weights {min(given)}: the protocol of {tier.spec.name} is frozen; leave its weights out")
        frozen = (tier.spec.extractor,) if tier.spec.kind == "sim" or not extra else ()
        names = tuple(dict.fromkeys((*frozen, *extra)))
        protocol = cls(names, embedding or tier.spec.embedding, dict(weights), device, engine)
        idle = next((name for name in weights if name not in protocol.names), None)
        if idle is not None:
            used = ", ".join(protocol.names)
            raise BadInput(f"--weights {idle}=...: no such extractor runs here; those that do are {used}")
        return protocol

    @property
    def names(self) -> tuple[str, ...]:
        """Every extractor that runs, each once."""
        return tuple(dict.fromkeys((*self.extractors, self.embedding)))

    @cached_property
    def loaded(self) -> dict[str, Extractor]:
        """The extractors, ready to run; BadInput or Unavailable where weights are wrong or absent."""
        return {name: load_extractor(name, self.weights.get(name), self.device) for name in self.names}

    @cached_property
    def segmentation(self) -> Engine:
        """The engine, ready to run; BadInput for an unknown one, Unavailable where it is not installed."""
        return load_engine(self.engine)
