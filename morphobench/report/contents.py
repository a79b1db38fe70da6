"""What a report shows besides the scores: plain arrays, gathered by the evaluation, drawn by the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphobench.schema import Report


@dataclass(frozen=True)
class PanelColumn:
    """The same k fields of one compound, three ways: each array is (k, H, W, 3) uint8."""

    compound: str
    dose_um: float
    real: np.ndarray
    generated: np.ndarray
    vehicle: np.ndarray


@dataclass(frozen=True)
class DistanceFit:
    """Frechet distances of one extractor at several N, and the line in 1 / N through them (`metrics.fd_infinity`)."""

    extractor: str
    sizes: np.ndarray  # (K,) images
    distances: np.ndarray  # (K,)
    value: float
    slope: float
    r2: float


@dataclass(frozen=True)
class TrackContents:
    """The arrays behind one track.

    N generated images, M real images of the same track, V vehicle images, T real training images, D embedding
    dimensions. Of a submission that draws no images N conditions are known, and all that is seen of images is empty,
    the real ones' too. Mechanisms are '' where unknown. Areas are the fraction of the image (0 to 1) that a compartment
    occupies, keyed by `features.objects.COMPARTMENTS`. LFC arrays are (len(lfc_compounds), genes), treated minus
    vehicle in log2, or None where the submission predicts no expression.
    """

    track: str
    title: str
    compounds: np.ndarray  # (N,) str
    doses: np.ndarray  # (N,) micromolar
    mechanisms: np.ndarray  # (N,) str
    generated_embedding: np.ndarray  # (N, D)
    real_embedding: np.ndarray  # (M, D)
    real_compounds: np.ndarray  # (M,) str
    real_mechanisms: np.ndarray  # (M,) str
    vehicle_embedding: np.ndarray  # (V, D)
    train_embedding: np.ndarray  # (T, D)
    train_mechanisms: np.ndarray  # (T,) str
    generated_area: dict[str, np.ndarray]  # compartment -> (N,)
    real_area: dict[str, np.ndarray]
    vehicle_area: dict[str, np.ndarray]
    predicted_lfc: np.ndarray | None
    measured_lfc: np.ndarray | None
    lfc_compounds: tuple[str, ...]
    panel: tuple[PanelColumn, ...]
    fits: tuple[DistanceFit, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether the submission draws images."""
        return len(self.generated_embedding) > 0


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation: the scores and the arrays behind the figures.

    `channels` name what red, green and blue hold; `um_per_pixel` draws the scale bar of the image panel (None: no bar).
    """

    report: Report
    tracks: tuple[TrackContents, ...]
    channels: tuple[str, str, str]
    um_per_pixel: float | None = None
