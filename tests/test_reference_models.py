"""The zoo: rooms that import one another one way, and a README that lists what there is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from test_imports import imported_files

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "reference_models"
ORDER = ("shipped", "core", "training", "autoencoder", "detail", "trident", "controls")
"""Each room may import those before it."""


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_rooms_import_each_other_one_way() -> None:
    graph = imported_files(ROOT, "reference_models")
    assert {_room(module) for module in graph} == {"", *ORDER}
    for module, names in graph.items():
        for other in filter(_room, names):
            assert ORDER.index(_room(other)) <= ORDER.index(_room(module)), f"{module} imports {other}"


def test_what_is_in_core_is_imported_by_two_rooms() -> None:
    graph = imported_files(ROOT, "reference_models")
    for part in (module for module in graph if _room(module) == "core" and module != "reference_models.core"):
        users = {_room(module) for module, names in graph.items() if part in names} - {"core"}
        assert len(users) >= 2, f"{part}: imported by {sorted(users)}"


def test_the_readme_lists_every_model_room_and_file_of_weights() -> None:
    page = (ZOO / "README.md").read_text(encoding="utf-8")
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert set(points["morphobench.models"]) == set(points["morphobench.weights"])
    rooms = {path.name for path in ZOO.iterdir() if path.is_dir() and path.name != "__pycache__"}
    wanted = [f"| `{name}` |" for name in points["morphobench.models"]]
    wanted += [f"| `{room}/` |" for room in rooms]
    wanted += [f"`{path.stem}`" for path in (ZOO / "weights").glob("*.safetensors")]
    assert [name for name in wanted if name not in page] == []
