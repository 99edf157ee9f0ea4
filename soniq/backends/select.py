"""Which store a ``Soniq(...)`` call means."""

from __future__ import annotations

import os

from soniq.backend import StorageBackend
from soniq.errors import ConfigurationError

_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")


def open_backend(
    backend: StorageBackend | str | None, database_url: str | os.PathLike[str] | None
) -> StorageBackend:
    """The store that ``backend`` and ``database_url`` name together.

    :raises ConfigurationError: they name none, or contradict each other
    """
    url = _text(database_url)
    if backend is None:
        backend = _implied(url)
    if backend == "memory":
        from soniq.backends.memory import MemoryBackend  # noqa: PLC0415  # only what is used

        if url is not None:
            raise ConfigurationError(f"the memory store takes no database_url ({url!r})")
        return MemoryBackend()
    if backend == "sqlite":
        from soniq.backends.sqlite import SQLiteBackend  # noqa: PLC0415  # only what is used

        if not url:
            raise ConfigurationError("the sqlite store needs database_url: the path of its file")
        return SQLiteBackend(url.removeprefix("sqlite:///"))
    if isinstance(backend, str):
        raise ConfigurationError(
            f"backend is {backend!r}: give 'memory', 'sqlite', or a store; "
            "for PostgreSQL use Django and soniq_django"
        )
    if url is not None:
        raise ConfigurationError(
            f"database_url is {url!r}, but the store that was given knows where its data is; "
            "leave one of the two out"
        )
    return backend


def _text(database_url: object) -> str | None:
    if database_url is None:
        return None
    try:
        return os.fsdecode(os.fspath(database_url))  # type: ignore[call-overload]  # TypeError is the check
    except TypeError:
        raise ConfigurationError(f"database_url is {database_url!r}: give a text or a path") from None


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
