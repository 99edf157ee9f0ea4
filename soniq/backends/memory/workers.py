"""The table of workers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from soniq.jobs import WorkerInfo
from soniq.records import WorkerRecord


class WorkerTable:
    """Workers by their ids. Whoever calls holds the lock of the store."""

    def __init__(self) -> None:
        self._rows: dict[str, WorkerRecord] = {}

    def register(self, worker: WorkerInfo, now: datetime) -> None:
        """Make it known, or alive again; it started when it was first known."""
        known = self._rows.get(worker.id)
        self._rows[worker.id] = WorkerRecord(
            id=worker.id,
            hostname=worker.hostname,
            pid=worker.pid,
            concurrency=worker.concurrency,
            queues=worker.queues,
            started_at=known.started_at if known else now,
            last_heartbeat_at=now,
        )

    def beat(self, worker_id: str, now: datetime) -> bool:
        """Note that it lives. False: it is not known."""
        worker = self._rows.get(worker_id)
        if worker is None:
            return False
        self._rows[worker_id] = replace(worker, last_heartbeat_at=now)
        return True

    def forget(self, worker_ids: Collection[str]) -> None:
        """Know them no longer; those that are not known do no harm."""
        for worker_id in worker_ids:
            self._rows.pop(worker_id, None)

    def silent_since(self, threshold: datetime) -> set[str]:
        """The ids of those that did not beat at ``threshold`` or later."""
        return {worker.id for worker in self._rows.values() if worker.last_heartbeat_at < threshold}

    def living_since(self, threshold: datetime) -> set[str]:
        """The ids of the others."""
        return self._rows.keys() - self.silent_since(threshold)

    def oldest_first(self) -> list[WorkerRecord]:
        """All of them."""
        return sorted(self._rows.values(), key=lambda worker: (worker.started_at, worker.id))
