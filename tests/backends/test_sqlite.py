"""The store in a SQLite file holds the contract."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from soniq.backend import StorageBackend
from soniq.backends.sqlite import SQLiteBackend
from soniq.testing.conformance import BackendConformance


class TestSQLiteBackend(BackendConformance):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "jobs.db"

    @pytest.fixture
    def backend(self) -> Iterator[SQLiteBackend]:
        backend = SQLiteBackend(self.path, busy_timeout=30)
        backend.setup()
        yield backend
        backend.close()

    def open_backend(self, backend: StorageBackend) -> Callable[[], StorageBackend]:
        return partial(SQLiteBackend, self.path, busy_timeout=30)
