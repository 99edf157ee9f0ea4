"""The list of faults names tests that are there, and leaves out no scenario."""

import ast
import re

from tests.support.docs import ROOT

HERE = ROOT / "tests" / "faults"
TEXT = (HERE / "README.md").read_text()
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
OF_THE_HARNESS = {"test_invariants.py", "test_readme.py"}


def defined_in(path):
    """The tests that a file defines."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, kinds) and node.name.startswith("test_")}


def named_tests():
    """Each test of the list, with its file; a bare name is one of this folder."""
    return {(ROOT / file if "/" in file else HERE / file, name) for file, name in NAMED.findall(TEXT)}


def test_each_named_test_exists():
    assert not [f"{path}::{name}" for path, name in sorted(named_tests()) if name not in defined_in(path)]


def test_each_fault_names_a_test():
    faults = [line for line in TEXT.splitlines() if line.startswith("| ") and line != "| fault | tests |"]
    assert len(faults) > 60
    assert not [line for line in faults if not NAMED.search(line)]


def test_each_scenario_is_in_the_list():
    files = [path for path in sorted(HERE.glob("test_*.py")) if path.name not in OF_THE_HARNESS]
    scenarios = {(path, name) for path in files for name in defined_in(path)}
    assert not sorted(scenarios - named_tests())
