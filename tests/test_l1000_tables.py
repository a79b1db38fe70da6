"""The tables that LINCS ships with its matrices: both generations, every spelling, and what is wrong in one."""

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from l1000_files import (
    GSE92742,
    HEADERS,
    LINCS2020,
    MATRIX,
    WELLS,
    inst_rows,
    profiles,
    write_gctx,
    write_table,
)

from morphobench.datasets import l1000
from morphobench.datasets.frozen import load_landmarks
from morphobench.datasets.l1000 import gctx, lincs
from morphobench.errors import BadInput


@pytest.fixture
def level3(tmp_path: Path) -> Path:
    return write_gctx(tmp_path / "level3.gctx", WELLS, MATRIX, ["33", "22", "11"])


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
