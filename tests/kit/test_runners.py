"""What only a runner of its own shows: settings of tests, and a store for each test."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.docs import ROOT

pytestmark = pytest.mark.slow

SETTINGS = """
SECRET_KEY = "inner"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "soniq_django", "inner"]
DATABASES = {}
SONIQ = {"TESTING": "memory"}
"""
JOBS = """
import soniq

@soniq.job(name="inner.add")
def add(a: int, b: int) -> int:
    return a + b
"""
TESTS = """
from django.test import SimpleTestCase
from inner.jobs import add
from soniq_django.testing import JobTestMixin, assert_no_jobs, drain_jobs


class Tests(JobTestMixin, SimpleTestCase):
    def test_one(self):
        self.assertNoJobs()
        add.enqueue(a=1, b=2)
        self.assertEqual(self.drainJobs().succeeded, 1)

    test_two = test_one
"""
FUNCTIONS = """

def test_three():
    assert_no_jobs()
    add.enqueue(a=1, b=2)
    assert drain_jobs().succeeded == 1


test_four = test_three
"""


@pytest.fixture
def project(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "__init__.py").touch()
    (inner / "jobs.py").write_text(JOBS)
    (inner / "tests.py").write_text(TESTS)
    (tmp_path / "test_functions.py").write_text(TESTS + FUNCTIONS)
    (tmp_path / "inner_settings.py").write_text(SETTINGS)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SONIQ_TEST"))
    }
    environment = {
        **kept,
        "DJANGO_SETTINGS_MODULE": "inner_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }

    def run(*command):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_pytest_gives_each_test_a_memory_of_its_own(project):
    without = [word for plugin in ("cacheprovider", "xdist", "asyncio") for word in ("-p", f"no:{plugin}")]
    ran = project("pytest", "-q", *without, "-c", os.devnull, "--rootdir", ".", "test_functions.py")

    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


def test_djangos_runner_needs_no_database(project):
    ran = project("django", "test", "inner")

    assert "Ran 2 tests" in ran.stderr, ran.stderr
    assert ran.returncode == 0, ran.stderr
