"""L1000 profiles: means against plain arithmetic and real files, dose and matching rules, LINCS tables, signatures."""

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from l1000_files import (
    COMPOUNDS,
    GENES,
    GSE92742,
    HEADERS,
    LINCS2020,
    MATRIX,
    WELLS,
    upstream_value,
    upstream_wells,
    write_gctx,
    write_table,
    write_upstream,
)

from morphobench.datasets import l1000
from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.datasets.l1000 import gctx, lincs, signatures
from morphobench.errors import BadInput


@pytest.fixture
def level3(tmp_path: Path) -> Path:
    return write_gctx(tmp_path / "level3.gctx", WELLS, MATRIX, ["33", "22", "11"])


def profiles(folder: Path, cell: str = "MCF7", hours: float = 24.0, **rules) -> l1000.Profiles:
    return l1000.read_profiles(folder, COMPOUNDS, GENES, cell, hours, **rules)


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


def inst_rows(name: str) -> list[dict[str, object]]:
    """WELLS as rows of a well table of either generation, with doses."""
    wells = WELLS.assign(pert_time=WELLS["pert_itime"].str.removesuffix(" h"), pert_time_unit="h")
    wells = wells.assign(
        pert_dose=["-666", "-666", "10", "500", "1"], pert_dose_unit=["-666", "-666", "uM", "nM", "uM"]
    )
    if name.startswith("instinfo"):
        wells = wells.rename(columns={"id": "sample_id", "pert_iname": "cmap_name", "cell_id": "cell_iname"})
        wells = wells.assign(qc_pass=1, det_plate=wells["rna_plate"] + "_B1")
    else:
        wells = wells.rename(columns={"id": "inst_id"}).drop(columns="pert_itime")
    return wells.iloc[::-1].to_dict("records")  # not in the order of the matrix


@pytest.mark.parametrize("name", ["instinfo_beta.txt", "GSE92742_Broad_LINCS_inst_info.txt"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bare_upstream_files_take_their_wells_from_the_table_beside_them(tmp_path, level3, name, suffix):
    expected = profiles(level3.parent)
    folder = tmp_path / "bare"
    folder.mkdir()
    bare = write_gctx(folder / "level3.gctx", WELLS[["id"]], MATRIX, ["33", "22", "11"])
    write_table(folder, name + suffix, inst_rows(name))
    found = profiles(folder)
    np.testing.assert_array_equal(found.g_post, expected.g_post)
    np.testing.assert_array_equal(found.g_pre, expected.g_pre)
    about = l1000.wells(gctx.open_expression(bare), {})
    assert about["id"].tolist() == list("abcde")
    assert about["hours"].tolist() == [24, 24, 24, 24, 6]
    assert about["plate"].tolist() == WELLS["rna_plate"].tolist()
    np.testing.assert_array_equal(about["dose_um"], [np.nan, np.nan, 10, 0.5, 1])


def test_every_table_of_both_generations_is_read_under_our_names(tmp_path):
    kinds = {name: kind for kind, names in lincs.TABLES.items() for name in names}
    assert set(kinds) == set(HEADERS) == set(LINCS2020) | set(GSE92742)
    for name, kind in kinds.items():
        folder = tmp_path / name
        folder.mkdir()
        path = write_table(folder, f"{name}.gz", [{}, {}])
        assert lincs.table_paths(folder, kind) == [path]
        table = lincs.read_table(path, kind)
        assert len(table) == 2
        assert set(lincs._NEEDED[kind]) <= set(table)
        assert (table == "").all(axis=None)  # -666 is how LINCS writes an absent value


def test_wells_that_failed_are_left_out(tmp_path):
    write_gctx(tmp_path / "a.gctx", WELLS[["id"]], MATRIX, ["33", "22", "11"])
    rows = inst_rows("instinfo")
    for row in rows:
        row["qc_pass"] = 0 if row["sample_id"] in ("b", "d") else 1
    write_table(tmp_path, "instinfo_beta.txt", rows)
    found = profiles(tmp_path)
    assert found.treated_wells.tolist() == [1, 0]
    np.testing.assert_array_equal(found.vehicle, MATRIX[0, ::-1])
    assert "2 wells left out that the table marks as failed (qc_pass 0)" in found.remarks


SPELT = [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("TRUE", "FALSE"), ("yes", "no"), ("Y", "N"), ("pass", "fail")]


def with_flags(folder: Path, passed: object, failed: object, form: str) -> None:
    """Two wells of one compound: 6 on every gene, and 14 where the assay failed."""
    wells = WELLS.iloc[[0, 2, 4]].assign(pert_itime="24 h", rna_plate="P1", pert_id=["DMSO", "BRD-1", "BRD-1"])
    matrix = np.float32([[4, 4, 4], [6, 6, 6], [14, 14, 14]])
    flags = [passed, passed, failed]
    if form == "table":
        write_gctx(folder / "a.gctx", wells[["id"]], matrix, ["11", "22", "33"])
        rows = [row for row in inst_rows("instinfo") if row["sample_id"] in set(wells["id"])][::-1]
        rows = [row | {"pert_time": "24", "qc_pass": flag} for row, flag in zip(rows, flags, strict=True)]
        write_table(folder, "instinfo_beta.txt", rows)
        return
    path = write_gctx(folder / "a.gctx", wells, matrix, ["11", "22", "33"])
    with h5py.File(path, "a") as file:
        file["0/META/COL/qc_pass"] = np.array(flags, bool) if form == "bool" else np.array(flags, "S")


@pytest.mark.parametrize("form", ["table", "annotation"])
@pytest.mark.parametrize(("passed", "failed"), SPELT)
def test_failed_wells_are_left_out_however_the_flag_is_spelt(tmp_path, passed, failed, form):
    with_flags(tmp_path, passed, failed, form)
    found = profiles(tmp_path)
    np.testing.assert_array_equal(found.g_post[0], 6)  # with the failed well it would be 10
    assert "1 wells left out that the table marks as failed (qc_pass 0)" in found.remarks


def test_a_column_of_booleans_is_a_flag(tmp_path):
    with_flags(tmp_path, True, False, "bool")
    np.testing.assert_array_equal(profiles(tmp_path).g_post[0], 6)


@pytest.mark.parametrize(("form", "row"), [("table", "instinfo_beta.txt: line 4"), ("annotation", "a.gctx: sample e")])
def test_a_flag_that_is_none_is_named(tmp_path, form, row):
    with_flags(tmp_path, "1", "doubtful", form)
    with pytest.raises(BadInput, match=f"{row}: qc_pass is 'doubtful', no flag; write 1 or 0"):
        profiles(tmp_path)


@pytest.mark.parametrize(
    ("first", "second"), [("01", "1"), ("1e2", "100"), ("1.0", "1"), ("NA", "nan"), ("Inf", "inf")]
)
@pytest.mark.parametrize("form", ["table", "annotation"])
def test_plates_that_look_like_numbers_stay_apart(tmp_path, first, second, form):
    wells = WELLS.iloc[[0, 1, 2]].assign(rna_plate=[first, second, first])
    matrix = np.float32([[4, 4, 4], [10, 10, 10], [6, 6, 6]])
    write_gctx(tmp_path / "a.gctx", wells if form == "annotation" else wells[["id"]], matrix, ["11", "22", "33"])
    if form == "table":
        plates = dict(zip(wells["id"], wells["rna_plate"], strict=True))
        rows = [row for row in inst_rows("instinfo") if row["sample_id"] in plates]
        write_table(tmp_path, "instinfo_beta.txt", [row | {"rna_plate": plates[row["sample_id"]]} for row in rows])
    np.testing.assert_array_equal(profiles(tmp_path).lfc[0], 2)  # on one plate it would be -1


def test_a_well_may_be_called_na(tmp_path):
    ids = ["NA", "NaN", "Inf", "01", "1"]
    write_gctx(tmp_path / "a.gctx", WELLS[["id"]].assign(id=ids), MATRIX, ["33", "22", "11"])
    names = dict(zip(WELLS["id"], ids, strict=True))
    rows = inst_rows("instinfo")
    write_table(tmp_path, "instinfo_beta.txt", [row | {"sample_id": names[row["sample_id"]]} for row in rows])
    np.testing.assert_array_equal(profiles(tmp_path).g_post, MATRIX[[2, 3], ::-1])


def excel(text: str) -> bytes:
    """As a spreadsheet saves it in a country of decimal commas."""
    return text.replace("0.04", "0,04").replace("\t", ";").replace("\n", "\r\n").encode("utf-8-sig")


@pytest.mark.parametrize(
    "form",
    [
        excel,
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("0.04", "0,04").encode("utf-16"),
        lambda text: re.sub(r"[^\t\n]+", r'"\g<0>"', text).encode(),
        lambda text: "\n".join(f"{row}\t{line}" if row else line for row, line in enumerate(text.split("\n"))).encode(),
    ],
    ids=["Excel", "CR", "UTF-16", "quoted", "row names"],
)
def test_a_well_table_is_the_same_whatever_wrote_it(tmp_path, form):
    rows = [row | {"pert_dose": "0.04"} for row in inst_rows("instinfo")]
    expected = lincs.read_table(write_table(tmp_path, "instinfo_beta.txt", rows), "wells")
    assert (lincs.dose_um(expected)[expected["pert_type"] == "trt_cp"].isin([0.04, 4e-5])).all()
    (tmp_path / "saved").mkdir()
    path = tmp_path / "saved" / "INSTINFO_BETA.TXT"
    path.write_bytes(form((tmp_path / "instinfo_beta.txt").read_text().rstrip("\n")))
    assert lincs.table_paths(path.parent, "wells") == [path]
    pd.testing.assert_frame_equal(lincs.read_table(path, "wells").astype(str), expected.astype(str))


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


def test_signatures_of_a_file_laid_out_as_upstreams_are_the_values_that_were_written(tmp_path):
    compounds, landmarks = load_compounds(), load_landmarks()
    wells = upstream_wells(compounds[compounds["l1000_pert_ids"] != ""].head(3))
    # What names a plate is a well.
    about = wells.drop(columns="rna_plate").assign(distil_cc_q75=0.4)
    write_upstream(tmp_path / "level5.gctx", about, landmarks, 5)
    genes = landmarks["entrez_id"].to_numpy()
    found = signatures.read_signatures(tmp_path, compounds, genes, "MCF7")
    rows = [int(name.rpartition(":")[2]) for name in found.table["id"]]
    assert rows == [k for k, kind in enumerate(wells["pert_type"]) if kind == "trt_cp"]
    assert found.table["compound"].tolist() == wells["pert_iname"].iloc[rows].tolist()
    np.testing.assert_allclose(found.z, [upstream_value(row, genes) - 9 for row in rows], atol=1e-6)
    assert (found.table["replicate_correlation"] == 0.4).all()


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


def test_another_name_of_a_cell_line_is_suggested(level3):
    row = {"cell_iname": "MCF7", "cell_alias": "Michigan Cancer|MCF-7", "cell_lineage": "breast"}
    write_table(level3.parent, "cellinfo_beta.txt", [row, {"cell_iname": "A375"}])
    with pytest.raises(BadInput, match=r"no Level 3 well of mcf-7 at 24 h.*cellinfo_beta.txt calls mcf-7 MCF7"):
        profiles(level3.parent, "mcf-7")


def test_landmarks_of_a_gene_table_are_ours_by_entrez_id(shared_data, tmp_path, level3):
    real = lincs.landmark_genes(shared_data / "l1000" / "geneinfo_beta_landmark978.txt")
    pd.testing.assert_frame_equal(real, load_landmarks(), check_dtype=False)
    rows = [{"pr_gene_id": gene, "pr_gene_symbol": "x", "pr_is_lm": int(gene < 40)} for gene in (11, 22, 33, 44)]
    path = write_table(level3.parent, "GSE92742_Broad_LINCS_gene_info.txt", rows)
    assert lincs.landmark_genes(path)["entrez_id"].tolist() == [11, 22, 33]
    for yes, no in SPELT:
        spelt = [row | {"pr_is_lm": yes if row["pr_is_lm"] else no} for row in rows]
        path = write_table(level3.parent, "GSE92742_Broad_LINCS_gene_info.txt", spelt)
        assert lincs.landmark_genes(path)["entrez_id"].tolist() == [11, 22, 33]
    write_table(level3.parent, path.name, [rows[0] | {"pr_is_lm": "lm"}])
    with pytest.raises(BadInput, match=r"gene_info.txt: line 2: pr_is_lm is 'lm', no flag"):
        lincs.landmark_genes(path)
    write_table(level3.parent, path.name, [rows[0] | {"pr_gene_id": "Inf"}])
    with pytest.raises(BadInput, match=r"gene_info.txt: landmark gene x: gene_id or pr_gene_id is 'Inf', no Entrez id"):
        lincs.landmark_genes(path)
    write_table(level3.parent, path.name, rows)
    assert not any("landmark" in remark for remark in profiles(level3.parent).remarks)
    rows[0]["pr_is_lm"] = 0
    write_table(level3.parent, "GSE92742_Broad_LINCS_gene_info.txt", rows)
    remark = "GSE92742_Broad_LINCS_gene_info.txt: 0 landmark genes that are not ours, 1 of ours that it does not mark"
    assert any(remark in line for line in profiles(level3.parent).remarks)


def bare(folder: Path) -> Path:
    return write_gctx(folder / "level3.gctx", WELLS[["id"]], MATRIX, ["33", "22", "11"])


def well_table(folder: Path, change) -> None:
    bare(folder)
    write_table(folder, "instinfo_beta.txt", change(inst_rows("instinfo")))


def without_column(folder: Path) -> None:
    well_table(folder, lambda rows: rows)
    table = pd.read_csv(folder / "instinfo_beta.txt", sep="\t").drop(columns=["rna_plate", "det_plate"])
    table.to_csv(folder / "instinfo_beta.txt", sep="\t", index=False)


def two_stories(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [*rows, rows[0] | {"cmap_name": "another"}]


def cut_gzip(folder: Path) -> None:
    bare(folder)
    path = write_table(folder, "instinfo_beta.txt.gz", inst_rows("instinfo"))
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(lambda folder: None, "no .gctx or .gct file in it; give the folder", id="empty"),
        pytest.param(
            without_column, "instinfo_beta.txt: column rna_plate or det_plate is missing; give the table", id="column"
        ),
        pytest.param(
            lambda folder: well_table(folder, lambda rows: rows[1:]),
            "level3.gctx: 1 of 5 sample ids are not in instinfo_beta.txt .first: e.; give the table",
            id="ids",
        ),
        pytest.param(
            lambda folder: well_table(
                folder, lambda rows: [row | {"sample_id": f"x{row['sample_id']}"} for row in rows]
            ),
            "no Level 3 well of MCF7 at 24 h; .*none of its samples is in instinfo_beta.txt",
            id="no id",
        ),
        pytest.param(
            lambda folder: well_table(folder, two_stories),
            "instinfo_beta.txt: id e stands in two unlike rows",
            id="two",
        ),
        pytest.param(cut_gzip, "instinfo_beta.txt.gz: cannot be read .*; download it again", id="cut short"),
        pytest.param(bare, "level3.gctx: no plate, cell, time .* in a table beside it .instinfo_beta.txt", id="bare"),
        pytest.param(
            lambda folder: write_gctx(folder / "level3.gctx", WELLS, MATRIX - 8, ["11", "22", "33"]),
            r"level3.gctx: values below 0: z-scores .* .sample a, Entrez 11: -7.; move it away",
            id="level 5 as level 3",
        ),
        pytest.param(
            lambda folder: write_gctx(folder / "level3.gctx", WELLS, np.exp2(MATRIX), ["11", "22", "33"]),
            r"level3.gctx: values above 20: raw intensities, not log2 .*; give Level 3",
            id="raw",
        ),
        pytest.param(
            lambda folder: write_gctx(folder / "sigs.gctx", WELLS[["id"]], MATRIX - 8, ["11", "22", "33"]),
            "no Level 3 well of MCF7 at 24 h; .*sigs.gctx: values below 0: Level 5 signatures",
            id="level 5 alone",
        ),
        pytest.param(
            lambda folder: write_gctx(folder / "a.gctx", WELLS.iloc[:2], MATRIX[:2], ["11", "22", "33"]),
            "no trt_cp well of MCF7 at 24 h; its files hold --cell MCF7 --hours 24",
            id="vehicle only",
        ),
        pytest.param(
            lambda folder: write_gctx(folder / "a.gctx", WELLS.iloc[2:], MATRIX[2:], ["11", "22", "33"]),
            "no ctl_vehicle well of MCF7 at 24 h",
            id="no vehicle",
        ),
        pytest.param(
            lambda folder: (folder / "z.gctx").mkdir(),
            "z.gctx: a folder under a file's name; rename it, or move it away",
            id="folder",
        ),
    ],
)
def test_bad_input_is_named(tmp_path, write, message):
    write(tmp_path)
    with pytest.raises(BadInput, match=message) as caught:
        profiles(tmp_path)
    assert "\n" not in str(caught.value)


KNOWN = pd.DataFrame(
    {
        "compound": ["atorvastatin", "venlafaxine"],
        "smiles": "",
        "l1000_pert_ids": ["BRD-U88459701", ""],
        "l1000_names": "",
        "cohort": "ID",
        "cohort_confidence": "high",
    }
)


def test_real_signatures_against_plain_h5py(shared_data, tmp_path):
    source = shared_data / "l1000" / "cmapR_level5_MCF7_n25x978.gctx"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    landmarks = load_landmarks()["entrez_id"].to_numpy()
    found = signatures.read_signatures(tmp_path, KNOWN, landmarks, "MCF7")
    with h5py.File(source) as file:
        columns = {name: values[()] for name, values in file["0/META/COL"].items()}
        genes = file["0/META/ROW/id"][()].astype(int).tolist()
        matrix = file["0/DATA/0/matrix"][()]
    names = columns["pert_iname"].astype(str)
    kept = np.isin(names, KNOWN["compound"])
    assert found.table["compound"].tolist() == names[kept].tolist()
    assert found.table["id"].tolist() == columns["id"][kept].astype(str).tolist()
    np.testing.assert_array_equal(found.z, matrix[kept][:, [genes.index(gene) for gene in landmarks]])
    np.testing.assert_allclose(found.table["replicate_correlation"], columns["distil_cc_q75"][kept])
    assert found.table["wells"].tolist() == columns["distil_nsample"][kept].tolist()
    assert found.table["quality"].tolist() == columns["is_gold"][kept].tolist()
    assert (found.table["dose_um"] == 10).all()
    assert found.table["tas"].isna().all()  # this file does not give it
    at_24 = signatures.read_signatures(tmp_path, KNOWN, landmarks, "MCF7", 24.0)
    assert (at_24.table["hours"] == 24).all()
    assert len(at_24.table) == (columns["pert_itime"][kept] == b"24 h").sum()
    assert not hasattr(found, "g_post")


@pytest.mark.parametrize("generation", ["LINCS2020", "GSE92742"])
def test_bare_signatures_take_what_is_known_from_the_tables(tmp_path, generation):
    write_gctx(tmp_path / "level5.gctx", pd.DataFrame({"id": ["s1", "s2", "s3"]}), MATRIX[:3] - 5, ["11", "22", "33"])
    common = {"pert_type": "trt_cp", "pert_dose": 500, "pert_dose_unit": "nM", "pert_time": 24, "pert_time_unit": "h"}
    ids = [("s3", "BRD-1"), ("s2", "BRD-0"), ("s1", "BRD-1")]
    if generation == "LINCS2020":
        about = {"cmap_name": "aspirin", "cell_iname": "MCF7", "tas": 0.5, "nsample": 3, "cc_q75": 0.4, "is_hiq": 1}
        rows = [common | about | {"sig_id": sig, "pert_id": pert} for sig, pert in ids]
        write_table(tmp_path, "siginfo_beta.txt", [row | {"cmap_name": row["pert_id"]} for row in rows])
    else:
        rows = [common | {"sig_id": sig, "pert_id": pert, "pert_iname": pert, "cell_id": "MCF7"} for sig, pert in ids]
        write_table(tmp_path, "GSE92742_Broad_LINCS_sig_info.txt", rows)
        metrics = [{"sig_id": sig, "tas": 0.5, "distil_nsample": 3, "distil_cc_q75": 0.4} for sig, _ in ids]
        write_table(tmp_path, "GSE92742_Broad_LINCS_sig_metrics.txt.gz", metrics)
    found = signatures.read_signatures(tmp_path, COMPOUNDS, GENES, "MCF7", 24.0)
    assert found.table["id"].tolist() == ["s1", "s3"]
    np.testing.assert_array_equal(found.z, MATRIX[[0, 2]] - 5)
    row = found.table.iloc[0]
    assert (row["compound"], row["dose_um"], row["tas"]) == ("aspirin", 0.5, 0.5)
    assert (row["wells"], row["replicate_correlation"]) == (3, 0.4)
    with pytest.raises(BadInput, match="no Level 5 signature of these compounds in A375; give"):
        signatures.read_signatures(tmp_path, COMPOUNDS, GENES, "A375")
    write_gctx(tmp_path / "level5.gctx", pd.DataFrame({"id": ["s1", "s2", "s3"]}), MATRIX[:3], ["11", "22", "33"])
    with pytest.raises(BadInput, match=r"level5.gctx: no value below 0: not z-scores; give Level 5"):
        signatures.read_signatures(tmp_path, COMPOUNDS, GENES, "MCF7")
