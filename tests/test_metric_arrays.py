"""What the public metrics take for an array: tensors with a gradient or of bfloat16, lists, masked arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from morphobench import metrics
from morphobench.metrics import checks
from morphobench.report.enrichment import changed_genes

RANDOM = np.random.default_rng(0)
A, B, VEHICLE = (RANDOM.integers(-8, 9, (12, 4)) / 4 for _ in range(3))
"""Quarters, which bfloat16 holds exactly."""
FEW = RANDOM.integers(0, 9, 24) / 8
SHARES = np.full((12, 4), 0.25)
NAMES = np.repeat(["x", "y", "z"], 4)
UNITS = np.tile(["p", "q", "r", "s"], 3)
ONE, TWO, THREE = (side[:, 0] for side in (A, B, VEHICLE))

CALLS: dict[str, tuple[Any, ...]] = {
    "area_occupied_shift": (ONE, TWO, THREE),
    "area_occupied_shift_by_compound": (ONE, NAMES, UNITS, TWO, NAMES, THREE, UNITS),
    "average_precision": (A, B, (NAMES, NAMES)),
    "centroid_accuracy": (A, B, VEHICLE, NAMES),
    "clustered_interval": (0.5, FEW, (4, 4)),
    "coverage": (A, B),
    "density": (A, B),
    "discrimination": (A, B),
    "fd_infinity": (np.repeat(A, 5, axis=0), np.repeat(B, 5, axis=0)),
    "frechet_distance": (A, B),
    "frechet_distance_by_compound": (A, NAMES, B, NAMES),
    "frechet_intervals_by_compound": (A, NAMES, UNITS, B, NAMES, UNITS, 20, 0),
    "inception_score": (SHARES, 2),
    "kernel_distance": (A, B),
    "kernel_distance_by_compound": (A, NAMES, B, NAMES),
    "kernel_distance_subsets": (A, B, 6, 3),
    "lda_projection": (A, NAMES, B),
    "lda_separability": (A, NAMES, B, NAMES),
    "lfc_pearson": (A, B, VEHICLE, NAMES),
    "lfc_pearson_per_compound": (A, B, VEHICLE, NAMES),
    "mechanism_matches": (A, B, (NAMES, NAMES), (UNITS, UNITS)),
    "percentile_interval": (FEW,),
    "precision": (A, B),
    "profile_correlation": (A, B, NAMES),
    "recall": (A, B),
    "recentred_interval": (0.5, FEW),
    "scale_by_vehicle": (A, UNITS, VEHICLE, UNITS, "centre"),
    "typical_variation_normalization": (A, VEHICLE),
}
NO_ARRAY = {"few_clusters_widening", "key_for", "scaled"}
PUBLIC = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}


def test_every_public_function_is_asked() -> None:
    assert set(CALLS) | NO_ARRAY == PUBLIC


def given(values: Any, turn: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(values, tuple):
        return tuple(given(value, turn) for value in values)
    if isinstance(values, np.ndarray):
        return turn(values) if values.dtype.kind == "f" else values
    return values


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "gradient": lambda x: torch.tensor(x, requires_grad=True),
    "of a graph": lambda x: torch.tensor(x, requires_grad=True) * 1,
    "bfloat16": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "bfloat16 with a gradient": lambda x: torch.tensor(x, dtype=torch.bfloat16, requires_grad=True),
    "half": lambda x: torch.tensor(x, dtype=torch.float16),
    "lists": lambda x: x.tolist(),
    "unmasked": np.ma.masked_array,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CALLS)
def test_a_tensor_gives_what_its_array_gives(name: str, form: str) -> None:
    function = getattr(metrics, name)
    expected, found = function(*CALLS[name]), function(*given(CALLS[name], FORMS[form]))
    assert type(found) is type(expected)
    for a, b in zip(_numbers(found), _numbers(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def _numbers(found: Any) -> list[Any]:
    if isinstance(found, metrics.Extrapolation):
        return [found.sizes, found.distances, found.value]
    return list(found.values()) if isinstance(found, dict) else [found]


@pytest.mark.parametrize(
    "turn",
    [
        lambda x: torch.tensor(x, device="meta"),
        lambda x: np.ma.masked_array(x, np.arange(x.size).reshape(x.shape) == 1),
        lambda x: [*x.tolist()[:-1], [1.0, 2.0]],
    ],
    ids=["no values", "masked", "ragged"],
)
@pytest.mark.parametrize("name", CALLS)
def test_what_has_no_numbers_is_one_clear_error(name: str, turn: Callable[[np.ndarray], Any]) -> None:
    with pytest.raises(ValueError, match=r"no array of numbers|no numbers|masked values") as caught:
        getattr(metrics, name)(*given(CALLS[name], turn))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("values", [A + 1j, A.astype(str), A.astype("M8[s]"), [["1", "2"], ["3", "4"]]])
def test_what_numpy_would_turn_into_numbers_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="no numbers"):
        checks.table(values)


def test_a_bundle_with_a_tensor_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="generated: Tensors beside it; a bundle holds numpy arrays"):
        metrics.FeatureInputs(torch.tensor(A), B, NAMES, UNITS, NAMES, UNITS)
    with pytest.raises(ValueError, match="real: Tensors beside it"):
        metrics.FeatureInputs(A, torch.tensor(B, requires_grad=True), NAMES, UNITS, NAMES, UNITS)


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf])
def test_a_gene_without_a_change_takes_no_place_among_those_that_changed(unknown: float) -> None:
    lfc = np.linspace(-1, 1, 978)
    expected = {direction: rows.tolist() for direction, rows in changed_genes(lfc).items()}
    assert {d: rows.tolist() for d, rows in changed_genes(torch.tensor(lfc, requires_grad=True)).items()} == expected
    lfc[[3, 500]] = unknown
    with pytest.raises(ValueError, match="2 of 978 genes have a change that is not finite; leave them out"):
        changed_genes(lfc)
