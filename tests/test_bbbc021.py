"""BBBC021's tables: the real ones, and every way a table can be wrong."""

import pandas as pd
import pytest
from bbbc021_layout import made_rows

from morphobench.datasets import bbbc021
from morphobench.datasets.frozen import load_compounds
from morphobench.errors import BadInput


def test_the_real_image_table_is_read_whole(shared_data):
    table = bbbc021.read_image_table(shared_data / "bbbc021")
    assert len(table) == 13_200
    assert table["plate"].nunique() == 55
    assert table["compound"].nunique() == 113
    assert (table.groupby(["plate", "well"]).size() == 4).all()
    assert set(table["site"]) == {1, 2, 3, 4}
    assert table["compound"].isin(load_compounds()["compound"]).sum() == 10_568
    assert (table[table["compound"] == bbbc021.VEHICLE].groupby("plate").size() == 24).all()


def test_every_treatment_with_a_mechanism_is_found_by_compound_and_dose(shared_data):
    table = bbbc021.read_image_table(shared_data / "bbbc021")
    table["moa"] = bbbc021.mechanism_of(table, bbbc021.read_mechanisms(shared_data / "bbbc021"))
    treated = table[(table["moa"] != "") & (table["compound"] != "DMSO")]
    assert len(treated[["compound", "dose_um"]].drop_duplicates()) == 103
    assert treated["moa"].nunique() == 12
    assert set(table.loc[(table["compound"] == "taxol") & (table["dose_um"] < 0.1), "moa"]) == {""}


def test_the_join_on_treatments_is_that_of_a_pandas_merge(shared_data):
    table = bbbc021.read_image_table(shared_data / "bbbc021")
    mechanisms = bbbc021.read_mechanisms(shared_data / "bbbc021")
    merged = table.merge(mechanisms, "left", left_on=["compound", "dose_um"], right_on=["compound", "concentration"])
    assert bbbc021.mechanism_of(table, mechanisms).tolist() == merged["moa"].fillna("").tolist()


def change(column: str, value: object):
    return lambda rows: rows.assign(**{column: [value, *rows[column].iloc[1:]]})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.drop(columns="Replicate"), "column Replicate is missing"),
        (lambda rows: pd.concat([rows, rows.iloc[:1]]), "line 4: .* stands twice"),
        (
            change("Image_FileName_Actin", "G10_s1_w2A.tif"),
            "line 2: Image_FileName_Actin is G10_s1_w2A.tif, without _w4",
        ),
        (change("Image_FileName_DAPI", "G10_w1A.tif"), "line 2: G10_w1A.tif names no well and site"),
        (
            change("Image_FileName_Actin", "G10_s3_w4A.tif"),
            "line 2: Image_FileName_Actin is G10_s3_w4A.tif, of another field than G10_s1_w1A.tif",
        ),
        (change("Image_Metadata_Well_DAPI", "G11"), "line 2: G10_s1_w1A.tif is not of well G11"),
        (change("Image_FileName_DAPI", "../G10_s1_w1A.tif"), "line 2: dna is '../G10_s1_w1A.tif', not a plain name"),
        (change("Image_Metadata_Plate_DAPI", ".."), "line 2: plate is '..', not a plain name"),
        (change("Image_PathName_DAPI", "Week1/../../x"), "line 2: path is 'Week1/../../x', not a plain name"),
        (change("Image_PathName_DAPI", "/etc"), "line 2: path is '/etc', not a plain name"),
        (change("Image_Metadata_Compound", None), "line 2: compound is empty"),
        (change("Image_Metadata_Concentration", "high"), "line 2: dose_um is 'high'"),
        (change("Image_Metadata_Concentration", -1), "line 2: dose_um is"),
        (change("Image_Metadata_Concentration", float("inf")), "line 2: dose_um is 'inf', not a number from 0 up"),
        (change("Replicate", 1.7), "line 2: replicate is '1.7', not a whole number"),
        (lambda rows: rows.iloc[:0], "holds no rows"),
    ],
)
def test_a_damaged_image_table_is_named_with_its_line(tmp_path, edit, message):
    edit(made_rows()).to_csv(tmp_path / "BBBC021_v1_image.csv", index=False)
    with pytest.raises(BadInput, match=message) as caught:
        bbbc021.read_image_table(tmp_path)
    assert "\n" not in str(caught.value)


def test_tables_that_are_absent_or_not_csv_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"BBBC021_v1_moa.csv: not there .*broadinstitute"):
        bbbc021.read_mechanisms(tmp_path)
    (tmp_path / "BBBC021_v1_image.csv.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(BadInput, match=r"csv.gz: cannot be read .a web page"):
        bbbc021.read_image_table(tmp_path)
