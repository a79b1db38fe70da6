"""Untrusted bytes: what a submission may hold, and the one line that names what it may not."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_tier import SIZE, tiny_tier

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest import image_set
from morphobench.ingest.images import decode_png, encode_png
from morphobench.ingest.manifest import manifest_toml
from morphobench.ingest.submission import (
    image_name,
    new_submission,
    open_submission,
    pack_submission,
    write_submission,
)
from morphobench.schema import Condition, Manifest


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def folder(tmp_path: Path, tier: Tier) -> Path:
    """A good submission: the real images and profiles themselves."""
    images, expression = {}, {}
    for track in tier.spec.tracks:
        rows = tier.rows(track)
        images[track] = (tier.conditions(track), tier.images(rows).take(range(len(rows))))
        expression[track] = (tier.conditions(track), tier.expression(rows)[1])
    write_submission(tmp_path / "good", _manifest(tier), images, expression)
    return tmp_path / "good"


def _manifest(against: Tier, **changes: str) -> Manifest:
    fields = {
        "name": "m", "group": "g", "version": "1", "tier": against.spec.name, "tier_version": against.spec.version,
        "split_sha256": against.split_sha256, "method": 'quotes " and \\ and \n survive',
    }  # fmt: skip
    return Manifest.model_validate(fields | changes)


def _png(array: np.ndarray, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).convert(mode or "RGB").save(stream, "PNG")
    return stream.getvalue()


def test_a_submission_comes_back_as_it_was_written(folder: Path, tier: Tier) -> None:
    opened = open_submission(folder, tier)
    assert opened.manifest == _manifest(tier)
    for track in tier.spec.tracks:
        rows = tier.rows(track)
        np.testing.assert_array_equal(
            opened.images[track].take(range(len(rows))), tier.images(rows).take(range(len(rows)))
        )
        assert opened.expression is not None
        np.testing.assert_allclose(opened.expression[track], tier.expression(rows)[1], atol=5.1e-5)


def test_batches_do_not_depend_on_their_size(folder: Path, tier: Tier) -> None:
    images = open_submission(folder, tier).images["id"]
    whole = images.take(range(len(images)))
    for size in (1, 5, 64):
        np.testing.assert_array_equal(np.concatenate(list(images.batches(size))), whole)


def test_zip_and_folder_are_the_same_submission(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "a.zip", tier)
    again = pack_submission(folder, tmp_path / "b.zip", tier)
    assert packed.read_bytes() == again.read_bytes()
    assert open_submission(packed, tier).images_sha256 == open_submission(folder, tier).images_sha256


def test_a_zip_of_the_folder_itself_is_understood(folder: Path, tier: Tier, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "outer"), "zip", folder.parent, folder.name)
    assert open_submission(tmp_path / "outer.zip", tier).manifest.name == "m"


def test_names_of_compounds_stay_inside_the_folder() -> None:
    names = {
        image_name(Condition(track="id", compound=compound, index=3, smiles=None, dose_um=1, plate="p"))
        for compound in ("mevinolin/lovastatin", "3,3'-diaminobenzidine", "../../etc")
    }
    assert names == {
        "images/id/mevinolin_lovastatin/0003.png",
        "images/id/3_3_-diaminobenzidine/0003.png",
        "images/id/.._.._etc/0003.png",
    }


def test_manifest_toml_survives_hostile_strings(tier: Tier) -> None:
    import tomllib

    manifest = _manifest(tier, method='"""\\u0000\x01\x7f\n[table]\nname = "x"', licence="\u202e é 漢")
    assert Manifest.model_validate(tomllib.loads(manifest_toml(manifest))) == manifest


PIXELS = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a PNG"),
        (b"GIF89a" + bytes(50), "not a PNG"),
        (_png(PIXELS)[:20], "cut short"),
        (_png(PIXELS)[:200], "truncated"),
        (_png(PIXELS)[:-40], "truncated"),
        (_png(PIXELS, "L"), "greyscale"),
        (_png(PIXELS, "RGBA"), "alpha"),
        (_png(PIXELS, "P"), "palette"),
        (_png(PIXELS[:16]), "32 x 16"),
        (_png(np.zeros((SIZE, SIZE), np.uint16), "I;16"), "greyscale"),
        (encode_png(PIXELS)[:24] + b"\x10" + encode_png(PIXELS)[25:], "16 bits"),
        (encode_png(PIXELS)[:16] + b"\x7f\xff\xff\xff" * 2 + encode_png(PIXELS)[24:], "2147483647"),
    ],
)
def test_an_image_that_is_not_8_bit_rgb_of_the_right_size_is_named(data: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        decode_png(data, "images/id/x/0000.png", SIZE)
    assert str(caught.value).startswith("images/id/x/0000.png: ")
    assert "\n" not in str(caught.value)


def test_png_round_trip_is_exact() -> None:
    np.testing.assert_array_equal(decode_png(encode_png(PIXELS), "x", SIZE), PIXELS)


def test_every_condition_needs_its_image(folder: Path, tier: Tier) -> None:
    (folder / "images/id/alpha/0002.png").unlink()
    with pytest.raises(BadInput, match=r"images/id/alpha/0002.png is missing \(1 of 24"):
        open_submission(folder, tier)


@pytest.mark.parametrize(
    "name", ["images/id/alpha/0099.png", "images/id/alpha/0001.jpg", "notes.txt", "images/new/a.png"]
)
def test_an_image_that_answers_no_condition_is_named(folder: Path, tier: Tier, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=name):
        open_submission(folder, tier)


def test_one_track_may_be_scored_alone(folder: Path, tier: Tier) -> None:
    shutil.rmtree(folder / "images/ood")
    assert set(open_submission(folder, tier, ["id"]).images) == {"id"}
    with pytest.raises(BadInput, match=r"images/ood/delta/0000.png is missing"):
        open_submission(folder, tier)


def test_a_link_is_refused(folder: Path, tier: Tier) -> None:
    (folder / "images/id/alpha/0000.png").unlink()
    (folder / "images/id/alpha/0000.png").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="a link"):
        open_submission(folder, tier)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tier": "other"}, "--tier other"),
        ({"tier_version": "0"}, "made for tiny 0"),
        ({"split_sha256": "f" * 64}, "split ffffffffffff"),
    ],
)
def test_a_submission_for_other_conditions_is_refused(
    folder: Path, tier: Tier, change: dict[str, str], words: str
) -> None:
    (folder / "submission.toml").write_text(manifest_toml(_manifest(tier, **change)))
    with pytest.raises(BadInput, match=words):
        open_submission(folder, tier)


@pytest.mark.parametrize(
    ("text", "words"),
    [("name = ", "not TOML"), ('name = "m"', "group: Field required"), ('colour = "red"', "name: Field required")],
)
def test_a_bad_manifest_names_its_key(folder: Path, tier: Tier, text: str, words: str) -> None:
    (folder / "submission.toml").write_text(text)
    with pytest.raises(BadInput, match=words):
        open_submission(folder, tier)


def test_an_unknown_manifest_key_is_an_error(folder: Path, tier: Tier) -> None:
    (folder / "submission.toml").write_text(manifest_toml(_manifest(tier)) + 'colour = "red"\n')
    with pytest.raises(BadInput, match="colour: Extra inputs"):
        open_submission(folder, tier)


def _edit_expression(folder: Path, old: str, new: str) -> None:
    path = folder / "expression.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_expression_problems_name_the_row(folder: Path, tier: Tier) -> None:
    good = (folder / "expression.csv").read_text().splitlines()
    path = folder / "expression.csv"
    key = '"id","alpha",0,'
    assert good[1].startswith(key)
    cases = {
        "there is twice": [*good, good[1]],
        "no row for": good[:1] + good[2:],
        "not a finite number": [good[0], key + "nan," + good[1].removeprefix(key).split(",", 1)[1], *good[2:]],
        "every value is a number": [good[0], key + "red," + good[1].removeprefix(key).split(",", 1)[1], *good[2:]],
        "header differs at 'H0'": [good[0].replace('"G0"', '"H0"'), *good[1:]],
        "Expected 981 columns": [good[0], good[1].rsplit(",", 1)[0], *good[2:]],
    }
    for words, lines in cases.items():
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(BadInput, match=words.replace("there is twice", "twice")) as caught:
            open_submission(folder, tier)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.png", "..\\outside.png", "images\\..\\..\\x", "\\x"])
def test_a_zip_member_cannot_leave_the_archive(tmp_path: Path, tier: Tier, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(BadInput, match="leaves the archive"):
        open_submission(tmp_path / "bad.zip", tier)


def repack(packed: Path, out: Path, rename: Callable[[str], str]) -> Path:
    """A zip with the same members under other names."""
    with zipfile.ZipFile(packed) as good, zipfile.ZipFile(out, "w") as other:
        for member in good.namelist():
            info = zipfile.ZipInfo()
            info.filename = rename(member)  # as it is: the constructor would put this system's separators right
            other.writestr(info, good.read(member))
    return out


def test_a_zip_with_backslashes_is_the_same_submission(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "s.zip", tier)
    windows = repack(packed, tmp_path / "w.zip", lambda name: "mine/" + name.replace("/", "\\"))
    with zipfile.ZipFile(windows, "a") as archive:
        archive.writestr("mine\\images\\", b"")
    assert open_submission(windows, tier).images_sha256 == open_submission(packed, tier).images_sha256


def test_two_spellings_of_one_name_are_there_twice(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "s.zip", tier)
    for name in ("images\\id\\alpha\\0001.png", "./images/id//alpha/0001.png"):
        twice = tmp_path / "twice.zip"
        shutil.copy(packed, twice)
        with zipfile.ZipFile(twice, "a") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(BadInput, match="is there twice"):
            open_submission(twice, tier)


@pytest.mark.parametrize("name", [".", "", "./."])
def test_a_zip_member_without_a_name_is_named(tmp_path: Path, tier: Tier, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(BadInput, match=r"bad.zip: a member has the name '.*', which is no file's; pack it again"):
        open_submission(tmp_path / "bad.zip", tier)


def test_a_link_in_a_zip_is_refused(tmp_path: Path, tier: Tier) -> None:
    info = zipfile.ZipInfo("images/id/alpha/0000.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc/hostname")
    with pytest.raises(BadInput, match=r"0000.png' is a link; pack the file itself"):
        open_submission(tmp_path / "bad.zip", tier)


def test_a_name_that_a_terminal_would_obey_is_escaped(folder: Path, tier: Tier, tmp_path: Path) -> None:
    packed = pack_submission(folder, tmp_path / "s.zip", tier)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("a\x1b[2J\u202e\n" + "x" * 5000, b"x")
    with pytest.raises(BadInput, match=r"a\\x1b\[2J\\u202e x+ \.\.\. x+ answers no condition") as caught:
        open_submission(packed, tier)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 1000


REMAINS = (
    "._submission.toml", "images/id/alpha/._0000.png", ".DS_Store", "images/.DS_Store", "__MACOSX/._images",
    "images/id/__MACOSX/x", ".ipynb_checkpoints/a.ipynb", "images/id/alpha/.ipynb_checkpoints/0000-checkpoint.png",
    "images/@eaDir/0000.png@SynoEAStream", "Thumbs.db", "images/id/Thumbs.db", "images/id/alpha/thumbs.db",
    "desktop.ini", "Desktop.ini", ".git/HEAD", ".git/objects/ab/cdef", ".gitignore", ".nfs000000000123",
    "images/id/alpha/.fuse_hidden0000001",
)  # fmt: skip


def test_what_operating_systems_leave_behind_is_passed_over(folder: Path, tier: Tier, tmp_path: Path) -> None:
    """In a folder, in a zip, and in a zip with a folder around everything; none of it is packed."""
    clean = pack_submission(folder, tmp_path / "clean.zip", tier)
    before = open_submission(folder, tier).images_sha256
    for name in REMAINS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07")
    (folder / ".git" / "link").symlink_to("/etc/hostname")
    assert open_submission(folder, tier).images_sha256 == before
    assert pack_submission(folder, tmp_path / "again.zip", tier).read_bytes() == clean.read_bytes()
    for top in ("", "mine/"):
        littered = repack(clean, tmp_path / "littered.zip", lambda name, top=top: top + name)
        with zipfile.ZipFile(littered, "a") as archive:
            for name in (*REMAINS, *(f"__MACOSX/{top}._{number}" for number in range(3))):
                archive.writestr(name if name.startswith("__MACOSX") else top + name, b"\0\x05\x16\x07")
        assert open_submission(littered, tier).images_sha256 == before


@pytest.mark.parametrize(
    "name", ["images/id/alpha/_0000.png", "images/git/x.png", "Thumbs.db.png", "images/id/.hidden"]
)
def test_what_is_only_like_what_systems_leave_is_named(folder: Path, tier: Tier, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=f"{name} answers no condition"):
        open_submission(folder, tier)


def test_a_folder_within_a_folder_is_understood_as_in_a_zip(folder: Path, tier: Tier, tmp_path: Path) -> None:
    before = open_submission(folder, tier).images_sha256
    outer = tmp_path / "unpacked"
    outer.mkdir()
    shutil.move(folder, outer / "unpacked")
    (outer / ".DS_Store").write_bytes(b"x")
    assert open_submission(outer, tier).images_sha256 == before


def test_what_may_not_be_read_is_said_to_be_so(
    folder: Path, tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the zip is broken or the disk full. Root may read everything, so that the refusal is put in by hand."""
    packed = pack_submission(folder, tmp_path / "s.zip", tier)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", refuse)
        with pytest.raises(BadInput, match=r"s.zip: may not be read; give yourself the right to read it"):
            open_submission(packed, tier)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(BadInput, match=r"submission.toml: may not be read; give yourself the right"):
            open_submission(folder, tier)


def test_zip_problems_are_named(tmp_path: Path, folder: Path, tier: Tier) -> None:
    path = pack_submission(folder, tmp_path / "s.zip", tier)
    data = bytearray(path.read_bytes())
    (tmp_path / "short.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="not a readable zip"):
        open_submission(tmp_path / "short.zip", tier)
    at = data.index(b"IDAT") + 20
    data[at : at + 40] = bytes(40)
    (tmp_path / "rotten.zip").write_bytes(data)
    with pytest.raises(BadInput, match="cannot be read"):
        open_submission(tmp_path / "rotten.zip", tier)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("submission.toml", b"x")
    with pytest.raises(BadInput, match="there twice"):
        open_submission(path, tier)


def test_nothing_at_the_path(tmp_path: Path, tier: Tier) -> None:
    with pytest.raises(BadInput, match="no such folder or zip"):
        open_submission(tmp_path / "absent", tier)


def test_new_gives_all_conditions_and_refuses_a_full_folder(tmp_path: Path, tier: Tier) -> None:
    new_submission(tmp_path / "mine", tier)
    import pandas as pd

    table = pd.read_csv(tmp_path / "mine/conditions.csv")
    g_pre = pd.read_csv(tmp_path / "mine/g_pre.csv", index_col=0)
    conditions = tier.conditions("id")
    assert len(table) == 24
    np.testing.assert_allclose(g_pre.to_numpy()[table["g_pre_row"][:12]], conditions.g_pre, atol=5e-5)
    with pytest.raises(BadInput, match="not empty"):
        new_submission(tmp_path / "mine", tier)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("images/id/alpha/0001.png", (2 * 3 * SIZE**2) + (64 << 10) + 1, "0001.png: 71,681 bytes; at most 71,680"),
        ("submission.toml", (64 << 10) + 1, "submission.toml: 65,537 bytes; at most 65,536"),
    ],
)
def test_a_file_too_large_for_its_kind_is_not_read(
    folder: Path, tier: Tier, tmp_path: Path, name: str, size: int, words: str
) -> None:
    packed = pack_submission(folder, tmp_path / "good.zip", tier)
    with zipfile.ZipFile(packed) as good, zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as large:
        for member in good.namelist():
            large.writestr(member, bytes(size) if member == name else good.read(member))
    (folder / name).write_bytes(bytes(size))
    for path in (folder, tmp_path / "large.zip"):
        with pytest.raises(BadInput, match=words):
            open_submission(path, tier)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_rare_compression_is_refused(tmp_path: Path, tier: Tier, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "rare.zip", "w", method) as archive:
        archive.writestr("submission.toml", b"x" * 100)
    with pytest.raises(BadInput, match=rf"rare.zip: member 'submission.toml' is compressed by method {method}"):
        open_submission(tmp_path / "rare.zip", tier)


def test_a_zip_of_a_later_version_is_refused(folder: Path, tier: Tier, tmp_path: Path) -> None:
    data = bytearray(pack_submission(folder, tmp_path / "s.zip", tier).read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99  # version needed to extract: 9.9
    (tmp_path / "later.zip").write_bytes(data)
    with pytest.raises(BadInput, match=r"later.zip: not a readable zip"):
        open_submission(tmp_path / "later.zip", tier)


@pytest.mark.parametrize("text", ["x = " + "[" * 10_000, "parameters = " + "9" * 5000, "\xff"])
def test_a_manifest_made_to_break_the_parser_is_refused(folder: Path, tier: Tier, text: str) -> None:
    (folder / "submission.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"submission.toml: not (TOML that can be read|utf-8 text)") as caught:
        open_submission(folder, tier)
    assert "\n" not in str(caught.value)


def test_expression_answers_conditions_only_and_in_log2(folder: Path, tier: Tier) -> None:
    path = folder / "expression.csv"
    good = path.read_text().splitlines()
    path.write_text("\n".join([*good, good[1].replace('"alpha",0', '"alpha",99')]) + "\n")
    with pytest.raises(BadInput, match=r"\('id', 'alpha', 99\) is no condition of tiny; remove the row"):
        open_submission(folder, tier)
    key = '"id","alpha",0,'
    for value, words in (("4096", "4096 is beyond 64; write log2"), ("1e300", r"1e\+300 is beyond")):
        path.write_text("\n".join([good[0], key + value + "," + good[1].removeprefix(key).split(",", 1)[1], *good[2:]]))
        with pytest.raises(BadInput, match=rf"gene G0: {words}"):
            open_submission(folder, tier)
    # Rows of a track that is not scored now are still answers to conditions of the tier.
    path.write_text("\n".join(good) + "\n")
    assert set(open_submission(folder, tier, ["id"]).expression or ()) == {"id"}


def _floats(text: str) -> str:
    """As pandas writes an index column that once held a hole."""
    return re.sub(r'^("[a-z]+","[a-z]+",\d+),', r"\1.0,", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", ";").replace(".", ",").encode(),
        lambda text: text.replace('"', "").encode(),
        lambda text: _floats(text).encode(),
        lambda text: b"sep=,\n" + text.encode() + b"\x1a",
        lambda text: b"\nsep=;\r\n" + text.replace(",", ";").replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", ",,\n").encode() + b"," * 982 + b"\n",
        lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1).encode() + b"\r\n\x1a",
    ],
    ids=[
        "byte order mark",
        "UTF-16",
        "CR",
        "tabs",
        "semicolons and decimal commas",
        "unquoted",
        "index 0.0",
        "separator noted, end of a DOS file",
        "semicolon noted",
        "empty columns and row",
        "separators that end rows",
    ],
)
def test_an_expression_table_is_the_same_whatever_wrote_it(folder: Path, tier: Tier, form) -> None:
    expected = open_submission(folder, tier).expression or {}
    path = folder / "expression.csv"
    path.write_bytes(form(path.read_text()))
    found = open_submission(folder, tier).expression or {}
    assert set(found) == set(expected) != set()
    for track, values in expected.items():
        np.testing.assert_array_equal(found[track], values)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda text: text.encode("utf-16-le"), "holds zero bytes: .*save it as UTF-8"),
        (lambda text: text.replace('alpha",0', 'alpha",0.5', 1).encode(), "index '0.5' is no whole number; write 0, 1"),
        (lambda text: text.replace('alpha",0', 'alpha",Inf', 1).encode(), "index 'Inf' is no whole number"),
        (lambda text: text.replace("alpha", "alph\xe4", 2).encode("latin-1"), "UTF-?8"),
        (lambda text: text.replace(",", "|").encode(), "the header differs at"),
        (lambda text: text.replace("\n", ",7\n", 1).encode(), "the header differs at '982 columns'"),
        (
            lambda text: text.replace("\n", ",\n").replace(",\n", ",7\n", 2).replace(",7", ",", 1).encode(),
            "'7' stands in column 982",
        ),
        (lambda text: (text + "," * 980 + "7\n").encode(), "index '' is no whole number"),
    ],
)
def test_an_expression_table_that_is_none_is_named(folder: Path, tier: Tier, form, message: str) -> None:
    path = folder / "expression.csv"
    path.write_bytes(form(path.read_text()))
    with pytest.raises(BadInput, match=f"expression.csv: .*{message}") as caught:
        open_submission(folder, tier)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_manifest_is_the_same_whatever_wrote_it(folder: Path, tier: Tier, encoding: str, end: str) -> None:
    expected = open_submission(folder, tier).manifest
    path = folder / "submission.toml"
    path.write_bytes(path.read_text().replace("\n", end).encode(encoding))
    assert open_submission(folder, tier).manifest == expected


def test_a_submission_may_name_its_files_in_capitals(folder: Path, tier: Tier, tmp_path: Path) -> None:
    expected, plain = open_submission(folder, tier), pack_submission(folder, tmp_path / "plain.zip", tier)
    for name in ("submission.toml", "expression.csv"):
        (folder / name).rename(folder / name.replace(".", "-")).rename(folder / name.upper())
    (folder / "CONDITIONS.CSV").write_text("")
    found = open_submission(folder, tier)
    assert found.manifest == expected.manifest
    assert found.expression_sha256 == expected.expression_sha256 != ""
    assert pack_submission(folder, tmp_path / "capitals.zip", tier).read_bytes() == plain.read_bytes()
    (folder / "expression.csv").write_text("")
    with pytest.raises(BadInput, match=r"EXPRESSION.CSV answers no condition"):  # which of the two is meant?
        open_submission(folder, tier)


def test_a_submission_is_not_packed_into_itself(folder: Path, tier: Tier) -> None:
    before = sorted(folder.rglob("*"))
    for out in (folder / "s.zip", folder / "images" / "s.zip"):
        with pytest.raises(BadInput, match="in the submission's own folder"):
            pack_submission(folder, out, tier)
    with pytest.raises(BadInput, match="is a folder; name a file"):
        pack_submission(folder, folder, tier)
    assert sorted(folder.rglob("*")) == before


def test_an_image_edited_while_it_is_scored_is_an_error(
    folder: Path, tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is read again: pixels that are kept are those that were checked."""
    monkeypatch.setattr(image_set, "KEPT_BYTES", 3 * SIZE**2)
    images = open_submission(folder, tier).images["id"]
    (folder / "images/id/alpha/0001.png").write_bytes(encode_png(PIXELS))
    assert images.take([0]).shape == (1, SIZE, SIZE, 3)
    with pytest.raises(BadInput, match=r"0001.png: changed since it was checked"):
        images.take([1])
    (folder / "images/id/alpha/0001.png").unlink()
    with pytest.raises(BadInput, match=r"0001.png: removed"):
        images.take([1])


def test_new_does_not_take_a_file_for_a_folder(tmp_path: Path, tier: Tier) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(BadInput, match="notes: is a file; name a folder"):
        new_submission(tmp_path / "notes", tier)
    assert (tmp_path / "notes").read_text() == "mine"
