"""Imports run one way and never in a circle, and the metrics know arrays only."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors", "schema", "provenance"},
    {"storage"},
    {"datasets", "metrics"},
    {"ingest", "models", "trainers", "training_data"},
    {"features"},
    {"scoring", "export"},
    {"report"},
    {"request"},
    {"generation"},
    {"evaluation"},
    {"comparison"},
    {"leaderboard"},
    {"run"},
    {"cli"},
    {"__main__", "__init__"},
]
"""Each part may import what stands above it and what stands in its own folder."""
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
ARRAYS_ONLY = {"numpy", "scipy", "sklearn"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _part(path: Path) -> str:
    return path.relative_to(ROOT / "morphobench").parts[0].removesuffix(".py")


def _module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported_files(root: Path, package: str) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports; a package that only hands names on is passed through."""
    paths = {_module(path, root): path for path in (root / package).rglob("*.py")}
    own = {module: _imports(path) & set(paths) for module, path in paths.items()}
    # `from package import module` names both; the package's own file counts where a name of its own is taken.
    for module, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in paths:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                if names <= set(paths):
                    own[module].discard(node.module)
    return {module: names - {module} for module, names in own.items()}


FILES = sorted((ROOT / "morphobench").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_a_part_imports_only_what_comes_before_it(path: Path) -> None:
    own = _part(path)
    assert own in RANK, f"{own} has no layer"
    for name in _imports(path):
        top, _, rest = name.partition(".")
        assert top != "reference_models", f"{path} imports {name}"
        part = rest.split(".")[0]
        if top == "morphobench" and part in RANK and part != own and own != "__init__":
            assert RANK[part] < RANK[own], f"{path}: {own} imports {part}"


@pytest.mark.parametrize("package", ["morphobench", "reference_models"])
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    files = imported_files(ROOT, package)
    order = list(TopologicalSorter(files).static_order())  # CycleError names the circle
    assert set(order) == set(files)


def test_a_circle_of_two_files_is_found(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    for name, text in {"__init__": "", "a": "from house import b", "b": "def f():\n    from house.a import x"}.items():
        (tmp_path / "house" / f"{name}.py").write_text(text)
    with pytest.raises(CycleError, match="cycle"):
        TopologicalSorter(imported_files(tmp_path, "house")).prepare()


def test_metrics_know_arrays_only() -> None:
    for path in (ROOT / "morphobench" / "metrics").rglob("*.py"):
        outside = {name.split(".")[0] for name in _imports(path)} - set(sys.stdlib_module_names) - {"morphobench"}
        assert outside <= ARRAYS_ONLY, f"{path} imports {outside - ARRAYS_ONLY}"
        assert all(name.startswith("morphobench.metrics") for name in _imports(path) if name.startswith("morphobench."))


def test_the_command_starts_without_the_heavy_packages() -> None:
    heavy = ("torch", "pandas", "sklearn", "umap", "zarr", "anndata")
    code = f"import sys, morphobench.cli; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"
