"""The BBBC021 reader: real tables, known shading and contrast, and every way its files can be wrong."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bbbc021_layout import FIELD_SHAPE, STAINS, lay_out, tiff_bytes, window

from morphobench.datasets import bbbc021
from morphobench.errors import BadInput

PLATE = "Week1_22123"


def table_rows(n: int = 2) -> pd.DataFrame:
    """Rows as the image table has them: the first half vehicle, the rest taxol."""
    rows = [
        {
            "TableNumber": 4,
            "ImageNumber": number,
            **{
                f"Image_FileName_{stain}": f"G10_s{number}_w{mark}A.tif"
                for stain, mark in zip(STAINS, (1, 2, 4), strict=True)
            },
            **{f"Image_PathName_{stain}": f"Week1/{PLATE}" for stain in STAINS},
            "Image_Metadata_Plate_DAPI": PLATE,
            "Image_Metadata_Well_DAPI": "G10",
            "Replicate": 1,
            "Image_Metadata_Compound": "DMSO" if number <= n // 2 else "taxol",
            "Image_Metadata_Concentration": 0.0 if number <= n // 2 else 0.3,
        }
        for number in range(1, n + 1)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def mechanisms(tmp_path: Path) -> Path:
    path = tmp_path / "moa.csv"
    path.write_text("compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n")
    return path


@pytest.fixture
def source() -> np.ndarray:
    return np.random.default_rng(0).integers(200, 4000, (3, 64, 80), dtype=np.uint16)


@pytest.fixture
def folder(tmp_path: Path, source: np.ndarray, mechanisms: Path) -> Path:
    return lay_out(tmp_path / "images", table_rows(), source, mechanisms)


def rewrite_zip(folder: Path, name: str, data: bytes | None) -> None:
    """Replace one member of the plate's zip, or drop it."""
    path = folder / f"BBBC021_v1_images_{PLATE}.zip"
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members.pop(f"{PLATE}/{name}")
    if data is not None:
        members[f"{PLATE}/{name}"] = data
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def test_the_real_image_table_is_read_whole(shared_data):
    table = bbbc021.read_image_table(shared_data / "bbbc021")
    assert len(table) == 13_200
    assert table["plate"].nunique() == 55
    assert table["compound"].nunique() == 113
    assert (table.groupby(["plate", "well"]).size() == 4).all()
    assert set(table["site"]) == {1, 2, 3, 4}


def test_every_treatment_with_a_mechanism_is_found_by_compound_and_dose(shared_data):
    table = bbbc021.read_image_table(shared_data / "bbbc021")
    table["moa"] = bbbc021.mechanism_of(table, bbbc021.read_mechanisms(shared_data / "bbbc021"))
    treated = table[(table["moa"] != "") & (table["compound"] != "DMSO")]
    assert len(treated[["compound", "dose_um"]].drop_duplicates()) == 103
    assert treated["moa"].nunique() == 12
    assert set(table.loc[(table["compound"] == "taxol") & (table["dose_um"] < 0.1), "moa"]) == {""}


def test_zip_and_unpacked_folder_give_the_same_plate(folder, source):
    fields = bbbc021.read_image_table(folder)
    zipped = bbbc021.read_plate(folder, fields)
    with zipfile.ZipFile(folder / f"BBBC021_v1_images_{PLATE}.zip") as archive:
        archive.extractall(folder / "Week1")
    (folder / f"BBBC021_v1_images_{PLATE}.zip").unlink()
    assert bbbc021.plates_on_disk(folder, fields) == [PLATE]
    unpacked = bbbc021.read_plate(folder, fields)
    np.testing.assert_array_equal(unpacked.crops, zipped.crops)
    expected = window(source, f"{PLATE}/G10_s1_w1A.tif")[:, 256:768, 384:896]
    np.testing.assert_array_equal(zipped.crops[0], np.moveaxis(expected[::-1], 0, -1))


def test_illumination_function_recovers_a_known_shading():
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in FIELD_SHAPE), indexing="ij")
    shading = 1 - 0.3 * x - 0.2 * y
    found = bbbc021.illumination_function(1000 * shading)
    inner = (slice(256, 768), slice(256, 1024))  # a median near the border sees only one side
    np.testing.assert_allclose(found[inner], (shading / shading.mean())[inner], atol=0.02)


def test_contrast_comes_from_the_vehicle_wells_of_the_plate(folder, source):
    rewrite_zip(folder, "G10_s2_w1A.tif", tiff_bytes((window(source, f"{PLATE}/G10_s2_w1A.tif")[0] // 2).astype("u2")))
    plate = bbbc021.read_plate(folder, bbbc021.read_image_table(folder))
    vehicle, treated = plate.image(0)[..., 2].mean(), plate.image(1)[..., 2].mean()
    assert vehicle == pytest.approx(127.5, abs=3)  # uniform noise between the two percentiles
    assert treated == pytest.approx(127.5 / 2, abs=8)  # per-image scaling would have hidden this


def test_a_plate_gain_cancels(tmp_path, source, mechanisms):
    images = [
        bbbc021.read_plate(place, bbbc021.read_image_table(place)).image(0).astype(int)
        for gain in (1, 3)
        for place in [lay_out(tmp_path / str(gain), table_rows(), gain * source, mechanisms)]
    ]
    assert np.abs(images[0] - images[1]).max() <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "is not there"),
        (b"II*\0 not a tiff", "is damaged"),
        (tiff_bytes(np.full(FIELD_SHAPE, 7, np.uint16))[:100_000], "is damaged"),
        (tiff_bytes(np.zeros(FIELD_SHAPE, np.uint8)), "uint8"),
        (tiff_bytes(np.zeros((512, 640), np.uint16)), r"\(512, 640\)"),
    ],
    ids=["missing", "no image", "cut short", "8 bit", "small"],
)
def test_a_bad_file_is_named_with_its_line(folder, data, message):
    rewrite_zip(folder, "G10_s2_w2A.tif", data)
    fields = bbbc021.read_image_table(folder)
    with pytest.raises(BadInput, match=rf"zip: G10_s2_w2A.tif \(image table line 3\).*{message}"):
        bbbc021.read_plate(folder, fields)


def test_a_missing_file_is_found_before_any_pixel_is_read(folder):
    rewrite_zip(folder, "G10_s1_w4A.tif", None)
    with pytest.raises(BadInput, match=r"G10_s1_w4A.tif \(image table line 2\) is not there"):
        bbbc021.check_files(folder, bbbc021.read_image_table(folder))


def test_a_flipped_byte_in_a_zip_is_found(folder):
    path = folder / f"BBBC021_v1_images_{PLATE}.zip"
    data = bytearray(path.read_bytes())
    data[1_000_000] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match="is damaged"):
        bbbc021.read_plate(folder, bbbc021.read_image_table(folder))


def test_a_zip_cut_short_and_an_absent_plate_are_named(folder):
    fields = bbbc021.read_image_table(folder)
    path = folder / f"BBBC021_v1_images_{PLATE}.zip"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInput, match=rf"{PLATE}.zip: not a zip, or cut short"):
        bbbc021.read_plate(folder, fields)
    path.unlink()
    with pytest.raises(BadInput, match=rf"{PLATE}.zip: not there"):
        bbbc021.read_plate(folder, fields)


def test_a_black_channel_and_a_plate_without_vehicle_are_refused(folder):
    fields = bbbc021.read_image_table(folder)
    with pytest.raises(BadInput, match=f"plate {PLATE}: no DMSO field"):
        bbbc021.read_plate(folder, fields[fields["compound"] != "DMSO"])
    for site in (1, 2):
        rewrite_zip(folder, f"G10_s{site}_w1A.tif", tiff_bytes(np.zeros(FIELD_SHAPE, np.uint16)))
    with pytest.raises(BadInput, match="the dna channel is black"):
        bbbc021.read_plate(folder, fields)


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
        (change("Image_Metadata_Compound", None), "line 2: compound is empty"),
        (change("Image_Metadata_Concentration", "high"), "line 2: dose_um is 'high'"),
        (change("Image_Metadata_Concentration", -1), "line 2: dose_um is"),
        (lambda rows: rows.iloc[:0], "holds no rows"),
    ],
)
def test_a_damaged_image_table_is_named_with_its_line(tmp_path, edit, message):
    edit(table_rows()).to_csv(tmp_path / "BBBC021_v1_image.csv", index=False)
    with pytest.raises(BadInput, match=message) as caught:
        bbbc021.read_image_table(tmp_path)
    assert "\n" not in str(caught.value)


def test_tables_that_are_absent_or_not_csv_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"BBBC021_v1_moa.csv: not there .*broadinstitute"):
        bbbc021.read_mechanisms(tmp_path)
    (tmp_path / "BBBC021_v1_image.csv.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(BadInput, match=r"csv.gz: not a CSV table"):
        bbbc021.read_image_table(tmp_path)
