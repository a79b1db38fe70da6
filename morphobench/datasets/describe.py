"""What `morphobench data info` prints of a tier: splits, tracks, distances of held-out compounds, leaks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from morphobench.datasets.bbbc021 import VEHICLE
from morphobench.datasets.morphogene import paper_recipe
from morphobench.datasets.morphogene.folder import made_from
from morphobench.datasets.morphogene.split_rules import frozen_samples
from morphobench.datasets.tier import Tier

PLATES_NAMED = 14
"""More plates than this are counted, not named."""


def describe(tier: Tier) -> Iterator[str]:
    """Lines on a tier: image, protocol, splits, tracks, licence."""
    spec = tier.spec
    yield f"{spec.name} {spec.version}: {spec.title}"
    yield f"split sha256: {tier.split_sha256}"
    side, channels = spec.image_size, ", ".join(spec.channels)
    yield f"image: {side} x {side} pixels of {spec.um_per_pixel} um, RGB = {channels}"
    yield f"protocol: {spec.extractor} (realism), {spec.embedding} (separability)"
    for split, rows in tier.samples.groupby("split", sort=False):
        plates = sorted(set(rows["plate"]))
        named = f"plates {', '.join(plates)}" if len(plates) <= PLATES_NAMED else f"{len(plates)} plates"
        yield f"{split}: {len(rows):,} images{_of_compounds(rows, ', ')}, {named}"
    for name in spec.tracks:
        yield from describe_track(tier, name)
    if (tier.folder / "build.json").is_file():
        yield from describe_build(tier)
    yield f"licence: {spec.licence}"


def describe_build(tier: Tier) -> Iterator[str]:
    """Lines on a built tier: how much of the whole it is, what it was made from, the disk it takes."""
    name, about = tier.spec.name, made_from(tier.folder, tier.spec.name)
    whole = frozen_samples(name)
    plates = f"{tier.samples['plate'].nunique()} of {whole['plate'].nunique()} plates"
    compounds = f"{len(_compounds(tier.samples))} of {len(_compounds(whole))} compounds, and vehicle"
    part = "all of it" if len(tier.samples) == len(whole) else "a part"
    yield f"built: {part}, {len(tier.samples):,} of {len(whole):,} images, {plates}, {compounds}"
    profiled = sum(count > 0 for count in about["treated_wells"].values())
    yield f"images from BBBC021: image table sha256 {about['image_table_sha256']}"
    doses = "all doses" if about["dose_um"] is None else f"the dose nearest to {about['dose_um']:g} uM"
    yield (
        f"expression from LINCS L1000: {', '.join(about['l1000_files'])}; {about['cell']} at {about['hours']:g} h, "
        f"matched by {about['matching']}, {doses}; "
        f"{profiled} of {len(about['treated_wells'])} compounds have profiles"
    )
    files = [path for path in tier.folder.rglob("*") if path.is_file()]
    yield f"disk: {sum(path.stat().st_size for path in files) / 1e9:.3f} GB in {len(files):,} files at {tier.folder}"


def describe_track(tier: Tier, name: str) -> Iterator[str]:
    """Lines on a track: its images, how far its held-out compounds are, and what it shares with training."""
    parts = {"test": tier.test_rows(name), "replicate": tier.replicate_rows(name), "training": tier.training_rows(name)}
    counts = [f"{len(rows):,} {part} images{_of_compounds(rows, ' of ')}" for part, rows in parts.items()]
    asked = "" if tier.track(name).default else " (scored with --track)"
    yield f"track {name}{asked}: {', '.join(counts)}"
    table = tier.distances(name)
    if len(table):
        yield f"  {_distance_summary(table)}"
    if "site" in tier.samples:
        yield f"  {_leak(paper_recipe.leak(parts['test'], parts['training']))}"


def _compounds(rows: pd.DataFrame) -> set[str]:
    return set(rows["compound"]) - {VEHICLE}


def _of_compounds(rows: pd.DataFrame, joint: str) -> str:
    """The number of compounds; nothing where the rows are vehicle alone, which is none."""
    count = len(_compounds(rows))
    if not count and len(rows):
        return ""
    return f"{joint}{count} compound{'' if count == 1 else 's'}"


def distance_table(tier: Tier, name: str) -> str:
    """The distances of a track's held-out compounds, nearest first, as text; NaN and <NA> where not known."""
    table = tier.distances(name).sort_values(["tanimoto", "compound"], ascending=[False, True])
    return table.to_string(index=False, float_format="{:.3f}".format)


def _distance_summary(table: pd.DataFrame) -> str:
    tanimoto, scaffolds, mechanisms = (table[key].dropna() for key in ("tanimoto", "scaffold_seen", "mechanism_seen"))
    parts = [f"{len(table)} held-out compounds"]
    if len(tanimoto):
        quartiles = ", ".join(f"{value:.2f}" for value in tanimoto.quantile([0, 0.25, 0.5, 0.75, 1]))
        parts.append(f"largest Tanimoto to training {quartiles} (minimum, quartiles, maximum of {len(tanimoto)})")
    parts.append(f"scaffold seen for {int(scaffolds.sum())} of {len(scaffolds)}")
    parts.append(f"mechanism seen for {int(mechanisms.sum())} of {len(mechanisms)}")
    parts.append(f"{len(table) - len(tanimoto)} without a structure")
    return "; ".join(parts)


def _leak(leak: paper_recipe.Leak) -> str:
    return (
        f"{leak.tested:,} test images ({leak.distinct:,} distinct): {leak.copied:,} have an exact copy in training, "
        f"{leak.same_field:,} share their field with it"
    )
