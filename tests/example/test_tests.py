"""The example's own tests, by both runners and in parallel: each process has databases of its own."""

import os
import re
import subprocess
import sys

import pytest

from tests.example.conftest import MANAGE
from tests.support.docs import ROOT

pytestmark = pytest.mark.slow

FILES = [MANAGE.parent / "shop" / name for name in ("tests.py", "test_with_pytest.py")]
OF_DJANGO, OF_PYTEST = (file.read_text().count("def test_") for file in FILES)


def test_djangos_runner_runs_them_in_parallel(shop):
    ran = shop.manage("test", "shop", "--parallel", "2", "--noinput")

    assert re.search(rf"^Ran {OF_DJANGO} tests in ", ran.stderr, re.MULTILINE), ran.stderr
    assert "\nOK\n" in ran.stderr
    assert "Cloning test database" in ran.stderr


def test_they_hold_with_the_jobs_in_another_database_but_for_what_takes_one_commit(shop):
    ran = shop.manage("test", "shop", "--noinput", "--settings", "config.two_databases")

    # Python 3.12.1 does not count what is skipped among what it ran.
    assert re.search(rf"^Ran ({OF_DJANGO}|{OF_DJANGO - 2}) tests in ", ran.stderr, re.MULTILINE), ran.stderr
    assert "\nOK (skipped=2)\n" in ran.stderr


def test_pytest_runs_them_in_parallel(shop):
    environment = {
        name: value
        for name, value in shop.environment.items()
        if not name.startswith(("PYTEST", "SONIQ_TEST", "COV_"))
    }
    options = ["-q", "-W", "error", "-n", "2", "-c", os.devnull, "--rootdir", str(MANAGE.parent)]
    options += ["-p", "no:cacheprovider", "-p", "no:asyncio", "--create-db"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, FILES)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{OF_DJANGO + OF_PYTEST} passed" in ran.stdout
