"""Which databases this run tests, read from the environment alone.

`tests.support.plugin` writes the environment once per run, before Django reads its settings. xdist
workers and the processes that tests start inherit it, and so see the same databases.

SONIQ_TEST_VENDORS        vendors to test; the first one is Django's `default`, another one has its own alias
SONIQ_TEST_DATABASE_URL   a PostgreSQL server to use instead of the tests' own
SONIQ_TEST_MYSQL_URL      a MariaDB or MySQL server; without it, one on this machine that lets root in
SONIQ_TEST_RUN            directory of this run; its name makes database names unique
SONIQ_TEST_NO_POSTGRES    why PostgreSQL cannot be tested
SONIQ_TEST_NO_MYSQL       why MySQL cannot be tested
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support import mysql

KNOWN_VENDORS = ("sqlite", "postgres", "mysql")
DEFAULT_VENDORS = "sqlite,postgres,mysql"
SERVERS = {  # vendor -> where its URL is, and where the reason why there is none
    "postgres": ("SONIQ_TEST_DATABASE_URL", "SONIQ_TEST_NO_POSTGRES"),
    "mysql": ("SONIQ_TEST_MYSQL_URL", "SONIQ_TEST_NO_MYSQL"),
}

ENGINES = {"postgres": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}


class BadVendorsError(ValueError):
    """SONIQ_TEST_VENDORS cannot be used."""


def chosen_vendors() -> list[str]:
    """The vendors asked for, in order; the first one is `default`."""
    text = os.environ.get("SONIQ_TEST_VENDORS") or DEFAULT_VENDORS
    vendors = [vendor.strip() for vendor in text.split(",")]
    if len(set(vendors)) != len(vendors) or not set(vendors) <= set(KNOWN_VENDORS):
        raise BadVendorsError(
            f"SONIQ_TEST_VENDORS={text!r}: want each of {', '.join(KNOWN_VENDORS)} at most once"
        )
    return vendors


def vendor_of_alias() -> dict[str, str]:
    """Alias -> vendor, for every vendor asked for, whether or not it can be reached."""
    return {vendor if index else "default": vendor for index, vendor in enumerate(chosen_vendors())}


def missing_reason(vendor: str) -> str:
    """Why this vendor cannot be tested; empty if it can."""
    if vendor not in SERVERS:
        return ""
    url, reason = SERVERS[vendor]
    if os.environ.get(reason):
        return os.environ[reason]
    return "" if os.environ.get(url) else "no server outside a test run"


def database_settings() -> dict[str, dict[str, Any]]:
    """Django's DATABASES. Vendors that cannot be reached are left out."""
    return {
        alias: _SETTINGS[vendor](alias)
        for alias, vendor in vendor_of_alias().items()
        if not missing_reason(vendor)
    }


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def _sqlite(alias: str) -> dict[str, Any]:
    run = os.environ.get("SONIQ_TEST_RUN")
    # Outside a test run (makemigrations, mypy) nothing is to be stored.
    name = str(Path(run) / f"{alias}-{_worker()}.sqlite3") if run else ":memory:"
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        # The same name, so that a process started by a test opens the test's database.
        "TEST": {"NAME": name},
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def name_prefix(run: str) -> str:
    """What the names of a run's databases on a server begin with."""
    return Path(run).name.replace("-", "_") + "_"


def _postgres(_alias: str) -> dict[str, Any]:
    return settings_on_server("postgres")


def _mysql(_alias: str) -> dict[str, Any]:
    settings = settings_on_server("mysql")
    # MariaDB's default: a few characters, and "a", "A" and "a " are the same.
    settings["TEST"] |= {"CHARSET": "latin1", "COLLATION": "latin1_swedish_ci"}
    return settings


def settings_on_server(vendor: str) -> dict[str, Any]:
    """Of this process's own database on the vendor's server."""
    url = urlsplit(os.environ[SERVERS[vendor][0]])
    options = dict(parse_qsl(url.query))
    name = name_prefix(os.environ.get("SONIQ_TEST_RUN", "soniq")) + _worker()
    if vendor == "mysql":
        options = mysql.options(url.hostname or "") | options
    return {
        "ENGINE": ENGINES[vendor],
        "NAME": name,
        "TEST": {"NAME": name},
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": options.pop("host", unquote(url.hostname or "")),
        "PORT": options.pop("port", str(url.port or "")),
        "OPTIONS": options,
    }


_SETTINGS = {"sqlite": _sqlite, "postgres": _postgres, "mysql": _mysql}
