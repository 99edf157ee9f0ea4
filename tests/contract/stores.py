"""The stores that a test drives side by side, each with a way to let time pass.

All of them are spoken to in one time: seconds since 1970, plus what was let pass. Stores with a clock of
their own are given that time. A database's clock cannot be moved on; there the rows are moved back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from soniq.backend import StorageBackend
from soniq.backends.memory import MemoryBackend
from soniq.backends.sqlite import SQLiteBackend
from soniq_django.backend import DjangoBackend
from soniq_django.instants import InstantField
from tests.support.databases import missing_reason, vendor_of_alias


class Store:
    """A store with a clock of its own."""

    long_lived = True  # one object for all workers; else each claim is made by a process of its own

    def __init__(self, name: str) -> None:
        self.name = name
        self.passed = 0.0
        self.backend = self.opened()

    def opened(self) -> StorageBackend:
        raise NotImplementedError

    def claimer(self) -> StorageBackend:
        return self.backend if self.long_lived else self.opened()

    def clock(self) -> float:
        return time.time() + self.passed

    def empty(self) -> None:
        self.passed = 0.0
        self.backend.reset()

    def let_pass(self, seconds: float) -> None:
        self.passed += seconds

    def instant(self, seconds: float) -> datetime:
        """Seconds of the test's time, as the store is told them."""
        return datetime.fromtimestamp(seconds, tz=UTC)

    def seconds(self, instant: datetime) -> float:
        """An instant that the store told, in the test's time."""
        return instant.timestamp()


class MemoryStore(Store):
    def opened(self) -> StorageBackend:
        return MemoryBackend(clock=self.clock)


class SQLiteStore(Store):
    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__("sqlite file")

    def opened(self) -> StorageBackend:
        backend = SQLiteBackend(self._path, clock=self.clock)
        backend.setup()
        return backend


class DjangoStore(Store):
    """Without `long_lived`, what a worker remembers between claims is left out of the comparison."""

    def __init__(self, alias: str, *, long_lived: bool = False) -> None:
        self.alias = alias
        self.long_lived = long_lived
        super().__init__(f"django {vendor_of_alias()[alias]}")

    def opened(self) -> StorageBackend:
        return DjangoBackend(self.alias)

    def let_pass(self, seconds: float) -> None:
        super().let_pass(seconds)
        self.backend = self.opened()  # what it remembers is in the old time
        backend = self.backend
        for table in (backend.jobs, backend.dead_letters, backend.workers, backend.schedules):
            _move_back(table, timedelta(seconds=seconds))

    def instant(self, seconds: float) -> datetime:
        return super().instant(seconds - self.passed)

    def seconds(self, instant: datetime) -> float:
        return super().seconds(instant) + self.passed


def _move_back(table: Any, by: timedelta) -> None:
    columns = [
        field.attname
        for field in table.model._meta.fields
        if field.get_internal_type() == "DateTimeField" or isinstance(field, InstantField)
    ]
    rows = list(table)
    for row in rows:
        for column in columns:
            if getattr(row, column) is not None:
                setattr(row, column, getattr(row, column) - by)
        for failure in getattr(row, "failures", None) or []:
            for key in ("started_at", "at"):
                failure[key] = (datetime.fromisoformat(failure[key]) - by).isoformat()
    if rows and hasattr(table.model, "failures"):
        columns.append("failures")
    if rows:
        table.bulk_update(rows, columns)


def reachable_aliases() -> list[str]:
    return [alias for alias, vendor in vendor_of_alias().items() if not missing_reason(vendor)]


@contextmanager
def all_stores(directory: Path) -> Iterator[list[Store]]:
    """Every store of this run."""
    stores: list[Store] = [MemoryStore("memory"), SQLiteStore(directory / "jobs.db")]
    stores += [DjangoStore(alias) for alias in reachable_aliases()]
    try:
        yield stores
    finally:
        for store in stores:
            store.backend.close()
