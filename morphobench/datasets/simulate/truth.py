"""The truth of a sample of the sim tier: every latent value behind its image and its profile.

For testing metrics and models. A submission that reads it has no place on the board.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets.simulate.cells import NO_CELL, Cells, Fate, sample_population
from morphobench.datasets.simulate.culture import Culture
from morphobench.datasets.simulate.phenotypes import PopulationParams
from morphobench.datasets.simulate.render import streams
from morphobench.datasets.simulate.well import Well, well_of
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput

PER_CELL = (
    "x", "y", "radius", "elongation", "axis", "arborisation", "nucleus_x", "nucleus_y", "nucleus_radius",
    "dna_content", "actin", "tubulin", "dna",
)  # fmt: skip
"""Fields of `Cells` that are columns of the cell table: lengths in pixels, axis in radians, DNA content in
genomes, stains relative to a vehicle cell."""


@dataclass(frozen=True, eq=False)
class SampleTruth:
    """Latent values of one sample."""

    sample_id: str
    activities: Mapping[str, float]
    """Of the twelve mechanisms, 0..1."""
    culture: Culture
    """The plate's with the deviation of the well."""
    params: PopulationParams
    """What the cells were drawn from."""
    cells: pd.DataFrame
    """One row per cell that was drawn: PER_CELL, `fate` (category: name of a Fate), `chromatin_bodies`, `nucleoli`
    (counts) and `in_frame`, whether its centre lies in the image. Cells are drawn in a margin round the image too."""
    expression: np.ndarray
    """Log2, (978,), without noise and batch effect."""
    expression_on_plate: np.ndarray
    """Log2, (978,), without noise, with the plate's batch effect."""


def sample_truth(tier_version: str, sample: Mapping[str, Any] | pd.Series, size: int = 128) -> SampleTruth:
    """The truth of a row of the tier's table; positions are in pixels of an image of `size`.

    Raises BadInput for an unknown compound.
    """
    return truth_of(well_of(tier_version, sample), size)


def truth_of(well: Well, size: int = 128) -> SampleTruth:
    """The truth of a well, real or counterfactual."""
    params, cells = sample_population(well.activities, streams(well.image_seed())[0], size, well.culture)
    return SampleTruth(
        sample_id=well.sample_id,
        activities=well.activities,
        culture=well.culture,
        params=params,
        cells=cell_table(cells, size),
        expression=well.noiseless(),
        expression_on_plate=well.noiseless_on_plate(),
    )


def cell_table(cells: Cells, size: int) -> pd.DataFrame:
    """One row per cell; see `SampleTruth.cells`."""
    table = pd.DataFrame({name: getattr(cells, name) for name in PER_CELL})
    table.insert(2, "fate", pd.Categorical.from_codes(cells.fate.astype(int), [fate.name.lower() for fate in Fate]))
    for name, blobs in (("chromatin_bodies", cells.chromatin), ("nucleoli", cells.nucleoli)):
        table[name] = np.bincount(blobs.cell[blobs.cell != NO_CELL], minlength=len(cells))
    table["in_frame"] = cells.in_frame(size)
    return table


def write_truth(tier: Tier, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Write the truth of every sample of the sim tier to a new folder.

    samples.parquet: the tier's table, density and stress of the culture, an `activity:` column per mechanism and a
    `param:` column per population parameter. cells.parquet: sample_id and the cell table. expression.parquet and
    expression_on_plate.parquet: sample_id and one float32 column per gene, log2, without noise. truth.json: tier,
    version and that all is simulated. `progress` is called with the number of samples done and their total.

    Raises BadInput for a tier that is not simulated and for a folder that holds something.
    """
    check_simulated(tier)
    storage.check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise BadInput(f"{folder}: not empty; name a new folder")
    latent, cells, clean, shown = [], [], [], []
    for done, (_, sample) in enumerate(tier.samples.iterrows(), 1):
        truth = sample_truth(tier.spec.version, sample, tier.spec.image_size)
        latent.append(
            asdict(truth.culture)
            | {f"activity:{name}": value for name, value in truth.activities.items()}
            | {f"param:{field.name}": getattr(truth.params, field.name) for field in fields(truth.params)}
        )
        truth.cells.insert(0, "sample_id", truth.sample_id)
        cells.append(truth.cells)
        clean.append(truth.expression.astype(np.float32))
        shown.append(truth.expression_on_plate.astype(np.float32))
        progress(done, len(tier.samples))
    samples = tier.samples.reset_index(drop=True)
    tables = {
        "samples": pd.concat([samples, pd.DataFrame(latent)], axis=1),
        "cells": pd.concat(cells, ignore_index=True),
    }
    for name, rows in (("expression", clean), ("expression_on_plate", shown)):
        tables[name] = pd.DataFrame(np.stack(rows), columns=list(tier.genes))
        tables[name].insert(0, "sample_id", samples["sample_id"])
    about = {"tier": tier.spec.name, "version": tier.spec.version, "simulated": True, "split": tier.split_sha256}
    with storage.atomic_dir(folder) as temporary:
        for name, table in tables.items():
            table.to_parquet(temporary / f"{name}.parquet", index=False)
        (temporary / "truth.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def check_simulated(tier: Tier) -> None:
    """Raises BadInput for a tier of real images: nobody knows their truth."""
    if tier.spec.kind != "sim":
        raise BadInput(f"tier {tier.spec.name}: not simulated, its truth is not known; use the tier sim")
