"""Whether a submission's images are its own: what the page says of copies, and whom the board places."""

from __future__ import annotations

from collections.abc import Iterable

from morphobench.schema import Score

COPIED = 0.05
"""Largest share of copies of training images, and of repeated images, of a submission that is given a place.

Held-out real images show none of either: their floors are 0. A twentieth leaves room for fields without a cell, which
are alike however honest the model.
"""
COPYING = {
    "train_copies": ("copies of training images", "a copy of a training image"),
    "duplicates": ("repeated", "repeated"),
}
"""Rows that a place depends on, and what their images are, what one of them is."""


def copying_scores(scores: Iterable[Score]) -> dict[str, Score]:
    """{row: score} of the rows of COPYING among a track's scores."""
    return {score.metric: score for score in scores if score.metric in COPYING}


def too_many_copies(scores: Iterable[Score]) -> str:
    """Why a submission with these scores, of one track, is given no place, in words; '' where it may have one."""
    mine = copying_scores(scores)
    said = [
        f"{_per_cent(score.value)} of its images are {words}"
        for row, (words, _) in COPYING.items()
        if (score := mine.get(row)) is not None and score.value is not None and score.value > COPIED
    ]
    return f"{' and '.join(said)}; at most {_per_cent(COPIED)} may be" if said else ""


def copying_sentence(scores: Iterable[Score]) -> str:
    """What a track's scores say of copies; '' where none has a value."""
    scores = list(scores)
    mine = copying_scores(scores)
    parts = []
    for row, (words, one) in COPYING.items():
        score = mine.get(row)
        if score is not None and score.value is not None:
            parts.append(f"{_per_cent(score.value)} of the images are {words}" if score.value else f"none is {one}")
        elif score is not None and score.reason:
            parts.append(f"copies are not counted ({score.reason})")
    near = next((score for score in scores if score.metric == "near_copies"), None)
    if near is not None and near.value is not None:
        replicates = f", of real replicates {_per_cent(near.floor)}" if near.floor is not None else ""
        parts.append(
            f"{_per_cent(near.value)} lie as near to training images as the nearest 5% of test images{replicates}"
        )
    text = "; ".join(dict.fromkeys(parts))
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _per_cent(share: float) -> str:
    return f"{100 * share:.3g}%"
