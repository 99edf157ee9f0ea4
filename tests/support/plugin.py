"""Pytest plugin of this repository's own tests: gives the run its databases and takes them away.

Loaded with `-p`, because pytest-django reads the settings before any conftest is imported.
"""

import os
import secrets
import signal
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import mysql
from tests.support.databases import BadVendorsError, chosen_vendors, missing_reason, name_prefix
from tests.support.keeper import Keeper


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Runs once per run: xdist workers find SONIQ_TEST_RUN set and keep what they were given."""
    if "SONIQ_TEST_RUN" in os.environ:
        return
    try:
        vendors = chosen_vendors()
    except BadVendorsError as error:
        raise pytest.UsageError(str(error)) from None
    run = Path(tempfile.mkdtemp(prefix="soniq-"))
    if "mysql" in vendors:
        _find_mysql(early_config)
    keeper = Keeper(
        run,
        postgres="postgres" in vendors and not os.environ.get("SONIQ_TEST_DATABASE_URL"),
        mysql="" if missing_reason("mysql") else os.environ["SONIQ_TEST_MYSQL_URL"],
        prefix=name_prefix(str(run)),
    )
    early_config.add_cleanup(keeper.stop)
    _set_until_end(early_config, "SONIQ_TEST_RUN", str(run))
    if keeper.url:
        _set_until_end(early_config, "SONIQ_TEST_DATABASE_URL", keeper.url)
    if keeper.error:
        _set_until_end(early_config, "SONIQ_TEST_NO_POSTGRES", f"cannot start PostgreSQL: {keeper.error}")
    if reason := missing_reason(vendors[0]):
        raise pytest.UsageError(f"{vendors[0]} is the default database of this run, but: {reason}")


def _find_mysql(config: pytest.Config) -> None:
    """The server that was named, or one on this machine; else the reason why there is none."""
    url = os.environ.get("SONIQ_TEST_MYSQL_URL")
    try:
        mysql.version(url or mysql.LOCAL)
    except Exception as error:
        host = urlsplit(url or mysql.LOCAL).hostname  # not the URL, which may hold a password
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        _set_until_end(config, "SONIQ_TEST_NO_MYSQL", f"the server at {host} cannot be used: {reason}")
    else:
        if not url:
            _set_until_end(config, "SONIQ_TEST_MYSQL_URL", mysql.LOCAL)


def _set_until_end(config: pytest.Config, name: str, value: str) -> None:
    os.environ[name] = value
    config.add_cleanup(lambda: os.environ.pop(name, None))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One seed for all that Hypothesis draws, so that a run can be repeated (xdist hands it on); and Ctrl-C.

    What a script runs in the background ignores SIGINT, and so would the processes that tests start and stop.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(secrets.randbelow(2**32))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Names every vendor asked for, and why one is missing; and the seed."""
    databases = [f"soniq: {vendor}: {_describe(vendor)}" for vendor in chosen_vendors()]
    return [*databases, f"soniq: repeat what is drawn with --hypothesis-seed={config.option.hypothesis_seed}"]


def _describe(vendor: str) -> str:
    if reason := missing_reason(vendor):
        return f"SKIPPED, {reason}"
    if vendor == "sqlite":
        import sqlite3

        return f"{sqlite3.sqlite_version}, files in {os.environ['SONIQ_TEST_RUN']}"
    if vendor == "mysql":
        url = os.environ["SONIQ_TEST_MYSQL_URL"]
        return f"{mysql.version(url)} at {urlsplit(url).hostname}"
    import psycopg

    with psycopg.connect(os.environ["SONIQ_TEST_DATABASE_URL"]) as connection:
        return f"{connection.info.parameter_status('server_version')} at {connection.info.host}"
