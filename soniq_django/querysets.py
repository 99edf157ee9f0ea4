"""What rows can be asked for, and steered by, from the models: ``Job.objects.due()``, ``job.cancel()``.

State is decided and written where it always is, in :mod:`soniq.transitions` and by ``apply``. These methods
find the rows, and go in batches, each of which is a transaction of its own unless the caller has one open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import models, router, transaction

from soniq import transitions
from soniq.dead_letter import Replay
from soniq.errors import DeadLetterNotFound
from soniq.jobs import JobStatus
from soniq.transitions import Change
from soniq_django.functions import DatabaseNow

if TYPE_CHECKING:
    from soniq_django.models import DeadLetterJob, Job, Schedule, Worker  # noqa: F401  # the models import this module

AT_ONCE = 500  # rows per transaction

M = TypeVar("M", bound=models.Model)


def written_in(row: models.Model) -> str:
    """The database to write this row in; it may have been read from a replica."""
    return _setting() or router.db_for_write(type(row), instance=row)


def _setting() -> str | None:
    """``SONIQ["DATABASE"]``."""
    alias: str | None = getattr(settings, "SONIQ", {}).get("DATABASE")
    return alias


class RowsQuerySet(models.QuerySet[M]):
    """Rows of one of our tables."""

    _db: str | None  # Django's: what using() said

    @property
    def _alias(self) -> str:
        """The database to write them in; where the router reads them may be a replica."""
        return self._db or router.db_for_write(self.model)

    def _batches(self, *columns: str) -> Iterator[list[tuple[Any, ...]]]:
        """The primary keys of all rows, and further columns, taken down before any of them is touched."""
        found = list(self.using(self._alias).values_list("pk", *columns))
        for start in range(0, len(found), AT_ONCE):
            yield found[start : start + AT_ONCE]


class JobQuerySet(RowsQuerySet["Job"]):
    """``Job.objects``."""

    def queued(self) -> JobQuerySet:
        """That wait: due, delayed, or for a retry."""
        return self.filter(status=JobStatus.QUEUED)

    def due(self) -> JobQuerySet:
        """That a worker could claim now, by the database's clock."""
        return self.queued().filter(scheduled_at__lte=DatabaseNow())

    def delayed(self) -> JobQuerySet:
        """That wait for their time, or for a retry."""
        return self.queued().filter(scheduled_at__gt=DatabaseNow())

    def processing(self) -> JobQuerySet:
        """That a worker has claimed."""
        return self.filter(status=JobStatus.PROCESSING)

    def live(self) -> JobQuerySet:
        """That may still run: queued or processing."""
        return self.filter(status__in=[status for status in JobStatus if status.live])

    def done(self) -> JobQuerySet:
        """Whose handler returned."""
        return self.filter(status=JobStatus.DONE)

    def cancelled(self) -> JobQuerySet:
        """That were withdrawn."""
        return self.filter(status=JobStatus.CANCELLED)

    def cancel(self) -> list[UUID]:
        """Withdraw those that no worker has claimed; the ids of those that were withdrawn."""
        from soniq_django.conf import current_app  # noqa: PLC0415  # needs the models, which import this

        ttl = current_app().settings.result_ttl
        return self._changed(lambda job_id: transitions.cancel(job_id, ttl=ttl))

    async def acancel(self) -> list[UUID]:
        """:meth:`cancel` for async code."""
        return await sync_to_async(self.cancel)()

    def retry_now(self) -> list[UUID]:
        """Make those that wait for their time or for a retry due now; the ids of all that are queued."""
        return self._changed(transitions.hasten)

    async def aretry_now(self) -> list[UUID]:
        """:meth:`retry_now` for async code."""
        return await sync_to_async(self.retry_now)()

    def _changed(self, change: Callable[[str], Change]) -> list[UUID]:
        """Apply a change to each; the ids of those whose guard held. Workers are told to look."""
        from soniq_django.backend import backend_on  # noqa: PLC0415  # as in cancel()

        backend = backend_on(self._alias)
        held: list[UUID] = []
        for batch in self._batches("queue"):
            answers = backend.apply([change(str(pk)) for pk, _ in batch])
            changed = [row for row, answer in zip(batch, answers, strict=True) if answer]
            backend.hint({queue for _, queue in changed})
            held += [pk for pk, _ in changed]
        return held


class DeadLetterQuerySet(RowsQuerySet["DeadLetterJob"]):
    """``DeadLetterJob.objects``."""

    def replay(
        self,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        reset_attempts: bool = True,
    ) -> list[Replay]:
        """Enqueue each anew, oldest first; see :meth:`soniq_django.models.DeadLetterJob.replay`.

        One that is refused takes its batch of 500 with it; batches before it stay. A letter that somebody
        deletes meanwhile is left out.
        """
        from soniq_django.backend import dead_letters_on  # noqa: PLC0415  # as in JobQuerySet.cancel()

        alias = self._alias
        service = dead_letters_on(alias)
        replays: list[Replay] = []
        oldest_first = self.order_by("moved_to_dead_letter_at", "pk")
        for batch in oldest_first._batches():  # noqa: SLF001  # ours
            with transaction.atomic(using=alias):
                for (pk,) in batch:
                    try:
                        replay = service.replay_now(
                            pk,
                            new_args=args,
                            new_queue=queue,
                            new_priority=priority,
                            new_max_attempts=max_attempts,
                            reset_attempts=reset_attempts,
                        )
                    except DeadLetterNotFound:
                        continue
                    replays.append(replay)
        return replays

    async def areplay(
        self,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        reset_attempts: bool = True,
    ) -> list[Replay]:
        """:meth:`replay` for async code."""
        return await sync_to_async(self.replay)(
            args=args,
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            reset_attempts=reset_attempts,
        )


class RowsManager(models.Manager[M]):
    """Looks where ``SONIQ["DATABASE"]`` says, unless ``using()`` says otherwise."""

    def get_queryset(self) -> models.QuerySet[M]:
        """All rows."""
        rows = super().get_queryset()
        alias = _setting()
        return rows.using(alias) if alias is not None and self._db is None else rows


JobManager = RowsManager.from_queryset(JobQuerySet)
DeadLetterManager = RowsManager.from_queryset(DeadLetterQuerySet)
WorkerManager = RowsManager["Worker"]
ScheduleManager = RowsManager["Schedule"]
