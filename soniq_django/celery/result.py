"""What ``.delay()`` returns: a job, asked in Celery's words."""

from __future__ import annotations

import builtins
import time
from typing import Any

from django.db import connections

from soniq import DeadLetterFilter, JobStatus
from soniq.exits import in_job
from soniq.records import DeadLetter, Job
from soniq_django.celery.refusals import Unsupported
from soniq_django.conf import current_app

POLL = 0.5  # seconds

PENDING, STARTED, RETRY = "PENDING", "STARTED", "RETRY"
SUCCESS, FAILURE, REVOKED = "SUCCESS", "FAILURE", "REVOKED"


class TaskFailed(Exception):  # reads as what happened
    """Raised by ``get()`` for a job that gave up or was cancelled; its text is the job's last error."""


class ResultGone(LookupError):  # as above
    """There is no such job: it was rolled back, deleted, or its result's time to live is over."""


class TimeoutError(builtins.TimeoutError):  # noqa: A001  # Celery's name
    """``get(timeout=...)`` waited in vain."""


class AsyncResult:
    """A job by its id. Each question asks the database.

    :ivar id: the job's id
    """

    def __init__(self, id: str) -> None:  # Celery's name
        self.id = id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __getattr__(self, name: str) -> Any:
        if name in ("parent", "children", "collect", "iterdeps", "graph", "then", "on_ready"):
            raise Unsupported(f"AsyncResult.{name}", "jobs stand alone; keep ids of related ones yourself")
        raise AttributeError(f"'AsyncResult' object has no attribute {name!r}")

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    @property
    def status(self) -> str:
        """PENDING (also: unknown), STARTED, RETRY, SUCCESS, FAILURE or REVOKED (cancelled)."""
        return _state(self._found())

    @property
    def state(self) -> str:
        """The same as ``status``."""
        return self.status

    @property
    def result(self) -> Any:
        """What the task returned; of a failed one, the error; None before that."""
        found = self._found()
        return _failure(found) or (found.result if isinstance(found, Job) else None)

    @property
    def traceback(self) -> str | None:
        """The last error with its traceback, as text."""
        found = self._found()
        return None if found is None else found.last_error

    @property
    def retries(self) -> int:
        """Attempts after the first one."""
        found = self._found()
        return 0 if found is None else max(0, found.attempts - 1)

    def ready(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.status in (SUCCESS, FAILURE, REVOKED)

    def successful(self) -> bool:
        """Whether the task returned."""
        return self.status == SUCCESS

    def failed(self) -> bool:
        """Whether the job gave up."""
        return self.status == FAILURE

    def get(self, timeout: float | None = None, propagate: bool = True, interval: float = POLL) -> Any:
        """Wait for the end of the job; return what the task returned.

        :param timeout: seconds; None = as long as it takes
        :param propagate: raise for a job that failed; else return the error
        :param interval: seconds between two looks
        :raises TaskFailed: the job gave up or was cancelled
        :raises ResultGone: there is no such job (any more)
        :raises TimeoutError: it took longer
        :raises RuntimeError: waiting cannot help: this is a task, or the transaction of the enqueue
        """
        self._check_waiting()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self._found()
            if found is None:
                raise ResultGone(
                    f"no job {self.id} is there: rolled back, deleted, or ended longer ago than result_ttl"
                )
            failure = _failure(found)
            if failure is not None and propagate:
                raise failure
            if failure is not None or _state(found) == SUCCESS:
                return failure or (found.result if isinstance(found, Job) else None)
            if end is not None and time.monotonic() + interval > end:
                raise TimeoutError(f"job {self.id} is {_state(found)} after {timeout:g} s")
            time.sleep(interval)

    wait = get

    def revoke(self, terminate: bool = False, **options: Any) -> bool:
        """Cancel a job that waits. False: it runs, ended, or is not there."""
        if terminate or options.get("signal"):
            raise Unsupported(
                "revoke(terminate=True)", "a job that runs is left alone; give the task a time_limit"
            )
        return current_app().cancel_now([self.id])[0]

    def forget(self) -> None:
        """Remove the job, whatever its state."""
        current_app().backend.delete_job(self.id)

    def _found(self) -> Job | DeadLetter | None:
        backend = current_app().backend
        job = backend.get_job(self.id)
        if job is not None:
            return job
        letters = backend.list_dead_letters(DeadLetterFilter(ids=[self.id], limit=1))
        return letters[0] if letters else None

    def _check_waiting(self) -> None:
        if in_job.get():
            raise RuntimeError(
                "get() within a task can wait for ever: a worker's slots may all wait; enqueue the rest"
            )
        alias = getattr(current_app().backend, "alias", None)
        if alias is not None and connections[alias].in_atomic_block and not _told(self._found()):
            raise RuntimeError(
                "get() within a transaction waits for ever: no worker sees the job before the commit"
            )


def _told(found: Job | DeadLetter | None) -> bool:
    return _state(found) in (SUCCESS, FAILURE, REVOKED)


def _state(found: Job | DeadLetter | None) -> str:
    if found is None:
        return PENDING
    if not isinstance(found, Job):
        return FAILURE
    if found.status is JobStatus.QUEUED:
        return RETRY if found.attempts else PENDING
    return {JobStatus.PROCESSING: STARTED, JobStatus.DONE: SUCCESS, JobStatus.CANCELLED: REVOKED}[
        found.status
    ]


def _failure(found: Job | DeadLetter | None) -> TaskFailed | None:
    if isinstance(found, Job) and found.status is JobStatus.CANCELLED:
        return TaskFailed(f"job {found.id} was cancelled")
    if found is None or isinstance(found, Job):
        return None
    return TaskFailed(found.last_error or f"job {found.id} gave up: {found.dead_letter_reason}")
