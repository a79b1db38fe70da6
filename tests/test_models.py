"""The seam for models: found by entry point, keyed by code and weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_tier import tiny_tier

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.models import load_model, model_sha256, weights_sha256

PLAIN = "def load(tier, device):\n    return 'plain', device\n"
TRAINED = "def load(tier, device, weights=None):\n    return 'trained', device, weights\n"
NAMED = "def files(tier, weights):\n    return (weights or FOLDER / 'weights' / f'own__{tier.spec.name}.bin',)\n"
IMPORTS = "from pathlib import Path\nFOLDER = Path(__file__).parent\n"

Install = Callable[..., Path]


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts files and entry points where Python finds an installed distribution."""
    site = tmp_path / "site"
    known = set(sys.modules)

    def install(files: dict[str, str], models: dict[str, str], weights: dict[str, str] | None = None) -> Path:
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        info = site / "zoo-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
        groups = {"morphobench.models": models, "morphobench.weights": weights or {}}
        lines = []
        for group, points in groups.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(site)
        return site

    yield install
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]


def test_an_edited_file_that_two_models_share_changes_both_keys(install: Install, tier: Tier) -> None:
    files = {
        "zoo/__init__.py": "", "zoo/a/__init__.py": PLAIN, "zoo/b/__init__.py": PLAIN, "zoo/core/sampler.py": "S = 20"
    }  # fmt: skip
    site = install(files, {"a": "zoo.a:load", "b": "zoo.b:load"})
    before = model_sha256("a", tier), model_sha256("b", tier)
    assert model_sha256("a", tier) == before[0]
    (site / "zoo/core/sampler.py").write_text("S = 21")
    after = model_sha256("a", tier), model_sha256("b", tier)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_single_file_model_is_keyed_without_its_neighbours(install: Install, tier: Tier) -> None:
    site = install({"lone.py": PLAIN, "other.py": "X = 1", "pack/x.bin": "1"}, {"lone": "lone:load"})
    before = model_sha256("lone", tier)
    (site / "other.py").write_text("X = 2")
    (site / "pack/x.bin").write_text("2")
    assert model_sha256("lone", tier) == before
    (site / "lone.py").write_text(PLAIN + "\n")
    assert model_sha256("lone", tier) != before


def test_a_package_of_a_namespace_is_keyed_without_its_neighbours(install: Install, tier: Tier) -> None:
    files = {"lab/one/__init__.py": "", "lab/one/model.py": PLAIN, "lab/two/__init__.py": ""}
    site = install(files, {"one": "lab.one.model:load"})
    before = model_sha256("one", tier)
    (site / "lab/two/__init__.py").write_text("X = 2")
    assert model_sha256("one", tier) == before
    (site / "lab/one/__init__.py").write_text("X = 2")
    assert model_sha256("one", tier) != before


def test_the_key_holds_the_weights_that_the_model_reads_and_no_others(install: Install, tier: Tier) -> None:
    files = {
        "zoo/__init__.py": TRAINED, "zoo/files.py": IMPORTS + NAMED, "zoo/weights/own__tiny.bin": "1",
        "zoo/weights/own__large.bin": "1", "zoo/weights/other__tiny.bin": "1",
    }  # fmt: skip
    site = install(files, {"own": "zoo:load", "silent": "zoo:load"}, {"own": "zoo.files:files"})
    shipped = site / "zoo/weights" / f"own__{tier.spec.name}.bin"
    shipped.write_text("1")
    own, silent = model_sha256("own", tier), model_sha256("silent", tier)
    (site / "zoo/weights/other__tiny.bin").write_text("2")
    assert model_sha256("own", tier) == own
    assert model_sha256("silent", tier) != silent, "a model that does not say what it reads is keyed by all of it"
    shipped.write_text("2")
    assert model_sha256("own", tier) != own


def test_a_checkpoint_changes_the_key_by_its_content(install: Install, tier: Tier, tmp_path: Path) -> None:
    install({"lone.py": TRAINED}, {"lone": "lone:load"})
    first, copy, folder = tmp_path / "first.bin", tmp_path / "copy.bin", tmp_path / "run"
    folder.mkdir()
    for path, text in ((first, "1"), (copy, "1"), (folder / "last.bin", "1")):
        path.write_text(text)
    shipped, given = model_sha256("lone", tier), model_sha256("lone", tier, first)
    assert shipped != given
    assert model_sha256("lone", tier, copy) == given
    assert weights_sha256("lone", tier, first) == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert weights_sha256("lone", tier) == ""
    copy.write_text("2")
    assert model_sha256("lone", tier, copy) != given
    before = model_sha256("lone", tier, folder)
    (folder / "last.bin").write_text("2")
    assert model_sha256("lone", tier, folder) != before


def test_a_checkpoint_reaches_the_loader(install: Install, tier: Tier, tmp_path: Path) -> None:
    install({"lone.py": TRAINED, "plain.py": PLAIN}, {"lone": "lone:load", "plain": "plain:load"})
    assert load_model("lone", tier, "cpu", tmp_path) == ("trained", "cpu", tmp_path)
    assert load_model("lone", tier, "cpu") == ("trained", "cpu", None)
    assert load_model("plain", tier, "cpu") == ("plain", "cpu")


@pytest.mark.parametrize("call", [lambda *a: load_model(a[0], a[1], "cpu", a[2]), model_sha256, weights_sha256])
def test_weights_are_refused_by_a_model_that_has_none(
    install: Install, tier: Tier, tmp_path: Path, call: Callable[..., object]
) -> None:
    install({"lone.py": TRAINED, "plain.py": PLAIN}, {"lone": "lone:load", "plain": "plain:load"})
    with pytest.raises(BadInput, match=r"^model 'plain': its load\(tier, device\) takes no weights; leave"):
        call("plain", tier, tmp_path)
    with pytest.raises(BadInput, match=r"^--checkpoint .*absent\.bin: not there; name a file"):
        call("lone", tier, tmp_path / "absent.bin")


def test_a_model_that_is_not_there_or_broken_is_one_line(install: Install, tier: Tier) -> None:
    points = {"gone": "nowhere_at_all.model:load", "bad": "bad:load", "empty": "empty:load", "frozen": "_imp:load"}
    install({"bad.py": "import nowhere_at_all", "empty.py": ""}, points)
    with pytest.raises(BadInput, match=r"model 'nobody': not installed; there are .*bad, .*gone"):
        model_sha256("nobody", tier)
    with pytest.raises(BadInput, match=r"model 'gone': nowhere_at_all\.model:load cannot be imported \(No module"):
        model_sha256("gone", tier)
    with pytest.raises(BadInput, match=r"model 'frozen': _imp has no source file"):
        model_sha256("frozen", tier)
    for name in ("gone", "bad", "empty"):
        with pytest.raises(BadInput, match=rf"model '{name}': .* cannot be imported .*; install its package again$"):
            load_model(name, tier, "cpu")


def test_a_key_is_made_without_importing_the_model(install: Install, tier: Tier) -> None:
    install({"zoo/__init__.py": "raise SystemExit", "zoo/heavy.py": "raise SystemExit"}, {"zoo": "zoo:load"})
    assert len(model_sha256("zoo", tier)) == 64
    assert "zoo" not in sys.modules
