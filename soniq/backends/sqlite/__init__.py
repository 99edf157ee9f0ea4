"""A store in one SQLite file, for tests and for programs on one machine."""

from __future__ import annotations

from soniq.backends.sqlite.store import SQLiteBackend

__all__ = ["SQLiteBackend"]
