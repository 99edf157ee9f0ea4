"""Enqueue, claim and apply in the ORM: for every database that Django knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

from soniq.backends.stored import with_failure
from soniq.errors import BackendConflict
from soniq.jobs import Claim, ClaimRequest, NewJob
from soniq.transitions import Change
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import Job
from soniq_django.store import rows
from soniq_django.store.conflicts import TRIES, despite_conflicts
from soniq_django.store.errors import translated
from soniq_django.store.tables import Tables
from soniq_django.times import aware

T = TypeVar("T")

ROWS_PER_INSERT = 2000
# MySQL takes statements of 16 MB unless told otherwise; a character is up to 4 bytes.
CHARACTERS_PER_INSERT = 2 * 1024 * 1024
LOOKUPS = 5  # attempts to find the holder of a unique key that comes and goes


class OrmStatements(Tables):
    """The hot path in the ORM.

    :cvar tries: how often an enqueue that is a transaction of its own is made before a conflict is its answer
    """

    tries = TRIES

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        """See :class:`soniq.backend.StorageBackend`."""
        if isinstance(jobs, list) and len(jobs) == 1 and jobs[0].unique_key is None:
            return [self._enqueue_one(jobs[0])]
        ids: list[str] = []
        with self.transaction():
            for chunk in chunks(jobs):
                self._insert([job for job in chunk if job.unique_key is None])
                wanted = {job.unique_key: job for job in reversed(chunk) if job.unique_key}
                holders = self._enqueue_unique(wanted)
                ids += [holders[job.unique_key] if job.unique_key else job.id for job in chunk]
        return ids

    def _enqueue_one(self, job: NewJob) -> str:
        with translated(self.alias):
            rows.new_job(job).save(using=self.alias, force_insert=True)
        return job.id

    def _insert(self, jobs: list[NewJob], *, free_keys_only: bool = False) -> None:
        """Insert rows; ``free_keys_only`` leaves out those whose unique key is held."""
        self.jobs.bulk_create([rows.new_job(job) for job in jobs], ignore_conflicts=free_keys_only)

    def _enqueue_unique(self, wanted: dict[str, NewJob]) -> dict[str, str]:
        """Store the jobs whose key is free; return the id of each key's holder."""
        holders: dict[str, str] = {}
        for _ in range(LOOKUPS):
            # In order of the key: batches that meet in opposite orders would lock each other out.
            missing = [job for key, job in sorted(wanted.items()) if key not in holders]
            if not missing:
                break
            self._insert(missing, free_keys_only=True)
            # The holder may end between the two statements; then the key is free again.
            found = self._holders([str(job.unique_key) for job in missing])
            holders.update((str(key), str(pk)) for key, pk in found.values_list("unique_key", "pk"))
        if len(holders) < len(wanted):
            raise BackendConflict(
                f"{self.alias}: the database stored neither a unique job nor shows the one that "
                "excludes it; try again, outside of a REPEATABLE READ transaction"
            )
        return holders

    def _holders(self, keys: Collection[str]) -> QuerySet[Job]:
        """The jobs that hold these unique keys now."""
        return self.jobs.filter(unique_key__in=keys)

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        worker_id = request.worker_id
        if request.limit < 1:
            return []
        wanted = due(self.jobs, request.queues, request.names)
        if request.skip_own:
            wanted = wanted.filter(~Q(worker_id=worker_id) | Q(worker_id__isnull=True))
        if request.crashed is not None:
            wanted = wanted.filter(crashes__gt=0) if request.crashed else wanted.filter(crashes=0)
        if not self.may_be_any(wanted):
            return []
        with self.transaction():
            self.lock_database()
            front = self._front(wanted, request.queues, request.limit)
            claims = [rows.claim(row, worker_id) for row in front]
            if claims:
                by_attempt: dict[int, list[str]] = {}
                for claim in claims:
                    by_attempt.setdefault(claim.attempt, []).append(claim.job_id)
                for attempt, ids in by_attempt.items():
                    self.jobs.filter(pk__in=ids).update(
                        status=Job.Status.PROCESSING,
                        worker_id=worker_id,
                        attempts=attempt,
                        started_at=DatabaseNow(),
                        updated_at=DatabaseNow(),
                    )
        return claims

    def despite_deadlocks(self, call: Callable[[], T]) -> T:
        """See :func:`~soniq_django.store.conflicts.despite_conflicts`."""
        return despite_conflicts(self.connection, call, self.tries)

    def _front(
        self, wanted: QuerySet[Job], queues: Collection[str] | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """The first of the wanted rows (CLAIM_COLUMNS) in order of a claim, locked.

        :param queues: those that ``wanted`` is confined to
        """
        in_order = self.locked(wanted.order_by("priority", "scheduled_at", "id"), skip=True)
        return list(in_order.values_list(*rows.CLAIM_COLUMNS)[:limit])

    def exchange(self, changes: Sequence[Change], request: ClaimRequest) -> tuple[list[bool], list[Claim]]:
        """See :class:`soniq.backend.StorageBackend`."""
        if not changes:
            return [], self.claim(request)
        with self.transaction():
            applied = self.apply(changes)
            claims = self.claim(request)
        return applied, claims

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        answers: list[bool] = []
        with self.transaction():
            self.lock_database()
            for wave in _waves(changes):
                answers += self._apply_wave(wave)
        return answers

    def _apply_wave(self, changes: Sequence[Change]) -> list[bool]:
        """Changes of different jobs: lock what still matches its guard, then write."""
        ids = sorted(change.job_id for change in changes if rows.is_uuid(change.job_id))
        matching = self.locked(self.jobs.filter(pk__in=ids).order_by("pk"))
        locked = {
            str(pk): (status, str(worker), attempts)
            for pk, status, worker, attempts in matching.values_list("pk", "status", "worker_id", "attempts")
        }
        waited = self._overdue([change for change in changes if change.overdue])
        answers = [
            _holds(change, locked.get(change.job_id)) and (not change.overdue or change.job_id in waited)
            for change in changes
        ]
        groups: dict[Change, list[str]] = {}
        failed: list[Change] = []
        for change, held in zip(changes, answers, strict=True):
            if held:
                groups.setdefault(rows.without_identity(change), []).append(change.job_id)
                if change.failure is not None:
                    failed.append(change)
        histories = self._histories(failed) if failed else {}
        for effect, job_ids in groups.items():
            if effect.status is None:
                self._bury(effect, job_ids, histories)
            else:
                self.jobs.filter(pk__in=job_ids).update(**rows.written(effect))
        kept = [change.job_id for change in failed if change.status is not None]
        if kept:
            self._write_histories({job_id: histories[job_id] for job_id in kept})
        return answers

    def _histories(self, failed: Sequence[Change]) -> dict[str, str]:
        """By job, locked before: its history with the failure of its change, as JSON text."""
        found = self.jobs.filter(pk__in=[change.job_id for change in failed])
        columns = {
            str(pk): (started_at, failures, now)
            for pk, started_at, failures, now in found.values_list(
                "pk", "started_at", "failures", DatabaseNow()
            )
        }
        histories: dict[str, str] = {}
        for change in failed:
            started_at, failures, now = columns[change.job_id]
            histories[change.job_id] = with_failure(
                failures, change, started_at=rows.maybe_aware(started_at), at=aware(now)
            )
        return histories

    def _write_histories(self, histories: Mapping[str, str]) -> None:
        """Not by ``bulk_update``: putting its statement together takes several times as long as these."""
        connection = self.connection
        key = Job._meta.pk  # noqa: SLF001  # the public way to a model's fields
        values = [(text, key.get_db_prep_value(job_id, connection)) for job_id, text in histories.items()]
        with self.connection.cursor() as cursor:
            cursor.executemany("UPDATE soniq_jobs SET failures = %s WHERE id = %s", values)

    def _overdue(self, changes: Sequence[Change]) -> set[str]:
        """The jobs, locked before, that have been due for as long as their change asks."""
        groups: dict[float, list[str]] = {}
        for change in changes:
            groups.setdefault(change.overdue, []).append(change.job_id)
        found: set[str] = set()
        for seconds, ids in groups.items():
            late = self.jobs.filter(pk__in=filter(rows.is_uuid, ids), scheduled_at__lte=from_now(-seconds))
            found.update(str(pk) for pk in late.values_list("pk", flat=True))
        return found

    def _bury(self, effect: Change, job_ids: list[str], histories: Mapping[str, str]) -> None:
        dead = self.jobs.filter(pk__in=job_ids)
        letters = [rows.dead_letter(job, effect, histories.get(str(job.pk))) for job in dead]
        self.dead_letters.bulk_create(letters)
        dead.delete()

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            waiting = queued(self.jobs, queues, names).order_by("scheduled_at")
            found = waiting.values_list("scheduled_at", DatabaseNow())[:1]
            return next(((due - now).total_seconds() for due, now in found), None)


def chunks(jobs: Iterable[NewJob]) -> Iterator[list[NewJob]]:
    """The jobs in lists that one INSERT each can hold."""
    chunk: list[NewJob] = []
    length = 0
    for job in jobs:
        size = len(job.args_json) + len(job.context_json or "")
        length += size
        if chunk and (len(chunk) == ROWS_PER_INSERT or length > CHARACTERS_PER_INSERT):
            yield chunk
            chunk, length = [], size
        chunk.append(job)
    if chunk:
        yield chunk


def queued(
    jobs: QuerySet[Job], queues: Collection[str] | None, names: Collection[str] | None
) -> QuerySet[Job]:
    """The jobs that wait, now or later."""
    found = jobs.filter(status=Job.Status.QUEUED)
    if queues is not None:
        found = found.filter(queue__in=list(queues))
    if names is not None:
        found = found.filter(job_name__in=list(names))
    return found


def due(jobs: QuerySet[Job], queues: Collection[str] | None, names: Collection[str] | None) -> QuerySet[Job]:
    """The jobs that a claim could take now."""
    return queued(jobs, queues, names).filter(scheduled_at__lte=DatabaseNow())


def _waves(changes: Sequence[Change]) -> list[list[Change]]:
    """The changes in order, split so that no job occurs twice in one wave."""
    waves: list[list[Change]] = [[]]
    seen: set[str] = set()
    for change in changes:
        if change.job_id in seen:
            waves.append([])
            seen.clear()
        waves[-1].append(change)
        seen.add(change.job_id)
    return waves


def _holds(change: Change, row: tuple[str, str, int] | None) -> bool:
    """Whether the guard of a change holds for the row (status, worker, attempts)."""
    if row is None:
        return False
    if change.worker_id is None:
        return row[0] == Job.Status.QUEUED
    return row == (Job.Status.PROCESSING, change.worker_id, change.attempt)
