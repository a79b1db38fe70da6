"""Small L1000 files for tests: a GCTX of three genes and five wells, and LINCS tables with their real header rows."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from morphobench.datasets import l1000

GENES = np.array([11, 22, 33])
COMPOUNDS = pd.DataFrame(
    {
        "compound": ["aspirin", "taxol"],
        "smiles": ["CC(=O)Oc1ccccc1C(=O)O", ""],
        "l1000_pert_ids": ["BRD-1", ""],
        "l1000_names": ["", "paclitaxel"],
        "cohort": ["ID", "OOD"],
        "cohort_confidence": ["high", "high"],
    }
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

LINCS2020 = {
    "instinfo_beta.txt": (
        "bead_batch nearest_dose pert_dose pert_dose_unit pert_idose pert_time pert_itime pert_time_unit cell_mfc_name "
        "pert_mfc_id det_plate det_well rna_plate rna_well count_mean count_cv qc_f_logp qc_iqr qc_slope pert_id "
        "sample_id pert_type cell_iname qc_pass dyn_range inv_level_10 build_name failure_mode project_code cmap_name"
    ),
    "siginfo_beta.txt": (
        "bead_batch nearest_dose pert_dose pert_dose_unit pert_idose pert_itime pert_time pert_time_unit cell_mfc_name "
        "pert_mfc_id nsample cc_q75 ss_ngene tas pct_self_rank_q25 wt median_recall_rank_spearman "
        "median_recall_rank_wtcs_50 median_recall_score_spearman median_recall_score_wtcs_50 batch_effect_tstat "
        "batch_effect_tstat_pct is_hiq qc_pass pert_id sig_id pert_type cell_iname det_wells det_plates distil_ids "
        "build_name project_code cmap_name is_exemplar_sig is_ncs_sig is_null_sig"
    ),
    "compoundinfo_beta.txt": "pert_id cmap_name target moa canonical_smiles inchi_key compound_aliases",
    "geneinfo_beta.txt": "gene_id gene_symbol ensembl_id gene_title gene_type src feature_space",
    "cellinfo_beta.txt": (
        "cell_iname cellosaurus_id donor_age donor_age_death donor_disease_age_onset doubling_time growth_medium "
        "provider_catalog_id feature_id cell_type donor_ethnicity donor_sex donor_tumor_phase cell_lineage "
        "primary_disease subtype provider_name growth_pattern ccle_name cell_alias"
    ),
}
GSE92742 = {
    "GSE92742_Broad_LINCS_inst_info.txt": (
        "inst_id rna_plate rna_well pert_id pert_iname pert_type pert_dose pert_dose_unit pert_time pert_time_unit "
        "cell_id"
    ),
    "GSE92742_Broad_LINCS_sig_info.txt": (
        "sig_id pert_id pert_iname pert_type cell_id pert_dose pert_dose_unit pert_idose pert_time pert_time_unit "
        "pert_itime distil_id"
    ),
    "GSE92742_Broad_LINCS_sig_metrics.txt": (
        "sig_id pert_id pert_iname pert_type distil_cc_q75 distil_ss pct_self_rank_q25 ngenes_modulated_up_lm "
        "ngenes_modulated_dn_lm tas is_exemplar distil_nsample"
    ),
    "GSE92742_Broad_LINCS_pert_info.txt": (
        "pert_id pert_iname pert_type is_touchstone inchi_key_prefix inchi_key canonical_smiles pubchem_cid"
    ),
    "GSE92742_Broad_LINCS_gene_info.txt": "pr_gene_id pr_gene_symbol pr_gene_title pr_is_lm pr_is_bing",
    "GSE92742_Broad_LINCS_cell_info.txt": (
        "cell_id cell_type base_cell_id precursor_cell_id modification sample_type primary_site subtype"
    ),
}
"""File name -> its header row, as public code that reads it names the columns."""
HEADERS = LINCS2020 | GSE92742


def write_gctx(path: Path, wells: pd.DataFrame, matrix: np.ndarray, genes: list[str]) -> Path:
    """A GCTX of fixed-length strings, as upstream writes it."""
    with h5py.File(path, "w") as file:
        file.create_dataset("0/DATA/0/matrix", data=matrix)
        for column in wells:
            file.create_dataset(f"0/META/COL/{column}", data=np.char.encode(wells[column].tolist(), "latin-1"))
        file.create_dataset("0/META/ROW/id", data=np.array(genes, dtype="S"))
    return path


def upstream_value(sample: int, entrez: np.ndarray) -> np.ndarray:
    """What the files of `write_upstream` hold for a sample and genes: log2 expression from 4.00 to 13.96."""
    return 4 + entrez % 997 / 100 + sample / 1000


def write_upstream(path: Path, samples: pd.DataFrame, landmarks: pd.DataFrame, level: int) -> Path:
    """A GCTX as the Broad's tools write one: version and source at the root, chunks, every column of the metadata.

    Level 3: float32, rows named by Entrez id, the landmarks among other genes and in another order. Level 5: float64
    z-scores (`upstream_value` less 9), rows named by probe, with Entrez ids and symbols beside them.
    """
    others = np.arange(900_001, 900_023)
    entrez = np.random.default_rng(5).permutation(np.concatenate([landmarks["entrez_id"].to_numpy(), others]))
    symbols = dict(zip(landmarks["entrez_id"], landmarks["symbol"], strict=True))
    matrix = np.array([upstream_value(sample, entrez) for sample in range(len(samples))])
    with h5py.File(path, "w") as file:
        file.attrs["version"], file.attrs["src"] = np.bytes_("GCTX1.0"), np.bytes_(f"{path}")
        stored = matrix.astype(np.float32) if level == 3 else matrix - 9
        file.create_dataset("0/DATA/0/matrix", data=stored, chunks=(min(7, len(samples)), 200), compression=4)
        probes = np.array([f"{20_000 + k}_at" for k in range(len(entrez))], "S")
        file["0/META/ROW/id"] = np.char.encode(entrez.astype(str)) if level == 3 else probes
        file["0/META/ROW/pr_gene_id"] = entrez
        # Symbols change between releases: every tenth is an old one.
        names = [f"OLD{gene}" if gene % 10 == 0 else symbols.get(gene, "-666") for gene in entrez]
        file["0/META/ROW/pr_gene_symbol"] = np.array(names, "S")
        for column in samples:
            values = samples[column].to_numpy()
            file[f"0/META/COL/{column}"] = values if values.dtype.kind in "if" else np.array(values.tolist(), "S")
    return path


def upstream_wells(compounds: pd.DataFrame) -> pd.DataFrame:
    """Level 3 wells of MCF7 at 24 h: on each of two plates two of the vehicle and one of each compound (first id)."""
    treated = [
        ("trt_cp", ids.split("|")[0], name) for name, ids in compounds[["compound", "l1000_pert_ids"]].to_numpy()
    ]
    wells = [(plate, *well) for plate in ("P1", "P2") for well in [("ctl_vehicle", "DMSO", "DMSO")] * 2 + treated]
    table = pd.DataFrame(wells, columns=["rna_plate", "pert_type", "pert_id", "pert_iname"])
    return table.assign(
        id=[f"{plate}_MCF7_24H:{k}" for k, plate in enumerate(table["rna_plate"])], cell_id="MCF7", pert_itime="24 h",
        pert_dose=np.where(table["pert_type"] == "trt_cp", 10.0, 0.0), pert_dose_unit="um",
    )  # fmt: skip


def write_table(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    """A LINCS table with its real header; what a row does not say is -666. A name that ends in .gz is gzipped."""
    header = HEADERS[name.removesuffix(".gz")].split()
    assert {key for row in rows for key in row} <= set(header)
    table = pd.DataFrame([{column: row.get(column, -666) for column in header} for row in rows], columns=header)
    table.to_csv(folder / name, sep="\t", index=False)
    return folder / name


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


def profiles(folder: Path, cell: str = "MCF7", hours: float = 24.0, **rules) -> l1000.Profiles:
    """The profiles of COMPOUNDS from the files of a folder."""
    return l1000.read_profiles(folder, COMPOUNDS, GENES, cell, hours, **rules)
