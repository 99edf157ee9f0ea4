"""mypy accepts the calls that fit a job, and rejects those that do not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs import ROOT

pytest.importorskip("mypy")
pytest.importorskip("mypy_django_plugin")

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CASES = ("cases.py", "celery_cases.py", "task_cases.py")
EXAMPLE = ROOT / "example_project"

SETTINGS = f"""
[mypy]
strict = true
plugins = mypy_django_plugin.main, soniq.mypy_plugin
mypy_path = {ROOT}:{EXAMPLE}
explicit_package_bases = true
show_column_numbers = false
pretty = false

[mypy.plugins.django-stubs]
django_settings_module = config.settings
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """(file, line) -> what one mypy says of it; of all cases and of the example project."""
    directory = tmp_path_factory.mktemp("mypy")
    (directory / "mypy.ini").write_text(SETTINGS)
    files = [*(str(HERE / name) for name in CASES), str(EXAMPLE / "shop"), str(EXAMPLE / "config")]
    command = [sys.executable, "-m", "mypy", "--config-file", str(directory / "mypy.ini")]
    ran = subprocess.run(
        [*command, "--cache-dir", str(directory / "cache"), "--no-error-summary", *files],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{EXAMPLE}", "PATH": "/usr/bin:/bin", "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert not ran.stderr, ran.stderr
    found = {}
    for line in ran.stdout.splitlines():
        match = re.match(r"(?P<file>[^:]+):(?P<line>\d+): (?P<kind>error|note): (?P<text>.*)", line)
        assert match, line
        found.setdefault((Path(match["file"]).name, int(match["line"])), []).append(match["text"])
    return found


def wanted(name, kind):
    """line -> what its comment says."""
    lines = (HERE / name).read_text().splitlines()
    marked = {number: re.search(rf"  # {kind}: (.+)$", line) for number, line in enumerate(lines, 1)}
    return {number: match[1] for number, match in marked.items() if match}


def of_file(said, name):
    return {line: texts for (file, line), texts in said.items() if file == name}


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_fit_is_rejected_and_nothing_else(said, name):
    rejected = {
        line: [code for text in texts for code in re.findall(r"\[([\w-]+)\]$", text)]
        for line, texts in of_file(said, name).items()
    }
    codes = {line: found[0] for line, found in rejected.items() if found}
    assert codes == wanted(name, "error"), of_file(said, name)


@pytest.mark.parametrize("name", CASES)
def test_results_have_the_types_that_the_functions_promise(said, name):
    revealed = {
        line: match[1]
        for line, texts in of_file(said, name).items()
        for text in texts
        if (match := re.match(r'Revealed type is "(.+)"$', text))
    }
    plain = {line: text.replace("builtins.", "") for line, text in revealed.items()}
    assert plain == wanted(name, "reveals")


def test_the_example_project_passes_mypy_strict(said):
    assert {place: texts for place, texts in said.items() if place[0] not in CASES} == {}


def test_pyright_agrees_as_far_as_it_can_without_a_plugin():
    """Its twin basedpyright, which a Python package brings along whole."""
    pytest.importorskip("basedpyright", reason="basedpyright is not installed (the extra dev has it)")
    cases = HERE / "plain_cases.py"
    options = ["--outputjson", "--level", "error"]
    ran = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, *options, str(cases)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    found = json.loads(ran.stdout)["generalDiagnostics"]
    rejected = {one["range"]["start"]["line"] + 1 for one in found}
    lines = cases.read_text().splitlines()
    assert rejected == {number for number, line in enumerate(lines, 1) if line.endswith("  # error")}, found
