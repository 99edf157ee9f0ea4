"""The table of jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from soniq.backends.memory.line import WaitingLine
from soniq.backends.memory.rows import JobRow
from soniq.backends.stored import decoded, with_failure
from soniq.errors import BackendError
from soniq.jobs import ClaimRequest, JobStatus, NewJob
from soniq.transitions import Change

REQUIRED = ("id", "job_name", "args_json", "queue", "priority", "max_attempts")


class JobTable:
    """Jobs by their ids, with what else finds them: their status, the line of those that wait, their keys.

    After each call these agree with each other. Whoever calls holds the lock of the store.
    """

    def __init__(self) -> None:
        self._rows: dict[str, JobRow] = {}
        self._by_status: dict[JobStatus, dict[str, JobRow]] = {s: {} for s in JobStatus}
        self._waiting = WaitingLine()
        self._holders: dict[str, str] = {}  # unique key -> id of the live job that holds it

    # -- finding

    def get(self, job_id: str) -> JobRow | None:
        """The row of this id."""
        return self._rows.get(job_id)

    def all(self) -> Collection[JobRow]:
        """All of them."""
        return self._rows.values()

    def of(self, status: JobStatus) -> Collection[JobRow]:
        """Those of a status."""
        return self._by_status[status].values()

    def queued(self, queues: Collection[str] | None, names: Collection[str] | None) -> Iterator[JobRow]:
        """Those that wait, due or not, in these queues and of these names; None = any."""
        return (row for row in self.of(JobStatus.QUEUED) if row.among(queues, names))

    def live(self) -> Iterator[JobRow]:
        """Those that wait or run."""
        for status in JobStatus:
            if status.live:
                yield from self.of(status)

    def counts(self) -> Mapping[str, int]:
        """How many there are of each status."""
        return {status.value: len(rows) for status, rows in self._by_status.items()}

    # -- changing

    def add_all(self, jobs: Sequence[NewJob], now: datetime) -> list[str]:
        """Store all or none; of each the id, or that of the live job that holds its key.

        :raises BackendError: an id is taken, or a value is missing
        """
        self._refuse_broken(jobs)
        ids = []
        for job in jobs:
            holder = None if job.unique_key is None else self._holders.get(job.unique_key)
            if holder is None:
                self._insert(job, now)
            ids.append(holder or job.id)
        return ids

    def claim(self, request: ClaimRequest, now: datetime) -> list[JobRow]:
        """Give the worker what it asks for, of what is due."""

        def wanted(row: JobRow) -> bool:
            return (
                row.among(request.queues, request.names)
                and not (request.skip_own and row.worker_id == request.worker_id)
                and request.crashed in (None, row.crashes > 0)
            )

        rows = self._waiting.take(self._by_status[JobStatus.QUEUED], now, wanted, request.limit)
        for row in rows:
            self._move(row, JobStatus.PROCESSING)
            row.attempts += 1
            row.worker_id = request.worker_id
            row.started_at = row.updated_at = now
        return rows

    def apply(self, change: Change, now: datetime) -> JobRow | None:
        """Write a change if its guard holds; give the row. One that is buried has left the table."""
        row = self._rows.get(change.job_id)
        if row is None or not row.meets_guard(change, now):
            return None
        if change.attempts is not None:
            row.attempts = change.attempts
        if change.crashes is not None:
            row.crashes = change.crashes
        if change.error is not None:
            row.last_error = change.error
        if change.failure is not None:
            history = decoded(row.failures_json)
            row.failures_json = with_failure(history, change, started_at=row.started_at, at=now)
        row.updated_at = now
        if change.status is None:
            self.delete(row)
            return row
        self._move(row, change.status)
        if change.status.live:
            due = now + timedelta(seconds=change.delay)
            row.scheduled_at = min(row.scheduled_at, due) if change.sooner else due
            self._waiting.add(row)
        else:
            row.finished_at = now
            row.expires_at = None if change.ttl is None else now + timedelta(seconds=change.ttl)
            row.result_json = change.result_json
            self._give_up_key(row)
        return row

    def delete(self, row: JobRow) -> None:
        """Forget the job; its key is free."""
        del self._rows[row.new.id]
        del self._by_status[row.status][row.new.id]
        self._give_up_key(row)

    def _refuse_broken(self, jobs: Sequence[NewJob]) -> None:
        """Raise before anything is written, which is how all or nothing is kept."""
        seen: set[str] = set()
        for job in jobs:
            for column in REQUIRED:
                if getattr(job, column) is None:
                    raise BackendError(f"job {job.id!r} has no {column}; nothing was enqueued")
            if job.id in seen or job.id in self._rows:
                raise BackendError(f"the job id {job.id!r} is taken; nothing was enqueued")
            seen.add(job.id)

    def _insert(self, job: NewJob, now: datetime) -> None:
        due = job.scheduled_at or now + timedelta(seconds=job.delay)
        row = JobRow(
            new=job,
            created_at=now,
            updated_at=now,
            scheduled_at=due.astimezone(UTC),
            unique_key=job.unique_key,
        )
        self._rows[job.id] = row
        self._by_status[JobStatus.QUEUED][job.id] = row
        self._waiting.add(row)
        if job.unique_key is not None:
            self._holders[job.unique_key] = job.id

    def _move(self, row: JobRow, status: JobStatus) -> None:
        del self._by_status[row.status][row.new.id]
        row.status = status
        self._by_status[status][row.new.id] = row

    def _give_up_key(self, row: JobRow) -> None:
        if row.unique_key is not None:
            del self._holders[row.unique_key]
            row.unique_key = None
