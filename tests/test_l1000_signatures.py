"""Level 5 signatures of LINCS: values, and what the tables know of them."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from l1000_files import (
    COMPOUNDS,
    GENES,
    MATRIX,
    WELLS,
    upstream_value,
    upstream_wells,
    write_gctx,
    write_table,
    write_upstream,
)

from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.datasets.l1000 import signatures
from morphobench.errors import BadInput


@pytest.fixture
def level3(tmp_path: Path) -> Path:
    return write_gctx(tmp_path / "level3.gctx", WELLS, MATRIX, ["33", "22", "11"])


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
