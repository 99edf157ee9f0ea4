"""The store in a SQLite file holds the contract, and what is special about a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from soniq.backend import StorageBackend
from soniq.backends.sqlite import SQLiteBackend
from soniq.testing.conformance import BackendConformance


class TestSQLiteBackend(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[SQLiteBackend]:
        backend = SQLiteBackend(tmp_path / "jobs.db", busy_timeout=30)
        backend.setup()
        yield backend
        backend.close()

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "jobs.db"

    def open_backend(self, backend: StorageBackend) -> Callable[[], StorageBackend]:
        return partial(SQLiteBackend, self.path, busy_timeout=30)
