# ruff: noqa: S101  (these are tests)
"""What the tests of all subjects share: the hooks, and short words for common steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from soniq.backend import StorageBackend
from soniq.ids import uuid7
from soniq.jobs import Claim, ClaimRequest, DeadLetterReason, NewJob, WorkerInfo
from soniq.records import Job
from soniq.transitions import Change, bury

T = TypeVar("T")

# ruff: noqa: RUF001  (letters that look like others are the point)
# JSON texts that have been known to come back changed.
PAYLOADS = {
    "empty": "{}",
    "nested": '{"a": {"b": [1, [2, [3, {}]], []]}}',
    "null-and-bools": '{"nothing": null, "yes": true, "no": false}',
    "integers": '{"zero": 0, "minus": -1, "large": 9223372036854775807, "small": -9223372036854775808}',
    "floats": '{"third": 0.3333333333333333, "tiny": 5e-324, "large": 123456789012345.5}',
    "whole-float": '{"whole": 1.0}',
    "unicode": '{"grüße": "日本語 – ñ – 𝔘𝔫𝔦", "emoji": "👩‍👩‍👧"}',
    "escapes": '{"text": "quote \\" backslash \\\\ newline \\n tab \\t slash / percent % \'"}',
    "escaped-unicode": '{"text": "\\u00e9\\ud83d\\ude00"}',
    "separators": '{"text": "\\u2028\\u2029"}',
    "empty-key": '{"": ""}',
    "looks-like-sql": '{"text": "\'); DROP TABLE soniq_jobs; -- ? :name %s {}"}',
    "long": '{"text": "' + "long ünicode " * 20_000 + '"}',
}


class Conformance:
    """The hooks of the suite. The fixture ``backend`` comes from the subclass."""

    def open_backend(self, backend: StorageBackend) -> Callable[[], StorageBackend]:
        """A picklable callable that opens the store of ``backend`` in another process.

        Such as ``functools.partial(MyBackend, path)``; it is called in a process that was spawned.
        """
        raise NotImplementedError("a store with supports_processes must override open_backend")

    def rolled_back(self, backend: StorageBackend) -> AbstractContextManager[object]:
        """A transaction of the caller, open within the block and rolled back at its end."""
        raise NotImplementedError("a store with supports_transactions must override rolled_back")

    def broken_job(self) -> NewJob:
        """A job that the store refuses to write; by default one without a name."""
        return new_job()._replace(job_name=None)  # type: ignore[arg-type]  # breaks the job on purpose


def exactly(value: object) -> str:
    """Equal for values that are the same to the type; dicts may come back in another order."""
    return json.dumps(value, sort_keys=True)


def new_job(**fields: Any) -> NewJob:
    """A job that is due at once, unless ``fields`` say otherwise."""
    usual: dict[str, Any] = {
        "id": new_id(),
        "job_name": "work",
        "args_json": "{}",
        "queue": "default",
        "priority": 100,
        "max_attempts": 3,
    }
    return NewJob(**{**usual, **fields})


def new_jobs(count: int, **fields: Any) -> list[NewJob]:
    """``count`` jobs of the same kind."""
    return [new_job(**fields) for _ in range(count)]


def new_id() -> str:
    """An id that nothing has yet."""
    return str(uuid7())


def new_worker(backend: StorageBackend, **fields: Any) -> str:
    """Register a worker; return its id."""
    usual: dict[str, Any] = {"id": new_id(), "hostname": "host", "pid": 1, "concurrency": 1}
    worker = WorkerInfo(**{**usual, **fields})
    backend.register(worker)
    return worker.id


def enqueue_one(backend: StorageBackend, **fields: Any) -> str:
    """Enqueue one job; return the id that the store answers."""
    [job_id] = backend.enqueue([new_job(**fields)])
    return job_id


def take(backend: StorageBackend, worker_id: str | None = None) -> Claim:
    """Claim the next job."""
    [claim] = backend.claim(ClaimRequest(worker_id=worker_id or new_worker(backend), limit=1))
    return claim


def claimed(backend: StorageBackend, **fields: Any) -> Claim:
    """Enqueue one job into a store that has no other due job, and claim it."""
    job_id = enqueue_one(backend, **fields)
    claim = take(backend)
    assert claim.job_id == job_id
    return claim


def buried(
    backend: StorageBackend,
    *,
    reason: DeadLetterReason = DeadLetterReason.MAX_RETRIES_EXCEEDED,
    error: str = "broken",
    **fields: Any,
) -> str:
    """Make a dead letter; return its id."""
    claim = claimed(backend, **fields)
    assert backend.apply([bury(claim, reason=reason, error=error)]) == [True]
    return claim.job_id


def written(backend: StorageBackend, change: Change) -> Job:
    """Apply a change whose guard must hold; return the job as it then is."""
    assert backend.apply([change]) == [True]
    return stored(backend, change.job_id)


def stored(backend: StorageBackend, job_id: str) -> Job:
    """The job as the store has it; it must be there."""
    job = backend.get_job(job_id)
    assert job is not None
    return job


def ids_of(claims: Iterable[Claim]) -> list[str]:
    """The ids of the claimed jobs, in their order."""
    return [claim.job_id for claim in claims]


def flat(lists: Iterable[Iterable[T]]) -> list[T]:
    """The items of all lists, in their order."""
    return [item for one in lists for item in one]


def hours_from_now(hours: float) -> datetime:
    """An instant by this machine's clock; far enough from now not to depend on it."""
    return datetime.now(tz=UTC) + timedelta(hours=hours)


def seconds_between(earlier: datetime | None, later: datetime | None) -> float:
    """How much later; both instants must be set."""
    assert earlier is not None
    assert later is not None
    return (later - earlier).total_seconds()


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Poll until ``condition`` holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {seconds:g} s")
        time.sleep(0.005)
