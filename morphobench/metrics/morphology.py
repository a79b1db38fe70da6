"""Morphology: how much of the real shift away from the vehicle the generated cells make, and whether its profile is.

A measurement (AreaOccupied, the share of the image under an object) has a distribution over images. The shift is
judged by Wasserstein-1 distances, in the measurement's own units, so that no bandwidth or bin is chosen. Few images
lie farther from any others than many do, so the vehicle is asked in samples as small as the generated ones. Many
measurements together are a profile; the change of a compound's mean profile is judged by its direction.
"""

from __future__ import annotations

import numpy as np

from morphobench.metrics.expression import lfc_pearson_per_compound, per_compound_resamples

SEED = 2020
"""Which vehicle images make a sample together."""


def area_occupied_shift(generated: np.ndarray, real: np.ndarray, vehicle: np.ndarray) -> float:
    """Gap closed, 1 - W1(generated, real) / W1(vehicle, real), of three samples (n,), (m,), (v,) of one measurement.

    1 when generated and real agree, 0 when the generated images are as far from real as the vehicle, negative when
    farther; not clipped. W1(vehicle, real) is the mean over disjoint samples of n vehicle images, because few images
    lie farther from any others than many do. Raises ValueError for an empty sample, a NaN (drop and count them first),
    or no gap to close.
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

    W1(vehicle, real_c) is the mean over `vehicle_samples`. A compound weighs by its real gap, so one that does nothing,
    whose own ratio divides by almost zero, cannot swamp the rest; pooling all images first would forgive a model that
    swaps compounds. Raises as `area_occupied_shift`, and when the two sets hold different compounds.
    """
    generated, real, vehicle = (np.asarray(side) for side in (generated, real, vehicle))
    ones = np.ones((1, 1))
    return float(
        shift_resamples(
            generated,
            np.asarray(generated_compounds),
            np.asarray(generated_plates),
            real,
            np.asarray(real_compounds),
            vehicle,
            np.asarray(vehicle_plates),
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

    Replicate r has row which[r] of the weights (D, n), (D, m), (D, v): few draws of a few plates differ. The vehicle
    samples stay as they are dealt. A compound without images, or without vehicle images, in a replicate leaves its
    sums; NaN where a replicate has no compound or no vehicle left.
    """
    _check(generated=generated, real=real, vehicle=vehicle)
    names = np.unique(generated_compounds)
    if not np.array_equal(names, np.unique(real_compounds)):
        odd = sorted(set(names) ^ set(np.unique(real_compounds)))
        raise ValueError(f"{len(odd)} compounds are in only one of generated and real, the first is {str(odd[0])!r}")
    missed, gap = np.zeros(len(which)), np.zeros(len(which))
    for name in names:
        mine, true = generated_compounds == name, real_compounds == name
        count = compound_counts[name]
        misses = wasserstein_resamples(generated[mine], real[true], generated_weights[:, mine], real_weights[:, true])
        samples = vehicle_samples(generated_plates[mine], vehicle_plates)
        gaps = _mean_of_numbers(
            [
                wasserstein_resamples(vehicle[rows], real[true], vehicle_weights[:, rows], real_weights[:, true])
                for rows in samples
            ]
        )
        misses, gaps = misses[which], gaps[which]
        present = (count > 0) & np.isfinite(misses) & np.isfinite(gaps)
        missed[present] += (count * misses)[present]
        gap[present] += (count * gaps)[present]
    if not gap.any():
        raise ValueError("vehicle and real have the same distribution for every compound: there is no gap to close")
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - np.where(gap > 0, missed, np.nan) / gap


def vehicle_samples(plates: np.ndarray, vehicle_plates: np.ndarray) -> list[np.ndarray]:
    """Rows of disjoint samples of the vehicle images (v,) that are to stand beside images on `plates` (n,).

    Every sample holds as many images of each plate as `plates` names it, and there are as many samples as the plates
    have images for. Where a plate has too few for one (`matched` is false), the samples are n images of any plate; all
    vehicle images where there are fewer than n. The rows are dealt out by a fixed seed, whatever their values: a draw
    that followed the order of the values would be one and the same choice of ranks for every measurement.
    """
    names, counts = np.unique(plates, return_counts=True)
    random = np.random.default_rng(SEED)
    if matched(plates, vehicle_plates):
        own = [random.permutation(np.flatnonzero(vehicle_plates == name)) for name in names]
        number = min(len(rows) // count for rows, count in zip(own, counts, strict=True))
    else:
        own, counts = [random.permutation(len(vehicle_plates))], np.array([min(len(plates), len(vehicle_plates))])
        number = len(vehicle_plates) // counts[0]
    parts = [rows[: number * count].reshape(number, count) for rows, count in zip(own, counts, strict=True)]
    return list(np.concatenate(parts, axis=1))


def matched(plates: np.ndarray, vehicle_plates: np.ndarray) -> bool:
    """Whether every plate has at least as many vehicle images (v,) as `plates` (n,) names it."""
    names, counts = np.unique(plates, return_counts=True)
    return all((vehicle_plates == name).sum() >= count for name, count in zip(names, counts, strict=True))


def profile_correlation(generated: np.ndarray, real: np.ndarray, compounds: np.ndarray) -> np.ndarray:
    """Pearson r over measurements between generated and real mean change from the vehicle, by compound: (C,), sorted.

    generated, real: changes (N, F) in vehicle standard deviations; compounds (N,). 0 where the generated change is the
    same in every measurement, NaN where the real one is. Raises ValueError for shapes that differ or NaN.
    """
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
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0))


def _check(**samples: np.ndarray) -> None:
    if len(samples["vehicle"]) == 0:
        raise ValueError("there are no vehicle images of these plates: what is missed is measured against their gap")
    for name, sample in samples.items():
        if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
            bad = int((~np.isfinite(sample)).sum())
            raise ValueError(f"{name}: {sample.shape=}, {bad} not finite; a non-empty finite vector is needed")
