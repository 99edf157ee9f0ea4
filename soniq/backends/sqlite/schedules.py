# ruff: noqa: S608  (the statements are put together from constants; values are parameters)
"""The table of schedules."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from soniq.backends.sqlite import filters, rows, writing
from soniq.backends.sqlite.connections import Connections
from soniq.backends.stored import decoded
from soniq.schedule_records import INSTANTS, Misfire, Overlap, Schedule, ScheduleChange, ScheduleFilter

_FLAGS = ("declared", "overridden", "paused")
# Columns that hold what a field holds; the others say it differently.
_PLAIN = tuple(
    field.name
    for field in fields(Schedule)
    if field.name not in (*INSTANTS, *_FLAGS, "misfire", "overlap", "former_definitions")
)
_COLUMNS = (*_PLAIN, *INSTANTS, *_FLAGS, "misfire", "overlap", "former_definitions_json")

_LIST = ", ".join(_COLUMNS)
_PLACES = ", ".join(f":{name}" for name in _COLUMNS)
_ASSIGNED = ", ".join(f"{name} = :{name}" for name in _COLUMNS)

READ = f"SELECT {_LIST} FROM soniq_schedules"
NAMED = f"{READ} WHERE name IN (SELECT value FROM json_each(:names)) ORDER BY name"
INSERT = f"INSERT INTO soniq_schedules ({_LIST}) VALUES ({_PLACES}) ON CONFLICT (name) DO NOTHING"
UPDATE = f"UPDATE soniq_schedules SET {_ASSIGNED} WHERE name = :name AND version = :seen"
DELETE = "DELETE FROM soniq_schedules WHERE name = :name AND version = :seen"


class ScheduleTable:
    """Schedules as the contract wants them. Each call is a transaction.

    :param now: seconds since 1970
    """

    def __init__(self, connections: Connections, now: Callable[[], float]) -> None:
        self._connections = connections
        self._now = now

    def named(self, names: Collection[str] | None) -> list[Schedule]:
        """Those of these names, by name; None = all."""
        if names is None:
            return self._read(f"{READ} ORDER BY name", {})
        return self._read(NAMED, {"names": json.dumps(sorted(names))})

    def due(self, where: ScheduleFilter, limit: int) -> list[Schedule]:
        """The first of those whose time has come."""
        waiting, values = filters.waiting_schedules(where)
        query = f"{READ} WHERE {waiting} AND next_fire_at <= :now ORDER BY next_fire_at, name LIMIT :limit"
        return self._read(query, {**values, "now": self._now(), "limit": max(limit, 0)})

    def upcoming(self, where: ScheduleFilter) -> float | None:
        """Seconds until the next of them fires."""
        waiting, values = filters.waiting_schedules(where)
        query = f"SELECT next_fire_at FROM soniq_schedules WHERE {waiting} ORDER BY next_fire_at LIMIT 1"
        with self._connections.reading() as db:
            row = db.execute(query, values).fetchone()
        return None if row is None else float(row[0]) - self._now()

    def write(self, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        """Write those whose guard holds, with their jobs."""
        if not changes:
            return []
        with self._connections.writing() as db:
            now = self._now()
            return [_write(db, change, now) for change in changes]

    def _read(self, query: str, values: filters.Values) -> list[Schedule]:
        with self._connections.reading() as db:
            return [_schedule(row) for row in db.execute(query, values)]


def _write(db: sqlite3.Connection, change: ScheduleChange, now: float) -> list[str] | None:
    guard = {"name": change.name, "seen": change.seen}
    if change.becomes is None:
        statement, values = DELETE, guard
    else:
        statement = INSERT if change.seen is None else UPDATE
        values = {**_columns(change.becomes), **guard}
    if db.execute(statement, values).rowcount == 0:
        return None
    ids = [writing.insert(db, job, now) for job in change.jobs]
    if ids and change.becomes is not None:
        last = {"name": change.name, "last_job_id": ids[-1]}
        db.execute("UPDATE soniq_schedules SET last_job_id = :last_job_id WHERE name = :name", last)
    return ids


def _columns(schedule: Schedule) -> dict[str, Any]:
    values = {name: getattr(schedule, name) for name in _COLUMNS if name != "former_definitions_json"}
    for name in INSTANTS:
        at: datetime | None = values[name]
        values[name] = None if at is None else at.timestamp()
    return {**values, "former_definitions_json": json.dumps(schedule.former_definitions)}


def _schedule(row: sqlite3.Row) -> Schedule:
    values: dict[str, Any] = {name: row[name] for name in _PLAIN}
    values |= {name: rows.instant_or_none(row[name]) for name in INSTANTS}
    values |= {name: bool(row[name]) for name in _FLAGS}
    former = decoded(row["former_definitions_json"])
    return Schedule(
        **values,
        misfire=Misfire(row["misfire"]),
        overlap=Overlap(row["overlap"]),
        former_definitions=tuple(map(str, former)) if isinstance(former, list) else (),
    )
