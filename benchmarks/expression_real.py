"""What predictions that learn nothing score on real L1000 profiles, by the package's own functions.

    python benchmarks/expression_real.py FOLDER

FOLDER holds two small Level 3 files: `prnet_level3_HT115_6h_bbbc021.gctx` (14 compounds of BBBC021 in HT115 at 6 h, 29
wells on two plates, and 20 vehicle wells) and `transigen_level3_MCF7_pairs_n20x978.gctx` (10 compounds in MCF7, each
with one well and a control well of its own). Every compound is held out in turn and predicted from the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from morphobench.datasets import load_compounds
from morphobench.datasets.frozen import load_landmarks
from morphobench.datasets.l1000.gctx import open_expression
from morphobench.metrics import METRICS, ExpressionInputs
from morphobench.scoring.trivial_predictions import MEAN, NEAREST, SHUFFLED, TrainingChanges, trivial_changes

HT115 = "prnet_level3_HT115_6h_bbbc021.gctx"
MCF7 = "transigen_level3_MCF7_pairs_n20x978.gctx"
ROWS = ("lfc_pearson", "lfc_pearson_vehicle", "lfc_pearson_perturbed_mean", "centroid_accuracy")


@dataclass(frozen=True)
class Wells:
    """Treated wells (N, 978) log2, the vehicle profile of each, and compounds and plates (N,)."""

    pre: np.ndarray
    post: np.ndarray
    compounds: np.ndarray
    plates: np.ndarray

    @property
    def raw(self) -> float:
        """Mean r over genes between a compound's profile and its vehicle: what no change scores on raw profiles."""
        names = np.unique(self.compounds)
        sides = ([side[self.compounds == name].mean(axis=0) for name in names] for side in (self.pre, self.post))
        return float(np.mean([np.corrcoef(pre, post)[0, 1] for pre, post in zip(*sides, strict=True)]))

    def changes(self) -> TrainingChanges:
        """Mean change of each compound."""
        names = np.unique(self.compounds)
        change = (self.post - self.pre).astype(np.float64)
        means = np.array([change[self.compounds == name].mean(axis=0) for name in names])
        return TrainingChanges(tuple(names.tolist()), means)


def read_ht115(folder: Path, control: str) -> Wells:
    """The HT115 file; the vehicle of a well is `plate`: its plate's mean, `all`: that of both, `paired`: one well's."""
    file = open_expression(folder / HT115)
    values = file.read(np.arange(len(file.samples)), load_landmarks()["entrez_id"].to_numpy())
    table, vehicle = file.samples, (file.samples["pert_type"] == "ctl_vehicle").to_numpy()
    plates, ids = table["rna_plate"].to_numpy(dtype=str), table["id"].to_numpy(dtype=str)
    treated = np.flatnonzero(~vehicle)
    rows = {
        "plate": [np.flatnonzero(vehicle & (plates == plates[well])) for well in treated],
        "all": [np.flatnonzero(vehicle)] * len(treated),
        "paired": [np.flatnonzero(ids == partner) for partner in table["paired_control_index"].iloc[treated]],
    }[control]
    pre = np.stack([values[row].mean(axis=0) for row in rows])
    return Wells(pre, values[treated], table["bbbc021_compound"].to_numpy(dtype=str)[treated], plates[treated])


def read_mcf7(folder: Path) -> Wells:
    """The MCF7 file; each treated well has one control well of its own. Its plates are not told."""
    file = open_expression(folder / MCF7)
    values = file.read(np.arange(len(file.samples)), load_landmarks()["entrez_id"].to_numpy())
    ids = file.samples["id"].to_numpy(dtype=str)
    treated = np.flatnonzero((file.samples["pert_type"] == "trt_cp").to_numpy())
    control = [int(np.flatnonzero(ids == ids[well].replace("trt", "ctl"))[0]) for well in treated]
    compounds = file.samples["canonical_smiles"].to_numpy(dtype=str)[treated]
    return Wells(values[control], values[treated], compounds, np.full(len(treated), "unknown"))


def left_out(wells: Wells) -> dict[str, ExpressionInputs]:
    """Name of a trivial prediction -> the wells with each compound predicted from the others; "no change" is G_pre."""
    known = wells.changes()
    table = load_compounds()
    if not set(known.compounds) <= set(table["compound"]):
        # Compounds of the MCF7 file are known by their structures.
        table = table.iloc[:0].reindex(range(len(known.compounds)))
        table["compound"] = table["smiles"] = list(known.compounds)
    means: dict[str, list[np.ndarray]] = {"no change": [], MEAN: [], NEAREST: [], SHUFFLED: []}
    for place, compound in enumerate(known.compounds):
        rest = TrainingChanges(
            tuple(name for name in known.compounds if name != compound), np.delete(known.lfc, place, axis=0)
        )
        for name, change in trivial_changes(rest, table, [compound]).items():
            if name in means:
                means[name].append(change[0])
    member = np.searchsorted(known.compounds, wells.compounds)
    return {
        name: ExpressionInputs(
            wells.pre + np.array(change)[member], wells.post, wells.pre, wells.compounds, wells.plates
        )
        for name, change in means.items()
    }


def scores(inputs: ExpressionInputs) -> dict[str, float | None]:
    """Every expression row of the registry; None where there is no value."""
    found: dict[str, float | None] = {}
    for key in ROWS:
        try:
            found[key] = METRICS[key].score(inputs)
        except ValueError:
            found[key] = None
    return found


def cases(folder: Path) -> Iterator[tuple[str, Wells]]:
    """The files, the HT115 one with each choice of vehicle."""
    for control in ("paired", "plate", "all"):
        yield f"HT115, vehicle: {control}", read_ht115(folder, control)
    yield "MCF7 pairs", read_mcf7(folder)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    table = Table("profiles", "compounds", "raw r of no change", "prediction", *ROWS)
    for title, wells in cases(folder):
        for name, inputs in left_out(wells).items():
            values = [f"{value:.3f}" if value is not None else "-" for value in scores(inputs).values()]
            table.add_row(title, str(len(np.unique(wells.compounds))), f"{wells.raw:.3f}", name, *values)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
