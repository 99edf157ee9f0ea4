"""What jobs change in their database sessions, and what would meet the next job there.

A role, a ``search_path`` or a time limit that a job has set, a lock that it took and did not give back, a
temporary table that hides a real one: all of these last as long as the session, and a slot keeps its session
from job to job. The database cannot be asked for all of them, and to reset each session after each job would
cost every job a round trip. So the statements of jobs are looked at on their way. It costs a microsecond
each, and it is right to err: a session that is replaced without need costs some milliseconds.

Not seen are what a job does past ``execute()`` of Django's cursors (``callproc``, ``copy``, the driver's own
connection), what a function or a DO block does inside, and, with a pool, a session that the job itself has
given back.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

LOOKED_AT = 5000  # characters of a statement; what is longer brings data
# What a statement begins with.
_BEGINNINGS = (
    r"set\b(?!\s+(?:local|transaction|constraints)\b)",
    r"reset\b",
    r"discard\b",
    r"listen\b",
    r"load\b",
    r"prepare\b(?!\s+transaction\b)",
    r"declare\b[^;]*\bwith\s+hold\b",
    r"create\s+(?:or\s+replace\s+)?(?:(?:global|local)\s+)?temp",
    r"lock\s+tables?\b[^;]*\b(?:read|write)\b",  # MySQL's; PostgreSQL's end with the transaction
    r"flush\s+(?:local\s+|no_write_to_binlog\s+)?tables?\b[^;]*\bwith\s+read\s+lock\b",
    r"use\b",
    r"pragma\b",
    r"attach\b",
)
_COMMENTS = r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*+"
_BEGINS = re.compile(rf"{_COMMENTS}(?:{'|'.join(_BEGINNINGS)})", re.DOTALL)
_SETS_LOCALLY = re.compile(r"set_config\s*\([^()]*,\s*(?:true|'t(?:rue)?')\s*\)")
_INTO_TEMPORARY = re.compile(r"\binto\s+(?:(?:global|local)\s+)?temp(?:orary)?\s")


class _Thread(threading.local):
    runs_jobs = False

    def __init__(self) -> None:
        self.changed: set[str] = set()  # aliases


_thread = _Thread()


def watch_sessions() -> None:
    """From now on, look at what code on this thread does to the sessions that it opens."""
    _thread.runs_jobs = True


def session_changed(connection: BaseDatabaseWrapper) -> bool:
    """Whether the session of this thread's connection is not as it was when it began."""
    return connection.alias in _thread.changed


def outlasts_transaction(sql: Any, driver: Any = None) -> bool:
    """Whether a statement changes more of its session than the transaction that it is in.

    :param driver: psycopg's connection, for statements that are put together from parts
    """
    try:
        text = _text(sql, driver)[:LOOKED_AT].lower()
    except Exception:  # noqa: BLE001  # a driver's own kind of statement; the job must not hear of it
        return True
    # Searches for constants first: they take a tenth of a microsecond, and find nothing in most statements.
    return (
        _BEGINS.match(text) is not None
        or (";" in text and any(map(_BEGINS.match, text.split(";"))))
        or "advisory_lock" in text
        or "get_lock" in text
        or text.count("set_config") > len(_SETS_LOCALLY.findall(text))
        or ("temp" in text and _INTO_TEMPORARY.search(text) is not None)
    )


def _text(sql: Any, driver: Any) -> str:
    if isinstance(sql, str):
        return sql
    if isinstance(sql, (bytes, bytearray)):
        return bytes(sql[:LOOKED_AT]).decode(errors="replace")
    return str(sql.as_string(driver))


def _look(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    connection = context["connection"]
    if outlasts_transaction(sql, connection.connection):
        _thread.changed.add(connection.alias)
    return execute(sql, params, many, context)


def _opened(connection: BaseDatabaseWrapper, **_about: Any) -> None:
    """A session begins; what Django itself has set in it by now belongs to it."""
    if not _thread.runs_jobs:
        return
    _thread.changed.discard(connection.alias)
    if _look not in connection.execute_wrappers:
        # In front: code that has a wrapper of its own takes away the last one when it is done with it.
        connection.execute_wrappers.insert(0, _look)


connection_created.connect(_opened, dispatch_uid="soniq.session_state")
