"""Fixtures of the scenarios. Each has a database of its own, so they run side by side."""

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness.cluster import migrate, missing_binaries, new_cluster
from tests.faults.harness.history import SQLITE_HISTORY
from tests.faults.harness.mariadb import SharedServer
from tests.faults.harness.once import made_once
from tests.faults.harness.seeds import seeded
from tests.faults.harness.world import World
from tests.support.databases import chosen_vendors, missing_reason


@pytest.fixture
def chance() -> random.Random:
    """The scenario's seed is printed when it starts."""
    return seeded()


@pytest.fixture
def options() -> dict[str, object]:
    """What a scenario asks of its server; overridden by ``@pytest.mark.parametrize("options", ...)``."""
    return {}


@pytest.fixture
def directory() -> Path:
    """Short, because sockets are in it; removed with the run."""
    return Path(tempfile.mkdtemp(prefix="f", dir=os.environ["SONIQ_TEST_RUN"]))


@pytest.fixture
def postgres(directory: Path, options, django_db_blocker) -> Iterator[World]:
    """A world on a PostgreSQL of its own."""
    if "postgres" not in chosen_vendors():
        pytest.skip("postgres: not in SONIQ_TEST_VENDORS")
    if reason := missing_binaries():
        pytest.skip(f"postgres: {reason}")
    directory.chmod(0o755)  # the server may run as another user
    directory.parent.chmod(directory.parent.stat().st_mode | 0o055)
    cluster = new_cluster(directory / "pg", **options)
    try:
        with django_db_blocker.unblock():
            world = World(directory, cluster.database(), server=cluster)
            try:
                yield world
            finally:
                world.close()
    finally:
        cluster.remove()


def sqlite_database(folder: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "db.sqlite3"),
        "OPTIONS": {
            "timeout": 2,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def make_sqlite(folder: Path) -> None:
    database = sqlite_database(folder)
    migrate(database)
    with closing(sqlite3.connect(database["NAME"])) as session:
        session.executescript(SQLITE_HISTORY)


@pytest.fixture
def sqlite_folder(directory: Path) -> Path:
    """Where the file is."""
    return directory


@pytest.fixture
def sqlite(directory: Path, sqlite_folder: Path, django_db_blocker) -> Iterator[World]:
    """A world on an SQLite file of its own."""
    if "sqlite" not in chosen_vendors():
        pytest.skip("sqlite: not in SONIQ_TEST_VENDORS")
    database = sqlite_database(sqlite_folder)
    shutil.copy(sqlite_database(made_once("sqlite", make_sqlite))["NAME"], database["NAME"])
    with django_db_blocker.unblock():
        world = World(directory, database)
        try:
            yield world
        finally:
            world.close()


@pytest.fixture
def mysql(directory: Path, django_db_blocker) -> Iterator[World]:
    """A world on a database of its own, on the MariaDB or MySQL server of the run."""
    if "mysql" not in chosen_vendors():
        pytest.skip("mysql: not in SONIQ_TEST_VENDORS")
    if reason := missing_reason("mysql"):
        pytest.skip(f"mysql: {reason}")
    server = SharedServer()
    try:
        with django_db_blocker.unblock():
            world = World(directory, server.database(), server=server)
            try:
                yield world
            finally:
                world.close()
    finally:
        server.remove()


@pytest.fixture(params=["postgres", "mysql"])
def served(request: pytest.FixtureRequest) -> World:
    """A scenario for databases that have a server."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["postgres", "sqlite", "mysql"])
def world(request: pytest.FixtureRequest) -> World:
    """A scenario that makes sense on all of them."""
    return request.getfixturevalue(request.param)
