"""Looking at jobs, and clearing away what is past its time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import Count, Min, QuerySet

from soniq.jobs import JobStatus
from soniq.records import Job as JobRecord
from soniq.records import LiveJobs, OverdueJob
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import Job
from soniq_django.store import rows
from soniq_django.store.errors import translated
from soniq_django.store.orm import due
from soniq_django.store.tables import Tables
from soniq_django.times import aware

LIVE = (Job.Status.QUEUED, Job.Status.PROCESSING)


class JobTable(Tables):
    """See the section "reading and housekeeping" of :class:`soniq.backend.StorageBackend`."""

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return due(self.jobs, queues, names).count()

    def overdue(
        self, *, seconds: float, limit: int, queues: Collection[str] | None = None
    ) -> list[OverdueJob]:
        """See :class:`soniq.backend.StorageBackend`.

        Queue by queue and priority by priority, so each statement reads one range of a claim index from
        its start. As one statement it would walk over delayed jobs and over other queues to reach the next
        that is meant (PostgreSQL 18 skips them, earlier ones do not), and without fresh statistics it
        sorted all that was due: 370 ms for a million jobs, instead of 20.
        """
        found: list[tuple[int, datetime, str, OverdueJob]] = []
        parts = [self.jobs.filter(status=Job.Status.QUEUED)]
        if queues is not None:
            parts = [parts[0].filter(queue=queue) for queue in queues]
        with translated(self.alias):
            for part in parts:
                found += _first_overdue(part, seconds, limit)
        return [job for *_, job in sorted(found, key=lambda entry: entry[:3])[: max(limit, 0)]]

    def get_job(self, job_id: str) -> JobRecord | None:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(job_id):
            return None
        with translated(self.alias):
            found = self.jobs.filter(pk=job_id).first()
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
        found = self.jobs.order_by("-id")
        if queue is not None:
            found = found.filter(queue=queue)
        if status is not None:
            found = found.filter(status=status.value)
        with translated(self.alias):
            return [rows.job_record(row) for row in found[offset : offset + limit]]

    def count_live(self) -> list[LiveJobs]:
        """See :class:`soniq.backend.StorageBackend`."""
        by = ("job_name", "queue", "status")
        with translated(self.alias):
            live = self.jobs.filter(status__in=LIVE).order_by(*by).values_list(*by)
            return [
                LiveJobs(
                    job_name=name,
                    queue=queue,
                    status=JobStatus(status),
                    count=count,
                    oldest=aware(oldest),
                )
                for name, queue, status, count, oldest in live.annotate(Count("pk"), Min("created_at"))
            ]

    def walk_live(self, *, after: str | None = None, limit: int) -> list[JobRecord]:
        """See :class:`soniq.backend.StorageBackend`."""
        found = self.jobs.filter(status__in=LIVE).order_by("id")
        if after is not None:
            found = found.filter(id__gt=after)
        with translated(self.alias):
            return [rows.job_record(row) for row in found[:limit]]

    def delete_job(self, job_id: str) -> bool:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(job_id):
            return False
        with translated(self.alias):
            return self.jobs.filter(pk=job_id).delete()[0] > 0

    def queue_stats(self) -> dict[str, int]:
        """See :class:`soniq.backend.StorageBackend`."""
        stats = dict.fromkeys((status.value for status in JobStatus), 0)
        with translated(self.alias):
            counted = self.jobs.order_by().values_list("status").annotate(Count("pk"))
            stats.update(counted)
            stats["dead_letter"] = self.dead_letters.count()
        stats["total"] = sum(stats.values())
        return stats

    def purge(self, *, limit: int, dead_letter_ttl: float | None = None) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        gone = self.delete_some(self.jobs, limit, expires_at__lte=DatabaseNow())
        if dead_letter_ttl is not None:
            before = from_now(-dead_letter_ttl)
            gone += self.delete_some(self.dead_letters, limit, moved_to_dead_letter_at__lte=before)
        return gone


def _first_overdue(
    queued: QuerySet[Job], seconds: float, limit: int
) -> list[tuple[int, datetime, str, OverdueJob]]:
    """The first jobs of some that wait, with their place in the order of claims."""
    found: list[tuple[int, datetime, str, OverdueJob]] = []
    levels = queued.order_by("priority").values_list("priority", flat=True)
    level = levels.first()
    while level is not None and len(found) < limit:
        late = queued.filter(priority=level, scheduled_at__lte=from_now(-seconds))
        late = late.order_by("scheduled_at", "id")[: limit - len(found)]
        for since, pk, name, queue, now in late.values_list(
            "scheduled_at", "id", "job_name", "queue", DatabaseNow()
        ):
            waited = (now - since).total_seconds()
            job = OverdueJob(job_id=str(pk), job_name=name, queue=queue, overdue=waited)
            found.append((level, since, str(pk), job))
        level = levels.filter(priority__gt=level).first()
    return found
