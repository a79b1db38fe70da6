"""GCTX and GCT: real files against h5py itself, slices against whole matrices, and every way a file can be wrong."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
from l1000_files import GENES, MATRIX, WELLS, upstream_value, upstream_wells, write_gctx, write_upstream

from morphobench.datasets.frozen import load_compounds, load_landmarks
from morphobench.datasets.l1000 import gctx
from morphobench.errors import BadInput

REAL = (
    "cmapR_modzs_n25x50.gctx",
    "cmapR_level5_n272x978.gctx",
    "cmapR_level5_MCF7_n25x978.gctx",
    "prnet_level3_HT115_6h_bbbc021.gctx",
    "transigen_level3_MCF7_pairs_n20x978.gctx",
    "transigen_basal_level3_165cells_n165x978.gctx",
)


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_against_plain_h5py(shared_data, name):
    found = gctx.open_expression(shared_data / "l1000" / name)
    with h5py.File(found.path) as file:
        matrix = file["0/DATA/0/matrix"][()]
        ids = file["0/META/COL/id"][()].astype(str)
        row = file["0/META/ROW"]
        entrez = (row["pr_gene_id"] if "pr_gene_id" in row else row["id"])[()].astype(int)
        columns = set(file["0/META/COL"])
    assert found.samples["id"].tolist() == ids.tolist()
    assert set(found.samples) == columns
    np.testing.assert_array_equal(found.entrez, entrez)
    genes = np.random.default_rng(0).permutation(entrez)[: len(entrez) // 2]
    rows = np.arange(0, len(matrix), 3)
    expected = matrix[rows][:, [entrez.tolist().index(gene) for gene in genes]]
    np.testing.assert_array_equal(found.read(rows, genes), expected.astype(np.float32))


@pytest.fixture(params=[3, 5])
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    """A file of twelve wells laid out as upstream's, and its level."""
    wells = upstream_wells(load_compounds()[lambda table: table["l1000_pert_ids"] != ""].head(4))
    return write_upstream(
        tmp_path / f"level{request.param}.gctx", wells, load_landmarks(), request.param
    ), request.param


def test_a_file_laid_out_as_upstreams_gives_the_values_that_were_written(upstream):
    """Landmarks are found by Entrez id, whatever the row ids are and although symbols have changed."""
    path, level = upstream
    found, genes = gctx.open_expression(path), load_landmarks()["entrez_id"].to_numpy()
    assert found.samples["id"].tolist() == [f"P{1 + k // 6}_MCF7_24H:{k}" for k in range(12)]
    assert set(found.samples) == {
        "rna_plate", "pert_type", "pert_id", "pert_iname", "id", "cell_id", "pert_itime", "pert_dose", "pert_dose_unit",
    }  # fmt: skip
    for rows in (np.arange(12), np.array([2, 3, 11]), np.array([7])):
        expected = np.array([upstream_value(row, genes) for row in rows]) - (9 if level == 5 else 0)
        np.testing.assert_allclose(found.read(rows, genes), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found.read(rows, genes[::-1]), found.read(rows, genes)[:, ::-1])


def test_a_file_laid_out_as_upstreams_that_is_cut_short_or_holds_other_genes_is_refused(upstream, tmp_path):
    path, _ = upstream
    with pytest.raises(BadInput, match=r"gctx: 1 of the 2 landmark genes are not in it .first: Entrez 7"):
        gctx.open_expression(path).read(np.arange(2), np.array([900_001, 7]))
    data = path.read_bytes()
    (tmp_path / "a.gct").write_bytes(data)
    with pytest.raises(BadInput, match=r"a.gct: HDF5 under a .gct name; rename it to .gctx"):
        gctx.open_expression(tmp_path / "a.gct")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match=r"gctx: cut short, or not HDF5"):
        gctx.open_expression(path)


def test_gct_1_3_text_laid_out_as_upstreams_opens(tmp_path):
    """Row metadata between the id and the values, sample metadata above them, fields parted by tabs."""
    landmarks = load_landmarks().sample(frac=1, random_state=0)
    genes, samples = landmarks["entrez_id"].to_numpy(), [f"LJP001_A375_24H:{k}" for k in range(5)]
    lines = ["#1.3", f"{len(genes)}\t5\t2\t2", "\t".join(["id", "pr_gene_symbol", "pr_is_lmark", *samples])]
    lines += [
        "\t".join([name, "na", "na", *values]) for name, values in (("cell_id", ["A375"] * 5), ("n", list("12345")))
    ]
    for gene, symbol in zip(genes, landmarks["symbol"], strict=True):
        lines.append("\t".join([str(gene), symbol, "Y", *(f"{upstream_value(k, gene):.4f}" for k in range(5))]))
    path = tmp_path / "level3.gct"
    path.write_text("\n".join(lines) + "\n")
    file = gctx.open_expression(path)
    wanted = load_landmarks()["entrez_id"].to_numpy()
    assert (file.samples["id"].tolist(), file.samples["cell_id"].tolist()) == (samples, ["A375"] * 5)
    expected = np.array([upstream_value(k, wanted) for k in (0, 3)])
    np.testing.assert_allclose(file.read(np.array([0, 3]), wanted), expected, atol=5.1e-5)
    zipped = tmp_path / "b.gct.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes(), 1))
    np.testing.assert_array_equal(
        gctx.open_expression(zipped).read(np.arange(5), wanted), file.read(np.arange(5), wanted)
    )
    path.rename(tmp_path / "c.gctx")
    with pytest.raises(BadInput, match=r"c.gctx: GCT text under a .gctx name; rename it to .gct"):
        gctx.open_expression(tmp_path / "c.gctx")


def test_known_values_of_the_small_real_file(shared_data):
    found = gctx.open_expression(shared_data / "l1000" / "cmapR_modzs_n25x50.gctx")  # upstream's bytes, float64
    first = found.samples.iloc[0]
    assert (first["id"], first["pert_iname"]) == ("CPC004_PC3_24H:BRD-A51714012-001-03-1:10", "venlafaxine")
    assert (first["cell_id"], first["distil_nsample"], first["pert_itime"]) == ("PC3", "5", "24 h")
    assert found.entrez[:3].tolist() == [5720, 466, 6009]  # PSME1, ATF1, RHEB; its ids are probes
    assert found.samples["id"].iloc[24] == "CPC006_TYKNU_6H:BRD-K56343971-001-02-3:10"
    values = found.read(np.array([0, 24]), np.array([5720, 466, 6009, 226]))
    np.testing.assert_allclose(values[0, :3], [-1.14536905, -1.16478324, 0.4373526], rtol=1e-6)
    assert values[1, 3] == np.float32(-0.7602999)


@pytest.mark.parametrize("chunks", [None, (300, 262), (17, 31), (400, 900), (1, 900)])
@pytest.mark.parametrize("kind", ["<f4", ">f8"])
def test_slices_are_those_of_the_whole_matrix(tmp_path, chunks, kind, monkeypatch):
    monkeypatch.setattr(gctx, "BLOCK_BYTES", 20_000)  # so that there are many blocks
    random = np.random.default_rng(0)
    matrix = random.normal(8, 2, (600, 900)).astype(kind)
    path = tmp_path / "a.gctx"
    with h5py.File(path, "w") as file:
        file.create_dataset("0/DATA/0/matrix", data=matrix, chunks=chunks, compression=None if chunks is None else 1)
        file["0/META/COL/id"] = np.array([f"s{number}" for number in range(600)], dtype=h5py.string_dtype())
        file["0/META/ROW/id"] = np.arange(1, 901)
    found = gctx.open_expression(path)
    genes = random.permutation(900)[:90]
    for rows in (np.sort(random.permutation(600)[:50]), np.arange(290, 420), np.array([599]), np.arange(0)):
        np.testing.assert_array_equal(found.read(rows, genes + 1), matrix[rows][:, genes].astype(np.float32))


@pytest.mark.parametrize("chunks", [None, (100, 262)])
def test_no_more_is_read_than_the_blocks_that_hold_something(tmp_path, chunks, monkeypatch):
    path = tmp_path / "a.gctx"
    with h5py.File(path, "w") as file:
        matrix = file.create_dataset("m", (1000, 12_328), np.float32, chunks=chunks)
        asked = []

        class Counted:
            shape, dtype, chunks = matrix.shape, matrix.dtype, matrix.chunks

            def __getitem__(self, key):
                asked.append(matrix[key])
                return asked[-1]

        monkeypatch.setattr(gctx, "BLOCK_BYTES", 2**20)
        gctx._read_slices(Counted(), np.arange(0, 1000, 5), np.arange(978))
    assert max(block.nbytes for block in asked) <= 2**20
    assert sum(block.nbytes for block in asked) == 200 * 978 * 4  # the landmarks of each wanted row, and nothing else
    assert len(asked) == 1


def test_rows_are_batched_by_whole_chunks():
    def cut(positions, unit, most):
        return [positions[batch] for batch in gctx._batches(np.array(positions, int), unit, most)]

    assert cut([0, 1, 2, 3, 7], 1, 2) == [[0, 1], [2, 3], [7]]
    assert cut([0, 1, 2, 3, 7], 4, 2) == [[0, 1, 2, 3], [7]]  # a chunk stays whole
    assert cut([0, 5, 9, 10, 14], 5, 3) == [[0, 5, 9], [10, 14]]
    assert cut([], 1, 2) == []
    runs = [list(range(run.start, run.stop)) for run in gctx._runs(np.array([0, 1, 9, 30]), 5, 0)]
    assert runs == [[0, 1, 2], [3]]
    assert len(list(gctx._runs(np.array([0, 4, 10]), 1, 5))) == 1


@pytest.mark.parametrize("text", ["fixed", "variable", "latin-1"])
def test_kinds_of_text(tmp_path, text):
    path = write_gctx(tmp_path / "a.gctx", WELLS, MATRIX, ["11", "22", "33"])
    doses = ["10 µM"] * 5
    with h5py.File(path, "a") as file:
        if text == "variable":
            del file["0/META/COL/id"]
            file["0/META/COL/id"] = np.array(list("abcde"), dtype=h5py.string_dtype())
            file["0/META/COL/pert_idose"] = np.array(doses, dtype=h5py.string_dtype())
        else:
            file["0/META/COL/pert_idose"] = np.char.encode(doses, "latin-1" if text == "latin-1" else "utf-8")
    samples = gctx.open_expression(path).samples
    assert samples["id"].tolist() == list("abcde")
    assert samples["pert_idose"].tolist() == doses


def test_real_gct_text_opens(shared_data, tmp_path):
    path = shared_data / "l1000" / "cmapPy_test_l1000_A375_level3.gct"
    landmarks = load_landmarks()
    file = gctx.open_expression(path)
    values = file.read(np.arange(377), landmarks["entrez_id"].to_numpy())
    assert values.shape == (377, 978)
    assert values[0, landmarks["symbol"].tolist().index("PSME1")] == np.float32(11.3819)
    assert len(file.samples.columns) == 1 + 35
    zipped = tmp_path / "a.gct.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes(), 1))
    np.testing.assert_array_equal(
        gctx.open_expression(zipped).read(np.arange(3), landmarks["entrez_id"].to_numpy()), values[:3]
    )


def test_gct_1_2_opens(tmp_path):
    path = tmp_path / "a.gct"
    path.write_text("#1.2\n3\t2\nName\tDescription\ta\tb\n33\tx\t1\t4\n22\ty\t2\t5\n11\tz\t3\t6\n")
    file = gctx.open_expression(path)
    assert file.samples["id"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(file.read(np.arange(2), GENES), [[3, 2, 1], [6, 5, 4]])


GCT = "#1.3\n3\t2\t1\t1\nid\tpr_gene_id\ta\tb\nnote\tna\tfirst\tsecond\n"
GCT += "x\t33\t1\t4\ny\t22\t2\t5\nz\t11\t3\t6\n"


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: "".join(f"{line}{chr(9) * (3 - line.count(chr(9)))}\n" for line in text.split("\n")).encode(),
        lambda text: text.replace("\n", "\t\t\t\n").encode(),
        lambda text: text.replace("first", '"first"').replace("22", '"22"').encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace("\t22", "\t22.0").encode(),
    ],
    ids=["CR", "mark and CRLF", "UTF-16", "Excel", "tabs at every end", "quoted", "gzip", "22.0"],
)
@pytest.mark.parametrize("name", ["a.GCT", "a.Gct.GZ", "a.gct"])
def test_a_gct_is_the_same_whatever_wrote_it(tmp_path, form, name):
    (tmp_path / name).write_bytes(form(GCT))
    assert gctx.expression_files(tmp_path) == [tmp_path / name]
    file = gctx.open_expression(tmp_path / name)
    assert file.samples.to_dict("list") == {"id": ["a", "b"], "note": ["first", "second"]}
    np.testing.assert_array_equal(file.read(np.arange(2), GENES), [[3, 2, 1], [6, 5, 4]])


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_an_annotation_may_hold_what_unicode_calls_a_line_break(tmp_path, mark):
    (tmp_path / "a.gct").write_text(GCT.replace("first", f"fi{mark}rst"), encoding="utf-8")
    file = gctx.open_expression(tmp_path / "a.gct")
    assert file.samples["note"].tolist() == [f"fi{mark}rst", "second"]
    np.testing.assert_array_equal(file.read(np.arange(2), GENES), [[3, 2, 1], [6, 5, 4]])


@pytest.mark.parametrize("name", ["Inf", "-inf", "NaN", "NA", "1e400", "9" * 30, "22.5"])
def test_a_gene_id_that_is_no_entrez_id_is_text(tmp_path, name):
    (tmp_path / "a.gct").write_text(GCT.replace("\t22\t", f"\t{name}\t"))
    assert gctx.open_expression(tmp_path / "a.gct").entrez.tolist() == [33, 0, 11]
    path = write_gctx(tmp_path / "a.gctx", WELLS, MATRIX, ["11", name, "33"])
    assert gctx.open_expression(path).entrez.tolist() == [11, 0, 33]


def test_an_upper_case_gctx_opens(tmp_path):
    path = write_gctx(tmp_path / "A.GCTX", WELLS, MATRIX, ["11", "22", "33"])
    assert gctx.expression_files(tmp_path) == [path]
    np.testing.assert_array_equal(gctx.open_expression(path).read(np.arange(5), GENES), MATRIX)


def test_landmarks_are_joined_on_entrez_id_because_symbols_change(shared_data):
    landmarks = load_landmarks()
    ours = dict(zip(landmarks["entrez_id"], landmarks["symbol"], strict=True))
    for name, differing in (("prnet_level3_HT115_6h_bbbc021.gctx", 19), ("cmapR_level5_MCF7_n25x978.gctx", 35)):
        with h5py.File(shared_data / "l1000" / name) as file:
            ids = file["0/META/ROW/id"][()].astype(int)
            symbols = file["0/META/ROW/pr_gene_symbol"][()].astype(str)
        assert sum(ours[gene] != symbol for gene, symbol in zip(ids, symbols, strict=True)) == differing
        values = gctx.open_expression(shared_data / "l1000" / name).read(
            np.arange(1), landmarks["entrez_id"].to_numpy()
        )
        assert values.shape == (1, 978)


def test_a_real_file_of_other_genes_is_refused(shared_data):
    file = gctx.open_expression(shared_data / "l1000" / "cmapR_modzs_n25x50.gctx")
    with pytest.raises(BadInput, match=r"cmapR_modzs_n25x50.gctx: 928 of the 978 landmark genes are not in it"):
        file.read(np.arange(2), load_landmarks()["entrez_id"].to_numpy())


def test_a_real_file_cut_short_is_refused(shared_data, tmp_path):
    path = tmp_path / "cut.gctx"
    path.write_bytes((shared_data / "l1000" / "prnet_level3_HT115_6h_bbbc021.gctx").read_bytes()[:90_000])
    with pytest.raises(BadInput, match=r"cut.gctx: cut short, or not HDF5"):
        gctx.open_expression(path)


def test_a_real_gct_under_a_gctx_name_and_the_reverse_are_refused(shared_data, tmp_path):
    (tmp_path / "a.gctx").write_bytes((shared_data / "l1000" / "cmapPy_test_l1000_A375_level3.gct").read_bytes())
    with pytest.raises(BadInput, match=r"a.gctx: GCT text under a .gctx name; rename it to .gct"):
        gctx.open_expression(tmp_path / "a.gctx")
    (tmp_path / "a.gct").write_bytes((shared_data / "l1000" / REAL[0]).read_bytes())
    with pytest.raises(BadInput, match=r"a.gct: HDF5 under a .gct name; rename it to .gctx"):
        gctx.open_expression(tmp_path / "a.gct")


def test_a_gzipped_gctx_says_how_to_unpack_it(tmp_path):
    good = write_gctx(tmp_path / "a.gctx", WELLS, MATRIX, ["11", "22", "33"])
    zipped = tmp_path / "b.gctx.gz"
    zipped.write_bytes(gzip.compress(good.read_bytes()))
    for attempt in (lambda: gctx.expression_files(tmp_path), lambda: gctx.open_expression(zipped)):
        with pytest.raises(BadInput, match=r"b.gctx.gz: gzipped, which cannot be read in slices; unpack it .gunzip"):
            attempt()
    zipped.rename(tmp_path / "a.gctx.gz")  # the unpacked one lies beside it
    assert gctx.expression_files(tmp_path) == [good]
    good.write_bytes((tmp_path / "a.gctx.gz").read_bytes())
    with pytest.raises(BadInput, match=r"a.gctx: gzipped"):
        gctx.open_expression(good)


def write_bytes(data: bytes):
    return lambda path: path.write_bytes(data)


def write_matrix(matrix: np.ndarray, genes: tuple[str, ...] = ("11", "22", "33"), wells=WELLS):
    return lambda path: write_gctx(path, wells, matrix, list(genes))


def with_nan() -> np.ndarray:
    matrix = MATRIX.copy()
    matrix[2, 1] = np.nan
    return matrix


def transposed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["0/DATA/0/matrix"] = MATRIX.T
        file["0/META/COL/id"] = np.array(["11", "22", "33"], "S")
        file["0/META/ROW/id"] = WELLS["id"].to_numpy().astype("S")


def doubled_gene(path: Path) -> None:
    write_gctx(path, WELLS, MATRIX, ["p1", "p2", "p3"])
    with h5py.File(path, "a") as file:
        file["0/META/ROW/pr_gene_id"] = np.array([11, 22, 22])


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


def cut_in_the_matrix(path: Path) -> None:
    write_gctx(path, WELLS, MATRIX, ["11", "22", "33"])
    with h5py.File(path, "a") as file:
        del file["0/DATA/0/matrix"]
        file.create_dataset("0/DATA/0/matrix", data=MATRIX, chunks=(5, 3), compression=1)
        at = file["0/DATA/0/matrix"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[at.byte_offset : at.byte_offset + at.size] = bytes(at.size)
    path.write_bytes(bytes(data))


DOUBLED = WELLS.assign(id=["a", "b", "c", "b", "e"])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(write_bytes(b"#1.3\n3\t5\t0\t0\n"), "GCT text under a .gctx name; rename it", id="gct"),
        pytest.param(write_bytes(b"id,a,b\n1,2,3\n"), "cut short, or not HDF5", id="csv"),
        pytest.param(write_bytes(b""), "cut short, or not HDF5", id="empty"),
        pytest.param(lambda path: h5py.File(path, "w").close(), "not GCTX 1.0", id="no groups"),
        pytest.param(write_matrix(MATRIX.T.copy()), "transposed", id="transposed"),
        pytest.param(transposed, "transposed: genes stand in META/COL", id="genes as columns"),
        pytest.param(write_matrix(MATRIX[:4]), "does not fit", id="shape"),
        pytest.param(
            write_matrix(MATRIX, ("11", "22", "44")),
            "1 of the 3 landmark genes are not in it .first: Entrez 33",
            id="genes",
        ),
        pytest.param(write_matrix(with_nan()), "sample c, Entrez 22 is not a number", id="nan"),
        pytest.param(write_matrix(MATRIX, wells=DOUBLED), "sample id b stands twice; give a file", id="doubled sample"),
        pytest.param(write_matrix(MATRIX, ("11", "22", "22")), "row id 22 stands twice", id="doubled row"),
        pytest.param(doubled_gene, "gene Entrez 22 stands in 2 rows; give a file with one row", id="doubled gene"),
        pytest.param(cut_in_the_matrix, "the matrix cannot be read .*download the file again", id="damaged chunk"),
        pytest.param(edited("0/META/COL", np.zeros(5)), "0/META/COL is no group of columns", id="columns an array"),
        pytest.param(edited("0/META", np.zeros(5)), "not GCTX 1.0", id="metadata an array"),
        pytest.param(edited("0/META/ROW/id", None), "0/META/ROW/id is no column of values", id="column a group"),
        pytest.param(edited("0/META/COL/id", np.zeros((5, 2))), "0/META/COL/id is no column", id="column a matrix"),
        pytest.param(
            edited("0/META/COL/more", np.zeros(4)), r"the columns of 0/META/COL differ .*'more': 4", id="ragged"
        ),
        pytest.param(edited("0/DATA/0/matrix", None), "0/DATA/0/matrix is no array of numbers", id="matrix a group"),
        pytest.param(edited("0/DATA/0/matrix", MATRIX.astype("S8")), "matrix is no array of numbers", id="text"),
    ],
)
def test_a_bad_file_is_named(tmp_path, write, message):
    path = tmp_path / "level3.gctx"
    write(path)
    with pytest.raises(BadInput, match=rf"level3.gctx: .*{message}") as caught:
        gctx.open_expression(path).read(np.arange(5), GENES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("hello", "not GCT 1.2 or 1.3", id="other"),
        pytest.param("#1.3\n3\t5\t0\t0\nid\ta\n", "3 lines, 6 announced", id="cut short"),
        pytest.param("#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\n", "line 4: 3 columns, 4 announced", id="ragged"),
        pytest.param("#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\ty\n", "line 4: could not convert", id="letters"),
        pytest.param(
            "#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\t2,5\n", "line 4: .*'2,5'; write decimal points", id="decimal comma"
        ),
        pytest.param("#1.2\n-1\t2\nid\tName\ta\tb\n", "not GCT 1.2 or 1.3 text", id="fewer than none"),
        pytest.param("#1.3;;;\n3;2;1;1\n", "not GCT 1.2 or 1.3 text .it begins with '#1.3;;;", id="semicolons"),
        pytest.param("#1.2\n1\t2\nid\tName\ta\ta\n11\tx\t1\t2\n", "sample id a stands twice", id="doubled sample"),
        pytest.param(
            "#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\t2\n22\tx\t1\t2\n", "5 lines, 4 announced", id="more than announced"
        ),
        pytest.param("#1.2\n1\t2\nid\tName\ta\tb\n11\tx\t1\t1_5\n", "line 4: .*'1_5'", id="Python's digit groups"),
        pytest.param(
            GCT.replace("note", "id"), "annotation row 'id' stands twice; rename or remove", id="ids in a second row"
        ),
        pytest.param(
            "#1.3\n1\t1\t2\t0\nid\tgene_id\tgene_id\ta\n11\t11\t12\t1\n",
            "annotation column 'gene_id' stands twice",
            id="two columns of gene ids",
        ),
    ],
)
def test_bad_gct_text_is_named(tmp_path, text, message):
    (tmp_path / "a.gct").write_text(text)
    with pytest.raises(BadInput, match=rf"a.gct: .*{message}"):
        gctx.open_expression(tmp_path / "a.gct")
