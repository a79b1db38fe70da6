"""Matching compounds to L1000 by name and by structure, and structures filled from BBBC021's compound table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from l1000_files import write_gctx, write_table
from rdkit import Chem

from morphobench.datasets import l1000
from morphobench.datasets.frozen import check_structures, fingerprint_sha256, load_compounds, load_landmarks
from morphobench.datasets.l1000.matching import EXCLUDED, match, match_table
from morphobench.datasets.structures import fill_structures, skeletons
from morphobench.errors import BadInput


def rows_of(found, compound: str):
    return [row for row in found.matches if row.compound == compound]


@pytest.fixture(params=["own", "shared"])
def facts(request: pytest.FixtureRequest) -> pd.DataFrame:
    """What is known of the 98 compounds: the package's own table, and the one it was derived from where it is at hand.

    The own table does not keep which names LINCS has exactly: those of the paper's cohort, and those it leaves out.
    """
    if request.param == "own":
        table = load_compounds()
        return table.assign(lincs2020_exact_name=(table["cohort"] == "ID") | table["compound"].isin(list(EXCLUDED)))
    folder = request.getfixturevalue("shared_data")
    return pd.read_csv(folder / "bbbc021_l1000_compounds_98.csv", keep_default_na=False)


def compound_table(folder: Path, facts: pd.DataFrame) -> None:
    """compoundinfo_beta.txt of what is known: each id with its LINCS2020 name, and the structure where that matched."""
    rows = []
    for row in facts.itertuples():
        names = [name for name in row.l1000_names.split("|") if name and name != row.compound]
        if row.lincs2020_exact_name:
            names = [row.compound]
        key = Chem.MolToInchiKey(Chem.MolFromSmiles(row.smiles)) if row.l1000_match == "structure" else -666
        for pert_id in filter(None, row.l1000_pert_ids.split("|")):
            name = names[0] if names else pert_id
            rows.append({"pert_id": pert_id, "cmap_name": name, "inchi_key": key})
    rows.append({"pert_id": "BRD-K00000001", "cmap_name": "something else", "canonical_smiles": "CCCCCCCCO"})
    write_table(folder, "compoundinfo_beta.txt", rows)


def level3(folder: Path, facts: pd.DataFrame) -> None:
    """One MCF7 well of each id that has MCF7 evidence, and a vehicle well, of noise."""
    wells = [("DMSO", "DMSO", "ctl_vehicle")]
    for row in facts[facts["mcf7_evidence"] != ""].itertuples():
        name = row.compound if row.lincs2020_exact_name else "unnamed"
        wells += [(pert_id, name, "trt_cp") for pert_id in row.l1000_pert_ids.split("|")]
    about = pd.DataFrame(wells, columns=["pert_id", "pert_iname", "pert_type"])
    about = about.assign(id=[f"w{number}" for number in about.index], cell_id="MCF7", pert_itime="24 h", rna_plate="P")
    values = np.random.default_rng(0).uniform(4, 14, (len(about), 978)).astype(np.float32)
    write_gctx(folder / "level3.gctx", about, values, load_landmarks()["entrez_id"].astype(str).tolist())


@pytest.mark.parametrize("tables", [True, False], ids=["computed", "recorded"])
def test_structure_gives_68_and_name_the_44_of_the_paper(facts, tmp_path, tables):
    if tables:
        compound_table(tmp_path, facts)
    level3(tmp_path, facts)
    compounds, landmarks = load_compounds(), load_landmarks()["entrez_id"].to_numpy()

    def found(mode: str) -> tuple[set[str], set[str], pd.DataFrame]:
        profiles = l1000.read_profiles(tmp_path, compounds, landmarks, "MCF7", 24.0, mode)
        matched = {row.compound for row in match(compounds, tmp_path, mode).matches if row.used}
        profiled = np.array(profiles.compounds)[profiles.treated_wells > 0]
        return matched, set(profiled), profiles.matches

    matched, profiled, table = found("structure")
    assert len(matched) == 74
    assert profiled == set(compounds.loc[compounds["structure_matched"], "compound"])
    assert len(profiled) == 68
    assert set(table["compound"]) == set(compounds["compound"])
    matched, profiled, table = found("name")
    cohort = set(compounds.loc[compounds["cohort"] == "ID", "compound"])
    assert len(cohort) == 44
    assert profiled == cohort - {"carboplatin"}  # which has no MCF7 profile, so its membership is of medium confidence
    if tables:
        assert matched == cohort
        exact = set(facts.loc[facts["lincs2020_exact_name"], "compound"])
        assert exact - cohort == set(EXCLUDED)
    unsure = table[table["cohort_confidence"] != "high"].drop_duplicates("compound")
    assert sorted(unsure["compound"]) == ["PD-169316", "alsterpaullone", "carboplatin"]


def test_computed_ids_agree_with_the_recorded_ones_on_the_facts(facts, tmp_path):
    compound_table(tmp_path, facts)
    found = match(load_compounds(), tmp_path, "structure")
    assert found.disagreements() == []
    recorded = {key for ids in load_compounds()["l1000_pert_ids"] for key in ids.split("|") if key}
    assert set(found.ids) == recorded
    how = pd.Series({row.compound: row.how for row in found.matches}).value_counts()
    assert how["none"] == 24


TABLE = [
    {"pert_id": "BRD-1", "cmap_name": "emetine"},
    {"pert_id": "BRD-2", "cmap_name": "paclitaxel"},
    {"pert_id": "BRD-3", "cmap_name": "BRD-3", "compound_aliases": "Cytochalasin-B"},
    {"pert_id": "BRD-4", "cmap_name": "hyoscyamine"},
    {"pert_id": "BRD-5", "cmap_name": "nothing of ours", "canonical_smiles": "CCCCCCCCO"},
    {"pert_id": "BRD-6", "cmap_name": "cyclophosphamide", "canonical_smiles": "CCO"},
    {"pert_id": "BRD-7", "cmap_name": "restricted one", "canonical_smiles": "restricted"},
]


def test_each_kind_of_evidence(tmp_path):
    compounds = load_compounds()
    smiles = dict(zip(compounds["compound"], compounds["smiles"], strict=True))
    rows = [dict(row) for row in TABLE]
    rows[3]["inchi_key"] = Chem.MolToInchiKey(Chem.MolFromSmiles(smiles["atropine"]))[:14] + "-XXXXXXXXXX-N"
    write_table(tmp_path, "compoundinfo_beta.txt", [*rows, rows[0] | {"target": "a second line of one compound"}])
    found = match(compounds, tmp_path, "structure")
    used = {row.compound: (row.how, row.pert_id, row.source) for row in found.matches if row.used}
    assert used == {
        "emetine": ("name", "BRD-1", "compoundinfo_beta.txt"),
        "taxol": ("synonym", "BRD-2", "compoundinfo_beta.txt"),
        "cytochalasin B": ("synonym", "BRD-3", "compoundinfo_beta.txt"),
        "atropine": ("skeleton", "BRD-4", "compoundinfo_beta.txt"),
        "cyclophosphamide": ("name", "BRD-6", "compoundinfo_beta.txt"),
    }
    (other,) = [row for row in rows_of(found, "cyclophosphamide") if row.used]
    assert other.note.startswith("skeleton LFQSCWFLJHTTHZ, here CMSMOCZEIVJLDB; not in compounds.csv")
    only = [row for row in rows_of(found, "taxol") if not row.used]
    assert {row.pert_id for row in only} == set(
        compounds.set_index("compound").loc["taxol", "l1000_pert_ids"].split("|")
    )
    assert {row.note for row in only} == {"only in compounds.csv; not in compoundinfo_beta.txt"}
    assert {"taxol", "rapamycin"} <= set(found.disagreements())
    by_name = match(compounds, tmp_path, "name")
    assert {row.compound for row in by_name.matches if row.used} == {"emetine", "cyclophosphamide"}


def test_a_salt_and_a_second_table(tmp_path):
    compounds = load_compounds()
    assert skeletons("CCCC(=O)[O-].[Na+]") & skeletons("CCCC(=O)O")
    assert not skeletons("[F-].[Na+]") & skeletons("[Cl-].[Na+]")
    assert skeletons("") == skeletons("not a structure") == frozenset()
    butyrate = {"pert_id": "BRD-S", "cmap_name": "butyrate", "canonical_smiles": "CCCC(=O)O"}
    write_table(tmp_path, "compoundinfo_beta.txt", [butyrate])
    again = [
        {"pert_id": "BRD-S", "pert_iname": "emetine"},
        {"pert_id": "BRD-G", "pert_iname": "emetine"},
    ]
    write_table(tmp_path, "GSE92742_Broad_LINCS_pert_info.txt.gz", again)
    found = match(compounds, tmp_path, "structure")
    assert found.ids == {"BRD-S": "sodium butyrate", "BRD-G": "emetine"}
    (refused,) = [row for row in rows_of(found, "emetine") if row.pert_id == "BRD-S"]
    assert (refused.used, refused.note) == (False, "another table has it as sodium butyrate")


def test_stereoisomers_that_no_name_tells_apart_are_not_guessed(tmp_path):
    compounds = load_compounds()
    smiles = compounds.set_index("compound").loc["deoxynojirimycin", "smiles"]
    rows = [
        {"pert_id": "BRD-A", "cmap_name": "BRD-A", "canonical_smiles": smiles},
        {"pert_id": "BRD-B", "cmap_name": "Deoxy-nojirimycin", "canonical_smiles": smiles},
    ]
    write_table(tmp_path, "compoundinfo_beta.txt", rows)
    found = match(compounds, tmp_path, "structure")
    assert found.ids == {"BRD-B": "deoxynojirimycin"}
    notes = {row.compound: row.note for row in found.matches if row.pert_id == "BRD-A"}
    assert set(notes) == {"deoxynojirimycin", "deoxymannojirimycin"}
    assert all("no name tells them apart" in note for note in notes.values())


def test_the_table_of_matches_counts_wells(tmp_path):
    compounds = load_compounds()
    matched = match(compounds, tmp_path, "structure")
    treated = pd.DataFrame(
        [("taxol", "BRD-K86858124", "paclitaxel", "a.gctx")] * 2 + [("emetine", "BRD-X", "emetine", "b.gctx")],
        columns=["compound", "pert_id", "pert_iname", "file"],
    )
    table = match_table(matched, compounds, treated).set_index(["compound", "pert_id"])
    assert table.loc[("taxol", "BRD-K86858124"), ["how", "treated_wells"]].tolist() == ["recorded id", 2]
    row = table.loc[("emetine", "BRD-X")]
    assert row[["how", "source", "treated_wells"]].tolist() == ["name", "b.gctx", 1]
    assert table["treated_wells"].sum() == 3
    assert list(dict.fromkeys(table.index.get_level_values(0))) == compounds["compound"].tolist()
    assert table.loc[("leupeptin", ""), "how"] == "none"


def hidden(*names: str) -> pd.DataFrame:
    """compounds.csv without the structures of some."""
    compounds = load_compounds()
    return compounds.assign(smiles=compounds["smiles"].where(~compounds["compound"].isin(names), ""))


def test_missing_structures_are_filled_and_checked(tmp_path):
    path = tmp_path / "BBBC021_v1_compound.csv"
    names = ["quercetin", "emetine", "sodium fluoride"]
    real = load_compounds().set_index("compound")["smiles"]
    path.write_text(
        "compound,smiles\n"
        f"quercetin,{Chem.MolToSmiles(Chem.MolFromSmiles(real['quercetin']), doRandom=True)}\n"  # another spelling
        f"emetine,{real['emetine']}.Cl\n"  # the salt, where the recorded hash is of the base
        "sodium fluoride,[Na+].[F-]\n"  # whose recorded hash is of the salt
        "DMSO,CS(C)=O\nUNKNOWN,\n"
        f"taxol,{real['taxol']}\n"
    )
    filled = fill_structures(hidden(*names), path)
    check_structures(filled)
    assert (filled["smiles"] == "").sum() == 14
    by_name = filled.set_index("compound")["smiles"]
    for name in names:
        assert fingerprint_sha256(by_name[name]) == fingerprint_sha256(real[name])
    assert by_name["taxol"] == real["taxol"]
    pd.testing.assert_frame_equal(filled.drop(columns="smiles"), load_compounds().drop(columns="smiles"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "compound,smiles\nDMSO,CS(C)=O\nquercetin,CCO\n",
            r"line 3: compound 'quercetin': SMILES CCO gives fingerprint \w{12}\.\.\., not the recorded \w{12}",
            id="changed",
        ),
        pytest.param("compound,smiles\nAZ258,CCO\n", "line 2: compound 'AZ258': SMILES CCO gives", id="wrong fill"),
        pytest.param(
            "compound,smiles\nAZ258,C(C\n", r"line 2: compound 'AZ258': SMILES 'C\(C': does not parse", id="text"
        ),
        pytest.param("compound,smiles\nAZ258,C(.C\n", r"line 2: compound 'AZ258': SMILES", id="text with a dot"),
        pytest.param("name,smiles\nAZ258,CCO\n", "column compound is missing; give the table as BBBC021", id="column"),
        pytest.param("", "cannot be read .*download it again", id="empty"),
    ],
)
def test_a_bad_compound_table_is_named(tmp_path, text, message):
    path = tmp_path / "BBBC021_v1_compound.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=rf"BBBC021_v1_compound.csv: {message}") as caught:
        fill_structures(load_compounds(), path)
    assert "\n" not in str(caught.value)
