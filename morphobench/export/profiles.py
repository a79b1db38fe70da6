"""One row of CellProfiler measurements per image, as pycytominer and copairs read them: areas, or all of every cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from morphobench import storage
from morphobench.datasets.tier import Tier
from morphobench.export.metadata import metadata
from morphobench.features.cell_profile import measure_cell_profiles
from morphobench.features.profile import PROFILE_COLUMNS, measure_images
from morphobench.features.segment import ENGINE
from morphobench.features.shipped import shipped_file

PREFIX = "Image_"
"""CellProfiler's database puts it before an image's measurements; pycytominer's `image_features=True` looks for it."""


def profiles(tier: Tier, rows: pd.DataFrame) -> pd.DataFrame:
    """`metadata`, then Image_ + PROFILE_COLUMNS of every sample, (N, columns), order kept.

    Areas are fractions of the image, counts are objects. A whole split whose measurements ship with the tier is not
    measured again; every other result is cached.
    """
    values = np.full((len(rows), len(PROFILE_COLUMNS)), np.nan)
    for split, places in rows.groupby("split", sort=False).indices.items():
        measured = measure_images(
            tier.images(rows.iloc[places].reset_index(drop=True)), tier.spec.nucleus_diameter, storage.cache_dir(),
            label=str(split), shipped=shipped_file(tier, ENGINE, str(split)),
        )  # fmt: skip
        values[places] = np.stack([measured[column] for column in PROFILE_COLUMNS], axis=1)
    columns = pd.DataFrame(values, columns=[PREFIX + column for column in PROFILE_COLUMNS])
    return pd.concat([metadata(tier, rows), columns], axis=1)


def write_profiles(tier: Tier, rows: pd.DataFrame, folder: Path) -> None:
    """Write `profiles` as profiles.parquet and profiles.csv."""
    table = profiles(tier, rows)
    table.to_parquet(folder / "profiles.parquet", index=False)
    table.to_csv(folder / "profiles.csv", index=False)


def write_cell_profiles(tier: Tier, rows: pd.DataFrame, folder: Path) -> None:
    """Write cell_profiles.parquet: `metadata`, then the full profile of each image (`features.cell_profile`)."""
    measured = measure_cell_profiles(
        tier.images(rows), tier.spec.nucleus_diameter, storage.cache_dir(), label=f"{len(rows):,} images"
    )
    table = pd.concat([metadata(tier, rows), pd.DataFrame(measured)], axis=1)
    table.to_parquet(folder / "cell_profiles.parquet", index=False)
