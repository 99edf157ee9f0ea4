"""Modules that decide have no clock and no dice: import-linter holds their imports, this file their calls."""

import ast

import pytest

from tests.support.docs import ROOT

PURE = (
    "transitions",
    "retry",
    "arguments",
    "schedules",
    "fire_times",
    "schedule_changes",
    "schedule_policy",
    "schedule_records",
    "schedule_specs",
    "zones",
    "readable",
    "redaction",
    "visible",
)
IMPURE_CALLS = {
    "now",
    "utcnow",
    "today",
    "time",
    "monotonic",
    "random",
    "uniform",
    "uuid4",
    "uuid7",
    "urandom",
}
SOURCES = [path for name in PURE if (path := ROOT / "soniq" / f"{name}.py").exists()]
SOURCES += sorted((ROOT / "soniq" / "codec").glob("*.py"))


def impure_calls(source):
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date", "time", "random", "uuid", "os"}
        and node.func.attr in IMPURE_CALLS
    ]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SOURCES])
def test_pure_module_asks_neither_clock_nor_chance(path):
    assert impure_calls(path.read_text()) == []


@pytest.mark.parametrize("call", ["datetime.now(UTC)", "random.uniform(0, 1)", "time.time()", "uuid.uuid4()"])
def test_an_impure_call_is_found(call):
    assert impure_calls(f"value = {call}") == [f"line 1: {call}"]


def test_a_default_that_the_caller_can_replace_is_no_call():
    assert impure_calls("def delay(uniform=random.uniform):\n    return uniform(0, 1)") == []
