"""Every figure that the documentation quotes about the sim tier, by one command.

    python benchmarks/sim.py [--images 200]

Expression, structures, images and speed; everything is SIMULATED. All random draws are seeded, so every figure but the
speed is the same on every run. Takes about a minute of processor time; it renders about 1,580 images and keeps none.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file
from scipy import ndimage, stats
from skimage.filters import threshold_otsu
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score

from morphobench import provenance
from morphobench.datasets import Tier, load_gene_sets, load_tier
from morphobench.datasets.frozen import morgan_fingerprint
from morphobench.datasets.sim import simulate_image
from morphobench.datasets.simulate import expression
from morphobench.datasets.simulate.culture import plate_culture, well_culture
from morphobench.datasets.simulate.mechanisms import INACTIVE, MECHANISMS, VEHICLE, main_mechanism
from morphobench.datasets.simulate.microscope import plate_optics
from morphobench.datasets.simulate.render import render
from morphobench.datasets.simulate.seeds import seed
from morphobench.datasets.simulate.truth import sample_truth
from morphobench.features.objects import COMPARTMENTS
from morphobench.features.segment import ENGINE
from morphobench.features.shipped import shipped_path
from morphobench.metrics import (
    area_occupied_shift_by_compound,
    kernel_distance,
    lfc_pearson,
    lfc_pearson_per_compound,
)
from morphobench.report.enrichment import TOP

TREES = 300
VEHICLES_PER_PLATE = 24
ACTIVITY = 0.8
"""Of the one mechanism of an image, where mechanisms are to be named."""
TREATED_PER_PLATE = 5
WEAK_ACTIVITY = 0.3
"""Where a batch effect is to be told from a mechanism."""
OWN_PLATES, WELLS_PER_PLATE = 3, 8
"""Of each mechanism in the confounded layout."""
FIT_PLATES = ("T01", "T02", "T03", "T04")
ASKED_PLATES = ("E01", "E02", "E03", "E04")
SMALLEST_NUCLEUS = 20
"""Pixels; smaller objects of the threshold are debris."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    about: str
    what: str
    value: str


def fold_changes(tier: Tier, rows: pd.DataFrame) -> np.ndarray:
    """Log2 fold change of each well against its plate's vehicle mean, (N, 978)."""
    g_pre, g_post = tier.expression(rows)
    return g_post.astype(np.float64) - g_pre


def row_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson r of each row of a (N, G) with the same row of b: (N,)."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


def mean_predictor(tier: Tier) -> Iterator[Figure]:
    """How well the mean change of all other compounds predicts a compound's change, and how little raw profiles say."""
    for split in ("train", "id", "ood"):
        rows = tier.rows(split)
        change = fold_changes(tier, rows)
        names, member = np.unique(rows["compound"], return_inverse=True)
        means = np.stack([change[member == code].mean(axis=0) for code in range(len(names))])
        others = (means.sum(axis=0) - means) / (len(means) - 1)
        averaged = row_correlation(means, others).mean()
        single = row_correlation(change, others[member]).mean()
        yield Figure("mean predictor", f"{split}: LFC r, replicates averaged", f"{averaged:.3f}")
        yield Figure("mean predictor", f"{split}: LFC r, single wells", f"{single:.3f}")
    for split in ("id", "ood"):
        g_pre, g_post = tier.expression(tier.rows(split))
        yield Figure(
            "mean predictor", f"{split}: raw r of G_pre and G_post", f"{row_correlation(g_pre, g_post).mean():.3f}"
        )


def predictions_without_a_model(tier: Tier) -> Iterator[Figure]:
    """What the expression scores give for the training mean, for a lookup of training compounds, for replicates."""
    rows = tier.rows("train")
    change = fold_changes(tier, rows)
    table = {name: change[own].mean(axis=0) for name, own in rows.groupby("compound").indices.items()}
    train_mean = np.stack(list(table.values())).mean(axis=0)
    for split in ("id", "ood"):
        rows = tier.rows(split)
        g_pre, g_post = tier.expression(rows)
        compounds = rows["compound"].to_numpy(dtype=str)
        mean = lfc_pearson_per_compound(g_pre + train_mean, g_pre, g_post, compounds).mean()
        yield Figure("no model", f"{split}: training mean, lfc_pearson_vehicle", f"{mean:.3f}")
        for share in (0.0, 0.5, 1.0):
            r = lfc_pearson_per_compound(g_pre + share * train_mean, g_pre, g_post, compounds, centred=True)
            name = f"{split}: {share} x training mean, lfc_pearson_perturbed_mean"
            yield Figure("no model", name, f"{np.nanmean(r):.3f}")
    rows = tier.rows("id")
    g_pre, g_post = tier.expression(rows)
    compounds = rows["compound"].to_numpy(dtype=str)
    replicate = same_conditions(rows, tier.rows("id_replicate"))
    predictions = {
        "lookup of 48 training wells": np.stack([table[name] for name in compounds]),
        "replicate wells": fold_changes(tier, replicate),
    }
    for name, lfc in predictions.items():
        profiles = (g_pre + lfc, g_pre, g_post, compounds)
        values = {
            "lfc_pearson": lfc_pearson(*profiles),
            "lfc_pearson_vehicle": lfc_pearson_per_compound(*profiles).mean(),
            "lfc_pearson_perturbed_mean": lfc_pearson_per_compound(*profiles, centred=True).mean(),
        }
        for key, value in values.items():
            yield Figure("no model", f"id: {name}, {key}", f"{value:.3f}")


def same_conditions(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Rows of `others` in an order that pairs compound and dose with `rows`."""
    key = ["compound", "dose_um"]
    wanted = rows[key].assign(turn=rows.groupby(key).cumcount())
    offered = others.assign(turn=others.groupby(key).cumcount())
    return wanted.merge(offered, on=[*key, "turn"], how="left", validate="one_to_one")


def plate_distances(tier: Tier) -> Iterator[Figure]:
    """Kernel distance between real test images of one plate and another: equal compounds and doses, other optics."""
    name = tier.spec.extractor
    for split in ("id", "ood"):
        plates = tier.rows(split)["plate"].to_numpy(dtype=str)
        features = shipped(tier, name, split)["embedding"].astype(np.float64)
        pairs = combinations(np.unique(plates), 2)
        values = [kernel_distance(features[plates == a], features[plates == b]) for a, b in pairs]
        low, high = min(values), max(values)
        text = f"{np.mean(values):.4f} ({low:.4f} to {high:.4f})"
        yield Figure("plates", f"{split}: kd[{name}] of two test plates, mean of {len(values)} pairs (range)", text)


def constant_areas(tier: Tier) -> Iterator[Figure]:
    """AreaOccupied shift of the best constant: every image of a compound has the median of its real images."""
    vehicle = shipped(tier, ENGINE, "vehicle")
    for split in ("id", "ood"):
        rows = tier.rows(split)
        beside = tier.rows("vehicle")["plate"].isin(set(rows["plate"])).to_numpy()
        real, compounds = shipped(tier, ENGINE, split), rows["compound"].to_numpy(dtype=str)
        plates, vehicle_plates = rows["plate"].to_numpy(dtype=str), tier.rows("vehicle")["plate"].to_numpy(dtype=str)
        for part in COMPARTMENTS:
            column = f"AreaOccupied_AreaOccupied_{part.capitalize()}"
            area = real[column].astype(float)
            medians = pd.Series(area).groupby(compounds).transform("median").to_numpy()
            value = area_occupied_shift_by_compound(
                medians, compounds, plates, area, compounds, vehicle[column][beside], vehicle_plates[beside]
            )
            yield Figure("constant area", f"{split}: median of each compound, {part}", f"{value:.3f}")


def shipped(tier: Tier, name: str, split: str) -> dict[str, np.ndarray]:
    """Measurements of real images that the tier ships."""
    return load_file(shipped_path(tier, name, split))


def replicates(tier: Tier) -> Iterator[Figure]:
    """LFC r between wells of one compound at its top dose on different test plates, by its main mechanism."""
    rows = pd.concat([tier.rows("id"), tier.rows("ood")], ignore_index=True)
    top = rows["dose_um"] == rows.groupby("compound")["dose_um"].transform("max")
    rows = rows[top].reset_index(drop=True)
    change = fold_changes(tier, rows)
    found: dict[str, list[float]] = {}
    for compound, wells in rows.groupby("compound").indices.items():
        r = np.corrcoef(change[wells])
        plates = rows["plate"].to_numpy()[wells]
        apart = [r[i, j] for i, j in combinations(range(len(wells)), 2) if plates[i] != plates[j]]
        found.setdefault(main_mechanism(compound), []).append(float(np.mean(apart)))
    active = [r for mechanism, values in found.items() if mechanism != INACTIVE for r in values]
    yield Figure("replicate LFC r", f"active compounds ({len(active)})", f"{np.mean(active):.3f}")
    for mechanism, values in sorted(found.items(), key=lambda item: np.mean(item[1])):
        yield Figure("replicate LFC r", f"{mechanism} ({len(values)})", f"{np.mean(values):.3f}")


def docetaxel(tier: Tier) -> Iterator[Figure]:
    """Adjusted hypergeometric q of the planted gene sets among the TOP genes, noiseless and measured."""
    rows = tier.rows("id")
    rows = rows[rows["compound"] == "docetaxel"]
    changes = {
        "noiseless, top dose": expression.response(tier.spec.version, "docetaxel", float(rows["dose_um"].max())),
        "measured, 16 wells": fold_changes(tier, rows).mean(axis=0),
    }
    planted = expression.planted_programmes(main_mechanism("docetaxel"))
    for source, change in changes.items():
        for direction, sign in (("up", 1), ("down", -1)):
            q = over_representation(set(np.array(tier.genes)[np.argsort(-sign * change, kind="stable")[:TOP]]))
            ranks = sorted(q.values())
            for term in planted[direction]:
                place = f"q = {q[term]:.1e}, place {ranks.index(q[term]) + 1} of {len(q)}"
                yield Figure(f"docetaxel, {source}", f"{direction}: {term}", place)


def over_representation(genes: set[str]) -> dict[str, float]:
    """{gene set: p of the hypergeometric test against the landmarks, adjusted by Benjamini and Hochberg}."""
    sets = load_gene_sets()
    landmarks = len(expression.symbols())
    p = [stats.hypergeom.sf(len(genes & set(s)) - 1, landmarks, len(s), len(genes)) for s in sets.values()]
    return dict(zip(sets, stats.false_discovery_control(p).tolist(), strict=True))


def neighbours(tier: Tier) -> Iterator[Figure]:
    """How often the training compound most alike in structure shares the main mechanism of a held-out compound."""
    known = tier.compounds[tier.compounds["smiles"] != ""].reset_index(drop=True)
    bits = np.stack([morgan_fingerprint(smiles) for smiles in known["smiles"]]).astype(float)
    shared = bits @ bits.T
    tanimoto = shared / (bits.sum(axis=1)[:, None] + bits.sum(axis=1) - shared)
    mechanism, trained = known["mechanism"].to_numpy(), (known["cohort"] == "ID").to_numpy()
    asked = np.flatnonzero(~trained & (mechanism != INACTIVE))
    nearest = np.flatnonzero(trained)[tanimoto[np.ix_(asked, trained)].argmax(axis=1)]
    chance = np.mean([(mechanism[trained] == mechanism[row]).mean() for row in asked])
    same = (mechanism[nearest] == mechanism[asked]).mean()
    yield Figure(
        "structure", f"nearest training compound has the same mechanism ({len(asked)} held out)", f"{same:.1%}"
    )
    yield Figure("structure", "a training compound at random has", f"{chance:.1%}")


def speed_and_saturation(tier: Tier, count: int) -> Iterator[Figure]:
    """Images per second of processor time of one process, and the pixels at 255, over rows spread over the tier."""
    rows = tier.samples.iloc[np.linspace(0, len(tier.samples) - 1, count).astype(int)]
    render_rows(tier, rows.head(2))  # imports and tables are not part of the work
    start = time.process_time()
    images = render_rows(tier, rows)
    seconds = time.process_time() - start
    yield Figure("images", f"rendered per second, one process, processor time ({count})", f"{count / seconds:.1f}")
    for channel, name in enumerate(tier.spec.channels):
        share = (images[..., channel] == 255).mean()
        yield Figure("images", f"pixels at 255, {name} ({count} images)", f"{share:.3%}")


def render_rows(tier: Tier, rows: pd.DataFrame) -> np.ndarray:
    """The images of some samples, uint8 (N, H, W, 3), rendered here and not taken from the cache."""
    columns = zip(*(rows[name] for name in ("sample_id", "compound", "dose_um", "plate")), strict=True)
    version, size = tier.spec.version, tier.spec.image_size
    return np.stack(
        [simulate_image(version, name, compound, dose, plate, size) for name, compound, dose, plate in columns]
    )


def vehicles(tier: Tier) -> Iterator[Figure]:
    """Vehicle images: nuclei planted and found, and whether a forest on crude features names the plate."""
    rows = tier.rows("vehicle").groupby("plate", sort=False).head(VEHICLES_PER_PLATE)
    images = render_rows(tier, rows)
    size, version = tier.spec.image_size, tier.spec.version
    planted = np.array([sample_truth(version, row, size).cells["in_frame"].sum() for _, row in rows.iterrows()])
    areas = [nucleus_areas(image) for image in images]
    found = np.array([len(values) for values in areas])
    diameters = 2 * np.sqrt(np.concatenate(areas) / np.pi)
    low, middle, high = np.percentile(diameters, (5, 50, 95))
    about = f"vehicle images ({len(rows)})"
    yield Figure(about, "cells planted with their centre in the image", spread(planted))
    yield Figure(about, "objects of an Otsu threshold on DNA", spread(found))
    yield Figure(about, "mean absolute difference of the two", f"{np.abs(found - planted).mean():.2f}")
    yield Figure(about, "their equivalent diameter, pixels: median (5%, 95%)", f"{middle:.1f} ({low:.1f}, {high:.1f})")
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    plates = rows["plate"].nunique()
    for source, numbers in (("image", crude_features(images)), ("profile", tier.expression(rows)[1])):
        accuracy = cross_val_score(forest(), numbers, rows["plate"], cv=folds).mean()
        text = f"forest on the {source} names the plate, 4 folds (chance {1 / plates:.1%})"
        yield Figure(about, text, f"{accuracy:.1%}")


def cultures(tier: Tier) -> Iterator[Figure]:
    """Whether G_pre tells the culture of its plate, and whether that says how many cells its vehicle wells hold."""
    version, size = tier.spec.version, tier.spec.image_size
    rows = tier.rows("vehicle")
    first = rows.drop_duplicates("plate")
    g_pre, _ = tier.expression(first)
    about_mean = g_pre.astype(np.float64) - g_pre.mean(axis=0)
    read = np.linalg.lstsq(expression.culture_loadings(version).T, about_mean.T, rcond=None)[0]  # (2, plates)
    drawn = [plate_culture(version, plate) for plate in first["plate"]]
    for name, found in zip(("density", "stress"), read, strict=True):
        r = np.corrcoef(found, [getattr(culture, name) for culture in drawn])[0, 1]
        yield Figure(
            f"culture ({len(first)} plates)", f"{name} read from G_pre by least squares, r with truth", f"{r:.3f}"
        )
    wells = rows.groupby("plate", sort=False).head(VEHICLES_PER_PLATE)
    planted = [sample_truth(version, row, size).cells["in_frame"].sum() for _, row in wells.iterrows()]
    mean = pd.Series(planted).groupby(wells["plate"].to_numpy(), sort=False).mean()
    r = np.corrcoef(mean, read[0])[0, 1]
    text = f"the same density, r with cells per vehicle image ({mean.min():.1f} to {mean.max():.1f})"
    yield Figure(f"culture ({len(first)} plates)", text, f"{r:.3f}")


def nucleus_areas(image: np.ndarray) -> np.ndarray:
    """Areas, pixels, of the objects of one Otsu threshold on the blurred DNA channel."""
    blurred = ndimage.gaussian_filter(image[..., 2].astype(float), 1.0)
    labels, _ = ndimage.label(blurred > threshold_otsu(blurred))
    areas = np.bincount(labels.ravel())[1:]
    return areas[areas >= SMALLEST_NUCLEUS]


def mechanisms(tier: Tier) -> Iterator[Figure]:
    """Whether a forest fitted on some plates names the mechanism of images from others."""
    classes = ("vehicle", *MECHANISMS)
    version = tier.spec.version
    known, asked = (
        Wells.draw(version, [(name, plate) for plate in plates for name in classes], TREATED_PER_PLATE, ACTIVITY)
        for plates in (FIT_PLATES, ASKED_PLATES)
    )
    accuracy = forest().fit(known.features, known.mechanism).score(asked.features, asked.mechanism)
    about = f"mechanism at activity {ACTIVITY} ({len(asked.mechanism)} images)"
    yield Figure(about, f"forest names it on unseen plates (chance {1 / len(classes):.1%})", f"{accuracy:.1%}")


@dataclass(frozen=True)
class Wells:
    """Wells of one mechanism each, at one activity and without a compound's own response, drawn for a question."""

    mechanism: np.ndarray
    plate: np.ndarray
    features: np.ndarray
    """(N, 15) of the images."""
    profiles: np.ndarray
    """(N, 978), log2."""

    @classmethod
    def draw(cls, version: str, layout: Iterable[tuple[str, str]], count: int, activity: float) -> Wells:
        """`count` wells of each (mechanism or "vehicle", plate) of `layout`."""
        mechanisms, plates, images, profiles = [], [], [], []
        for mechanism, plate, k in [(*pair, k) for pair in layout for k in range(count)]:
            name = f"benchmark {mechanism} {plate} {k}"
            culture = well_culture(version, name, plate_culture(version, plate))
            active = {m: activity if m == mechanism else 0.0 for m in MECHANISMS}
            images.append(render(active, plate_optics(version, plate), seed(version, "image", name), culture=culture))
            change = expression.fold_change(version, VEHICLE, 0.0, active)
            clean = expression.untreated(version, culture) + change
            profiles.append(expression.profile(version, name, plate, clean))
            mechanisms.append(mechanism)
            plates.append(plate)
        return cls(np.array(mechanisms), np.array(plates), crude_features(np.stack(images)), np.stack(profiles))


def confounded(version: str) -> Iterator[Figure]:
    """A naive mechanism classifier where each mechanism has plates of its own: by random folds, by plate, elsewhere."""
    own = {f"{name}, plate {k}": (name, k) for name in MECHANISMS for k in range(OWN_PLATES)}
    wells = Wells.draw(version, [(name, plate) for plate, (name, _) in own.items()], WELLS_PER_PLATE, WEAK_ACTIVITY)
    elsewhere = [(name, plate) for plate in ASKED_PLATES for name in MECHANISMS]
    asked = Wells.draw(version, elsewhere, TREATED_PER_PLATE, WEAK_ACTIVITY)
    third = np.array([own[plate][1] for plate in wells.plate])  # leaves a plate of every mechanism out at a time
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    about = f"confounded plates, activity {WEAK_ACTIVITY} ({len(wells.plate)} wells, chance {1 / len(MECHANISMS):.1%})"
    sources = {"image": (wells.features, asked.features), "profile": (wells.profiles, asked.profiles)}
    for source, (numbers, others) in sources.items():
        random = cross_val_score(forest(), numbers, wells.mechanism, cv=folds).mean()
        split = cross_val_score(forest(), numbers, wells.mechanism, groups=third, cv=LeaveOneGroupOut()).mean()
        unseen = forest().fit(numbers, wells.mechanism).score(others, asked.mechanism)
        yield Figure(about, f"{source}: forest names the mechanism, random folds", f"{random:.1%}")
        yield Figure(about, f"{source}: the same, folds by plate", f"{split:.1%}")
        yield Figure(
            about, f"{source}: the same, fitted on all, unseen plates that hold every mechanism", f"{unseen:.1%}"
        )


def crude_features(images: np.ndarray) -> np.ndarray:
    """Five numbers per channel of uint8 (N, H, W, 3): (N, 15).

    Mean, standard deviation, 5th and 95th percentile, and mean absolute step between neighbours along a row.
    """
    pixels = images.astype(np.float32)
    per_channel = [
        pixels.mean(axis=(1, 2)),
        pixels.std(axis=(1, 2)),
        *np.percentile(pixels, (5, 95), axis=(1, 2)),
        np.abs(np.diff(pixels, axis=2)).mean(axis=(1, 2)),
    ]
    return np.concatenate(per_channel, axis=1)


def forest() -> RandomForestClassifier:
    """The classifier of every question here, seeded."""
    return RandomForestClassifier(TREES, random_state=0)


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def show(figures: Iterable[Figure], console: Console) -> None:
    """Print one table, a section per subject."""
    table = Table(title="SIMULATED: the sim tier in figures", title_justify="left")
    for heading in ("about", "figure", "value"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    before = ""
    for figure in figures:
        if before and figure.about != before:
            table.add_section()
        table.add_row("" if figure.about == before else figure.about, figure.what, figure.value)
        before = figure.about
    console.print(table)


def main() -> None:
    """Compute and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="images for speed and saturation")
    count = parser.parse_args().images
    tier = load_tier("sim")
    figures = [
        *mean_predictor(tier), *predictions_without_a_model(tier), *plate_distances(tier),
        *constant_areas(tier), *replicates(tier), *docetaxel(tier), *neighbours(tier),
        *speed_and_saturation(tier, count), *vehicles(tier), *cultures(tier), *mechanisms(tier),
        *confounded(tier.spec.version),
    ]  # fmt: skip
    console = Console(width=120, highlight=False)
    show(figures, console)
    setting = {"tier": f"sim {tier.spec.version}", "split": tier.split_sha256[:12]}
    setting |= provenance.hardware("cpu") | {"load": f"{os.getloadavg()[0]:.1f}"} | provenance.versions()
    console.print(", ".join(f"{name} {value}" for name, value in setting.items()))


if __name__ == "__main__":
    main()
