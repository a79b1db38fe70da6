"""Morphology: how much of the real shift away from the vehicle the generated cells make, and whether its profile is.

A measurement (AreaOccupied, the share of the image under an object) has a distribution over images. The shift is
judged by Wasserstein-1 distances, in the measurement's own units, so that no bandwidth or bin is chosen. Few images
lie farther from any others than many do, so generated and vehicle images are asked in samples of the same number and
plates. Many measurements together are a profile; the change of a compound's mean profile is judged by its direction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from morphobench.metrics.checks import array
from morphobench.metrics.expression import lfc_pearson_per_compound, per_compound_resamples

SEED = 2020
"""Which images of a plate make a sample together."""

NO_VEHICLE = "there are no vehicle images of these plates: what is missed is measured against their gap"


def area_occupied_shift(generated: np.ndarray, real: np.ndarray, vehicle: np.ndarray) -> float:
    """Gap closed, 1 - W1(generated, real) / W1(vehicle, real), of three samples (n,), (m,), (v,) of one measurement.

    1 when generated and real agree, 0 when the generated images are as far from real as the vehicle, negative when
    farther; not clipped. Both distances are means over disjoint samples of min(n, v) images, because few images lie
    farther from any others than many do. Raises ValueError for an empty sample, a NaN (drop and count them first), or
    no gap to close.
    """
    one, two, three = (np.full(len(side), "") for side in (generated, real, vehicle))
    return area_occupied_shift_by_compound(generated, one, one, real, two, vehicle, three)


def area_occupied_shift_by_compound(
    generated: np.ndarray,
    generated_compounds: np.ndarray,
    generated_plates: np.ndarray,
    real: np.ndarray,
    real_compounds: np.ndarray,
    vehicle: np.ndarray,
    vehicle_plates: np.ndarray,
) -> float:
    """Gap closed summed over compounds: 1 - sum_c W1(generated_c, real_c) / sum_c W1(vehicle, real_c).

    Both are means over `samples` of the same composition. A compound weighs by its real gap, so one that does nothing,
    whose own ratio divides by almost zero, cannot swamp the rest; pooling all images first would forgive a model that
    swaps compounds. A compound none of whose plates has vehicle images (`bare`) is left out. Raises as
    `area_occupied_shift`, when the two sets hold different compounds, and when all of them are left out.
    """
    generated, real, vehicle = (array(side).astype(np.float64) for side in (generated, real, vehicle))
    generated_compounds = array(generated_compounds)
    ones = np.ones((1, 1))
    return float(
        shift_resamples(
            generated,
            generated_compounds,
            array(generated_plates),
            real,
            array(real_compounds),
            vehicle,
            array(vehicle_plates),
            ones.repeat(len(generated), axis=1),
            ones.repeat(len(real), axis=1),
            ones.repeat(len(vehicle), axis=1),
            np.zeros(1, dtype=int),
            dict.fromkeys(np.unique(generated_compounds), np.ones(1)),
        )[0]
    )


def shift_resamples(
    generated: np.ndarray,
    generated_compounds: np.ndarray,
    generated_plates: np.ndarray,
    real: np.ndarray,
    real_compounds: np.ndarray,
    vehicle: np.ndarray,
    vehicle_plates: np.ndarray,
    generated_weights: np.ndarray,
    real_weights: np.ndarray,
    vehicle_weights: np.ndarray,
    which: np.ndarray,
    compound_counts: dict[str, np.ndarray],
) -> np.ndarray:
    """`area_occupied_shift_by_compound` under sets of weights of images and counts of compounds {name: (R,)}: (R,).

    Replicate r has row which[r] of the weights (D, n), (D, m), (D, v): few draws of a few plates differ. The samples
    stay as they are dealt. A compound without images, or without vehicle images, in a replicate leaves its sums; NaN
    where a replicate has no compound or no vehicle left.
    """
    _check(generated=generated, real=real, vehicle=vehicle)
    names = np.unique(generated_compounds)
    if not np.array_equal(names, np.unique(real_compounds)):
        odd = sorted(set(names) ^ set(np.unique(real_compounds)))
        raise ValueError(f"{len(odd)} compounds are in only one of generated and real, the first is {str(odd[0])!r}")
    left_out = bare(generated_compounds, generated_plates, vehicle_plates)
    if len(left_out) == len(names):
        raise ValueError(NO_VEHICLE)
    missed, gap = np.zeros(len(which)), np.zeros(len(which))
    for name in np.setdiff1d(names, left_out):
        mine, true = np.flatnonzero(generated_compounds == name), real_compounds == name
        count = compound_counts[name]
        plates = generated_plates[mine]
        composition = composition_of(plates, vehicle_plates)
        misses, gaps = (
            _mean_of_numbers(
                [wasserstein_resamples(side[k], real[true], weights[:, k], real_weights[:, true]) for k in dealt]
            )[which]
            for side, weights, dealt in (
                (generated, generated_weights, [mine[k] for k in samples(plates, composition)]),
                (vehicle, vehicle_weights, samples(vehicle_plates, composition)),
            )
        )
        present = (count > 0) & np.isfinite(misses) & np.isfinite(gaps)
        missed[present] += (count * misses)[present]
        gap[present] += (count * gaps)[present]
    if not gap.any():
        raise ValueError("vehicle and real have the same distribution for every compound: there is no gap to close")
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - np.where(gap > 0, missed, np.nan) / gap


def composition_of(plates: np.ndarray, vehicle_plates: np.ndarray) -> dict[str, int]:
    """Images of each plate in a sample that images on `plates` (n,) and vehicle images (v,) both can fill.

    The smaller of the two numbers, of the plates that have both.
    """
    names, counts = np.unique(plates, return_counts=True)
    vehicle_counts = [int((vehicle_plates == name).sum()) for name in names]
    return {name: min(int(count), own) for name, count, own in zip(names, counts, vehicle_counts, strict=True) if own}


def samples(plates: np.ndarray, composition: Mapping[str, int]) -> list[np.ndarray]:
    """Rows of disjoint samples of images on `plates` (n,), each with the numbers of images of each plate asked for.

    As many samples as the plates have images for; images of other plates are in none. All images, where that is the
    composition, are the one sample in their own order. The rows are dealt out by a fixed seed, whatever their values: a
    draw that followed the order of the values would be one and the same choice of ranks for every measurement.
    """
    random = np.random.default_rng(SEED)
    own = [random.permutation(np.flatnonzero(plates == name)) for name in composition]
    number = min(len(rows) // count for rows, count in zip(own, composition.values(), strict=True))
    if sum(composition.values()) == len(plates):
        return [np.arange(len(plates))]
    parts = [rows[: number * k].reshape(number, k) for rows, k in zip(own, composition.values(), strict=True)]
    return list(np.concatenate(parts, axis=1))


def bare(compounds: np.ndarray, plates: np.ndarray, vehicle_plates: np.ndarray) -> np.ndarray:
    """The compounds of rows (n,) none of whose plates has vehicle images (v,), sorted."""
    return np.setdiff1d(compounds, compounds[np.isin(plates, vehicle_plates)])


def matched(plates: np.ndarray, vehicle_plates: np.ndarray) -> bool:
    """Whether every plate has at least as many vehicle images (v,) as `plates` (n,) names it."""
    names, counts = np.unique(plates, return_counts=True)
    return all((vehicle_plates == name).sum() >= count for name, count in zip(names, counts, strict=True))


def profile_correlation(generated: np.ndarray, real: np.ndarray, compounds: np.ndarray) -> np.ndarray:
    """Pearson r over measurements between generated and real mean change from the vehicle, by compound: (C,), sorted.

    generated, real: changes (N, F) in vehicle standard deviations; compounds (N,). 0 where the generated change is the
    same in every measurement, NaN where the real one is. Raises ValueError for shapes that differ or NaN.
    """
    real = array(real)
    return lfc_pearson_per_compound(generated, np.zeros_like(real, dtype=np.float64), real, compounds)


def profile_resamples(
    generated: np.ndarray,
    real: np.ndarray,
    compounds: np.ndarray,
    weights: np.ndarray,
    compound_counts: dict[str, np.ndarray],
) -> np.ndarray:
    """Mean of `profile_correlation` under R sets of row weights (R, N) and counts of compounds {name: (R,)}: (R,)."""
    pre = np.zeros_like(real)
    return per_compound_resamples(generated, pre, real, compounds, False, weights, compound_counts)


def wasserstein_resamples(a: np.ndarray, b: np.ndarray, weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
    """W1 between samples a (n,) and b (m,) under R sets of weights (R, n), (R, m): (R,); NaN where a side weighs 0.

    W1 is the area between the two distribution functions, both steps at the sorted pooled values.
    """
    values = np.concatenate([a, b])
    order = np.argsort(values, kind="stable")
    with np.errstate(invalid="ignore", divide="ignore"):
        share_a = weights_a / weights_a.sum(axis=1, keepdims=True)
        share_b = weights_b / weights_b.sum(axis=1, keepdims=True)
    steps = np.concatenate([share_a, -share_b], axis=1)[:, order]
    return np.abs(np.cumsum(steps, axis=1)[:, :-1]) @ np.diff(values[order])


def _mean_of_numbers(values: list[np.ndarray]) -> np.ndarray:
    """Mean of several (R,), NaN left out and where nothing is left."""
    stacked = np.stack(values)
    defined = np.isfinite(stacked)
    total = np.where(defined, stacked, 0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), out=np.full(len(total), np.nan), where=defined.any(axis=0))


def _check(**samples: np.ndarray) -> None:
    if len(samples["vehicle"]) == 0:
        raise ValueError(NO_VEHICLE)
    for name, sample in samples.items():
        if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
            bad = int((~np.isfinite(sample)).sum())
            raise ValueError(f"{name}: {sample.shape=}, {bad} not finite; a non-empty finite vector is needed")
