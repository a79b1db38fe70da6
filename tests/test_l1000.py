"""L1000 profiles: means against plain arithmetic and real files, and the rules of dose and matching."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from l1000_files import (
    MATRIX,
    WELLS,
    profiles,
    upstream_value,
    upstream_wells,
    write_gctx,
    write_upstream,
)

from morphobench.datasets import l1000
from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.errors import BadInput


@pytest.fixture
def level3(tmp_path: Path) -> Path:
    return write_gctx(tmp_path / "level3.gctx", WELLS, MATRIX, ["33", "22", "11"])


def real_profiles(shared_data: Path, cell: str = "HT115", hours: float = 6.0, **rules) -> l1000.Profiles:
    landmarks = load_landmarks()["entrez_id"].to_numpy()
    return l1000.read_profiles(shared_data / "l1000", load_compounds(), landmarks, cell, hours, **rules)


def test_means_are_those_of_the_wells(level3):
    found = profiles(level3.parent)
    ordered = MATRIX[:, ::-1]  # the file keeps its genes in another order
    np.testing.assert_array_equal(found.vehicle, ordered[:2].mean(axis=0))
    np.testing.assert_array_equal(found.g_post, ordered[[2, 3]])
    np.testing.assert_array_equal(found.g_pre[0], ordered[0])  # the vehicle well of plate P1
    np.testing.assert_array_equal(found.g_pre[1], ordered[:2].mean(axis=0))  # plate P3 has none
    np.testing.assert_array_equal(found.lfc, found.g_post - found.g_pre)
    assert found.treated_wells.tolist() == [1, 1]
    assert found.remarks == (
        "1 treated wells on 1 plates without a vehicle well: their G_pre is the mean of all vehicle wells",
    )


def test_a_plate_weighs_as_much_as_its_treated_wells(tmp_path):
    wells = WELLS.iloc[[0, 1, 2, 2, 2]].assign(id=list("abcde"), rna_plate=["P1", "P2", "P1", "P1", "P2"])
    write_gctx(tmp_path / "a.gctx", wells, MATRIX, ["11", "22", "33"])
    found = profiles(tmp_path)
    np.testing.assert_allclose(found.g_pre[0], (2 * MATRIX[0] + MATRIX[1]) / 3, rtol=1e-6)
    np.testing.assert_array_equal(found.g_post[0], MATRIX[2:].mean(axis=0))


def test_a_well_in_two_files_is_not_counted_twice(tmp_path, level3):
    write_gctx(tmp_path / "part.gctx", WELLS.iloc[[2, 4]], MATRIX[[2, 4]], ["33", "22", "11"])
    with pytest.raises(BadInput) as caught:
        profiles(tmp_path)
    assert "level3.gctx and part.gctx both hold the well c (1 wells that stand twice in all)" in str(caught.value)
    assert "move one of the files away" in str(caught.value)
    (tmp_path / "part.gctx").unlink()
    write_gctx(level3, WELLS.assign(id=["a", "b", "c", "c", "e"]), MATRIX, ["33", "22", "11"])
    with pytest.raises(BadInput, match=r"level3.gctx: .*c.* twice"):
        profiles(tmp_path)


def test_a_compound_without_profile_is_not_a_number(tmp_path):
    write_gctx(tmp_path / "a.gctx", WELLS.iloc[:3], MATRIX[:3], ["11", "22", "33"])
    found = profiles(tmp_path)
    assert np.isnan(found.g_post[1]).all()
    assert np.isfinite(found.g_pre).all()
    assert found.treated_wells.tolist() == [1, 0]


def test_text_and_hdf5_forms_agree(tmp_path, level3):
    lines = ["#1.3", f"3\t5\t0\t{len(WELLS.columns) - 1}", "\t".join(["id", *WELLS["id"]])]
    lines += ["\t".join([name, *WELLS[name]]) for name in WELLS.columns[1:]]
    lines += ["\t".join([gene, *map(str, MATRIX[:, row])]) for row, gene in enumerate(["33", "22", "11"])]
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "level3.gct").write_text("\n".join(lines) + "\n")
    np.testing.assert_array_equal(profiles(folder).g_post, profiles(level3.parent).g_post)


def dosed(tmp_path: Path, doses: list[str]) -> Path:
    wells = WELLS.iloc[[0, 2, 2, 2, 2]].assign(id=list("abcde"), pert_idose=doses)
    return write_gctx(tmp_path / "a.gctx", wells, MATRIX, ["11", "22", "33"]).parent


def test_the_dose_nearest_on_a_log_scale_is_taken(tmp_path):
    folder = dosed(tmp_path, ["", "1 uM", "20 uM", "19.6 µM", "100 uM"])
    assert profiles(folder).treated_wells[0] == 4
    found = profiles(folder, dose=10.0)
    np.testing.assert_array_equal(found.g_post[0], MATRIX[2:4].mean(axis=0))  # 20 and 19.6 are one dose
    assert found.treated_wells[0] == 2
    assert profiles(folder, dose=3.0).treated_wells[0] == 1  # 1 is a factor 3 away, 20 is 6.7
    assert profiles(folder, dose=0.001).treated_wells[0] == 1


def test_a_dose_that_cannot_be_had_is_said(tmp_path):
    with pytest.raises(BadInput, match="--dose 10: no treated well has a dose in its file or table; leave it out"):
        profiles(dosed(tmp_path, ["-666"] * 5), dose=10.0)
    with pytest.raises(BadInput, match="--dose 0: give a dose above 0"):
        profiles(tmp_path, dose=0.0)


def test_profiles_of_bbbc021_compounds_are_the_means_of_their_wells(tmp_path):
    """A file laid out as upstream's, with the real ids of six compounds and all 978 landmarks: means in closed form."""
    compounds, landmarks = load_compounds(), load_landmarks()
    six = compounds[compounds["l1000_pert_ids"] != ""].head(6)
    write_upstream(tmp_path / "level3.gctx", upstream_wells(six), landmarks, 3)
    genes = landmarks["entrez_id"].to_numpy()
    found = l1000.read_profiles(tmp_path, compounds, genes, "MCF7", 24.0)
    profiled = np.flatnonzero(found.treated_wells)
    assert [found.compounds[k] for k in profiled] == six["compound"].tolist()
    assert found.treated_wells[profiled].tolist() == [2] * 6
    # On each plate wells 0 and 1 are the vehicle's and 2 + k the k-th compound's; the second plate begins at well 8.
    for k, place in enumerate(profiled):
        np.testing.assert_allclose(found.g_post[place], upstream_value(2 + k + 4, genes), rtol=1e-6)
        np.testing.assert_allclose(found.lfc[place], (2 + k + 4 - (0.5 + 4)) / 1000, atol=2e-6)
    np.testing.assert_allclose(found.vehicle, upstream_value(0.5 + 4, genes), rtol=1e-6)
    with pytest.raises(BadInput, match=r"no Level 3 well of HT115 at 6 h.*--cell MCF7 --hours 24"):
        l1000.read_profiles(tmp_path, compounds, genes, "HT115", 6.0)


def test_real_profiles_of_bbbc021_compounds(shared_data):
    found = real_profiles(shared_data)
    profiled = found.treated_wells > 0
    assert profiled.sum() == 14
    assert found.treated_wells.sum() == found.matches["treated_wells"].sum() == 29
    assert found.files == ("prnet_level3_HT115_6h_bbbc021.gctx",)
    assert len(found.passed_over) == 6
    assert [why for name, why in found.passed_over if "level5" in name] == [
        "values below 0: Level 5 signatures (z-scores), not Level 3 wells"
    ] * 2
    # an empty prediction, the mean of the other compounds, correlates at about 0.3 in LFC and far higher in raw values
    change = found.lfc[profiled]
    others = [np.delete(change, row, axis=0).mean(axis=0) for row in range(len(change))]
    empty = np.mean([np.corrcoef(own, rest)[0, 1] for own, rest in zip(change, others, strict=True)])
    assert 0.2 < empty < 0.4
    raw = [np.corrcoef(found.g_post[profiled][row], found.vehicle)[0, 1] for row in range(len(change))]
    assert np.mean(raw) > 0.9


@pytest.mark.parametrize("dose", [None, 10.0])
def test_real_file_against_plain_h5py(shared_data, dose):
    found = real_profiles(shared_data, dose=dose)
    landmarks = load_landmarks()["entrez_id"]
    with h5py.File(shared_data / "l1000" / "prnet_level3_HT115_6h_bbbc021.gctx") as file:
        names = file["0/META/COL/bbbc021_compound"][()].astype(str)  # by another road than BRD ids and names
        doses = file["0/META/COL/pert_dose"][()]
        genes = {gene: place for place, gene in enumerate(file["0/META/ROW/id"][()].astype(str))}
        matrix = file["0/DATA/0/matrix"][()][:, [genes[str(gene)] for gene in landmarks]]
    compared = 0
    for compound, g_post in zip(found.compounds, found.g_post, strict=True):
        own = names == compound
        if own.any():
            if dose:
                nearest = doses[own][np.abs(np.log(doses[own] / dose)).argmin()]
                own &= np.isclose(doses, nearest, rtol=0.05)
            np.testing.assert_allclose(g_post, matrix[own].mean(axis=0), rtol=1e-6)
            compared += 1
    assert compared == 14


def test_real_profiles_by_name_are_fewer(shared_data):
    by_name = real_profiles(shared_data, matching="name")
    names = {name for name, count in zip(by_name.compounds, by_name.treated_wells, strict=True) if count}
    assert names == {"temozolomide", "calpeptin", "simvastatin", "emetine", "PD-98059", "Y-27632", "forskolin"}
    compounds = load_compounds().set_index("compound")
    assert set(compounds.loc[list(names), "cohort"]) == {"ID"}


def test_a_cell_or_time_that_is_not_there_lists_what_is(shared_data):
    with pytest.raises(BadInput, match=r"no Level 3 well of MCF7 at 24 h.*--cell HT115 --hours 6") as caught:
        real_profiles(shared_data, "MCF7", 24.0)
    assert "cmapR_level5_MCF7_n25x978.gctx and 2 more: values below 0: Level 5" in str(caught.value)
