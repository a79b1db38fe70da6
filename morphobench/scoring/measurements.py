"""Everything measured of one track before any score: features, embeddings, areas, expression; cached by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from morphobench.datasets.swaps import Kind, Swap, SwappedTruth, place
from morphobench.datasets.tier import ImageSet, Tier
from morphobench.features.cache import extract
from morphobench.features.engine import BUILTIN
from morphobench.features.extractor import Features
from morphobench.features.objects import COMPARTMENTS
from morphobench.features.pixels import pixel_hashes
from morphobench.features.profile import measure_images
from morphobench.features.shipped import shipped_file
from morphobench.features.thumbnails import VERSION as THUMBNAILS
from morphobench.features.thumbnails import thumbnails
from morphobench.ingest.submission import Submission
from morphobench.metrics.inputs import CopyInputs, FeatureInputs, MemorisationInputs
from morphobench.metrics.memorisation import nearest_distance, nearest_view_distance
from morphobench.scoring.protocol import Protocol
from morphobench.scoring.trivial_predictions import trivial_predictions

Stage = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class LfcTable:
    """Mean log2 fold change per compound, (C, 978); `predicted` is None where the submission predicts no expression."""

    compounds: tuple[str, ...]
    measured: np.ndarray
    predicted: np.ndarray | None


@dataclass(frozen=True)
class SwapMeasurement:
    """Embeddings of the images of a swap, (N, D), and of what the real images would have been, where it is known.

    `images` is None where the submission does not answer the swap.
    """

    swap: Swap
    images: np.ndarray | None
    truth: np.ndarray | None


@dataclass(frozen=True)
class Measurements:
    """What was measured of a track. N test conditions, V vehicle images of the same plates, T training images.

    Of a submission that draws no images nothing is measured but expression: `embedding` and `profiles` are empty, as is
    what `features` holds of each extractor.

    features: extractor -> "generated" and "real" -> Features of N images.
    embedding: "generated", "real" (N), "vehicle" (V), "train" (T) -> (., D).
    profiles: the same names but "train" -> column -> (.,), see `features.profile`.
    engine: whose name the scores of these profiles bear, see `Engine.printed_name`.
    pixel_hashes: of the generated images (N,), see `features.pixels`.
    expression: "pre", "post" and, if predicted, "predicted" -> (N, 978) log2.
    trivial: if predicted, name of a prediction that learns nothing -> (N, 978) log2, see `trivial_expression`.
    swaps: what was drawn for swapped conditions, see `datasets.swaps`; empty where no model answered conditions.
    thumbnails: "generated", "real" (N), "train" (T) -> (., S, S, 3), see `features.thumbnails`; empty where not made.
    """

    track: str
    genes: tuple[str, ...]
    compounds: np.ndarray
    plates: np.ndarray
    doses: np.ndarray
    mechanisms: np.ndarray
    batches: np.ndarray
    vehicle_plates: np.ndarray
    train_compounds: np.ndarray
    train_mechanisms: np.ndarray
    features: Mapping[str, Mapping[str, Features]]
    embedding_name: str
    embedding: Mapping[str, np.ndarray]
    profiles: Mapping[str, Mapping[str, np.ndarray]]
    pixel_hashes: np.ndarray
    expression: Mapping[str, np.ndarray]
    protocol: dict[str, str]
    engine: str = ""
    trivial: Mapping[str, np.ndarray] = field(default_factory=dict)
    swaps: Mapping[Kind, SwapMeasurement] = field(default_factory=dict)
    thumbnails: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def drawn(self) -> bool:
        """Whether the submission draws images."""
        return "generated" in self.embedding

    def area(self, images: str, edge: bool = True) -> dict[str, np.ndarray]:
        """Occupied fraction of each image by compartment, with or without objects that touch the border."""
        suffix = "" if edge else "Inner"
        column = "AreaOccupied_AreaOccupied_{}" + suffix
        return {name: self.profiles[images][column.format(name.capitalize())] for name in COMPARTMENTS}

    @cached_property
    def feature_inputs(self) -> dict[str, FeatureInputs]:
        """What the realism metrics read, by extractor; what several of them share is computed once."""
        labels = (self.compounds, self.plates, self.compounds, self.plates)
        return {
            name: FeatureInputs(sides["generated"].embedding, sides["real"].embedding, *labels)
            for name, sides in self.features.items()
        }

    @property
    def copy_inputs(self) -> CopyInputs:
        """What tells repeated images."""
        return CopyInputs(self.pixel_hashes, self.compounds, self.plates)

    @cached_property
    def memorisation_inputs(self) -> MemorisationInputs:
        """Distances to the training images, computed once; KeyError where no thumbnails were made."""
        train, small = self.embedding["train"], self.thumbnails
        return MemorisationInputs(
            nearest_distance(self.embedding["generated"], train),
            nearest_distance(self.embedding["real"], train),
            nearest_view_distance(small["generated"], small["train"]),
            nearest_view_distance(small["real"], small["train"]),
            self.compounds,
            self.plates,
        )

    @cached_property
    def test_distance(self) -> np.ndarray:
        """Distance of each generated image to the nearest real test image, in the embedding, (N,)."""
        return nearest_distance(self.embedding["generated"], self.embedding["real"])

    @property
    def lfc(self) -> LfcTable:
        """Changes averaged over the images of each compound; compounds without measured expression are left out."""
        change = self.expression["post"] - self.expression["pre"]
        names, measured = compound_means(change, self.compounds)
        keep = np.isfinite(measured).all(axis=1)
        predicted = None
        if "predicted" in self.expression:
            _, predicted = compound_means(self.expression["predicted"] - self.expression["pre"], self.compounds)
            predicted = predicted[keep]
        return LfcTable(tuple(names[keep]), measured[keep], predicted)


def compound_means(values: np.ndarray, compounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean row per compound: (C,) names in alphabetical order and (C, ...) means."""
    names, codes = np.unique(compounds, return_inverse=True)
    return names, np.stack([values[codes == code].mean(axis=0) for code in range(len(names))])


def measure_track(
    submission: Submission, tier: Tier, track: str, protocol: Protocol, cache: Path, stage: Stage
) -> Measurements:
    """Measure a submission's images of a track and the real images they are compared with.

    Real images whose measurements ship with the tier are not rendered; every other result is cached by what it was
    computed from. Raises BadInput or Unavailable where an extractor's weights are wrong or absent.
    """
    rows, train, vehicle = tier.test_rows(track), tier.training_rows(track), tier.rows("vehicle")
    # Vehicle images of the test plates only: a plate's gain must not pass for a drug's effect.
    same_plates = vehicle["plate"].isin(set(rows["plate"])).to_numpy()
    pre, post = tier.expression(rows)
    compounds = rows["compound"].to_numpy(dtype=str)
    expression, trivial = {"pre": pre, "post": post}, {}
    if submission.expression is not None:
        expression["predicted"] = submission.expression[track]
        trivial = trivial_predictions(tier, track, compounds, pre)
    measured = Measurements(
        track=track,
        genes=tier.genes,
        compounds=compounds,
        plates=rows["plate"].to_numpy(dtype=str),
        doses=rows["dose_um"].to_numpy(dtype=float),
        mechanisms=tier.mechanisms(rows),
        batches=tier.batches(rows),
        vehicle_plates=vehicle["plate"].to_numpy(dtype=str)[same_plates],
        train_compounds=train["compound"].to_numpy(dtype=str),
        train_mechanisms=tier.mechanisms(train),
        features={name: {} for name in protocol.extractors},
        embedding_name=protocol.embedding,
        embedding={},
        profiles={},
        pixel_hashes=np.zeros(0, dtype=str),
        expression=expression,
        protocol={},
        engine="" if protocol.engine == BUILTIN else protocol.engine,
        trivial=trivial,
    )
    if not submission.images:
        return measured
    return _with_images(measured, submission, tier, protocol, cache, stage)


def _with_images(
    plain: Measurements, submission: Submission, tier: Tier, protocol: Protocol, cache: Path, stage: Stage
) -> Measurements:
    """The measurements of a track with all that is seen of its images."""
    track = plain.track
    rows, train, vehicle = tier.test_rows(track), tier.training_rows(track), tier.rows("vehicle")
    same_plates = vehicle["plate"].isin(set(rows["plate"])).to_numpy()
    generated = submission.images[track]
    loaded, engine = protocol.loaded, protocol.segmentation

    def features(name: str, images: ImageSet, split: str) -> Features:
        shipped = None if split.startswith("generated") else shipped_file(tier, name, split)
        return extract(images, loaded[name], cache, shipped=shipped, label=f"{name}: {track} {split}")

    real = tier.images(rows)
    with stage("features"):
        realism = {
            name: {"generated": features(name, generated, "generated"), "real": features(name, real, track)}
            for name in protocol.extractors
        }
        name = protocol.embedding
        embedding = {
            "generated": features(name, generated, "generated").embedding,
            "real": features(name, real, track).embedding,
            "vehicle": features(name, tier.images(vehicle), "vehicle").embedding[same_plates],
            "train": features(name, tier.images(train), "train").embedding,
        }
        swapped = {
            kind: _measure_swap(submission, tier, track, swap, lambda images, split: features(name, images, split))
            for kind, swap in submission.swaps[track].items()
        }
    with stage("segmentation"):
        diameter = tier.spec.nucleus_diameter
        profiles = {
            "generated": measure_images(generated, diameter, cache, label=f"{track} generated", engine=engine),
            "real": measure_images(
                real, diameter, cache, label=f"{track} real", shipped=shipped_file(tier, engine.version, track),
                engine=engine,
            ),
        }  # fmt: skip
        everything = measure_images(
            tier.images(vehicle), diameter, cache, label="vehicle",
            shipped=shipped_file(tier, engine.version, "vehicle"), engine=engine,
        )  # fmt: skip
        profiles["vehicle"] = {column: values[same_plates] for column, values in everything.items()}
    with stage("copies"):
        small = {
            "generated": thumbnails(generated, cache),
            "real": thumbnails(real, cache, shipped_file(tier, THUMBNAILS, track)),
            "train": thumbnails(tier.images(train), cache, shipped_file(tier, THUMBNAILS, "train")),
        }
    return replace(
        plain,
        features=realism,
        embedding=embedding,
        profiles=profiles,
        pixel_hashes=pixel_hashes(generated, cache),
        protocol={name: extractor.weights_sha256 for name, extractor in loaded.items()}
        | {f"segmentation{engine.suffix}": engine.version},
        engine=engine.printed_name,
        swaps=swapped,
        thumbnails=small,
    )


def _measure_swap(
    submission: Submission, tier: Tier, track: str, swap: Swap, features: Callable[[ImageSet, str], Features]
) -> SwapMeasurement:
    """What a submission drew for a swap, and on the sim tier the counterfactuals of the real images."""
    name = place(track, swap.kind)
    if name not in submission.swapped:
        return SwapMeasurement(swap, None, None)
    images = features(submission.swapped[name], f"generated {name}").embedding
    if tier.spec.kind != "sim":
        return SwapMeasurement(swap, images, None)
    return SwapMeasurement(swap, images, features(SwappedTruth(tier, track, swap), name).embedding)
