"""Submissions: what comes back, which images and manifests are good, and the one line that names what is not."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_submission import good_submission, manifest_of
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
)
from morphobench.schema import Condition, Manifest


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def folder(tmp_path: Path, tier: Tier) -> Path:
    return good_submission(tmp_path / "good", tier)


def _png(array: np.ndarray, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).convert(mode or "RGB").save(stream, "PNG")
    return stream.getvalue()


def test_a_submission_comes_back_as_it_was_written(folder: Path, tier: Tier) -> None:
    opened = open_submission(folder, tier)
    assert opened.manifest == manifest_of(tier)
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

    manifest = manifest_of(tier, method='"""\\u0000\x01\x7f\n[table]\nname = "x"', licence="\u202e é 漢")
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
    (folder / "submission.toml").write_text(manifest_toml(manifest_of(tier, **change)))
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
    (folder / "submission.toml").write_text(manifest_toml(manifest_of(tier)) + 'colour = "red"\n')
    with pytest.raises(BadInput, match="colour: Extra inputs"):
        open_submission(folder, tier)


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


@pytest.mark.parametrize("text", ["x = " + "[" * 10_000, "parameters = " + "9" * 5000, "\xff"])
def test_a_manifest_made_to_break_the_parser_is_refused(folder: Path, tier: Tier, text: str) -> None:
    (folder / "submission.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"submission.toml: not (TOML that can be read|utf-8 text)") as caught:
        open_submission(folder, tier)
    assert "\n" not in str(caught.value)


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
