"""The storage contract on the Django ORM: every statement runs on every database that Django knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, router, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from soniq.errors import BackendConflict
from soniq.jobs import Claim, JobStatus, NewJob, WorkerInfo
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats, WorkerRecord
from soniq.records import Job as JobRecord
from soniq.transitions import Change
from soniq_django import rows
from soniq_django.errors import translated
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import DeadLetterJob, Job, Worker

P = ParamSpec("P")
T = TypeVar("T")

ROWS_PER_INSERT = 2000
LOOKUPS = 5  # attempts to find the holder of a unique key that comes and goes


class DjangoBackend:
    """Jobs as rows of a Django database.

    Calls run on the calling thread's connection, so an enqueue belongs to the transaction that its
    caller has open there.

    :param alias: the database; None = where the router writes jobs
    """

    supports_processes = True
    supports_persistence = True
    supports_transactions = True
    blocking = True

    def __init__(self, alias: str | None = None) -> None:
        self._alias = alias

    @property
    def alias(self) -> str:
        """The database that holds the tables."""
        return self._alias or router.db_for_write(Job)

    def setup(self) -> None:
        """Nothing to do: ``manage.py migrate`` makes the tables."""

    def close(self) -> None:
        """Nothing to do: connections belong to Django and to the threads that opened them."""

    def release(self) -> None:
        """Close the connections of the calling thread."""
        connections.close_all()

    def reset(self) -> None:
        """Remove all jobs, dead letters and workers."""
        with self._transaction():
            for model in (Job, DeadLetterJob, Worker):
                model.objects.using(self.alias).all().delete()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """On the thread that async code shares for the ORM, so within its transaction."""
        return await sync_to_async(call, thread_sensitive=True)(*args, **kwargs)

    # -- producing

    def enqueue(self, jobs: Sequence[NewJob]) -> list[str]:
        """See :class:`soniq.backend.StorageBackend`."""
        if len(jobs) == 1 and jobs[0].unique_key is None:
            with translated(self.alias):
                rows.new_job(jobs[0]).save(using=self.alias, force_insert=True)
            return [jobs[0].id]
        plain = [rows.new_job(job) for job in jobs if job.unique_key is None]
        holders: dict[str, str] = {}
        with self._transaction():
            self._jobs.bulk_create(plain, batch_size=ROWS_PER_INSERT)
            wanted = {job.unique_key: job for job in reversed(jobs) if job.unique_key is not None}
            if wanted:
                holders = self._enqueue_unique(wanted)
        return [holders[job.unique_key] if job.unique_key else job.id for job in jobs]

    def _enqueue_unique(self, wanted: dict[str, NewJob]) -> dict[str, str]:
        """Store the jobs whose key is free; return the id of each key's holder."""
        holders: dict[str, str] = {}
        for _ in range(LOOKUPS):
            missing = [job for key, job in wanted.items() if key not in holders]
            if not missing:
                break
            self._jobs.bulk_create(
                [rows.new_job(job) for job in missing],
                batch_size=ROWS_PER_INSERT,
                ignore_conflicts=True,
            )
            # The holder may end between the two statements; then the key is free again.
            found = self._jobs.filter(unique_key__in=[job.unique_key for job in missing])
            holders.update((str(key), str(pk)) for key, pk in found.values_list("unique_key", "pk"))
        if len(holders) < len(wanted):
            raise BackendConflict(
                f"{self.alias}: the database stored neither a unique job nor shows the one that "
                "excludes it; try again, outside of a REPEATABLE READ transaction"
            )
        return holders

    # -- consuming

    def claim(
        self,
        *,
        worker_id: str,
        limit: int,
        queues: Collection[str] | None = None,
        names: Collection[str] | None = None,
        skip_own: bool = False,
    ) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        if limit < 1:
            return []
        due = self._due(queues, names)
        if skip_own:
            due = due.filter(~Q(worker_id=worker_id) | Q(worker_id__isnull=True))
        with self._transaction():
            self._lock_database()
            found = list(
                self._locked(due.order_by("priority", "scheduled_at", "id"), skip=True).values_list(
                    *rows.CLAIM_COLUMNS
                )[:limit]
            )
            claims = [rows.claim(row, worker_id) for row in found]
            if claims:
                by_attempt: dict[int, list[str]] = {}
                for claim in claims:
                    by_attempt.setdefault(claim.attempt, []).append(claim.job_id)
                for attempt, ids in by_attempt.items():
                    self._jobs.filter(pk__in=ids).update(
                        status=Job.Status.PROCESSING,
                        worker_id=worker_id,
                        attempts=attempt,
                        started_at=DatabaseNow(),
                        updated_at=DatabaseNow(),
                    )
        return claims

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        answers: list[bool] = []
        with self._transaction():
            self._lock_database()
            for wave in _waves(changes):
                answers += self._apply_wave(wave)
        return answers

    def _apply_wave(self, changes: Sequence[Change]) -> list[bool]:
        """Changes of different jobs: lock what still matches its guard, then write."""
        ids = sorted(change.job_id for change in changes if rows.is_uuid(change.job_id))
        locked = {
            str(pk): (status, str(worker), attempts)
            for pk, status, worker, attempts in self._locked(
                self._jobs.filter(pk__in=ids).order_by("pk")
            ).values_list("pk", "status", "worker_id", "attempts")
        }
        answers = [_holds(change, locked.get(change.job_id)) for change in changes]
        groups: dict[Change, list[str]] = {}
        for change, held in zip(changes, answers, strict=True):
            if held:
                groups.setdefault(rows.without_identity(change), []).append(change.job_id)
        for effect, job_ids in groups.items():
            if effect.status is None:
                self._bury(effect, job_ids)
            else:
                self._jobs.filter(pk__in=job_ids).update(**rows.written(effect))
        return answers

    def _bury(self, effect: Change, job_ids: list[str]) -> None:
        dead = self._jobs.filter(pk__in=job_ids)
        self._dead_letters.bulk_create([rows.dead_letter(job, effect) for job in dead])
        dead.delete()

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return self._due(queues, names).count()

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            queued = self._queued(queues, names).order_by("scheduled_at")
            found = queued.values_list("scheduled_at", DatabaseNow())[:1]
            return next(((due - now).total_seconds() for due, now in found), None)

    # -- liveness

    def register(self, worker: WorkerInfo) -> None:
        """See :class:`soniq.backend.StorageBackend`."""
        with self._transaction():
            self._workers.update_or_create(
                pk=worker.id,
                defaults={
                    "hostname": worker.hostname[:255],
                    "pid": worker.pid,
                    "concurrency": worker.concurrency,
                    "queues": None if worker.queues is None else list(worker.queues),
                    "last_heartbeat_at": DatabaseNow(),
                },
            )

    def beat(self, worker_id: str) -> bool:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            found = self._workers.filter(pk=worker_id)
            return found.update(last_heartbeat_at=DatabaseNow()) > 0

    def deregister(self, worker_id: str) -> None:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            self._workers.filter(pk=worker_id).delete()

    def orphans(self, *, dead_after: float, limit: int) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        live = self._workers.filter(pk=OuterRef("worker_id"), last_heartbeat_at__gt=from_now(-dead_after))
        with translated(self.alias):
            held = self._jobs.filter(~Exists(live), status=Job.Status.PROCESSING)
            found = list(held.order_by("id").values_list(*rows.CLAIM_COLUMNS, "worker_id")[:limit])
        return [rows.orphan(row) for row in found]

    def forget_workers(self, *, dead_after: float) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        holds = self._jobs.filter(worker_id=OuterRef("pk"), status=Job.Status.PROCESSING)
        with translated(self.alias):
            stale = self._workers.filter(~Exists(holds), last_heartbeat_at__lte=from_now(-dead_after))
            return stale.delete()[0]

    def list_workers(self) -> list[WorkerRecord]:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return [rows.worker_record(row) for row in self._workers.order_by("started_at", "pk")]

    # -- reading and housekeeping

    def get_job(self, job_id: str) -> JobRecord | None:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(job_id):
            return None
        with translated(self.alias):
            found = self._jobs.filter(pk=job_id).first()
        return None if found is None else rows.job_record(found)

    def list_jobs(
        self,
        *,
        queue: str | None = None,
        status: JobStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[JobRecord]:
        """See :class:`soniq.backend.StorageBackend`."""
        found = self._jobs.order_by("-id")
        if queue is not None:
            found = found.filter(queue=queue)
        if status is not None:
            found = found.filter(status=status.value)
        with translated(self.alias):
            return [rows.job_record(row) for row in found[offset : offset + limit]]

    def delete_job(self, job_id: str) -> bool:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(job_id):
            return False
        with translated(self.alias):
            return self._jobs.filter(pk=job_id).delete()[0] > 0

    def queue_stats(self) -> dict[str, int]:
        """See :class:`soniq.backend.StorageBackend`."""
        stats = dict.fromkeys((status.value for status in JobStatus), 0)
        with translated(self.alias):
            counted = self._jobs.order_by().values_list("status").annotate(Count("pk"))
            stats.update(counted)
            stats["dead_letter"] = self._dead_letters.count()
        stats["total"] = sum(stats.values())
        return stats

    def purge(self, *, limit: int, dead_letter_ttl: float | None = None) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        gone = self._delete_some(self._jobs, limit, expires_at__lte=DatabaseNow())
        if dead_letter_ttl is not None:
            before = from_now(-dead_letter_ttl)
            gone += self._delete_some(self._dead_letters, limit, moved_to_dead_letter_at__lte=before)
        return gone

    def _delete_some(self, rows_of: QuerySet[Any], limit: int, **condition: Any) -> int:
        """Delete at most ``limit`` rows, leaving those that another worker is deleting."""
        found = rows_of.filter(**condition)
        with translated(self.alias):
            if not found.exists():
                return 0
        with self._transaction():
            self._lock_database()
            ids = list(self._locked(found, skip=True).values_list("pk", flat=True)[:limit])
            return rows_of.filter(pk__in=ids).delete()[0]

    # -- dead letters

    def list_dead_letters(self, where: DeadLetterFilter) -> list[DeadLetter]:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return [rows.dead_letter_record(row) for row in self._meant(where)]

    def delete_dead_letters(self, where: DeadLetterFilter) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        with self._transaction():
            ids = [row.pk for row in self._meant(where)]
            return self._dead_letters.filter(pk__in=ids).delete()[0]

    def replay_dead_letter(self, dead_letter_id: str, job: NewJob) -> str | None:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(dead_letter_id):
            return None
        with self._transaction():
            self._lock_database()
            letter = self._locked(self._dead_letters.filter(pk=dead_letter_id)).first()
            if letter is None:
                return None
            [new_id] = self.enqueue([job])
            if new_id == job.id:
                self._dead_letters.filter(pk=letter.pk).update(
                    resurrection_count=letter.resurrection_count + 1,
                    last_resurrection_at=DatabaseNow(),
                )
            return new_id

    def tag_dead_letter(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(dead_letter_id):
            return False
        with self._transaction():
            self._lock_database()
            letter = self._locked(self._dead_letters.filter(pk=dead_letter_id)).first()
            if letter is None:
                return False
            letter.tags = list(dict.fromkeys([*letter.tags, *tags]))
            letter.save(using=self.alias, update_fields=["tags"])
            return True

    def dead_letter_stats(self, *, hours: float | None = None) -> DeadLetterStats:
        """See :class:`soniq.backend.StorageBackend`."""
        letters = self._dead_letters.order_by()
        if hours is not None:
            letters = letters.filter(moved_to_dead_letter_at__gte=from_now(-hours * 3600))
        counted: dict[str, dict[str, int]] = {}
        with translated(self.alias):
            for column in ("dead_letter_reason", "job_name", "queue"):
                counted[column] = dict(letters.values_list(column).annotate(Count("pk")))
        return DeadLetterStats(
            total=sum(counted["queue"].values()),
            by_reason=counted["dead_letter_reason"],
            by_job_name=counted["job_name"],
            by_queue=counted["queue"],
        )

    def _meant(self, where: DeadLetterFilter) -> list[DeadLetterJob]:
        """The rows that a filter means, newest first."""
        found = self._dead_letters.order_by("-moved_to_dead_letter_at", "-pk")
        found = found.filter(rows.dead_letter_conditions(where))
        wanted = where.tags
        if wanted is None:
            return list(found[where.offset : where.offset + where.limit])
        # Tags are a JSON list, and not every database can look into one.
        tagged = [row for row in found.iterator() if set(wanted) & set(row.tags)]
        return tagged[where.offset : where.offset + where.limit]

    # -- how

    @property
    def _jobs(self) -> QuerySet[Job]:
        return Job.objects.using(self.alias)

    @property
    def _dead_letters(self) -> QuerySet[DeadLetterJob]:
        return DeadLetterJob.objects.using(self.alias)

    @property
    def _workers(self) -> QuerySet[Worker]:
        return Worker.objects.using(self.alias)

    def _queued(self, queues: Collection[str] | None, names: Collection[str] | None) -> QuerySet[Job]:
        found = self._jobs.filter(status=Job.Status.QUEUED)
        if queues is not None:
            found = found.filter(queue__in=list(queues))
        if names is not None:
            found = found.filter(job_name__in=list(names))
        return found

    def _due(self, queues: Collection[str] | None, names: Collection[str] | None) -> QuerySet[Job]:
        return self._queued(queues, names).filter(scheduled_at__lte=DatabaseNow())

    def _transaction(self) -> Any:
        """One transaction, its errors translated; an open one is joined."""
        return translated(self.alias, transaction.atomic(using=self.alias))

    def _lock_database(self) -> None:
        """Take the write lock first where rows cannot be locked (SQLite).

        A transaction there that reads before it writes fails at once when another one wrote meanwhile,
        whatever the busy timeout says. A statement that matches no row takes the lock all the same.
        """
        if not connections[self.alias].features.has_select_for_update:
            self._workers.filter(pid=-1).update(pid=-1)

    def _locked(self, found: QuerySet[Any], *, skip: bool = False) -> QuerySet[Any]:
        """The rows, locked where the database can; ``skip`` leaves those that others hold."""
        features = connections[self.alias].features
        if not features.has_select_for_update:
            return found
        return found.select_for_update(skip_locked=skip and features.has_select_for_update_skip_locked)


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
