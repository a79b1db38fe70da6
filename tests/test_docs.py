"""What the documentation says is there: links, commands, metric keys, snippets, error messages."""

from __future__ import annotations

import io
import pkgutil
import re
import shlex
import sys
import tomllib
import types
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from tiny_tier import tiny_tier
from typer.testing import CliRunner

from morphobench import models
from morphobench.cli import app
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.generation import generate
from morphobench.ingest.images import decode_png, encode_png
from morphobench.ingest.submission import open_submission
from morphobench.metrics import METRICS
from morphobench.request import Request

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = (".github", "docs", "examples", "morphobench", "reference_models", "scripts", "tests")
WRITTEN = [*sorted(ROOT.glob("*.md")), *(page for name in FOLDERS for page in sorted((ROOT / name).rglob("*.md")))]
"""Every page that is written by hand; those of leaderboards/ and benchmarks/ are written by commands."""
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WRITTEN_NAMES = [str(page.relative_to(ROOT)) for page in WRITTEN]
CURRENT = [page for page in WRITTEN if page.name != "CHANGELOG.md"]
"""Pages that say what is; the changelog also names what was."""
CURRENT_NAMES = [str(page.relative_to(ROOT)) for page in CURRENT]
PACKAGES = (ROOT / "morphobench", ROOT / "reference_models")
CODE = (*PACKAGES, ROOT / "benchmarks", ROOT / "scripts", ROOT / "tests")
LONGEST_LINE = 120
COMMAND = typer.main.get_command(app)
SHELL = ("bash", "sh", "shell", "console")


class Fence(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def fences(page: Path) -> list[Fence]:
    found = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Fence(*block) for block in found]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments that the headings of a page can be linked by."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), f"{page.name}: {target}"
        assert not fragment or fragment in anchors(place), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_named_module_and_test_exists(page: Path) -> None:
    """Modules named with their folder, below the project or the package, and tests as file::function."""
    for path in re.findall(r"`([\w/]+/\w+\.py)`", prose(page)):
        assert (ROOT / path).is_file() or (ROOT / "morphobench" / path).is_file(), f"{page.name}: {path}"
    for path, function in re.findall(r"`(?:tests/)?(test_\w+\.py)::(\w+)`", prose(page)):
        assert f"def {function}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), f"{page.name}: {function}"


def named_paths(page: Path) -> list[str]:
    """What stands in backticks in a page's running text and looks like a path of the repository.

    That is a path whose first folder is one of the repository's or of a package's, or the name of a Python file; NAME
    and TIER in it stand for a name that the reader gives.
    """
    first = {place.name for base in (ROOT, *PACKAGES) for place in base.iterdir() if place.is_dir()}
    found = []
    for span in re.findall(r"`([^`\n]+)`", prose(page)):
        path = span.partition("::")[0]
        folder, slash, _ = path.partition("/")
        whole = re.fullmatch(r"[\w./-]+", path) is not None and not re.search("NAME|TIER", path)
        if whole and ((slash and folder in first and not folder.startswith("..")) or re.fullmatch(r"\w+\.py", path)):
            found.append(path)
    return found


@pytest.mark.parametrize("page", CURRENT, ids=CURRENT_NAMES)
def test_every_named_path_of_the_repository_exists(page: Path) -> None:
    for path in named_paths(page):
        if "/" in path:
            assert any((base / path).exists() for base in (ROOT, *PACKAGES, page.parent)), f"{page.name}: {path}"
        else:
            assert any(list(base.rglob(path)) for base in CODE), f"{page.name}: {path}"


@pytest.mark.parametrize("page", CURRENT, ids=CURRENT_NAMES)
def test_every_dotted_name_of_the_packages_can_be_imported(page: Path) -> None:
    """But for the groups of entry points, which are names and no modules."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in re.findall(r"`((?:morphobench|reference_models)(?:\.\w+)+)(?:\([^`]*\))?`", prose(page)):
        assert name in project["entry-points"] or pkgutil.resolve_name(name) is not None, f"{page.name}: {name}"


def test_paths_are_found() -> None:
    assert sum(len(named_paths(page)) for page in WRITTEN) >= 50


@pytest.mark.parametrize("page", WRITTEN, ids=WRITTEN_NAMES)
def test_lines_of_prose_end_at_120_characters(page: Path) -> None:
    """But for tables, whose rows are one line, and what a command printed, which is shown as it is."""
    printed = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        printed = line.startswith("```text") or (printed and not line.startswith("```"))
        assert printed or line.startswith("|") or len(line) <= LONGEST_LINE, f"{page.name}:{number}: {len(line)}"


def test_every_decision_says_in_its_first_line_what_was_decided() -> None:
    """A bold sentence on a line of its own; the reasons follow from the next line on."""
    text = prose(ROOT / "docs" / "decisions.md")
    entries = [entry for entry in re.split(r"\n{2,}", text) if entry.startswith("**")]
    assert len(entries) > 100
    for entry in entries:
        assert re.fullmatch(r"\*\*[^\n]+[.:]\*\*", entry.splitlines()[0]), entry.splitlines()[0]
        assert len(entry.splitlines()) > 1, f"no reason: {entry}"


def shown_commands(page: Path) -> list[str]:
    """Every `morphobench ...` in the fenced blocks of a page: all of shell blocks, after a $ in others."""
    found = []
    for language, text in fences(page):
        for line in text.replace("\\\n", " ").splitlines():
            stripped = line.strip()
            if language not in SHELL and not stripped.startswith("$ "):
                continue
            for part in re.split(r"&&|\||;|>", stripped.removeprefix("$ ")):
                words = shlex.split(part, comments=True)
                if words[:1] == ["morphobench"] or words[:3] == ["python", "-m", "morphobench"]:
                    found.append(shlex.join(words[1:] if words[0] == "morphobench" else words[3:]))
    return found


def mentioned_commands(page: Path) -> list[str]:
    """Every `morphobench ...` in the running text of a page."""
    return re.findall(r"`morphobench +([^`]+)`", prose(page))


def subcommand(words: list[str]) -> tuple[list[str], object, list[str]]:
    """The path of the command that the words name, the command, and the words that are left."""
    path, command = [], COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        path.append(words[0])
        words = words[1:]
    return path, command, words


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_shown_command_parses(page: Path) -> None:
    for line in shown_commands(page):
        path, command, rest = subcommand(shlex.split(line))
        assert path, f"{page.name}: morphobench {line}"
        assert CliRunner().invoke(app, [*path, "--help"]).exit_code == 0
        command.make_context(path[-1], rest)  # raises for an unknown option, a missing or an extra argument


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_mentioned_command_and_option_exists(page: Path) -> None:
    for line in mentioned_commands(page):
        first, *alternatives = re.sub(r"\s+", " ", line).split("|")
        words = first.split()
        _, group, _ = subcommand(words[:-1])
        for other in alternatives:
            assert other.split()[0] in group.commands, f"{page.name}: morphobench {line}"
        path, command, rest = subcommand(words)
        assert path or rest[0].startswith("--"), f"{page.name}: morphobench {line}"
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        for option in (word for word in rest if word.startswith("-")):
            assert option.partition("=")[0] in known, f"{page.name}: morphobench {line}"


def test_commands_are_found() -> None:
    shown = [line for page in PAGES for line in shown_commands(page)]
    assert "evaluate --model trident" in shown
    assert len(shown) >= 10


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `([^`]+)`$", text, re.MULTILINE)
    table = set(re.findall(r"^\| `(area_occupied_shift\[[^`]+)` \|", text, re.MULTILINE))
    assert sorted([*headings, *table]) == sorted(METRICS)
    for metric in METRICS.values():
        assert metric.genuine is None or f"`{metric.genuine.key}`" in text


@pytest.mark.parametrize("key", METRICS)
def test_the_documented_smallest_n_and_direction_are_the_registrys(key: str) -> None:
    metric = METRICS[key]
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    own = re.search(rf"^### `{re.escape(key)}`$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    family = {"area": "Morphology", "lfc_": "Expression"}.get(key[:4], "")
    common = re.search(rf"^## {family}$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL) if family else None
    section = " ".join(" ".join(part[1].split()) for part in (own, common) if part)
    assert f"smallest N {metric.smallest_n}" in section
    words = {"min": "Lower is better", "max": "Higher is better", "none": "No direction"}
    assert (words | {"target": f"Closer to {metric.target or 0:g} is better"})[metric.direction] in section
    assert metric.unit in section


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_and_toml_snippets_are_valid(page: Path) -> None:
    for number, (language, text) in enumerate(fences(page)):
        if language == "python":
            compile(text, f"{page.name}, block {number}", "exec")
        if language == "toml":
            tomllib.loads(text)


@pytest.mark.parametrize("name", ["metrics.md", "sim.md", "data-formats.md"])
def test_snippets_that_stand_alone_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [text for language, text in fences(ROOT / "docs" / name) if language == "python"]
    assert blocks
    for text in blocks:
        exec(compile(text, name, "exec"), {})


def written(model: object, tier: Tier, tracks: tuple[str, ...], out: Path) -> Path:
    """The submission that a model writes."""
    return generate(Request(model=model, tier=tier, tracks=tracks, out=out, embedding="efficientnet_lite0").resolve())


def test_the_example_model_is_found_generates_and_is_a_valid_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "CONTRIBUTING.md"
    (source,) = [text for language, text in fences(page) if language == "python" and "def load(" in text]
    (entry,) = [tomllib.loads(text) for language, text in fences(page) if language == "toml"]
    ((name, value),) = entry["project"]["entry-points"][models.GROUP].items()
    package = tmp_path / "packages" / value.partition(":")[0]
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(models, "entry_points", lambda group: [EntryPoint(name, value, group)][: group == models.GROUP])
    tier = tiny_tier(tmp_path / "tier")
    try:
        folder = written(name, tier, ("id", "ood"), tmp_path / "run")
    finally:
        sys.modules.pop(package.name, None)
    opened = open_submission(folder, tier)
    assert opened.manifest.name == name
    assert opened.manifest.group == "my-group"
    assert {track: len(images) for track, images in opened.images.items()} == {"id": 12, "ood": 12}
    assert opened.expression is not None
    assert np.array_equal(opened.expression["ood"], tier.conditions("ood").g_pre)


def test_an_object_is_a_model_too(tmp_path: Path) -> None:
    (source,) = [
        text for language, text in fences(ROOT / "CONTRIBUTING.md") if language == "python" and "load(" in text
    ]
    module = types.ModuleType("noise_model_example")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(source, module.__dict__)
        tier = tiny_tier(tmp_path / "tier")
        model = module.NoiseModel(tier.spec.image_size, module.MANIFEST)
        folder = written(model, tier, ("id",), tmp_path / "run")
    finally:
        del sys.modules[module.__name__]
    assert len(open_submission(folder, tier, ["id"]).images["id"]) == 12


def test_the_address_version_and_licence_of_the_project_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    home = project["urls"]["Repository"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["repository-code"] == home
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert all(address.startswith(home) for address in project["urls"].values())
    assert all(set(reference) >= {"type", "title", "authors"} for reference in citation["references"])
    pages = "".join(page.read_text(encoding="utf-8") for page in (*WRITTEN, *FORMS))
    assert set(re.findall(r"https://github\.com/morphobench/[\w.-]+", pages)) <= {home}


def test_the_documented_bounds_of_packages_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {one for some in (project["dependencies"], *project["optional-dependencies"].values()) for one in some}
    said = re.findall(r"^- `([\w-]+[<>=][^`]*)`", (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"), re.M)
    assert len(said) >= 6
    assert set(said) <= required


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_every_issue_form_is_one_that_github_reads(form: Path) -> None:
    """The keys that GitHub's form schema asks for, and ids that differ."""
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.name == "config.yml":
        assert set(content) == {"blank_issues_enabled", "contact_links"}
        assert all(set(link) == {"name", "url", "about"} for link in content["contact_links"])
        return
    assert set(content) == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in content["body"]]
    assert len(set(ids)) == len(ids)
    for field in content["body"]:
        assert field["type"] in ("textarea", "input", "dropdown")
        assert field["attributes"]["label"]
        assert ("options" in field["attributes"]) == (field["type"] == "dropdown")


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def test_the_shown_error_lines_are_what_a_wrong_image_gives() -> None:
    blocks = [text for language, text in fences(ROOT / "docs" / "submission.md") if language == "text"]
    shown = "".join(blocks).splitlines()
    name = "my-model: images/id/docetaxel/0003.png"
    wrong = {
        "a JPEG": b"\xff\xd8\xff",
        "greyscale": png(Image.new("L", (128, 128))),
        # 16 bits per channel: the depth of the header of an ordinary file.
        "16 bits": (data := encode_png(np.zeros((128, 128, 3), np.uint8)))[:24] + b"\x10" + data[25:],
        "too large": encode_png(np.zeros((256, 256, 3), np.uint8)),
    }
    for what, data in wrong.items():
        with pytest.raises(BadInput) as caught:
            decode_png(data, name, 128)
        assert f"morphobench: {caught.value}" in shown, what


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_machine_path_is_named(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|tmp|opt|root|home)/", page.read_text(encoding="utf-8"))
