"""A killed test run leaves neither a server nor a directory behind."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.support import mysql
from tests.support.databases import missing_reason, name_prefix
from tests.support.docs import ROOT

pytestmark = pytest.mark.faults

RUN = """
import sys, tempfile
from pathlib import Path
from tests.support.keeper import Keeper
directory = tempfile.mkdtemp(prefix="soniq-")
keeper = Keeper(Path(directory), postgres=sys.argv[1] == "postgres", mysql=sys.argv[2], prefix=sys.argv[3])
print(directory, keeper.url, flush=True)
sys.stdin.read()
"""


def start_run(vendor, *, mysql_url="", prefix=""):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, vendor, mysql_url, prefix],
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


@pytest.mark.skipif(bool(missing_reason("mysql")), reason=f"mysql: {missing_reason('mysql')}")
def test_killed_run_leaves_no_database_on_a_server_that_it_shares():
    """Those of the run are dropped; those of others stay."""
    url = os.environ["SONIQ_TEST_MYSQL_URL"]
    mine, other = (name_prefix(f"{os.environ['SONIQ_TEST_RUN']}_{kind}") for kind in ("killed", "other"))
    with contextlib.closing(mysql.connect(url)) as session, session.cursor() as cursor:
        for name in (f"{mine}main", f"{mine}gw0", f"{other}main"):
            cursor.execute(f"CREATE DATABASE `{name}`")
        process, directory, _ = start_run("mysql", mysql_url=url, prefix=mine)
        with process:
            process.kill()
        wait_until_gone(directory)

        cursor.execute("SHOW DATABASES")
        left = [name for (name,) in cursor.fetchall() if name.startswith((mine, other))]
        mysql.drop_databases(url, other)
    assert left == [f"{other}main"]
