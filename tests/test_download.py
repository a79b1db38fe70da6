"""Downloads from a server on 127.0.0.1 that drops, lies, changes and refuses; the bytes it holds are the oracle."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from file_server import Served, Server, serving

from morphobench.datasets.downloads import arrivals, transfer
from morphobench.datasets.downloads.download import download
from morphobench.datasets.downloads.sources import load_catalogue
from morphobench.datasets.downloads.transfer import FAILURES, Source
from morphobench.datasets.morphogene.split_rules import frozen_fields
from morphobench.errors import BadInput, MorphoBenchError, Unavailable
from morphobench.storage import sha256_bytes

DATA = np.random.default_rng(0).bytes(3 * 2**20 + 17)
NAME = "field.tif"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as made:
        made.files[f"/{NAME}"] = Served(DATA)
        yield made


def source(server: Server, name: str = NAME, **known: object) -> Source:
    return Source(name, f"{server.address}/{name}", **known)


def get(server: Server, folder: Path, *sources: Source, jobs: int = 2) -> list[str]:
    """Download without waiting between attempts; returns the lines of progress."""
    lines: list[str] = []
    download(sources or (source(server),), folder, jobs, lines.append, wait_s=0.001)
    return lines


def refused(server: Server, folder: Path, *sources: Source, kind: type[MorphoBenchError] = Unavailable) -> str:
    with pytest.raises(kind) as caught:
        get(server, folder, *sources)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_arrives_whole_is_noted_and_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    lines = get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert lines[0].startswith("1 files, 0.00 GB to download (0.00 GB of it there); ")
    assert sorted(item.name for item in tmp_path.iterdir()) == [".downloads.lock", "downloads.json", NAME]
    noted = json.loads((tmp_path / "downloads.json").read_text())[NAME]
    assert noted["sha256"] == sha256_bytes(DATA)
    server.log.clear()
    assert get(server, tmp_path) == []
    assert server.log == []


def test_a_dropped_connection_goes_on_from_where_it_was(server: Server, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].drops = [2**20 + 5, 2**20]
    lines = get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked in server.asked("GET")]
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2]
    assert sum("the connection was lost" in line and "again from byte" in line for line in lines) == 2


def test_a_later_run_goes_on_from_the_part(server: Server, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].drops = [2**21] + [0] * (FAILURES - 1)
    message = refused(server, tmp_path)
    assert f"{FAILURES} times in a row" in message
    assert "bytes are kept, run the same command again" in message
    kept = (tmp_path / f"{NAME}.part").stat().st_size
    assert 2**20 <= kept <= 2**21
    assert not (tmp_path / NAME).exists()
    server.log.clear()
    assert "(0.00 GB of it there)" in get(server, tmp_path)[0]
    assert server.asked("GET") == [(f"/{NAME}", f"bytes={kept}-")]
    assert (tmp_path / NAME).read_bytes() == DATA


@pytest.mark.parametrize("honours", [True, False])
def test_a_file_that_changes_between_parts_is_fetched_from_the_start(
    server: Server, tmp_path: Path, honours: bool
) -> None:
    server.files[f"/{NAME}"].drops = [2**21] + [0] * (FAILURES - 1)
    refused(server, tmp_path)
    new = DATA[::-1]
    server.files[f"/{NAME}"] = Served(new, honours_if_range=honours)
    get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == new


def test_a_server_without_ranges_or_validators_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].ranges = False
    server.files[f"/{NAME}"].drops = [2**20 + 5]
    server.files["/other"] = Served(DATA, etag="none", modified="", drops=[2**20 + 5])
    get(server, tmp_path, source(server), source(server, "other"))
    assert (tmp_path / NAME).read_bytes() == DATA
    assert (tmp_path / "other").read_bytes() == DATA
    assert {asked for path, asked in server.asked("GET") if path == "/other"} == {""}


def test_a_part_larger_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    offer = transfer.Offer(address=f"{server.address}/{NAME}", size=2 * len(DATA), modified="some other day")
    (tmp_path / f"{NAME}.part").write_bytes(bytes(len(DATA) + 1))
    (tmp_path / f"{NAME}.part.json").write_text(offer.model_dump_json())
    get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (Served(b"<html>Sign in</html>", content_type="text/html; charset=utf-8"), "sends a web page (HTML)"),
        (Served(b"\n <!DOCTYPE html><p>Moved"), "sends a web page (HTML)"),
        (Served(DATA, statuses=[403]), "answered 403 Forbidden"),
        (Served(DATA, statuses=[500] * FAILURES), f"answered 500 Internal Server Error, {FAILURES} times in a row"),
        (Served(DATA, announced=len(DATA) + 9), "3,145,745 bytes came where 3,145,754 were announced"),
        (Served(DATA, length=len(DATA) + 9), f"{FAILURES} times in a row"),
        (Served(DATA, states_length=False), "no length"),
    ],
    ids=["html", "html as bytes", "403", "500", "head lies", "get lies", "no length"],
)
def test_what_is_not_the_file_is_refused_by_name(server: Server, tmp_path: Path, served: Served, words: str) -> None:
    server.files[f"/{NAME}"] = served
    message = refused(server, tmp_path)
    assert f"{server.address}/{NAME}" in message
    assert words in message
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / "downloads.json").exists()


def zipped(content: bytes = DATA) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("Week1_22123/a.tif", content)
    return stream.getvalue()


def hdf5(folder: Path) -> bytes:
    path = folder / "made.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            file["0/DATA/0/matrix"] = np.frombuffer(DATA, np.uint8)
    return path.read_bytes()


PAGE = b"<!DOCTYPE html><html>sorry</html>"
WRONG = {
    "marked page": (b"\xef\xbb\xbf" + PAGE, "a web page (HTML)"),
    "page after a comment": (b"<!-- x --><html>sorry</html>", "a web page (HTML)"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML ('<?xml"),
    "json": (b'{"error": "quota"}', "JSON ('{"),
    "text": (b"Service temporarily unavailable", "but 'Service temporarily unavailable'"),
    "one byte": (b"x", "but 'x'"),
    "nothing": (b"", "nothing (0 bytes)"),
}


@pytest.mark.parametrize("name", ["a.zip", "a.gctx", "a.gctx.gz", "a.csv", "a.txt"])
@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_of_the_kind_its_name_says_is_never_kept(
    server: Server, tmp_path: Path, name: str, what: str
) -> None:
    data, words = WRONG[what]
    server.files[f"/{name}"] = Served(data)
    if name in ("a.csv", "a.txt") and what in ("text", "one byte"):  # that may be its text
        get(server, tmp_path, source(server, name))
        assert (tmp_path / name).read_bytes() == data
        return
    message = refused(server, tmp_path, source(server, name))
    assert f"{server.address}/{name}: the server sends" in message
    assert words in message
    assert f"not {name}; open the address in a browser" in message
    assert [item.name for item in tmp_path.iterdir()] == [".downloads.lock"]
    if data:
        (tmp_path / name).write_bytes(data)  # as a browser would have saved it
        message = refused(server, tmp_path, source(server, name), kind=BadInput)
        assert words in message
        assert f"remove it, and it is downloaded from {server.address}/{name}" in message


@pytest.mark.parametrize("name", ["a.zip", "a.gctx"])
def test_a_file_cut_short_on_the_server_is_refused_and_the_good_one_taken_later(
    server: Server, tmp_path: Path, name: str
) -> None:
    good = zipped() if name == "a.zip" else hdf5(tmp_path)
    server.files[f"/{name}"] = Served(good[:200_000])
    assert "cut short or damaged (" in refused(server, tmp_path, source(server, name))
    assert not list(tmp_path.glob(f"{name}*"))
    server.files[f"/{name}"] = Served(good)
    get(server, tmp_path, source(server, name))
    assert (tmp_path / name).read_bytes() == good


def test_a_zip_without_files_and_a_matrix_that_is_none_are_refused(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(b"PK\x05\x06" + bytes(18))
    assert "sends a zip without a file in it, not a.zip" in refused(server, tmp_path, source(server, "a.zip"))
    server.files["/m.gctx.gz"] = Served(gzip.compress(PAGE))
    packed = source(server, "m.gctx.gz")
    message = refused(server, tmp_path, packed, kind=BadInput)
    assert "m.gctx.gz: holds a web page (HTML); remove it, and it is downloaded from" in message
    (tmp_path / "m.gctx.gz").unlink()
    server.files["/m.gctx.gz"] = Served(gzip.compress(hdf5(tmp_path)))
    assert any("m.gctx.gz: was removed, and another came" in line for line in get(server, tmp_path, packed))
    assert (tmp_path / "m.gctx").read_bytes() == hdf5(tmp_path)


def test_a_packed_matrix_that_was_there_already_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.gctx.gz").write_bytes(gzip.compress(hdf5(tmp_path)))
    get(server, tmp_path, source(server, "m.gctx.gz"))
    assert server.log == []
    assert (tmp_path / "m.gctx").read_bytes() == hdf5(tmp_path)


def test_a_whole_part_of_another_length_is_asked_for_anew(server: Server, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].announced = len(DATA) + 9
    refused(server, tmp_path)
    server.files[f"/{NAME}"] = Served(DATA[:-5])
    get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA[:-5]


def test_a_log_file_is_told_the_rate(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphobench.datasets.downloads.download.TOLD_EVERY", -1.0)
    lines = get(server, tmp_path)
    assert re.fullmatch(r"0 of 1 files whole, 0.00 GB in this run at \d+\.\d MB/s", lines[1])


def test_a_server_error_that_passes_costs_nothing(server: Server, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].statuses = [503, 429, 200]
    lines = get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert sum("the server answered" in line for line in lines) == 2


def test_a_server_without_head_is_asked_by_get(server: Server, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].head = False
    get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_no_server_at_all_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        gone = source(server)
    message = refused(server, tmp_path, gone)
    assert gone.address in message
    assert "no answer (" in message
    assert f"put it at {NAME} in the download folder" in message


def test_one_missing_file_keeps_none_of_the_others_away(server: Server, tmp_path: Path) -> None:
    server.files |= {f"/{number}": Served(DATA[number:]) for number in range(4)}
    server.files["/2"].statuses = [404]
    message = refused(server, tmp_path, *(source(server, str(number)) for number in range(4)))
    assert "/2: the server answered 404" in message
    for number in (0, 1, 3):
        assert (tmp_path / str(number)).read_bytes() == DATA[number:]
    get(server, tmp_path, *(source(server, str(number)) for number in range(4)))
    assert (tmp_path / "2").read_bytes() == DATA[2:]


def test_a_known_hash_is_enforced_from_the_start(server: Server, tmp_path: Path) -> None:
    message = refused(server, tmp_path, source(server, sha256="0" * 64))
    assert "000000000000... is the one published" in message
    assert not list(tmp_path.glob(f"{NAME}*"))
    assert "3,145,745 bytes where the known file has 5" in refused(server, tmp_path, source(server, size=5))
    get(server, tmp_path, source(server, sha256=sha256_bytes(DATA), size=len(DATA)))


def test_a_file_that_the_user_removed_may_come_as_another_one(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    server.files[f"/{NAME}"] = Served(DATA[::-1])
    assert get(server, tmp_path) == []  # it is there, and nobody asked for another
    (tmp_path / NAME).unlink()
    old, new = (sha256_bytes(data)[:12] for data in (DATA, DATA[::-1]))
    said = f"{NAME}: was removed, and another came: sha256 {old}... is replaced by {new}...;"
    assert any(line.startswith(said) for line in get(server, tmp_path))
    assert (tmp_path / NAME).read_bytes() == DATA[::-1]
    assert arrivals.verify(tmp_path) == 1
    assert get(server, tmp_path) == []
    (tmp_path / NAME).write_bytes(DATA)
    assert "is known; remove it" in refused(server, tmp_path, kind=BadInput)


def test_a_file_that_changed_on_disk_is_named(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    os.utime(tmp_path / NAME, ns=(0, 0))
    assert "hashing" in get(server, tmp_path)[0]  # touched, but the same
    assert get(server, tmp_path) == []
    (tmp_path / NAME).write_bytes(DATA[:-1])
    for call in (lambda: get(server, tmp_path), lambda: arrivals.verify(tmp_path)):
        with pytest.raises(BadInput, match=rf"{NAME}: sha256 .* is known; remove it, and it is downloaded again"):
            call()
    (tmp_path / "downloads.json").write_text("{")
    assert "downloads.json: damaged" in refused(server, tmp_path, kind=BadInput)


def test_a_file_that_was_there_already_is_taken_as_the_first(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(DATA)
    get(server, tmp_path)
    assert server.log == []
    (tmp_path / "downloads.json").unlink()
    assert f"{NAME}: sha256" in refused(server, tmp_path, source(server, sha256="1" * 64), kind=BadInput)


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/m.gctx.gz"] = Served(gzip.compress(DATA))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**10, 0, 2 * 10**9))
    message = refused(server, tmp_path, source(server), source(server, "m.gctx.gz", matrix_bytes=3 * 10**9))
    assert "needs 3.01 GB, 2.00 GB free: 2 files, 0.01 GB to download" in message
    assert "and 3.00 GB to unpack" in message
    assert server.asked("GET") == []


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_came(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(server, tmp_path)
    server.files |= {f"/{number}": Served(DATA) for number in range(3)}
    open_path = Path.open

    class Full:
        """A file on a disk with room for two megabytes more."""

        def __init__(self, stream: object) -> None:
            self.stream = stream

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.stream.close()

        def write(self, piece: bytes) -> None:
            if self.stream.tell() + len(piece) > 2 * 2**20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.stream.write(piece)

    def opened(path: Path, mode: str = "r", *words: object, **more: object) -> object:
        stream = open_path(path, mode, *words, **more)
        return Full(stream) if path.suffix == ".part" and mode == "ab" else stream

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        message = refused(server, tmp_path, *(source(server, str(number)) for number in range(3)))
    assert ".part: the disk is full" in message
    assert (tmp_path / NAME).read_bytes() == DATA
    server.log.clear()
    get(server, tmp_path, *(source(server, str(number)) for number in range(3)))
    assert any(asked == f"bytes={2**21}-" for _, asked in server.asked("GET"))
    assert all((tmp_path / str(number)).read_bytes() == DATA for number in range(3))


def test_a_packed_matrix_is_unpacked_once(server: Server, tmp_path: Path) -> None:
    server.files["/m.gctx.gz"] = Served(gzip.compress(hdf5(tmp_path)), content_type="application/x-gzip")
    packed = source(server, "m.gctx.gz", matrix_bytes=len(DATA))
    get(server, tmp_path, packed)
    assert (tmp_path / "m.gctx").read_bytes() == hdf5(tmp_path)
    assert not (tmp_path / "m.gctx.gz").exists()
    server.log.clear()
    assert get(server, tmp_path, packed) == []
    assert server.log == []


def test_a_packed_matrix_that_is_cut_short_is_named(server: Server, tmp_path: Path) -> None:
    server.files["/m.gctx.gz"] = Served(gzip.compress(DATA)[:-100])
    message = refused(server, tmp_path, source(server, "m.gctx.gz"), kind=BadInput)
    assert "m.gctx.gz: cannot be unpacked" in message
    assert not list(tmp_path.glob("m.gctx.part")) + list(tmp_path.glob("m.gctx"))
    server.log.clear()
    refused(server, tmp_path, source(server, "m.gctx.gz"), kind=BadInput)
    assert server.log == []  # it is not fetched again until it is removed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_download_goes_on(server: Server, tmp_path: Path, number: signal.Signals) -> None:
    # the server holds the rest back, so that the process is surely killed with the file half there
    server.files[f"/{NAME}"].hold_at = 2 * 2**20
    code = (
        "import sys; from pathlib import Path; from morphobench.datasets.downloads.download import download; "
        "from morphobench.datasets.downloads.transfer import Source; "
        f"download([Source({NAME!r}, sys.argv[1])], Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, f"{server.address}/{NAME}", str(tmp_path)], stderr=-1)
    part = tmp_path / f"{NAME}.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size >= 2**20):
        assert time.monotonic() < deadline, "nothing arrived"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    server.files[f"/{NAME}"].go.set()
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (tmp_path / NAME).exists()
    kept = part.stat().st_size
    assert kept >= 2**20
    server.log.clear()
    get(server, tmp_path)
    assert server.asked("GET") == [(f"/{NAME}", f"bytes={kept}-")]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_the_catalogue_names_every_plate_of_the_split_table() -> None:
    assert set(load_catalogue().plates) == set(frozen_fields()["plate"])


def test_the_catalogue_names_every_plate_of_the_real_image_table(shared_data: Path) -> None:
    raw = gzip.decompress((shared_data / "bbbc021" / "BBBC021_v1_image.csv.gz").read_bytes())
    catalogue = load_catalogue()
    image, moa, _ = catalogue.tables
    assert (image.size, image.sha256) == (len(raw), sha256_bytes(raw))
    published = (shared_data / "bbbc021" / "BBBC021_v1_moa.csv").read_bytes()
    assert (moa.size, moa.sha256) == (len(published), sha256_bytes(published))
    rows = csv.DictReader(raw.decode().splitlines())
    assert set(catalogue.plates) == {row["Image_Metadata_Plate_DAPI"] for row in rows}
    assert len(catalogue.plates) == 55
    for name, plate in catalogue.plates.items():
        assert plate.address == f"https://data.broadinstitute.org/bbbc/BBBC021/BBBC021_v1_images_{name}.zip"
    for release in catalogue.l1000.values():
        for matrix in release:
            if matrix.matrix_bytes:
                samples, genes = matrix.file.rpartition("_n")[2].split(".")[0].split("x")
                assert matrix.matrix_bytes == int(samples) * int(genes) * 4
