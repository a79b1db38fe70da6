"""The figures of the data card are those of the tables that they are about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from morphobench.datasets import load_compounds, load_tier
from morphobench.datasets.morphogene.build import ALL_FIELDS, ALL_PLATES

CARD = " ".join((Path(__file__).parents[1] / "docs" / "data-card.md").read_text(encoding="utf-8").split())


def said(*sentences: str) -> None:
    for sentence in sentences:
        assert sentence in CARD, sentence


def test_counts_are_those_of_the_compound_table() -> None:
    table = load_compounds()
    cohort, confidence = table["cohort"].value_counts(), table["cohort_confidence"].value_counts()
    matched = table["structure_matched"]
    plates = table["n_plates"].value_counts()
    annotated = table.loc[table["moa"] != "", "moa"]
    usual = table.loc[table["n_images"] < 100, "n_images"]
    said(
        f"{cohort['ID']} compounds are `ID`, seen in training, and {cohort['OOD']} are `OOD`",
        f"high for {confidence['high']} and medium for {confidence['medium']}",
        f"by structure, {matched.sum()} of the {len(table)} have MCF7 profiles",
        f"{(matched & (table['cohort'] == 'OOD')).sum()} of the {cohort['OOD']} held-out compounds do have",
        f"Structures of {(table['smiles'] != '').sum()} are known",
        f"{annotated.size} have one of BBBC021's {annotated.nunique()} mechanisms",
        f"the mechanisms of {len(table) - annotated.size} compounds",
        f"{table['n_images'].sum():,} fields are of the {len(table)} compounds, {usual.min()} to {usual.max()} of most",
        f"{table['n_images'].max():,} of {table.loc[table['n_images'].idxmax(), 'compound']}, which is on every plate",
        f"{plates[3]} of {len(table)} are on three plates of one layout, {plates[2]} on two",
    )
    assert table["n_plates"].max() == ALL_PLATES


def test_counts_are_those_of_the_tiers() -> None:
    said(f"{len(load_tier('sim').samples):,} of 128 x 128", f"{ALL_FIELDS:,} when all plates are there")


def test_counts_are_those_of_the_image_table(shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "bbbc021" / "BBBC021_v1_image.csv.gz")
    plate, compound = table["Image_Metadata_Plate_DAPI"], table["Image_Metadata_Compound"]
    wells = table.groupby([plate, table["Image_Metadata_Well_DAPI"]]).size()
    assert set(wells) == {4}
    said(f"{plate.nunique()} plates, {len(table):,} fields, four per well")
    said(f"BBBC021's {compound.nunique()} names")
    # A layout is the set of plates that hold the same compounds: all of one week?
    layouts = compound.groupby(plate).agg(lambda names: "|".join(sorted(set(names))))
    weeks = layouts.index.to_series().str.extract(r"^(Week\d+)_", expand=False)
    assert (weeks.groupby(layouts).nunique() == 1).all()
