"""Which L1000 perturbagens (BRD ids) are which of the 98 compounds: two matchings, and the evidence of each.

- structure: exact name, or the same InChIKey skeleton (formula and connectivity: stereoisomers count as one), or a
  synonym (names alike but for case and punctuation, an alias in LINCS's compound table, or a name in compounds.csv).
- name: exact name only, less EXCLUDED: with LINCS2020 this gives the paper's 44 ID compounds.

Computed from the compound tables of LINCS where they lie beside the matrices; without them the structure matching takes
the ids recorded in compounds.csv, and the name matching the names that the wells carry.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from morphobench.datasets.l1000 import lincs
from morphobench.datasets.structures import skeletons

MatchingMode = Literal["structure", "name"]
EXCLUDED = ("PD-169316", "alsterpaullone")
"""Exact names in LINCS2020 without MCF7 profiles: 46 names less these are as many as the paper's ID compounds."""
_STRENGTH = ("name", "skeleton", "synonym", "recorded id", "none")


@dataclass(frozen=True)
class Match:
    """One compound and one BRD id, and why they belong together.

    how: name, skeleton, synonym, recorded id, or none (then nothing else is set). source: the table or file that says
    so. used: false for an id that is only reported. note: where LINCS's tables and compounds.csv disagree.
    treated_wells: those used.
    """

    compound: str
    how: str
    pert_id: str = ""
    l1000_name: str = ""
    source: str = ""
    used: bool = False
    note: str = ""
    treated_wells: int = 0


@dataclass(frozen=True)
class Matching:
    """A matching of the compounds; `matches` in their order, the strongest first, at least one each.

    ids: BRD id -> compound. names: name as `name_key` has it -> compound, for wells whose id is not among these.
    """

    mode: MatchingMode
    matches: tuple[Match, ...]
    ids: dict[str, str]
    names: dict[str, str]

    def compound_of(self, pert_id: str, name: str) -> str:
        """The compound of a well by its id, or else by its name; "" if it is none of the compounds."""
        return self.ids.get(pert_id, "") or self.names.get(name_key(name, self.mode), "")

    def disagreements(self) -> list[str]:
        """Compounds on which LINCS's tables and compounds.csv disagree."""
        return list(dict.fromkeys(row.compound for row in self.matches if row.note))


def match(compounds: pd.DataFrame, folder: Path, mode: MatchingMode) -> Matching:
    """Match `compounds` (rows of compounds.csv) by the compound tables in `folder`, or without by what is recorded.

    Raises BadInput for a damaged table.
    """
    tables = {path.name: lincs.read_table(path, "compounds") for path in lincs.table_paths(folder, "compounds")}
    search = _Search(compounds, mode)
    rows = _one_compound_each([row for name, table in tables.items() for row in search.matches(table, name)])
    if mode == "structure":
        recorded = _recorded(compounds)
        rows = [*rows, *_not_computed(recorded, rows, tables)] if tables else recorded
    ids = {row.pert_id: row.compound for row in rows if row.used}
    return Matching(mode, _in_order(compounds, rows), ids, _names(compounds, mode))


def name_key(name: str, mode: MatchingMode) -> str:
    """A name as it is compared: as it stands by name, lower-case letters and digits alone by structure."""
    return str(name) if mode == "name" else re.sub(r"[^a-z0-9]", "", str(name).lower())


def match_table(matching: Matching, compounds: pd.DataFrame, treated: pd.DataFrame) -> pd.DataFrame:
    """The matching as a table: the fields of Match, and the paper's cohort of the compound and how sure that is.

    treated: one row per treated well used, columns compound, pert_id, pert_iname, file. An id that only its wells' name
    placed gets a row of its own.
    """
    wells = {
        key: Match(key[0], "name" if key[0] == own["pert_iname"].iloc[0] else "synonym", key[1],
                   own["pert_iname"].iloc[0], own["file"].iloc[0], True, "by the name that the wells carry", len(own))
        for key, own in treated.groupby(["compound", "pert_id"])
    }  # fmt: skip
    rows = []
    for row in matching.matches:
        seen = wells.pop((row.compound, row.pert_id), None) if row.used else None
        rows.append(replace(row, treated_wells=seen.treated_wells) if seen else row)
    placed = {row.compound for row in wells.values()}
    rows = [row for row in rows if row.how != "none" or row.compound not in placed] + list(wells.values())
    table = pd.DataFrame([asdict(row) for row in _in_order(compounds, rows)])
    return table.merge(compounds[["compound", "cohort", "cohort_confidence"]], on="compound")


class _Search:
    """What the compounds are known by, to find them in a compound table."""

    def __init__(self, compounds: pd.DataFrame, mode: MatchingMode) -> None:
        self.mode = mode
        self.exact = {name for name in compounds["compound"] if mode == "structure" or name not in EXCLUDED}
        self.spelt = _names(compounds, mode)
        self.recorded = {row.pert_id for row in _recorded(compounds)}
        self.structures = dict(zip(compounds["compound"], map(skeletons, compounds["smiles"]), strict=True))
        self.alike: dict[str, list[str]] = defaultdict(list)
        for compound, keys in self.structures.items():
            for key in keys:
                self.alike[key].append(compound)

    def matches(self, table: pd.DataFrame, source: str) -> Iterator[Match]:
        """The rows of one table that are of these compounds."""
        columns = [name for name in ("pert_iname", "alias", "smiles", "inchi_key") if name in table]
        entries: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for pert_id, *values in table[["pert_id", *columns]].itertuples(index=False):
            for column, value in zip(columns, values, strict=True):
                entries[pert_id][column] |= {value} - {""}  # LINCS2020 repeats a compound for each alias and target
        for pert_id, entry in entries.items():
            for row in self._of_entry(entry):
                news = row.used and self.mode == "structure" and pert_id not in self.recorded
                note = "; ".join(filter(None, [row.note, "not in compounds.csv" if news else ""]))
                name = "|".join(sorted(entry["pert_iname"]))
                yield replace(row, pert_id=pert_id, l1000_name=name, source=source, note=note)

    def _of_entry(self, entry: dict[str, set[str]]) -> list[Match]:
        exact = sorted(entry["pert_iname"] & self.exact)
        if self.mode == "name" and not exact:
            return []
        keys = {key[:14] for key in entry["inchi_key"]}
        keys = keys or {key for smiles in entry["smiles"] for key in skeletons(smiles)}
        for compound in exact:
            ours = self.structures[compound]
            differs = bool(keys and ours and not keys & ours)
            note = f"skeleton {'/'.join(sorted(keys))}, here {'/'.join(sorted(ours))}" if differs else ""
            return [Match(compound, "name", used=True, note=note)]
        alike = list(dict.fromkeys(name for key in sorted(keys) for name in self.alike.get(key, ())))
        if len(alike) == 1:
            return [Match(alike[0], "skeleton", used=True)]
        names = sorted(name_key(name, self.mode) for name in entry["pert_iname"] | entry["alias"])
        for compound in (self.spelt[name] for name in names if name in self.spelt):
            return [Match(compound, "synonym", used=True)]
        note = f"skeleton shared by {' and '.join(alike)}, and no name tells them apart"
        return [Match(compound, "skeleton", note=note) for compound in alike]


def _names(compounds: pd.DataFrame, mode: MatchingMode) -> dict[str, str]:
    if mode == "name":
        return {name: name for name in compounds["compound"] if name not in EXCLUDED}
    names: dict[str, str] = {}
    for row in compounds.itertuples():
        keys = [name_key(name, mode) for name in (*row.l1000_names.split("|"), row.compound)]
        names |= {key: row.compound for key in keys if key}
    return names


def _recorded(compounds: pd.DataFrame) -> list[Match]:
    return [
        Match(row.compound, "recorded id", pert_id, row.l1000_names, "compounds.csv", used=True)
        for row in compounds.itertuples()
        for pert_id in row.l1000_pert_ids.split("|")
        if pert_id
    ]


def _not_computed(recorded: Sequence[Match], rows: Sequence[Match], tables: dict[str, pd.DataFrame]) -> list[Match]:
    computed = {(row.compound, row.pert_id) for row in rows}
    called = {
        pert_id: f"{source} gives it as {name}"
        for source, table in tables.items()
        for pert_id, name in zip(table["pert_id"], table["pert_iname"], strict=True)
    }
    absent = f"not in {' or '.join(tables)}"
    return [
        replace(row, used=False, note=f"only in compounds.csv; {called.get(row.pert_id, absent)}")
        for row in recorded
        if (row.compound, row.pert_id) not in computed
    ]


def _one_compound_each(rows: Sequence[Match]) -> list[Match]:
    """What a second table says of an id again is dropped; where it names another compound, that is noted, not used."""
    taken: dict[str, str] = {}
    kept = list({(row.compound, row.pert_id): row for row in reversed(rows)}.values())[::-1]
    for place, row in enumerate(kept):
        first = taken.setdefault(row.pert_id, row.compound) if row.used else row.compound
        if first != row.compound:
            kept[place] = replace(row, used=False, note=f"another table has it as {first}")
    return kept


def _in_order(compounds: pd.DataFrame, rows: Sequence[Match]) -> tuple[Match, ...]:
    order = {compound: place for place, compound in enumerate(compounds["compound"])}
    none = [Match(compound, "none") for compound in order if compound not in {row.compound for row in rows}]
    return tuple(sorted([*rows, *none], key=lambda row: (order[row.compound], _STRENGTH.index(row.how), row.pert_id)))
