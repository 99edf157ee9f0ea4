"""System checks that ask the jobs' database. See :mod:`soniq_django.checks`.

What the server can do is asked of the aliases that ``check --database`` names, and of the one of ``migrate``,
as with all checks that carry Django's tag ``database``. Workers are looked for by ``check --deploy``. A named
database that cannot be reached is worth a remark, and no error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # its name
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.durations import rough
from soniq.errors import BackendError
from soniq.settings import Settings
from soniq_django.backend import DjangoBackend
from soniq_django.checks import READ_COMMITTED, Found, isolation, jobs_database, options
from soniq_django.conf import DjangoSettings
from soniq_django.functions import from_now

WAITED = 300.0  # seconds that a job may be due before somebody should look


def check_server(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Whether the server of the jobs' database can do what a queue needs."""
    return _asking(databases, _server)


def _server(alias: str, connection: BaseDatabaseWrapper, _own: DjangoSettings) -> Found:
    features = connection.features
    if features.has_select_for_update and not features.has_select_for_update_skip_locked:
        yield Error(
            f"the server of {alias!r} knows no SKIP LOCKED, so workers would wait for each other's jobs",
            hint="MariaDB has it from 10.6 on, MySQL from 8.0.1 on.",
            id="soniq.E003",
        )
    if connection.vendor == "postgresql" and "isolation_level" not in options(connection):
        with connection.cursor() as cursor:
            cursor.execute("SHOW default_transaction_isolation")
            level = cursor.fetchone()[0]
        if level != READ_COMMITTED:
            yield isolation(alias, level, "the server, or the role, makes")


def check_workers(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Whether a worker is there. Only ``check --deploy`` asks, and it need not name the database."""
    if databases:
        return _asking(databases, _workers)
    found = jobs_database()
    try:
        return [] if found is None else list(_workers(found[0], connections[found[0]], found[1]))
    except Exception:  # noqa: BLE001  # tests forbid queries with errors of their own; nobody named the database
        return []


def _workers(alias: str, _connection: BaseDatabaseWrapper, own: DjangoSettings) -> Found:
    backend = DjangoBackend(alias, notify=False)
    backend.check_ready()
    dead_after = own.core.get("dead_after", Settings().dead_after)
    if backend.workers.filter(last_heartbeat_at__gt=from_now(-dead_after)).exists():
        return
    late = backend.overdue(seconds=WAITED, limit=1)
    waiting = f"; jobs have been due for {rough(late[0].overdue)} or longer" if late else ""
    yield Warning(
        f"no worker of the jobs on {alias!r} has been heard of for {rough(dead_after)}{waiting}",
        hint="Start one: manage.py soniq_worker. If one runs, it uses another database, or settings with "
        "another SONIQ['DATABASE'].",
        id="soniq.W007",
    )


def _asking(
    databases: Sequence[str] | None,
    ask: Callable[[str, BaseDatabaseWrapper, DjangoSettings], Found],
) -> list[CheckMessage]:
    """What ``ask`` finds, if the jobs' database is one of those that may be asked."""
    found = jobs_database()
    if found is None or found[0] not in (databases or ()):
        return []
    alias, own = found
    try:
        return list(ask(alias, connections[alias], own))
    except (DatabaseError, InterfaceError, ImproperlyConfigured, BackendError) as error:
        return [
            Info(
                f"{alias!r} could not be asked: {' '.join(str(error).split())}",
                hint="Check again once the database is reached and migrated.",
                id="soniq.I002",
            )
        ]
