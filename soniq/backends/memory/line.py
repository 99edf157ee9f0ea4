"""The order in which queued jobs are claimed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime

from soniq.backends.memory.rows import ClaimOrder, JobRow


class WaitingLine:
    """The ids of queued jobs in the order in which they are claimed.

    Two heaps: jobs wait in ``_later`` by time, and once due in ``_due`` in claim order. An entry whose
    row has moved on is stale; it is dropped when it comes up, which is cheaper than looking for it.
    """

    def __init__(self) -> None:
        self._later: list[tuple[datetime, str]] = []
        self._due: list[ClaimOrder] = []

    def add(self, row: JobRow) -> None:
        """Put a queued job into the line; again, if it has another time now."""
        heapq.heappush(self._later, (row.scheduled_at, row.new.id))

    def take(
        self, queued: Mapping[str, JobRow], now: datetime, wanted: Callable[[JobRow], bool], limit: int
    ) -> list[JobRow]:
        """Remove up to ``limit`` due and wanted rows from the line."""
        while self._later and self._later[0][0] <= now:
            scheduled_at, job_id = heapq.heappop(self._later)
            if job_id in queued:
                row = queued[job_id]
                heapq.heappush(self._due, (row.new.priority, scheduled_at, job_id))
        taken: dict[str, JobRow] = {}
        passed_over = []
        while self._due and len(taken) < limit:
            entry = heapq.heappop(self._due)
            _, scheduled_at, job_id = entry
            found = queued.get(job_id)
            if found is None or found.scheduled_at != scheduled_at or job_id in taken:
                continue
            if scheduled_at > now:  # the clock was set back
                self.add(found)
            elif wanted(found):
                taken[job_id] = found
            else:
                passed_over.append(entry)
        for entry in passed_over:
            heapq.heappush(self._due, entry)
        return list(taken.values())
