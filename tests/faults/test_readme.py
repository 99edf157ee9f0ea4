"""The list of faults names tests that are there, and leaves out no scenario."""

import ast
import re

from tests.support.docs import ROOT

HERE = ROOT / "tests" / "faults"
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (HERE / "README.md").read_text())
OF_THE_HARNESS = {"test_invariants.py", "test_readme.py"}


def tests_in(path):
    """The tests that a file defines."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, kinds) and node.name.startswith("test_")}


def path_of(name):
    """A file of the list; a bare name is one of this folder."""
    return ROOT / name if "/" in name else HERE / name


def test_each_named_test_exists():
    assert len(NAMED) > 50
    missing = [f"{file}::{name}" for file, name in NAMED if name not in tests_in(path_of(file))]
    assert not missing


def test_each_scenario_is_in_the_list():
    named = {name for _, name in NAMED}
    files = [path for path in sorted(HERE.glob("test_*.py")) if path.name not in OF_THE_HARNESS]
    missing = [f"{path.name}::{name}" for path in files for name in sorted(tests_in(path) - named)]
    assert not missing
