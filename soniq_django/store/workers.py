"""The workers table: who is alive, and which jobs nobody holds any more."""

from __future__ import annotations

from django.db.models import Exists, OuterRef

from soniq.jobs import Claim, WorkerInfo
from soniq.records import WorkerRecord
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import Job
from soniq_django.store import rows
from soniq_django.store.errors import translated
from soniq_django.store.schema import check_migrated
from soniq_django.store.tables import Tables


class WorkerTable(Tables):
    """See the section "liveness" of :class:`soniq.backend.StorageBackend`."""

    def register(self, worker: WorkerInfo) -> None:
        """See :class:`soniq.backend.StorageBackend`.

        A worker does this before its first claim, and tries until it succeeds: here it waits for a
        database that lags behind its code.
        """
        check_migrated(self.alias)
        self.own_session()
        with self.transaction():
            self.workers.update_or_create(
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
        self.own_session()
        with translated(self.alias):
            found = self.workers.filter(pk=worker_id)
            return found.update(last_heartbeat_at=DatabaseNow()) > 0

    def deregister(self, worker_id: str) -> None:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            self.workers.filter(pk=worker_id).delete()

    def orphans(self, *, dead_after: float, limit: int) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        live = self.workers.filter(pk=OuterRef("worker_id"), last_heartbeat_at__gt=from_now(-dead_after))
        held = self.jobs.filter(~Exists(live), status=Job.Status.PROCESSING)
        with self.transaction():
            # A worker that froze in the middle of a transaction still locks its jobs. Waiting for them would
            # freeze whoever comes to the rescue; they are found again by a later sweep.
            free = self.locked(held.order_by("id"), skip=True)
            found = list(free.values_list(*rows.CLAIM_COLUMNS, "worker_id")[:limit])
        return [rows.orphan(row) for row in found]

    def held(self, worker_id: str) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            held = self.jobs.filter(worker_id=worker_id, status=Job.Status.PROCESSING)
            found = held.order_by("id").values_list(*rows.CLAIM_COLUMNS, "worker_id")
            return [rows.orphan(row) for row in found]

    def forget_workers(self, *, dead_after: float) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        holds = self.jobs.filter(worker_id=OuterRef("pk"), status=Job.Status.PROCESSING)
        with translated(self.alias):
            stale = self.workers.filter(~Exists(holds), last_heartbeat_at__lte=from_now(-dead_after))
            return stale.delete()[0]

    def list_workers(self) -> list[WorkerRecord]:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return [rows.worker_record(row) for row in self.workers.order_by("started_at", "pk")]
