"""How a score is read: its name in words, its family, better or worse than another value, and its numbers as text.

The page and the board both read scores through this file, so that they cannot disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from morphobench.metrics.registry import metric_of
from morphobench.schema import Score, Trivial

FAMILIES = ("realism", "per compound", "separability", "morphology", "expression", "reliance", "memorisation", "other")
"""Order of the score table."""
VEHICLE = "vehicle"
REPLICATES = "real-replicates"
ARROWS = {"min": "↓", "max": "↑", "target": "◎", "none": "–"}
READINGS = {
    "min": "lower is better",
    "max": "higher is better",
    "target": "closer to {target} is better",
    "none": "shown, not ranked",
}
Standing = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Reading:
    """A metric in words: its family (one of FAMILIES), its title, the registry's summary, and whether it is ranked."""

    family: str
    title: str
    summary: str
    ranked: bool


_WORDS = {
    "fd": ("realism", "Fréchet distance"),
    "kd": ("realism", "Kernel distance"),
    "is": ("realism", "Inception score"),
    "fd_infinity": ("realism", "Fréchet distance, infinite N"),
    "fd_per_compound": ("per compound", "Fréchet distance per compound"),
    "kd_per_compound": ("per compound", "Kernel distance per compound"),
    "precision": ("realism", "Precision"),
    "recall": ("realism", "Recall"),
    "density": ("realism", "Density"),
    "coverage": ("realism", "Coverage"),
    "lda_separability": ("separability", "LDA separability"),
    "nsc": ("separability", "NSC, mechanism of the nearest compound"),
    "nscb": ("separability", "NSCB, the same across batches"),
    "replicate_map": ("per compound", "Replicate mAP"),
    "discrimination_rank": ("per compound", "Discrimination rank"),
    "area_occupied_shift": ("morphology", "AreaOccupied shift"),
    "profile_correlation": ("morphology", "Profile correlation"),
    "lfc_pearson": ("expression", "LFC Pearson, pooled"),
    "lfc_pearson_vehicle": ("expression", "LFC Pearson per compound"),
    "lfc_pearson_perturbed_mean": ("expression", "LFC Pearson beyond the mean drug"),
    "centroid_accuracy": ("expression", "Centroid accuracy"),
    "drug_swap_gap": ("reliance", "Drug-swap gap"),
    "drug_swap_error": ("reliance", "Drug-swap error"),
    "rna_swap_gap": ("reliance", "RNA-swap gap"),
    "rna_swap_error": ("reliance", "RNA-swap error"),
    "duplicates": ("memorisation", "Duplicates"),
    "train_copies": ("memorisation", "Copies of training images"),
    "near_copies": ("memorisation", "Near copies"),
    "nearest_train_distance": ("memorisation", "Nearest training image"),
}
"""Family and title of a key, or of the part before its bracket."""
_GENUINE = {
    "fid": ("fd", "FID"),
    "kid": ("kd", "KID"),
    "inception_score": ("is", "Inception score"),
    "fid_infinity": ("fd_infinity", "FID, infinite N"),
    "fid_per_compound": ("fd_per_compound", "FID per compound"),
    "kid_per_compound": ("kd_per_compound", "KID per compound"),
}
"""Keys of the genuine Inception features: the metric's row, and the title that only they may bear."""


def read(key: str) -> Reading:
    """The words for a metric key; a key without words is shown as it is, in the family 'other'.

    What stands in a key's brackets, `fd[efficientnet_lite0]`, is what the metric looked at and stays in the title.
    """
    stem, _, rest = key.partition("[")
    row, genuine = _GENUINE.get(stem, (stem, ""))
    family, title = _WORDS.get(row, ("other", key))
    metric = metric_of(key)
    about = rest.rstrip("]").replace("_no_edge", ", no edge objects").replace("][", ", ")
    title = genuine or (f"{title} ({about})" if about and family != "other" else title)
    return Reading(family, title, metric.summary if metric else "", metric is not None and metric.ranked)


def reading_text(score: Score, ranked: bool) -> str:
    """How a score is read, and whether it only is shown."""
    found = READINGS[score.direction].format(target=number(score.target))
    return found + ("" if ranked or score.direction == "none" else "; not ranked")


def badness(score: Score, value: float) -> float | None:
    """A number that is smaller for better values, None where the metric has no direction."""
    if score.direction == "min":
        return value
    if score.direction == "max":
        return -value
    if score.direction == "target" and score.target is not None:
        return abs(value - score.target)
    return None


def badness_interval(score: Score) -> tuple[float, float] | None:
    """(best, worst) badness inside the 95% interval, the value twice without one; None for an unranked score."""
    if score.value is None or badness(score, score.value) is None:
        return None
    low, high = score.interval or (score.value, score.value)
    ends = [b for b in (badness(score, low), badness(score, high)) if b is not None]
    inside = score.direction == "target" and score.target is not None and low <= score.target <= high
    return (0.0 if inside else min(ends)), max(ends)


def standing(score: Score, other: float | None) -> Standing | None:
    """Is the score better than a fixed value, beyond its interval? None where either is missing or unranked."""
    span = badness_interval(score)
    bar = None if other is None else badness(score, other)
    if span is None or bar is None:
        return None
    if span[1] < bar:
        return "better"
    return "worse" if span[0] > bar else "unclear"


def standing_beside(score: Score, trivial: Trivial) -> Standing | None:
    """Does the score beat a trivial prediction, by the paired interval of their difference? None without a value.

    Unclear also where there is no interval: too few compounds or plates to tell.
    """
    if trivial.value is None or score.direction not in ("min", "max"):
        return None
    low, high = trivial.difference or (0.0, 0.0)
    if score.direction == "min":
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def scale(score: Score, value: float | None) -> float | None:
    """`value` on the scale 0 = vehicle control, 1 = real replicates, unclipped; None where the score is not scaled."""
    vehicle = score.controls.get(VEHICLE)
    if value is None or score.scaled is None or score.floor is None or vehicle in (None, score.floor):
        return None
    return (value - vehicle) / (score.floor - vehicle)


def number(value: float | None) -> str:
    """Three significant digits with thousands grouped, a true minus sign, and a dash where there is no value."""
    if value is None or math.isnan(value):
        return "–"
    magnitude = abs(value)
    if magnitude >= 100:
        text = f"{value:,.0f}"
    elif magnitude == 0:
        text = "0"
    else:
        text = f"{value:#.3g}".rstrip(".") if magnitude >= 1e-4 else f"{value:.1e}"
    return text.replace("-", "−")


def span_text(score: Score) -> str:
    """The 95% interval as text, '' where there is none."""
    return f"{number(score.interval[0])} to {number(score.interval[1])}" if score.interval else ""
