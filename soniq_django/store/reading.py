"""Looking at jobs, and clearing away what is past its time."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Count

from soniq.jobs import JobStatus
from soniq.records import Job as JobRecord
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.store import rows
from soniq_django.store.errors import translated
from soniq_django.store.orm import due, queued
from soniq_django.store.tables import Tables


class JobTable(Tables):
    """See the section "reading and housekeeping" of :class:`soniq.backend.StorageBackend`."""

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return due(self.jobs, queues, names).count()

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            waiting = queued(self.jobs, queues, names).order_by("scheduled_at")
            found = waiting.values_list("scheduled_at", DatabaseNow())[:1]
            return next(((due - now).total_seconds() for due, now in found), None)

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
