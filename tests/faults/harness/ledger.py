"""What really ran: an append-only file, one line per event, written by the jobs themselves.

A line is "time pid worker job attempt event": time in seconds since the epoch, event ``started`` or
``finished``. One ``write`` per line on a descriptor opened with O_APPEND: lines of several processes do
not mix, and what was written survives the SIGKILL of its writer.
"""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

VARIABLE = "FAULTS_LEDGER"  # its path, in the environment of a worker


@cache
def _descriptor(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(context, event: str) -> None:
    """Called by jobs."""
    line = f"{time.time()} {os.getpid()} {context.worker_id} {context.job_id} {context.attempt} {event}\n"
    os.write(_descriptor(os.environ[VARIABLE]), line.encode())


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    at: float
    pid: int
    worker: str
    job: str
    attempt: int
    what: str


class Ledger:
    """Reads the file; remembers how far it has read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._offset = 0
        self._events: list[Event] = []

    def events(self, what: str | None = None, job: str | None = None) -> list[Event]:
        """All events so far."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        for line in new.decode().splitlines():
            at, pid, worker, job_id, attempt, event = line.split()
            self._events.append(Event(float(at), int(pid), worker, job_id, int(attempt), event))
        return [event for event in self._events if what in (None, event.what) and job in (None, event.job)]

    def count(self, what: str) -> int:
        """How many events of a kind."""
        return len(self.events(what))
