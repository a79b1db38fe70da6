"""Text that other tools wrote: the same table in every form is the same table, and what is no table is named."""

from __future__ import annotations

import ast
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bbbc021_layout import made_rows

from morphobench.datasets import bbbc021, tables
from morphobench.datasets.frozen import load_compounds
from morphobench.datasets.structures import fill_structures
from morphobench.datasets.tier import HERE, read_spec
from morphobench.errors import BadInput

COLUMNS = {"plate": ("Plate", "Assay_Plate"), "name": ("Name",), "dose": ("Dose",)}
MEND = "give another"


def read(path: Path, **options) -> pd.DataFrame:
    return tables.read_table(path, COLUMNS, ("plate", "name"), MEND, **options)


def put(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


PLAIN = "Row,Plate,Name,Dose\n1,01,taxol,1.5\n2,1,NA,10\n3,1e2,Inf,\n4,100,nan,2\n"
FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "Excel's Unicode text": lambda text: text.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "semicolons and decimal commas": lambda text: text.replace(",", ";").replace("1.5", "1,5").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "quoted": lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text).encode(),
    "quoted tabs": lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text).replace(",", "\t").encode(),
    "no end of line": lambda text: text.rstrip("\n").encode(),
    "gzip under a plain name": lambda text: gzip.compress(text.encode()),
    "Excel's note of the separator": lambda text: b"sep=;\n" + text.replace(",", ";").encode(),
    "Excel's empty rows": lambda text: (text + re.sub(r"[^,\n]", "", text)).encode(),
    "Excel's empty columns": lambda text: text.replace("\n", ",,\n").encode(),
    "a separator at the end of each row": lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1).encode(),
    "names of other letters": lambda text: text.replace("Plate", "PLATE").replace("Name", "name").encode(),
    "the second name of a column": lambda text: text.replace("Plate", "Assay_Plate").encode(),
    "spaces around": lambda text: text.replace(",", " , ").replace("taxol", "taxol\u200b").encode(),
    "R's row names": lambda text: text.replace("Row,", "").replace(",", "\t").encode(),
    "the end of a DOS file": lambda text: text.encode() + b"\x1a",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_the_same_in_every_form(tmp_path, form):
    found = read(put(tmp_path, FORMS[form](PLAIN)), numbers=("dose",))
    assert found["plate"].tolist() == ["01", "1", "1e2", "100"]
    assert found["name"].tolist() == ["taxol", "NA", "Inf", "nan"]
    assert found["dose"].tolist() == ["1.5", "10", "", "2"]
    assert found.index.tolist() == ([3, 4, 5, 6] if form == "Excel's note of the separator" else [2, 3, 4, 5])


def test_categories_hold_the_same_text(tmp_path, monkeypatch):
    monkeypatch.setattr(tables.reading, "_ROWS", 2)  # so that there are two pieces with other categories
    path = put(tmp_path, PLAIN)
    found = read(path, few=("plate", "dose"))
    assert found.dtypes.astype(str).tolist() == ["category", "str", "category"] or pd.__version__ < "3"
    pd.testing.assert_frame_equal(found.astype(str), read(path).astype(str))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_row_that_is_too_long_is_found_wherever_it_stands(tmp_path, monkeypatch, separator):
    monkeypatch.setattr(tables.reading, "_ROWS", 2)
    for line in range(2 if separator == "," else 3, 8):  # a first row with a name is R's
        rows = [f"{number},a,1" for number in range(8)]
        rows[line - 2] += ",5"
        text = "\n".join(["Plate,Name,Dose", *rows]).replace(",", separator)
        with pytest.raises(BadInput, match=rf"line {line}: 4 cells, 3 columns"):
            read(put(tmp_path, text))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_may_be_shorter_than_the_header(tmp_path, separator):
    path = put(tmp_path, "Plate,Name,Dose,\n1,a\n2,b\n".replace(",", separator))
    assert read(path).to_dict("list") == {"plate": ["1", "2"], "name": ["a", "b"], "dose": ["", ""]}


def test_a_name_in_other_letters_is_the_last_that_is_taken(tmp_path):
    path = put(tmp_path, "PLATE,Assay_Plate,NAME\n1,01,a\n")
    assert read(path)[["plate", "name"]].to_numpy().tolist() == [["01", "a"]]


def test_nothing_but_a_line_end_ends_a_line(tmp_path):
    path = put(tmp_path, "Plate,Name\n1,a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\n")
    assert read(path)["name"].tolist() == ["a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g"]


def test_a_lone_quotation_mark_in_a_tab_separated_table_is_text(tmp_path):
    path = put(tmp_path, 'Plate\tName\n1\t5\'-"AMP\n2\t"half\n3\t"whole ""and"" quoted"\n4\tlast\n')
    assert read(path)["name"].tolist() == ["5'-\"AMP", '"half', 'whole "and" quoted', "last"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_quoted_line_break_in_a_tab_separated_table_is_in_its_cell(tmp_path, end, packed):
    text = (
        'Plate\tName\tDose\n1\t"a\nb"\t5\n2\t"half\t6\n3\tc\t"7\n\n8"\n"4\n4"\t"d ""\n"" d"\t9\n5\te\t"10\n6\tf\t11\n'
    )
    data = text.replace("\n", end).encode()
    found = read(put(tmp_path, gzip.compress(data) if packed else data))
    assert found["plate"].tolist() == ["1", "2", "3", "4 4", "5", "6"]
    assert found["name"].tolist() == ["a b", '"half', "c", 'd " " d', "e", "f"]
    assert found["dose"].tolist() == ["5", "6", "7  8", "9", '"10', "11"]
    assert found.index.tolist() == [2, 4, 5, 8, 11, 12]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"cannot be read .nothing .0 bytes.*download it again"),
        ("<html><body>404</body></html>", "a web page .HTML."),
        ('{"error": "no"}', "JSON"),
        (b"PK\x03\x04\x14\x00\x06\x00", "a zip or an Excel workbook, no text; save it as CSV"),
        (PLAIN.encode("utf-16-le"), "holds zero bytes: .* UTF-16 without a byte order mark; save it as UTF-8"),
        ("Plate,Name\n1,a\xb5\n".encode("latin-1"), "not utf-8 text .byte 0xb5.*save it as UTF-8"),
        ("Plate|Name\n1|a\n", r"column Plate or Assay_Plate is missing; give another .its header is 'Plate\|Name'"),
        ("Plate,Dose\n1,2\n", "column Name is missing; give another .its header is 'Plate,Dose'"),
        ("Plate,Name,Plate\n1,a,2\n", "column Plate stands twice; leave one of them"),
        (
            "Plate,Dose,Name\n1,1,a\n2,2,5,a\n",
            "line 3: 4 cells, 3 columns; quote cells that hold a ',', or give another",
        ),
        ("Plate,Dose,Name\n1,1,5,a\n2,2,5,a\n", "line 2: 4 cells, 3 columns"),
        (b"\x1f\x8b\x08\x00cut short", "cannot be read .*download it again"),
        (gzip.compress(PLAIN.encode() * 99)[:-9], "cannot be read .*download it again"),
        ('Plate,Name\n1,"never ended\n2,b\n', "cannot be read .*EOF inside string.*download it again"),
    ],
)
def test_what_is_no_such_table_is_named(tmp_path, text, message):
    path = put(tmp_path, text)
    with pytest.raises(BadInput, match=rf"^{path}: .*{message}") as caught:
        read(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("separator", "doses", "found"),
    [
        (";", ("1,5", "2"), ["1.5", "2"]),
        (";", ("1,000", "2"), ["1.000", "2"]),  # beside semicolons a comma is the decimal one
        ("\t", ("0,04", "1,000"), ["0.04", "1.000"]),
        ("\t", ("1,000", "2,000"), "line 2: dose is '1,000': a decimal comma, or thousands"),
        (";", ("1,5", "2.5"), "line 2: dose is '1,5': a decimal comma, or thousands"),
        (";", ("2", "1.000,5"), r"line 3: dose is '1.000,5': .*write decimal points"),
        ("\t", ("2", "1,000,000"), "line 3: dose is '1,000,000'"),
        (";", ("0,5 uM", "1 uM"), ["0.5 uM", "1 uM"]),
    ],
)
def test_a_decimal_comma_is_read_where_it_is_plain(tmp_path, separator, doses, found):
    rows = ["Plate,Name,Dose".replace(",", separator), *(separator.join(("1", "a", dose)) for dose in doses)]
    path = put(tmp_path, "\n".join(rows))
    if isinstance(found, list):
        assert read(path, numbers=("dose",))["dose"].tolist() == found
        return
    with pytest.raises(BadInput, match=found):
        read(path, numbers=("dose",))


def test_flags_are_read_however_they_are_spelt():
    spelt = pd.Series(
        ["1", "1.0", "1.000", "True", "TRUE", "t", "yes", "Y", "Pass", "", "0", "0.0", "FALSE", "f", "no", "N", "fail"]
    )
    assert tables.flags(spelt, "qc", "here").tolist() == ["1"] * 9 + [""] + ["0"] * 7
    for strange in ("2", "maybe", "nan", "-1", "1 0", "0_1"):
        with pytest.raises(BadInput, match=rf"^a.csv: line 7: qc is '{strange}', no flag; write 1 or 0"):
            tables.flags(pd.Series(["1", strange], index=[6, 7], dtype="category"), "qc", "a.csv")


def test_whole_numbers_are_those_that_are_plainly_whole():
    found = {
        text: tables.whole(text)
        for text in ("7", "007", "7.0", "7.", "0.0", "Inf", "nan", "1e3", "7.5", "-7", "", "9" * 30)
    }
    assert found == {"7": 7, "007": 7, "7.0": 7, "7.": 7, "0.0": 0} | dict.fromkeys(list(found)[5:])


@pytest.mark.parametrize("name", ["T.CSV", "t.csv.GZ", "T.csv.gz", "t.csv"])
def test_a_file_is_found_whatever_the_case_of_its_name(tmp_path, name):
    assert tables.find_file(tmp_path / "nowhere", "t.csv") is None
    assert tables.find_file(tmp_path, "t.csv") is None
    path = put(tmp_path, PLAIN, name)
    assert tables.find_file(tmp_path, "t.csv") == path
    exact = put(tmp_path, PLAIN, "t.csv")
    assert tables.find_file(tmp_path, "t.csv") == exact


@pytest.mark.parametrize("form", ["byte order mark", "UTF-16, big end first", "CR", "CRLF"])
def test_a_toml_is_the_same_in_every_form(tmp_path, form):
    for shipped in (HERE / "tiers" / "morphogene.toml", HERE / "tiers" / "sim.toml"):
        path = put(tmp_path, FORMS[form](shipped.read_text()), "tier.toml")
        assert read_spec(path) == read_spec(shipped)


@pytest.mark.parametrize("data", [b"name = ", b"name = 'caf\xe9'", b"n\x00a\x00m\x00e\x00", b"PK\x03\x04"])
def test_what_is_no_toml_is_named(tmp_path, data):
    path = put(tmp_path, data, "tier.toml")
    with pytest.raises(BadInput, match=rf"^{path}: ") as caught:
        read_spec(path)
    assert str(caught.value).isprintable()


EXCEL = ["byte order mark", "Excel's Unicode text", "CR", "semicolons", "tabs", "Excel's empty rows"]


@pytest.mark.parametrize("form", EXCEL)
def test_bbbc021_tables_are_the_same_in_every_form(tmp_path, form):
    rows = made_rows()
    (tmp_path / "plain").mkdir()
    (tmp_path / "other").mkdir()
    moa = pd.DataFrame({"compound": ["taxol", "DMSO"], "concentration": [0.3, 0.0], "moa": ["Microtubule", "DMSO"]})
    for name, table in (("BBBC021_v1_image.csv", rows), ("BBBC021_v1_moa.csv", moa)):
        table.to_csv(tmp_path / "plain" / name, index=False)
        text = (tmp_path / "plain" / name).read_text()
        put(tmp_path / "other", FORMS[form](text), name.replace(".csv", ".CSV"))
    for function in (bbbc021.read_image_table, bbbc021.read_mechanisms):
        pd.testing.assert_frame_equal(function(tmp_path / "other"), function(tmp_path / "plain"))


def test_plates_that_look_like_numbers_stay_apart(tmp_path):
    rows = pd.concat([made_rows().assign(Image_Metadata_Plate_DAPI=plate) for plate in ("01", "1", "1e2", "100")])
    rows.to_csv(tmp_path / "BBBC021_v1_image.csv", index=False)
    assert bbbc021.read_image_table(tmp_path)["plate"].unique().tolist() == ["01", "1", "1e2", "100"]


def test_a_compound_may_be_called_na(tmp_path):
    made_rows().assign(Image_Metadata_Compound=["DMSO", "NA"]).to_csv(tmp_path / "BBBC021_v1_image.csv", index=False)
    assert bbbc021.read_image_table(tmp_path)["compound"].tolist() == ["DMSO", "NA"]


@pytest.mark.parametrize("after", [" emetine", "\u200b", "\temetine (base)", "\xa0emetine", " |c:1|", "\ufeff"])
def test_of_a_smiles_with_a_name_the_molecule_alone_is_kept(tmp_path, after):
    compounds = load_compounds()
    known = compounds.set_index("compound")["smiles"]["emetine"]
    hidden = compounds.assign(smiles=compounds["smiles"].where(compounds["compound"] != "emetine", ""))
    path = put(tmp_path, f'compound,smiles\nemetine,"{known}{after}"\n', "BBBC021_v1_compound.csv")
    assert fill_structures(hidden, path).set_index("compound")["smiles"]["emetine"] == known


READERS = {
    "read_csv",
    "read_table",
    "read_fwf",
    "read_excel",
    "genfromtxt",
    "loadtxt",
    "DictReader",
    "splitlines",
    "tomllib",
}
KNOWN = {
    "datasets/tables",  # this module
    "datasets/downloads/sources.py", "export/croissant.py",  # files that ship with the package
    "ingest/expression.py",  # a gigabyte of numbers, by pyarrow, after the header was read here
    "storage.py", "provenance.py", "errors.py",  # SHA256SUMS; /proc/cpuinfo; messages
    "features/cellprofiler/routes.py",  # what CellProfiler wrote a moment ago
}  # fmt: skip


def test_nothing_else_reads_tables_or_toml() -> None:
    package = Path(tables.__file__).parents[2]
    found = set()
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        calls = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "attr")}
        names = {
            node.value.id for node in ast.walk(tree) if isinstance(node, ast.Attribute) and hasattr(node.value, "id")
        }
        ours = (
            {"read_table"} if "morphobench.datasets" in path.read_text() else set()
        )  # `tables.read_table` and LINCS's
        if READERS & (calls | names) - ours:
            found.add(path.relative_to(package).as_posix())
    assert {name for name in found if not name.startswith(tuple(KNOWN))} == set()


def test_our_own_tables_keep_names_as_text(tmp_path):
    table = pd.DataFrame({"plate": ["01", "1"], "well": ["1E2", "100"], "index": [0, 1], "moa": ["", "NA"]})
    table.to_csv(tmp_path / "samples.csv", index=False)
    found = tables.read_own(tmp_path / "samples.csv")
    assert found.astype(object).to_dict("list") == table.to_dict("list")
    assert np.issubdtype(found["index"].dtype, np.integer)
