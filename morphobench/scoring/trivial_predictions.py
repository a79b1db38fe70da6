"""Predictions of expression that learn nothing, made from a track's training data: what a model has to beat.

Each gives every test condition its G_pre plus one log2 fold change per compound, the mean over training wells of:

- no change: nothing; 0.
- training mean: all training compounds, each with equal weight.
- lookup: the compound itself, found by name; undefined for compounds that were not trained on.
- nearest structure: another training compound, that of highest Tanimoto similarity (Morgan fingerprint, radius 2, 1,024
  bits); the training mean for a compound of unknown structure.
- drugs shuffled: another training compound, drawn at random.

Doses are ignored: every expression score averages them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from morphobench.datasets.frozen import morgan_fingerprint
from morphobench.datasets.tier import Tier

NO_CHANGE, MEAN, LOOKUP, NEAREST, SHUFFLED = (
    "no change", "training mean", "lookup", "nearest structure", "drugs shuffled",
)  # fmt: skip
SHUFFLE_SEED = 0
"""The same for every submission."""


@dataclass(frozen=True)
class TrainingChanges:
    """Mean log2 fold change (C, G) of each training compound with measured expression, in alphabetical order."""

    compounds: tuple[str, ...]
    lfc: np.ndarray

    def of(self, compound: str) -> np.ndarray:
        """LFC (G,) of one compound; NaN where it was not trained on."""
        if compound not in self.compounds:
            return np.full(self.lfc.shape[1], np.nan)
        return self.lfc[self.compounds.index(compound)]


def trivial_predictions(tier: Tier, track: str, compounds: np.ndarray, g_pre: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> predicted log2 G_post (N, 978) float32 of a track's test conditions; NaN where undefined.

    compounds: (N,) of the conditions. g_pre: (N, 978) their vehicle profiles, log2.
    """
    names, member = np.unique(compounds, return_inverse=True)
    return {
        name: (g_pre + lfc[member]).astype(np.float32)
        for name, lfc in trivial_changes(training_changes(tier, track), tier.compounds, names.tolist()).items()
    }


def training_changes(tier: Tier, track: str) -> TrainingChanges:
    """What the training images of a track say; compounds without measured expression are left out."""
    rows = tier.training_rows(track)
    g_pre, g_post = tier.expression(rows)
    has_truth = np.isfinite(g_post).all(axis=1)
    compounds = rows["compound"].to_numpy(dtype=str)[has_truth]
    change = (g_post - g_pre)[has_truth].astype(np.float64)
    names = np.unique(compounds)
    means = np.array([change[compounds == name].mean(axis=0) for name in names])
    return TrainingChanges(tuple(names.tolist()), means.reshape(len(names), g_pre.shape[1]))


def trivial_changes(training: TrainingChanges, compounds: pd.DataFrame, asked: Sequence[str]) -> dict[str, np.ndarray]:
    """Name -> predicted log2 fold change (len(asked), G) of each asked compound; NaN where undefined.

    compounds: columns compound and smiles ("" where unknown), for the asked and the training compounds.
    """
    shape = (len(asked), training.lfc.shape[1])
    changes = {NO_CHANGE: np.zeros(shape)}
    changes |= {name: np.full(shape, np.nan) for name in (MEAN, LOOKUP, NEAREST, SHUFFLED)}
    if not training.compounds:
        return changes
    mean = training.lfc.mean(axis=0)
    neighbour, other = nearest_structures(training.compounds, compounds, asked), _shuffled(training.compounds, asked)
    for row, compound in enumerate(asked):
        changes[MEAN][row] = mean
        changes[LOOKUP][row] = training.of(compound)
        changes[NEAREST][row] = training.of(neighbour[compound]) if neighbour[compound] else mean
        changes[SHUFFLED][row] = training.of(other[compound])
    return changes


def nearest_structures(trained: Sequence[str], compounds: pd.DataFrame, asked: Sequence[str]) -> dict[str, str]:
    """Asked compound -> the other trained compound most similar by Tanimoto; "" where the structure is unknown."""
    smiles: dict[str, str] = dict(zip(compounds["compound"], compounds["smiles"], strict=True))
    bits = {name: morgan_fingerprint(smiles[name]).astype(bool) for name in {*trained, *asked} if smiles.get(name)}
    nearest = {}
    for compound in asked:
        others = [name for name in sorted(trained) if name in bits and name != compound]
        if compound not in bits or not others:
            nearest[compound] = ""
            continue
        theirs = np.stack([bits[name] for name in others])
        tanimoto = (theirs & bits[compound]).sum(axis=1) / (theirs | bits[compound]).sum(axis=1)
        nearest[compound] = others[int(tanimoto.argmax())]
    return nearest


def _shuffled(trained: Sequence[str], asked: Sequence[str]) -> dict[str, str]:
    """Asked compound -> a trained one that is not itself (unless it is the only one), each used about equally often."""
    order = [str(name) for name in np.random.default_rng(SHUFFLE_SEED).permutation(sorted(trained))]
    # A cyclic shift of a shuffled list pairs every compound with another one.
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    strangers = [compound for compound in asked if compound not in following]
    return {compound: following[compound] for compound in asked if compound in following} | {
        compound: order[place % len(order)] for place, compound in enumerate(strangers)
    }
