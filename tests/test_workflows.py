"""The workflows of .github: what they run is pinned, and they may do no more than read."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)+$")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> tuple[str, dict]:
    text = request.param.read_text()
    return text, yaml.safe_load(text)


def test_every_action_is_pinned_by_its_commit_and_names_its_version(workflow):
    text, parsed = workflow
    used = [step["uses"] for job in parsed["jobs"].values() for step in job["steps"] if "uses" in step]
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if "uses:" in line]
    assert len(lines) == len(used) > 0
    assert [line for line in lines if not PINNED.match(line)] == []


def test_every_job_may_only_read_and_ends(workflow):
    _, parsed = workflow
    assert parsed["permissions"] == {}
    for name, job in parsed["jobs"].items():
        assert job["permissions"] == {"contents": "read"}, name
        assert 0 < job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_pull_requests_get_no_secrets_and_no_text_of_theirs_is_run(workflow):
    text, parsed = workflow
    triggers = parsed[True]  # YAML 1.1 reads the key `on` as a truth value
    assert "pull_request_target" not in triggers
    assert "secrets." not in text
    for job in parsed["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


def test_ci_runs_every_week_on_the_oldest_and_the_newest_python_and_on_the_lowest_versions():
    parsed = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert len(parsed[True]["schedule"]) == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.rpartition(" :: ")[2] for line in project["classifiers"] if re.search(r":: Python :: 3\.\d+$", line)]
    assert parsed["jobs"]["test"]["strategy"]["matrix"]["python"] == [named[0], named[-1]]
    newest = int(named[-1].partition(".")[2])
    assert project["requires-python"] == f">={named[0]},<3.{newest + 1}"
    assert any(step.get("run") == "bash .ci/lowest python" for step in parsed["jobs"]["lowest"]["steps"])
    for script in ("run", "lowest"):
        assert (ROOT / ".ci" / script).stat().st_size > 0
