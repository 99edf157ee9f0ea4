"""Which store a ``Soniq(...)`` call means."""

from __future__ import annotations

from soniq.backend import StorageBackend
from soniq.errors import ConfigurationError

_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")


def open_backend(backend: StorageBackend | str | None, database_url: str | None) -> StorageBackend:
    """The store that ``backend`` and ``database_url`` name together.

    :raises ConfigurationError: they name none, or contradict each other
    """
    if backend is None:
        backend = _implied(database_url)
    if backend == "memory":
        from soniq.backends.memory import MemoryBackend  # noqa: PLC0415  # only what is used

        if database_url is not None:
            raise ConfigurationError(f"the memory store takes no database_url ({database_url!r})")
        return MemoryBackend()
    if backend == "sqlite":
        from soniq.backends.sqlite import SQLiteBackend  # noqa: PLC0415  # only what is used

        if not database_url:
            raise ConfigurationError("the sqlite store needs database_url: the path of its file")
        return SQLiteBackend(database_url.removeprefix("sqlite:///"))
    if isinstance(backend, str):
        raise ConfigurationError(
            f"backend is {backend!r}: give 'memory', 'sqlite', or a store; "
            "for PostgreSQL use Django and soniq_django"
        )
    return backend


def _implied(database_url: str | None) -> str:
    if database_url is None:
        raise ConfigurationError(
            "no store: give backend='memory', or database_url= with the path of an SQLite file"
        )
    if database_url.endswith(_SQLITE_ENDINGS):
        return "sqlite"
    raise ConfigurationError(
        f"database_url is {database_url!r}: a path ending in {', '.join(_SQLITE_ENDINGS)} selects "
        "SQLite; for PostgreSQL use Django and soniq_django"
    )
