"""A killed test run leaves neither a server nor a directory behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.docs import ROOT

pytestmark = pytest.mark.faults

RUN = """
import sys, tempfile
from pathlib import Path
from tests.support.keeper import Keeper
directory = tempfile.mkdtemp(prefix="soniq-")
keeper = Keeper(Path(directory), postgres=sys.argv[1] == "postgres")
print(directory, keeper.url, flush=True)
sys.stdin.read()
"""


def start_run(vendor):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, vendor],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    directory, url = process.stdout.readline().rstrip("\n").split(" ", 1)
    return process, Path(directory), url


def wait_until_gone(directory):
    deadline = time.monotonic() + 30
    while directory.exists():
        assert time.monotonic() < deadline, f"{directory} is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("vendor", ["sqlite", "postgres"])
def test_killed_run_leaves_nothing_behind(vendor):
    if vendor == "postgres" and os.environ.get("SONIQ_TEST_NO_POSTGRES"):
        pytest.skip(f"postgres: {os.environ['SONIQ_TEST_NO_POSTGRES']}")
    process, directory, url = start_run(vendor)
    with process:
        assert directory.exists()
        if vendor == "postgres":
            psycopg.connect(url).close()
        process.kill()
    wait_until_gone(directory)
    if vendor == "postgres":
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
