"""The L1000 reader: real GCTX and GCT files, means against plain arithmetic, and every way a file can be wrong."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from morphobench.datasets import l1000
from morphobench.datasets.manifest import load_compounds, load_landmarks
from morphobench.errors import BadInput

GENES = np.array([11, 22, 33])
COMPOUNDS = pd.DataFrame(
    {"compound": ["aspirin", "taxol"], "l1000_pert_ids": ["BRD-1", ""], "l1000_names": ["", "paclitaxel"]}
)
WELLS = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e"],
        "pert_type": ["ctl_vehicle", "ctl_vehicle", "trt_cp", "trt_cp", "trt_cp"],
        "pert_id": ["DMSO", "DMSO", "BRD-1", "BRD-9", "BRD-1"],
        "pert_iname": ["DMSO", "DMSO", "something", "Paclitaxel", "something"],
        "cell_id": ["MCF7"] * 5,
        "pert_itime": ["24 h", "24 h", "24 h", "24 h", "6 h"],
        "rna_plate": ["P1", "P2", "P1", "P3", "P1"],
    }
)
MATRIX = np.arange(15, dtype=np.float32).reshape(5, 3) + 1  # samples, genes


def write_gctx(path: Path, wells: pd.DataFrame, matrix: np.ndarray, genes: list[str]) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("0/DATA/0/matrix", data=matrix)
        for column in wells:
            file.create_dataset(f"0/META/COL/{column}", data=wells[column].to_numpy().astype("S"))
        file.create_dataset("0/META/ROW/id", data=np.array(genes, dtype="S"))
    return path


@pytest.fixture
def gctx(tmp_path: Path) -> Path:
    return write_gctx(tmp_path / "level3.gctx", WELLS, MATRIX, ["33", "22", "11"])


def profiles(folder: Path, cell: str = "MCF7", hours: float = 24.0) -> l1000.Profiles:
    return l1000.read_profiles(folder, COMPOUNDS, GENES, cell, hours)


def test_means_are_those_of_the_wells(gctx):
    found = profiles(gctx.parent)
    ordered = MATRIX[:, ::-1]  # the file keeps its genes in another order
    np.testing.assert_array_equal(found.vehicle, ordered[:2].mean(axis=0))
    np.testing.assert_array_equal(found.g_post, ordered[[2, 3]])
    np.testing.assert_array_equal(found.g_pre[0], ordered[0])  # the vehicle well of plate P1
    np.testing.assert_array_equal(found.g_pre[1], ordered[:2].mean(axis=0))  # plate P3 has none
    assert found.treated_wells.tolist() == [1, 1]


def test_a_compound_without_profile_is_not_a_number(tmp_path):
    write_gctx(tmp_path / "a.gctx", WELLS.iloc[:3], MATRIX[:3], ["11", "22", "33"])
    found = profiles(tmp_path)
    assert np.isnan(found.g_post[1]).all()
    assert np.isfinite(found.g_pre).all()
    assert found.treated_wells.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("instinfo_beta.txt", {"id": "sample_id", "pert_iname": "cmap_name", "cell_id": "cell_iname"}),
        ("GSE92742_Broad_LINCS_inst_info.txt.gz", {"id": "inst_id"}),
    ],
)
def test_bare_upstream_files_take_their_wells_from_the_table_beside_them(tmp_path, gctx, name, columns):
    expected = profiles(gctx.parent)
    folder = tmp_path / "bare"
    folder.mkdir()
    write_gctx(folder / "level3.gctx", WELLS[["id"]], MATRIX, ["33", "22", "11"])
    WELLS.iloc[::-1].rename(columns=columns).to_csv(folder / name, sep="\t", index=False)
    found = profiles(folder)
    np.testing.assert_array_equal(found.g_post, expected.g_post)
    np.testing.assert_array_equal(found.g_pre, expected.g_pre)


def test_text_and_hdf5_forms_agree(tmp_path, gctx):
    lines = ["#1.3", f"3\t5\t0\t{len(WELLS.columns) - 1}", "\t".join(["id", *WELLS["id"]])]
    lines += ["\t".join([name, *WELLS[name]]) for name in WELLS.columns[1:]]
    lines += ["\t".join([gene, *map(str, MATRIX[:, row])]) for row, gene in enumerate(["33", "22", "11"])]
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "level3.gct").write_text("\n".join(lines) + "\n")
    np.testing.assert_array_equal(profiles(folder).g_post, profiles(gctx.parent).g_post)


def test_real_profiles_of_bbbc021_compounds(shared_data):
    landmarks = load_landmarks()["entrez_id"].to_numpy()
    found = l1000.read_profiles(shared_data / "l1000", load_compounds(), landmarks, "HT115", 6.0)
    profiled = found.treated_wells > 0
    assert profiled.sum() == 14
    assert found.treated_wells.sum() == 29
    assert found.files == ("prnet_level3_HT115_6h_bbbc021.gctx",)
    assert len(found.passed_over) == 6
    # an empty prediction, the mean of the other compounds, correlates at about 0.3 in LFC and far higher in raw values
    change = (found.g_post - found.g_pre)[profiled]
    others = [np.delete(change, row, axis=0).mean(axis=0) for row in range(len(change))]
    empty = np.mean([np.corrcoef(own, rest)[0, 1] for own, rest in zip(change, others, strict=True)])
    assert 0.2 < empty < 0.4
    raw = [np.corrcoef(found.g_post[profiled][row], found.vehicle)[0, 1] for row in range(len(change))]
    assert np.mean(raw) > 0.9


def test_real_file_against_plain_h5py(shared_data):
    path = shared_data / "l1000" / "prnet_level3_HT115_6h_bbbc021.gctx"
    landmarks = load_landmarks()["entrez_id"].to_numpy()
    found = l1000.read_profiles(path.parent, load_compounds(), landmarks, "HT115", 6.0)
    with h5py.File(path) as file:
        names = file["0/META/COL/bbbc021_compound"][()].astype(str)  # by another road than BRD ids and names
        genes = {gene: place for place, gene in enumerate(file["0/META/ROW/id"][()].astype(str))}
        matrix = file["0/DATA/0/matrix"][()][:, [genes[str(gene)] for gene in landmarks]]
    for compound, g_post in zip(found.compounds, found.g_post, strict=True):
        if compound in names:
            np.testing.assert_allclose(g_post, matrix[names == compound].mean(axis=0), rtol=1e-6)


def test_real_gct_text_opens(shared_data):
    file = l1000.open_expression(shared_data / "l1000" / "cmapPy_test_l1000_A375_level3.gct")
    values = file.read(np.arange(377), load_landmarks()["entrez_id"].to_numpy())
    assert values.shape == (377, 978)
    assert values[0, load_landmarks()["symbol"].tolist().index("PSME1")] == np.float32(11.3819)
    about = l1000.wells(file)
    assert set(about["hours"]) == {24.0}


def test_a_real_file_of_other_genes_is_refused(shared_data):
    file = l1000.open_expression(shared_data / "l1000" / "cmapR_modzs_n25x50.gctx")
    with pytest.raises(BadInput, match=r"cmapR_modzs_n25x50.gctx: \d+ of the 978 landmark genes are not in it"):
        file.read(np.arange(2), load_landmarks()["entrez_id"].to_numpy())


def test_a_real_file_cut_short_is_refused(shared_data, tmp_path):
    path = tmp_path / "cut.gctx"
    path.write_bytes((shared_data / "l1000" / "prnet_level3_HT115_6h_bbbc021.gctx").read_bytes()[:90_000])
    with pytest.raises(BadInput, match=r"cut.gctx: cut short, or not HDF5"):
        l1000.open_expression(path)


def test_a_cell_or_time_that_is_not_there_lists_what_is(shared_data):
    with pytest.raises(BadInput, match=r"no Level 3 well of MCF7 at 24 h.*--cell HT115 --hours 6"):
        l1000.read_profiles(
            shared_data / "l1000", load_compounds(), load_landmarks()["entrez_id"].to_numpy(), "MCF7", 24.0
        )


def write_bytes(data: bytes):
    return lambda path: path.write_bytes(data)


def write_matrix(matrix: np.ndarray, genes: tuple[str, ...] = ("11", "22", "33")):
    return lambda path: write_gctx(path, WELLS, matrix, list(genes))


def with_nan() -> np.ndarray:
    matrix = MATRIX.copy()
    matrix[2, 1] = np.nan
    return matrix


def transposed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["0/DATA/0/matrix"] = MATRIX.T
        file["0/META/COL/id"] = np.array(["11", "22", "33"], "S")
        file["0/META/ROW/id"] = WELLS["id"].to_numpy().astype("S")


def edited(name: str, value: object):
    """A good file in which one object is another: an array, or None for an empty group."""

    def write(path: Path) -> None:
        write_gctx(path, WELLS, MATRIX, ["11", "22", "33"])
        with h5py.File(path, "a") as file:
            if name in file:
                del file[name]
            if value is None:
                file.create_group(name)
            else:
                file[name] = value

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_bytes(b"#1.3\n3\t5\t0\t0\n"), "GCT text under a .gctx name; rename it"),
        (write_bytes(b"id,a,b\n1,2,3\n"), "cut short, or not HDF5"),
        (write_bytes(b""), "cut short, or not HDF5"),
        (lambda path: h5py.File(path, "w").close(), "not GCTX 1.0"),
        (write_matrix(MATRIX.T.copy()), "transposed"),
        (transposed, "transposed: genes stand in META/COL"),
        (write_matrix(MATRIX[:4]), "does not fit"),
        (write_matrix(MATRIX, ("11", "22", "44")), "1 of the 3 landmark genes are not in it .first: Entrez 33"),
        (write_matrix(with_nan()), "sample c, Entrez 22 is not a number"),
        (write_matrix(MATRIX - 8), "values below 0: z-scores"),
        (edited("0/META/COL", np.zeros(5)), "0/META/COL is no group of columns; give a GCTX"),
        (edited("0/META", np.zeros(5)), "not GCTX 1.0"),
        (edited("0/META/ROW/id", None), "0/META/ROW/id is no column of values"),
        (edited("0/META/COL/id", np.zeros((5, 2))), "0/META/COL/id is no column of values"),
        (edited("0/META/COL/more", np.zeros(4)), r"the columns of 0/META/COL differ in length .*'more': 4"),
        (edited("0/DATA/0/matrix", None), "0/DATA/0/matrix is no array of numbers"),
        (edited("0/DATA/0/matrix", MATRIX.astype("S8")), "0/DATA/0/matrix is no array of numbers"),
    ],
    ids=[
        "gct",
        "csv",
        "empty",
        "no groups",
        "transposed",
        "genes as columns",
        "shape",
        "genes",
        "nan",
        "level 5",
        "columns an array",
        "metadata an array",
        "column a group",
        "column a matrix",
        "ragged",
        "matrix a group",
        "text",
    ],
)
def test_a_bad_file_is_named(tmp_path, write, message):
    write(tmp_path / "level3.gctx")
    with pytest.raises(BadInput, match=rf"level3.gctx: .*{message}") as caught:
        profiles(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not GCT 1.2 or 1.3"),
        ("#1.3\n3\t5\t0\t0\nid\ta\n", "3 lines, 6 announced"),
        ("#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\n", "line 4: 3 columns, 4 announced"),
        ("#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\ty\n", "could not convert"),
    ],
    ids=["other", "cut short", "ragged", "letters"],
)
def test_bad_gct_text_is_named(tmp_path, text, message):
    (tmp_path / "a.gct").write_text(text)
    with pytest.raises(BadInput, match=rf"a.gct: .*{message}"):
        profiles(tmp_path)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"no .gctx or .gct file"):
        profiles(tmp_path)
