"""The wheel holds everything the command needs, and runs away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built without a network from a copy of the tracked sources."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    source.mkdir()
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: the list of source files is not known")
    for name in listed.stdout.splitlines():
        if name.startswith(("morphobench/", "reference_models/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(out),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_every_data_file_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("morphobench", "reference_models")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert wanted <= inside, sorted(wanted - inside)[:5]
    assert not {name for name in inside if name.startswith(("tests/", "benchmarks/", "scripts/"))}


def test_the_wheel_runs_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "MORPHOBENCH_CACHE": str(tmp_path / "cache")}
    code = (
        "import pathlib, morphobench; from morphobench.models import load_model;"
        "from morphobench.datasets import load_tier; print(pathlib.Path(morphobench.__file__).parent);"
        "tier = load_tier('sim'); model = load_model('trident', tier, 'cpu');"
        "print(model.generate(tier.conditions('id').take([0, 1]), 0).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "site" / "morphobench"), "(2,", "128,", "128,", "3)"]
    verified = subprocess.run(
        [sys.executable, "-m", "morphobench", "data", "verify"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert verified.returncode == 0, verified.stderr


def test_the_version_is_the_changelog_s() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_pixel_of_a_real_microscope_is_tracked() -> None:
    """BBBC021 may not be redistributed: the only pictures are drawn by the package."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    pictures = {
        name for name in listed.stdout.splitlines() if name.lower().endswith((".png", ".jpg", ".tif", ".tiff", ".zip"))
    }
    drawn = ("docs/images/", "tests/data/cellprofiler/")
    assert all(name.startswith(drawn) for name in pictures), pictures
