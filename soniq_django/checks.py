"""System checks: what in a project's settings will not work with jobs, or not well.

``docs/checks.md`` has a paragraph for each id. Nothing here asks a database;
:mod:`soniq_django.server_checks` does, where it is told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register  # noqa: A004  # its name
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.settings import Settings
from soniq_django.conf import DjangoSettings, UnknownDatabase, read_settings
from soniq_django.transactions import two_commits

TAG = "soniq"
PAGE = "docs/checks.md"
READ_COMMITTED = "read committed"
LEVELS = (
    "read uncommitted",
    READ_COMMITTED,
    "repeatable read",
    "serializable",
)  # psycopg numbers them from 1
SPARE_CONNECTIONS = 3  # of a worker: to claim and record, for the heart, and for signals

Found = Iterator[CheckMessage]


def register_all() -> None:
    """Make Django run them."""
    from soniq_django.server_checks import check_server, check_workers  # noqa: PLC0415  # built upon this

    for check in (check_settings, check_options, check_atomic_requests, check_other_databases):
        register(check, TAG)
    register(check_server, TAG, Tags.database)
    register(check_workers, TAG, deploy=True)


def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Whether ``settings.SONIQ`` can be used."""
    try:
        read_settings()
    except UnknownDatabase as error:
        hint = "Name an alias of DATABASES, or leave the key out: then the routers decide."
        return [Error(str(error), hint=hint, id="soniq.E002")]
    except ImproperlyConfigured as error:
        hint = f"The README lists all keys under Settings; {PAGE} has more."
        return [Error(str(error), hint=hint, id="soniq.E001")]
    return []


def check_options(**_kwargs: Any) -> list[CheckMessage]:
    """Whether the options of the jobs' database suit a queue; asks no database."""
    found = jobs_database()
    if found is None:
        return []
    alias, own = found
    connection = connections[alias]
    check = _BY_VENDOR.get(connection.vendor)
    if check is None:
        return [
            Warning(
                f"{alias!r} is a database that soniq has not been tried on ({connection.display_name})",
                hint="Keep the jobs on PostgreSQL, MariaDB, MySQL or SQLite: SONIQ['DATABASE'] says where.",
                id="soniq.W001",
            )
        ]
    return list(check(alias, connection, own))


def _postgres(alias: str, connection: BaseDatabaseWrapper, own: DjangoSettings) -> Found:
    given = options(connection)
    level = _level_of(given.get("isolation_level"))
    if level not in (None, READ_COMMITTED):
        yield isolation(alias, level, "OPTIONS['isolation_level'] makes")
    pool = given.get("pool")
    if pool:
        yield from _pool(alias, pool if isinstance(pool, dict) else {}, own)
    if own.notify and connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        yield Info(
            f"{alias!r} seems to be reached through a pooler in transaction mode "
            "(DISABLE_SERVER_SIDE_CURSORS is on), which swallows the wake-ups of LISTEN/NOTIFY",
            hint="Workers notice and poll. Set SONIQ['NOTIFY'] = False to save them the attempt, or give "
            "them a DATABASES entry that goes past the pooler.",
            id="soniq.I001",
        )


def _pool(alias: str, pool: dict[str, Any], own: DjangoSettings) -> Found:
    smallest = pool.get("min_size", 4)  # as psycopg_pool has it
    size = pool.get("max_size") or smallest
    concurrency = own.core.get("concurrency", Settings().concurrency)
    needed = concurrency + SPARE_CONNECTIONS
    if isinstance(size, int) and isinstance(concurrency, int) and size < needed:
        yield Warning(
            f"the pool of {alias!r} has {size} connections, and a worker with CONCURRENCY {concurrency} "
            f"takes up to {needed}: jobs would wait for each other, and the heartbeat for jobs",
            hint=f"Set OPTIONS['pool']['max_size'] to {needed} or more, or SONIQ['CONCURRENCY'] to "
            f"{max(size - SPARE_CONNECTIONS, 1)}.",
            id="soniq.W003",
        )


def _mysql(alias: str, connection: BaseDatabaseWrapper, _own: DjangoSettings) -> Found:
    level = _level_of(options(connection).get("isolation_level", READ_COMMITTED))
    if level != READ_COMMITTED:
        yield isolation(alias, level or "what the server says", "OPTIONS['isolation_level'] makes")


def _sqlite(alias: str, connection: BaseDatabaseWrapper, _own: DjangoSettings) -> Found:
    name = str(connection.settings_dict["NAME"])
    if not name or ":memory:" in name or "mode=memory" in name:
        return
    given = options(connection)
    if str(given.get("transaction_mode")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield Warning(
            f"transactions on {alias!r} take SQLite's write lock late: one that has read before fails "
            'with "database is locked" at once when somebody wrote meanwhile, however long the timeout',
            hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE'.",
            id="soniq.W004",
        )
    if "wal" not in str(given.get("init_command")).lower() and not _is_wal(name):
        yield Warning(
            f"{alias!r} is a SQLite database without a write-ahead log: writers wait for all who read",
            hint="Set OPTIONS['init_command'] = 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;'.",
            id="soniq.W005",
        )


_BY_VENDOR: dict[str, Callable[[str, BaseDatabaseWrapper, DjangoSettings], Found]] = {
    "postgresql": _postgres,
    "mysql": _mysql,
    "sqlite": _sqlite,
}


def check_atomic_requests(**_kwargs: Any) -> list[CheckMessage]:
    """Whether the transactions of requests are on the jobs' database."""
    found = jobs_database()
    if found is None:
        return []
    alias = found[0]
    others = [
        name
        for name, database in django_settings.DATABASES.items()
        if name != alias and database.get("ATOMIC_REQUESTS")
    ]
    if not others or django_settings.DATABASES[alias].get("ATOMIC_REQUESTS"):
        return []
    return [
        Warning(
            f"requests are transactions on {', '.join(map(repr, others))} (ATOMIC_REQUESTS), and jobs are "
            f"stored on {alias!r}: {two_commits(alias, others)}",
            hint="Keep the jobs on the database that the requests write to, for one commit of both.",
            id="soniq.W006",
        )
    ]


def check_other_databases(**_kwargs: Any) -> list[CheckMessage]:
    """Whether data and jobs have one commit, where the jobs are on a database of their own."""
    found = jobs_database()
    if found is None or found[0] == DEFAULT_DB_ALIAS or check_atomic_requests():
        return []
    alias = found[0]
    others = [name for name in django_settings.DATABASES if name != alias]
    return [
        Info(
            two_commits(alias, others),
            hint="Keep the jobs on the database of the data that they are about, for one commit of both.",
            id="soniq.I003",
        )
    ]


def jobs_database() -> tuple[str, DjangoSettings] | None:
    """The alias that holds the jobs, and our settings; None if these are wrong, and that is told already."""
    from soniq_django.models import Job  # noqa: PLC0415  # needs the apps

    try:
        own = read_settings()
        alias = own.database or router.db_for_write(Job)
        connections[alias]
    except ImproperlyConfigured:
        return None
    return alias, own


def isolation(alias: str, level: object, who: str) -> CheckMessage:
    """The warning about an isolation level; ``who`` chose it."""
    workers = (
        "workers use READ COMMITTED all the same, but unique enqueues and cancellations meet conflicts"
        if connections[alias].vendor == "postgresql"
        else "enqueues and claims lock gaps between rows and wait for each other; deadlocks are common"
    )
    return Warning(
        f"{who} transactions on {alias!r} {str(level).upper()}: {workers}",
        hint="Leave it at READ COMMITTED, or be ready to run such a transaction again after "
        "soniq.BackendConflict.",
        id="soniq.W002",
    )


def options(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """``OPTIONS`` of a database."""
    given: dict[str, Any] = connection.settings_dict.get("OPTIONS") or {}
    return given


def _level_of(value: Any) -> str | None:
    """An isolation level as its name; psycopg has an enumeration of them, whose numbers Django takes, too."""
    if value is None:
        return None
    if type(value) is int and 0 < value <= len(LEVELS):
        return LEVELS[value - 1]
    return str(getattr(value, "name", value)).replace("_", " ").lower()


def _is_wal(name: str) -> bool:
    """Whether the file says of itself that it has a write-ahead log; the mode stays with the file."""
    try:
        with Path(name.removeprefix("file:").partition("?")[0]).open("rb") as file:
            return file.read(20)[18:20] == b"\x02\x02"
    except OSError:
        return False
