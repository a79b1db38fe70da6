"""Mechanism of action from the published per-well means of BBBC021 (Ljosa et al. 2013): NSC and NSCB.

    python benchmarks/ljosa.py [--data ../shared/data/bbbc021]

The folder holds `ljosa_jbiomolscreen_2013_per_well_mean.csv.gz` (632 wells, 516 CellProfiler features),
`BBBC021_v1_image.csv.gz` (what is in each well) and `BBBC021_v1_moa.csv` (mechanisms of 103 treatments). A treatment is
a compound at a concentration; its profile the mean or the median of its wells. NSCB leaves out the two mechanisms that
have compounds in one batch only; a batch is a week of the screen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphobench.metrics.mechanism import chance_of_mechanism, mechanism_matches
from morphobench.metrics.vehicle_correction import Scale, scale_by_vehicle, typical_variation_normalization

SCALES: tuple[Scale, ...] = ("percentile", "z-score", "centre")
ONE_BATCH = ("Cholesterol-lowering", "Kinase inhibitors")
VEHICLE = "DMSO"


@dataclass(frozen=True)
class Wells:
    """Features (n, 516) of wells, and for each its plate, week, compound, concentration and mechanism."""

    features: np.ndarray
    table: pd.DataFrame

    def corrected(self, scale: Scale, tvn: bool) -> np.ndarray:
        """Features on the scale of the vehicle wells of their plate, then whitened with all vehicle wells; (n, d).

        Centred features have units of their own, so they are divided by the deviation of all vehicle wells after it.
        """
        vehicle, plates = (self.table["compound"] == VEHICLE).to_numpy(), self.table["plate"].to_numpy(dtype=str)
        scaled = scale_by_vehicle(self.features, plates, self.features[vehicle], plates[vehicle], scale)
        if scale == "centre":
            everywhere = np.full(len(scaled), "all plates")
            scaled = scale_by_vehicle(scaled, everywhere, scaled[vehicle], everywhere[vehicle], "z-score")
        return typical_variation_normalization(scaled, scaled[vehicle]) if tvn else scaled


@dataclass(frozen=True)
class Answer:
    """How many treatments find their mechanism, out of how many."""

    right: int
    asked: int

    def __str__(self) -> str:
        return f"{self.right}/{self.asked} = {self.right / self.asked:.1%}"


def read_wells(folder: Path) -> Wells:
    """The wells with their labels; a well whose treatment has no annotated mechanism has none."""
    values = pd.read_csv(folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
    key = ["plate", "well"]
    names = ["Image_Metadata_Plate_DAPI", "Image_Metadata_Well_DAPI", "Image_Metadata_Compound"]
    images = pd.read_csv(folder / "BBBC021_v1_image.csv.gz")[[*names, "Image_Metadata_Concentration"]]
    images = images.drop_duplicates().set_axis([*key, "compound", "dose"], axis=1)
    moa = pd.read_csv(folder / "BBBC021_v1_moa.csv").set_axis(["compound", "dose", "mechanism"], axis=1)
    table = values.iloc[:, :2].set_axis(key, axis=1).merge(images, on=key, how="left", validate="1:1")
    table = table.merge(moa, on=["compound", "dose"], how="left", validate="m:1")
    table["week"] = table["plate"].str.partition("_")[0]
    return Wells(values.iloc[:, 2:].to_numpy(dtype=np.float64), table)


def treatments(wells: Wells, values: np.ndarray, mean: bool) -> tuple[np.ndarray, pd.DataFrame]:
    """Profiles (103, d) of the treatments with a mechanism, and their labels; each lies in one week."""
    known = (wells.table["mechanism"].notna() & (wells.table["compound"] != VEHICLE)).to_numpy()
    groups = wells.table[known].groupby(["compound", "dose", "mechanism"])
    if (groups["week"].nunique() != 1).any():
        raise ValueError("a treatment lies in more than one week: it has no batch of its own")
    average = np.mean if mean else np.median
    profiles = np.stack([average(values[rows], axis=0) for rows in groups.groups.values()])
    return profiles, groups["week"].first().reset_index()


def nsc(profiles: np.ndarray, labels: pd.DataFrame) -> Answer:
    """Not-same-compound accuracy over all treatments."""
    matches = mechanism_matches(profiles, profiles, *_twice(labels, "compound", "mechanism"))
    return _answer(matches)


def nscb(profiles: np.ndarray, labels: pd.DataFrame) -> Answer:
    """Not-same-compound-and-batch accuracy, without the mechanisms of one batch."""
    keep = ~labels["mechanism"].isin(ONE_BATCH).to_numpy()
    kept = labels[keep]
    return _answer(mechanism_matches(profiles[keep], profiles[keep], *_twice(kept, "compound", "mechanism", "week")))


def nscb_of_plates(wells: Wells, values: np.ndarray) -> tuple[Answer, Answer]:
    """NSCB of profiles of one treatment on one plate, with plates for batches and with weeks."""
    known = wells.table["mechanism"].notna() & (wells.table["compound"] != VEHICLE)
    known &= ~wells.table["mechanism"].isin(ONE_BATCH)
    groups = wells.table[known].groupby(["compound", "dose", "mechanism", "plate", "week"])
    profiles = np.stack([values[rows].mean(axis=0) for rows in groups.groups.values()])
    labels = pd.DataFrame(list(groups.groups), columns=["compound", "dose", "mechanism", "plate", "week"])
    plate, week = (
        _answer(mechanism_matches(profiles, profiles, *_twice(labels, "compound", "mechanism", batch)))
        for batch in ("plate", "week")
    )
    return plate, week


def chances(labels: pd.DataFrame) -> tuple[float, float]:
    """What NSC and NSCB are for neighbours drawn blindly."""
    kept = labels[~labels["mechanism"].isin(ONE_BATCH)]
    compounds, mechanisms = (labels[name].to_numpy(dtype=str) for name in ("compound", "mechanism"))
    return (
        chance_of_mechanism(compounds, mechanisms),
        chance_of_mechanism(*(kept[name].to_numpy(dtype=str) for name in ("compound", "mechanism", "week"))),
    )


def _twice(labels: pd.DataFrame, *columns: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(labels[name].to_numpy(dtype=str),) * 2 for name in columns]


def _answer(matches: np.ndarray) -> Answer:
    if np.isnan(matches).any():
        raise ValueError(f"{int(np.isnan(matches).sum())} treatments have no answer")
    return Answer(round(float(matches.sum())), len(matches))


def main() -> None:
    """Print the table of docs/metrics.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[2] / "shared" / "data" / "bbbc021"
    parser.add_argument("--data", type=Path, default=default, help="folder of the three files")
    folder = parser.parse_args().data
    if not folder.is_dir():
        print(f"{folder}: no such folder; the published per-well means are not at hand, nothing was computed")
        return
    wells = read_wells(folder)
    print("| scaling by vehicle | wells | TVN | NSC | NSCB |\n|---|---|---|---|---|")
    for scale in SCALES:
        for tvn in (False, True):
            values = wells.corrected(scale, tvn)
            for mean in (True, False):
                profiles, labels = treatments(wells, values, mean)
                row = (scale, "mean" if mean else "median", "yes" if tvn else "no", nsc(profiles, labels))
                print(f"| {' | '.join(map(str, row))} | {nscb(profiles, labels)} |")
    print("| chance |  |  | {:.1%} | {:.1%} |".format(*chances(labels)))
    plate, week = nscb_of_plates(wells, wells.corrected("centre", tvn=True))
    print(f"One treatment on one plate, centred, TVN: NSCB {plate} with plates for batches, {week} with weeks")


if __name__ == "__main__":
    main()
