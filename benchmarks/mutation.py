"""Which faults the tests of `morphobench/metrics/` do not see: every small change of a module, against its own tests.

    python benchmarks/mutation.py [MODULE ...] [--sample N] [--out FOLDER]

The changes are mutmut's (numbers, operators, comparisons, keywords, arguments left out), one at a time; a change that a
test fails on is killed. Text and what only words an error are left alone. Each mutant runs in a fork of a process that
has the libraries loaded, and is imported from memory: no file of the checkout is touched. It takes about a second a
mutant, and is no part of CI. FOLDER keeps what was found per module; `mutation.md` is made of all that is there, with
the reasons that `mutation_survivors.csv` gives for what survives. Needs `pip install mutmut` beside the test extra.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import libcst
import pytest
from mutmut.mutation import mutators

HERE = Path(__file__).parent
ROOT = HERE.parent
METRICS = ROOT / "morphobench" / "metrics"
OPERATORS = {
    "operator_number", "operator_name", "operator_swap_op", "operator_keywords", "operator_remove_unary_ops",
    "operator_augmented_assignment", "operator_arg_removal", "operator_if_exp",
}  # fmt: skip
TESTS = {
    "checks": ("kernel", "frechet"),
    "compounds": ("compounds", "kernel", "frechet_compounds"),
    "expression": ("expression_metric",),
    "inputs": ("registry", "morphology_metric", "reliance"),
    "labels": ("kernel", "frechet_compounds"),
    "metric": ("registry",),
    "morphology": ("morphology_metric", "profile_correlation"),
    "profile_inputs": ("registry", "mechanism", "profile_correlation"),
    "registry": ("registry",),
    "replicates": ("registry", "mechanism"),
}
"""The test files of a module where they are not `test_MODULE.py`; those of the rows are everybody's."""
ROWS = ("rows", "checks")
SLOW = (
    "follows", "ignores", "counterfactual", "absent_set", "swapped", "copies_in_every_view", "spoilt",
    "torch_fidelity", "a_blurred_one", "docs_is_what_the_command",
)  # fmt: skip
"""Words of tests that render or load a network: seconds each, and none of a metric's arithmetic."""
MEMORY = 6 * 2**30
LOADED = (
    "numpy", "pandas", "scipy.sparse.linalg", "scipy.spatial", "scipy.stats", "sklearn.discriminant_analysis",
    "sklearn.metrics", "sklearn.neighbors", "torch",
)  # fmt: skip
"""Libraries that are loaded once, before the forks."""


HEAD = """# Faults that the tests of metrics/ do not see

Small changes of each module of `morphobench/metrics/` (mutmut's: numbers, operators, comparisons, keywords, arguments
left out, and a tenfold of each float), one at a time, against the module's own tests and those of the rows. A change
that a test fails on is killed. Where fewer were tried than there are, they are a sample drawn with a fixed seed; 0 is a
module that no run has reached yet. A kill stands while its line stands; survivors are tried again when tests are added.
`python benchmarks/mutation.py --sample 12` makes it; without `--sample` every change is tried (hours). The reasons
stand in `mutation_survivors.csv`, by the line before and after.
"""


class InMemory(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a text in place of its file."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def exec_module(self, module) -> None:
        module.__file__ = str(self.path)
        exec(compile(self.source, self.path, "exec"), module.__dict__)


class Finder(libcst.CSTVisitor):
    """Every (node, changed node) of a module outside annotations, decorators, texts and `raise`."""

    def __init__(self) -> None:
        self.found: list[tuple[libcst.CSTNode, libcst.CSTNode]] = []

    def on_visit(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, libcst.Raise | libcst.Annotation | libcst.Decorator | libcst.Import | libcst.ImportFrom):
            return False
        if isinstance(node, libcst.BaseString):
            return False
        if isinstance(node, libcst.Float):
            if node.evaluated_value:
                self.found.append((node, node.with_changes(value=repr(10 * node.evaluated_value))))
            return True
        for kind, operator in mutators.mutation_operators:
            if isinstance(node, kind) and operator.__name__ in OPERATORS:
                self.found += [(node, new) for new in operator(node) if not _only_crashes(node, new)]
        return True


def _only_crashes(node: libcst.CSTNode, new: libcst.CSTNode) -> bool:
    """An argument that becomes None, or that stands without a name and is left out."""
    if not isinstance(node, libcst.Call) or not isinstance(new, libcst.Call):
        return False
    if len(node.args) == len(new.args):
        return True
    kept = {id(argument) for argument in new.args}
    return any(argument.keyword is None for argument in node.args if id(argument) not in kept)


def mutants(source: str) -> list[tuple[str, str, str]]:
    """(line before, line after, whole text) of every mutant, each text once."""
    module, finder, seen, found = libcst.parse_module(source), Finder(), {source}, []
    module.visit(finder)
    for node, new in finder.found:
        text = module.deep_replace(node, new).code
        if text not in seen:
            seen.add(text)
            found.append((*_changed(source, text), text))
    return found


def _changed(before: str, after: str) -> tuple[str, str]:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return tuple(" ".join(line[2:].strip() for line in lines if line.startswith(sign)) for sign in "-+")


def passes(name: str, path: Path, source: str, tests: list[str], seconds: int) -> tuple[bool, float]:
    """Whether the tests pass with this text for the module, and processor seconds of the fork that ran them.

    It is stopped after `seconds` of the processor: an endless loop is a change that was seen.
    """
    child = os.fork()
    if not child:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        sys.meta_path.insert(0, InMemory(name, path, source))
        words = " and ".join(f"not {word}" for word in SLOW)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", words, *tests])))
    _, status, used = os.wait4(child, 0)
    return status == 0, used.ru_utime + used.ru_stime


def examine(module: str, sample: int | None, out: Path) -> None:
    """Try the first `sample` mutants of a module in a seeded order, and keep what was found.

    A mutant of an earlier run that was killed is not tried again while its line stands; a survivor is.
    """
    path, kept = METRICS / f"{module}.py", out / f"{module.replace('/', '.')}.json"
    name = "morphobench.metrics." + module.replace("/", ".")
    names = (*TESTS.get(module, ("registry",) if module.startswith("rows/") else (module,)), *ROWS)
    tests = [str(ROOT / "tests" / f"test_{test}.py") for test in names]
    source = path.read_text()
    found = {(before, after): text for before, after, text in mutants(source)}
    known = json.loads(kept.read_text())["tried"] if kept.is_file() else []
    tried = {(before, after): survived for before, after, survived in known if (before, after) in found}
    order = sorted(found)
    random.Random(0).shuffle(order)
    order.sort(key=lambda mutant: mutant not in tried)
    whole, seconds = passes(name, path, source, tests, 600)
    if not whole:
        sys.exit(f"{module}: its tests fail before anything is changed")
    for mutant in order[: max(sample, len(tried)) if sample else None]:
        if tried.get(mutant, True):
            tried[mutant], _ = passes(name, path, found[mutant], tests, 10 + int(5 * seconds))
        rows = [[*each, survived] for each, survived in tried.items()]
        kept.write_text(json.dumps({"module": module, "mutants": len(found), "tests": names, "tried": rows}, indent=1))
    print(f"{module}: {len(found)} mutants, {len(tried)} tried, {sum(tried.values())} survive", flush=True)


def modules() -> Iterator[str]:
    for path in sorted(METRICS.rglob("*.py")):
        if path.name != "__init__.py":
            yield str(path.relative_to(METRICS).with_suffix(""))


def write_table(folder: Path) -> None:
    """`mutation.md`: counts by module, and every survivor with its reason."""
    with (HERE / "mutation_survivors.csv").open(newline="") as stream:
        reasons = {(row["module"], row["before"], row["after"]): row["why"] for row in csv.DictReader(stream)}
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows, found = [], []
    for record in records:
        survivors = [(before, after) for before, after, survived in record["tried"] if survived]
        tried = len(record["tried"])
        rows.append((record["module"], record["mutants"], tried, tried - len(survivors), len(survivors)))
        found += [(record["module"], *pair, reasons.get((record["module"], *pair), "")) for pair in survivors]
    rows.append(("all", *(sum(row[column] for row in rows) for column in range(1, 5))))
    lines = [HEAD, "| module | mutants | tried | killed | survive |", "|---|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |" for name, *counts in rows]
    lines += ["", "## What survives, and why", ""]
    for module, before, after, why in found:
        said = textwrap.fill(f"`{module}`: {why or 'NOT EXPLAINED'}", 120, break_long_words=False)
        lines += [said, "", "```text", f"- {before}", f"+ {after}", "```", ""]
    (HERE / "mutation.md").write_text("\n".join(lines).rstrip() + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(modules()), help="default: all of morphobench/metrics/")
    parser.add_argument("--sample", type=int, help="so many mutants of a module, drawn with a fixed seed")
    parser.add_argument("--table", action="store_true", help="only write mutation.md of what FOLDER holds")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutation")
    arguments = parser.parse_args()
    # A fork has none of its parent's threads, and waits for them.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.table:
        for name in LOADED:
            importlib.import_module(name)
        for module in arguments.modules:
            examine(module, arguments.sample, arguments.out)
    write_table(arguments.out)


if __name__ == "__main__":
    main()
