"""Connections to the file: one for each thread of each process, and their errors by name.

A thread has a connection of its own so that one that waits for the write lock keeps no other from
reading or from waiting beside it. A connection is never used where it was not opened:

- After a fork the child opens its own. Those it inherited are neither used nor closed, since closing
  one would drop the parent's locks on the file; they are kept, unused, until the child ends.
- When the file was deleted or replaced, SQLite would go on writing into the file that nobody sees any
  more. So the file is looked at before each use, and a connection to another file is given up.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from soniq.errors import BackendError, BackendUnavailable

FileIdentity: TypeAlias = tuple[int, int]

BUSY_PAUSE = 0.01  # seconds; SQLite reports some locks at once instead of waiting for them

BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
HINTS = {
    sqlite3.SQLITE_BUSY: "another program keeps it locked; try again, or raise busy_timeout",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked; try again, or raise busy_timeout",
    sqlite3.SQLITE_READONLY: "allow writing to the file and to its directory",
    sqlite3.SQLITE_CANTOPEN: "check that its directory exists, then call setup() to make the file",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "check the disk and the directory",
    sqlite3.SQLITE_NOTADB: "give the path of another file",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup",
}

_inherited: list[sqlite3.Connection] = []


class Connections:
    """The connections of one store."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._of_thread = threading.local()
        self._all: weakref.WeakSet[_Held] = weakref.WeakSet()

    def create_file(self) -> None:
        """Make the file if it is missing, ready for readers beside a writer."""
        with self._named_errors():
            db = self._connect("rwc")
            try:
                self._patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
            finally:
                db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for single statements that write nothing; they wait for no writer."""
        with self._named_errors():
            yield self._mine()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection within a transaction: all is written at the end, or nothing on an error.

        The write lock is taken at the start. A transaction that reads first and locks later could be
        refused without any waiting.
        """
        with self._named_errors():
            db = self._mine()
            self._patiently(lambda: db.execute("BEGIN IMMEDIATE"))
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def release(self) -> None:
        """Close what the calling thread holds."""
        held = self._held()
        if held is not None:
            self._of_thread.held = None
            held.close()

    def close(self) -> None:
        """Close what all threads hold."""
        for held in list(self._all):
            held.close()

    def _held(self) -> _Held | None:
        held: _Held | None = getattr(self._of_thread, "held", None)
        return held

    def _mine(self) -> sqlite3.Connection:
        held = self._held()
        if held is None or held.pid != os.getpid() or held.file != self._file():
            self.release()
            db = self._connect("rw")
            held = _Held(db, self._file())
            self._of_thread.held = held
            self._all.add(held)
        return held.db

    def _file(self) -> FileIdentity | None:
        """Which file stands at the path now; None = none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _connect(self, mode: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,  # transactions are begun and ended here, not by the module
            check_same_thread=False,  # close() is for all threads
        )
        db.row_factory = sqlite3.Row
        return db

    def _patiently(self, call: Callable[[], object]) -> None:
        """Repeat ``call`` while the file is locked, no longer than the busy timeout."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                call()
            except sqlite3.OperationalError as error:
                if _code(error) not in BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(BUSY_PAUSE)
            else:
                return

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise BackendError(f"{self.path} refused a row ({error}); nothing was written") from error
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            hint = HINTS.get(_code(error), "call setup() before the first use")
            raise BackendUnavailable(
                f"the SQLite file {self.path} cannot be used ({error}); {hint}"
            ) from error


class _Held:
    """A connection, the process that may use it, and the file that it reaches."""

    def __init__(self, db: sqlite3.Connection, file: FileIdentity | None) -> None:
        self.db = db
        self.file = file
        self.pid = os.getpid()

    def close(self, this_process: Callable[[], int] = os.getpid) -> None:
        if self.pid == this_process():
            self.db.close()
        else:
            _inherited.append(self.db)

    def __del__(self) -> None:  # a thread ended without letting go
        self.close()


def _code(error: sqlite3.Error) -> int:
    """The primary result code, without its extension."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
