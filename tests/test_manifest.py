"""The frozen tables: hashes, structures, and every fact derived again from the real files."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import AllChem

from morphobench import storage
from morphobench.datasets import load_compounds, load_gene_sets, load_landmarks
from morphobench.datasets.frozen import (
    COMPOUND_COLUMNS,
    HERE,
    check_structures,
    doses,
    fingerprint_sha256,
    morgan_fingerprint,
)
from morphobench.datasets.morphogene.split_rules import frozen_fields
from morphobench.datasets.sim import load_sim
from morphobench.datasets.simulate.mechanisms import MECHANISMS
from morphobench.errors import BadInput

LOADERS = {
    "compounds.csv": load_compounds,
    "landmarks.csv": load_landmarks,
    "gene_sets.csv.gz": load_gene_sets,
    "splits/sim.csv.gz": load_sim,
    "splits/morphogene.csv.gz": frozen_fields,
    "tiers/sim.toml": load_sim,
}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE.parents[1] / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A copy of the frozen tables that a test may damage."""
    for name in [*storage.read_sums(HERE), "SHA256SUMS"]:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / name, target)
    return tmp_path


def test_every_table_is_listed_and_as_listed() -> None:
    listed = storage.verify_sums(HERE)
    suffixes = ("csv", "csv.gz", "json", "safetensors")
    shipped = {path.relative_to(HERE).as_posix() for suffix in suffixes for path in HERE.rglob(f"*.{suffix}")}
    assert set(listed) == shipped | {"tiers/sim.toml"}


@pytest.mark.parametrize("name", LOADERS)
def test_a_changed_byte_names_the_file(tables: Path, name: str) -> None:
    data = bytearray((tables / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tables / name).write_bytes(data)
    with pytest.raises(BadInput, match=name.replace(".", r"\.") + r".*restore"):
        LOADERS[name](tables)


def test_a_missing_table_names_the_file(tables: Path) -> None:
    (tables / "landmarks.csv").unlink()
    with pytest.raises(BadInput, match=r"landmarks\.csv.*not there"):
        load_landmarks(tables)


def test_a_table_without_a_hash_is_refused(tables: Path) -> None:
    (tables / "SHA256SUMS").write_text("")
    with pytest.raises(BadInput, match=r"SHA256SUMS: no line for compounds\.csv"):
        load_compounds(tables)


def test_compounds_hold_what_the_paper_needs() -> None:
    compounds = load_compounds()
    assert tuple(compounds.columns) == COMPOUND_COLUMNS
    assert compounds["order"].tolist() == list(range(98))
    assert compounds["compound"].is_unique
    assert compounds["cohort"].value_counts().to_dict() == {"OOD": 54, "ID": 44}
    assert compounds["cohort_confidence"].value_counts().to_dict() == {"high": 95, "medium": 3}
    assert compounds["structure_matched"].sum() == 68
    assert (compounds["structure_matched"] & (compounds["cohort"] == "OOD")).sum() == 25
    assert set(compounds["moa"]) == {"", *MECHANISMS}
    assert not compounds.isna().any(axis=None)


def test_fingerprints_are_derived_again_from_the_structures() -> None:
    compounds = load_compounds()
    check_structures(compounds)
    assert (compounds["smiles"] != "").sum() == 84


def test_fingerprint_equals_the_older_rdkit_function() -> None:
    smiles = "O=c1c(O)c(-c2ccc(O)c(O)c2)oc2cc(O)cc(O)c12"
    reference = np.zeros(1024, dtype=np.uint8)
    older = AllChem.GetMorganFingerprintAsBitVect(Chem.MolFromSmiles(smiles), 2, nBits=1024)
    DataStructs.ConvertToNumpyArray(older, reference)
    assert np.array_equal(morgan_fingerprint(smiles), reference)
    assert len(fingerprint_sha256(smiles)) == 64


@pytest.mark.parametrize("smiles", ["C1CC", "not a molecule", "C(C)(C)(C)(C)C"])
def test_a_smiles_that_does_not_parse_names_its_compound(smiles: str) -> None:
    compounds = load_compounds()
    compounds.loc[compounds["compound"] == "quercetin", "smiles"] = smiles
    with pytest.raises(BadInput, match=r"compound 'quercetin': SMILES .* does not parse"):
        check_structures(compounds)


def test_another_structure_is_noticed() -> None:
    compounds = load_compounds()
    compounds.loc[compounds["compound"] == "quercetin", "smiles"] = "CCO"
    with pytest.raises(BadInput, match=r"compound 'quercetin': SMILES gives fingerprint"):
        check_structures(compounds)


def test_doses_by_compound() -> None:
    assert doses(load_compounds(), "docetaxel") == (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    with pytest.raises(BadInput, match="compound 'aspirin'"):
        doses(load_compounds(), "aspirin")


def test_landmarks_are_978_and_gene_sets_lie_in_them() -> None:
    landmarks = load_landmarks()
    assert len(landmarks) == 978
    assert landmarks["entrez_id"].is_unique
    assert landmarks["symbol"].is_unique
    gene_sets = load_gene_sets()
    assert {gene for genes in gene_sets.values() for gene in genes} <= set(landmarks["symbol"])
    assert all(3 <= len(genes) <= 200 and len(set(genes)) == len(genes) for genes in gene_sets.values())
    for term in ("GO:0001558", "GO:0006260", "GO:2001233"):
        assert any(term in name for name in gene_sets)


def test_doses_counts_and_mechanisms_are_those_of_the_real_tables(shared_data: Path) -> None:
    images = pd.read_csv(shared_data / "bbbc021" / "BBBC021_v1_image.csv.gz")
    mechanisms = pd.read_csv(shared_data / "bbbc021" / "BBBC021_v1_moa.csv")
    compounds = load_compounds()
    for row in compounds.itertuples():
        of = images[images["Image_Metadata_Compound"] == row.compound]
        assert doses(compounds, row.compound) == tuple(sorted(of["Image_Metadata_Concentration"].unique()))
        assert row.n_images == len(of)
        active = mechanisms[mechanisms["compound"] == row.compound]
        recorded = {float(dose) for dose in str(row.moa_doses_um).split("|") if dose}
        assert recorded == set(active["concentration"])
        assert {row.moa} - {""} == set(active["moa"])


def test_the_script_derives_the_same_tables(shared_data: Path) -> None:
    derive = script("derive_manifest")
    bbbc021 = shared_data / "bbbc021"
    compounds = derive.derive_compounds(
        shared_data / "bbbc021_l1000_compounds_98.csv",
        bbbc021 / "BBBC021_v1_moa.csv",
        bbbc021 / "BBBC021_v1_image.csv.gz",
    )
    pd.testing.assert_frame_equal(compounds, load_compounds(), check_dtype=False)
    landmarks = derive.derive_landmarks(shared_data / "l1000" / "geneinfo_beta_landmark978.txt")
    pd.testing.assert_frame_equal(landmarks.reset_index(drop=True), load_landmarks(), check_dtype=False)
    gene_sets = derive.derive_gene_sets(
        shared_data / "genesets" / "GO_Biological_Process_2023.gmt", set(landmarks["symbol"])
    )
    assert {row.term: tuple(row.genes.split("|")) for row in gene_sets.itertuples()} == load_gene_sets()


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    derive = script("derive_manifest")
    for name in ("a.csv.gz", "b.csv.gz"):
        derive.write_csv(load_landmarks(), tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
