"""The tables. Their state is written by :class:`soniq_django.backend.DjangoBackend` and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from soniq.dead_letter import Replay
from soniq.ids import uuid7
from soniq.visible import visible_line
from soniq_django.fields import ExactCharField, ExactTextField, StoredJSONField
from soniq_django.functions import DatabaseNow
from soniq_django.indexes import PartialIndex, UniqueWhereSet
from soniq_django.instants import InstantField, InstantNow
from soniq_django.querysets import (
    DeadLetterManager,
    JobManager,
    JobQuerySet,
    ScheduleManager,
    WorkerManager,
    written_in,
)


class Job(models.Model):
    """A job that waits, runs, or ended without giving up."""

    class Status(models.TextChoices):
        """See :class:`soniq.JobStatus`."""

        QUEUED = "queued", _("queued")
        PROCESSING = "processing", _("processing")
        DONE = "done", _("done")
        CANCELLED = "cancelled", _("cancelled")

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    job_name = ExactCharField(_("job"), max_length=255)
    queue = ExactCharField(_("queue"), max_length=63, default="default")
    priority = models.SmallIntegerField(_("priority"), default=100)
    status = ExactCharField(_("status"), max_length=10, choices=Status, default=Status.QUEUED)
    args = StoredJSONField(_("arguments"), default=dict)
    args_hash = ExactCharField(max_length=64, null=True, editable=False)
    dedup_key = ExactCharField(_("dedup key"), max_length=255, null=True)
    unique_key = ExactCharField(max_length=64, null=True, editable=False)
    attempts = models.SmallIntegerField(_("attempts"), default=0)
    max_attempts = models.SmallIntegerField(_("max attempts"), default=4)
    crashes = models.SmallIntegerField(_("crashes"), default=0)
    scheduled_at = models.DateTimeField(_("scheduled at"), db_default=DatabaseNow())
    created_at = models.DateTimeField(_("created at"), db_default=DatabaseNow())
    updated_at = models.DateTimeField(_("updated at"), db_default=DatabaseNow())
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    expires_at = models.DateTimeField(_("expires at"), null=True)
    producer_id = ExactCharField(_("enqueued by"), max_length=255, default="")
    worker_id = models.UUIDField(_("worker"), null=True)
    last_error = ExactTextField(_("last error"), null=True)
    result = StoredJSONField(_("result"), null=True)
    context = StoredJSONField(_("context"), null=True)
    failures = StoredJSONField(_("failed attempts"), null=True)

    objects = JobManager()

    class Meta:
        db_table = "soniq_jobs"
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = [("cancel_job", _("Can cancel jobs"))]
        indexes = [
            # The order of a claim, column for column.
            PartialIndex(
                fields=["priority", "scheduled_at", "id"],
                where=Q(status="queued"),
                otherwise=["status", "priority", "scheduled_at", "id"],
                name="soniq_jobs_claim",
            ),
            PartialIndex(
                fields=["queue", "priority", "scheduled_at", "id"],
                where=Q(status="queued"),
                otherwise=["status", "queue", "priority", "scheduled_at", "id"],
                name="soniq_jobs_claim_queue",
            ),
            PartialIndex(
                fields=["worker_id"],
                where=Q(status="processing"),
                otherwise=["worker_id", "status"],
                name="soniq_jobs_held",
            ),
            PartialIndex(
                fields=["expires_at"],
                where=Q(expires_at__isnull=False),
                otherwise=["expires_at"],
                name="soniq_jobs_expiry",
            ),
        ]
        # The key is set while a unique job is live, and cleared when it ends.
        constraints = [UniqueWhereSet(field="unique_key", name="soniq_jobs_unique")]

    def __str__(self) -> str:
        return f"{visible_line(self.job_name)} {self.id}"

    def cancel(self) -> bool:
        """Withdraw the job, and refresh this instance. False: a worker has it, it ended, or it is gone."""
        return self._refreshed(bool(self._row.cancel()))

    async def acancel(self) -> bool:
        """:meth:`cancel` for async code."""
        return await sync_to_async(self.cancel)()

    def retry_now(self) -> bool:
        """Make a job due that waits for its time or for a retry, and refresh this instance.

        True for one that is due already, which keeps its place. False: a worker has it, it has ended, or it
        is gone.
        """
        return self._refreshed(bool(self._row.retry_now()))

    async def aretry_now(self) -> bool:
        """:meth:`retry_now` for async code."""
        return await sync_to_async(self.retry_now)()

    @property
    def _row(self) -> JobQuerySet:
        return Job.objects.using(written_in(self)).filter(pk=self.pk)

    def _refreshed(self, changed: bool) -> bool:
        """``changed``; reads the row anew if it was."""
        if changed:
            with suppress(Job.DoesNotExist):  # purged, or claimed and ended, in this moment
                self.refresh_from_db(using=written_in(self))
        return changed


class DeadLetterJob(models.Model):
    """A job that gave up."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    job_name = ExactCharField(_("job"), max_length=255)
    queue = ExactCharField(_("queue"), max_length=63)
    priority = models.SmallIntegerField(_("priority"))
    args = StoredJSONField(_("arguments"))
    max_attempts = models.SmallIntegerField(_("max attempts"))
    attempts = models.SmallIntegerField(_("attempts"))
    last_error = ExactTextField(_("last error"), null=True)
    dead_letter_reason = ExactCharField(_("reason"), max_length=30)
    original_created_at = models.DateTimeField(_("created at"))
    moved_to_dead_letter_at = models.DateTimeField(_("gave up at"), db_default=DatabaseNow())
    resurrection_count = models.IntegerField(_("replays"), default=0)
    last_resurrection_at = models.DateTimeField(_("last replay at"), null=True)
    tags = models.JSONField(_("tags"), default=list)
    context = StoredJSONField(_("context"), null=True)
    failures = StoredJSONField(_("failed attempts"), null=True)

    objects = DeadLetterManager()

    class Meta:
        db_table = "soniq_dead_letter_jobs"
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        permissions = [("replay_deadletterjob", _("Can replay dead letters"))]
        indexes = [models.Index(fields=["moved_to_dead_letter_at", "id"], name="soniq_dead_letters_moved")]

    def __str__(self) -> str:
        return f"{visible_line(self.job_name)} {self.id}"

    def replay(
        self,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        reset_attempts: bool = True,
    ) -> Replay:
        """Enqueue the job anew, and refresh this instance. The dead letter stays, as the audit trail.

        What is not given stays as it was. While a live job holds the new one's unique key, nothing is
        enqueued, and the answer says so.

        :param args: instead of the ones it died with; checked against the job's signature
        :param max_attempts: instead of all its attempts again
        :param reset_attempts: False: one more attempt only
        :raises DeadLetterNotFound: it was deleted meanwhile
        :raises InvalidArguments: the arguments do not fit or cannot be stored; nothing was written
        :raises UnknownTask: no code of that name is here any more
        """
        from soniq_django.backend import dead_letters_on  # noqa: PLC0415  # needs the models

        alias = written_in(self)
        replay = dead_letters_on(alias).replay_now(
            self.pk,
            new_args=args,
            new_queue=queue,
            new_priority=priority,
            new_max_attempts=max_attempts,
            reset_attempts=reset_attempts,
        )
        if replay.enqueued:
            with suppress(DeadLetterJob.DoesNotExist):
                self.refresh_from_db(using=alias, fields=["resurrection_count", "last_resurrection_at"])
        return replay

    async def areplay(
        self,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        reset_attempts: bool = True,
    ) -> Replay:
        """:meth:`replay` for async code."""
        return await sync_to_async(self.replay)(
            args=args,
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            reset_attempts=reset_attempts,
        )


class Worker(models.Model):
    """A worker process that has registered itself."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    hostname = ExactCharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    concurrency = models.IntegerField(_("concurrency"))
    queues = models.JSONField(_("queues"), null=True)
    started_at = models.DateTimeField(_("started at"), db_default=DatabaseNow())
    last_heartbeat_at = models.DateTimeField(_("last heartbeat at"), db_default=DatabaseNow())

    objects = WorkerManager()

    class Meta:
        db_table = "soniq_workers"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"


class Schedule(models.Model):
    """What enqueues a job again and again; see :class:`soniq.schedule_records.Schedule`."""

    class Misfire(models.TextChoices):
        """See :class:`soniq.schedule_records.Misfire`."""

        ONCE = "once", _("run the last one")
        SKIP = "skip", _("skip them")
        ALL = "all", _("run them all")

    class Overlap(models.TextChoices):
        """See :class:`soniq.schedule_records.Overlap`."""

        ALLOW = "allow", _("run all the same")
        SKIP = "skip", _("skip it")

    name = ExactCharField(_("name"), max_length=255, primary_key=True)
    job_name = ExactCharField(_("job"), max_length=255)
    # Text, because a schedule is compared with what it is to become, and jsonb would write it anew.
    args_json = ExactTextField(_("arguments"), default="{}")
    queue = ExactCharField(_("queue"), max_length=63, null=True)
    priority = models.SmallIntegerField(_("priority"), null=True)
    cron = ExactTextField(_("cron"), null=True)
    every = models.FloatField(_("every"), null=True)
    timezone = ExactCharField(_("time zone"), max_length=255, default="UTC")
    starts_at = InstantField(_("starts at"), null=True)
    ends_at = InstantField(_("ends at"), null=True)
    misfire = ExactCharField(_("if missed"), max_length=10, choices=Misfire, default=Misfire.ONCE)
    max_age = models.FloatField(_("max age"), null=True)
    overlap = ExactCharField(_("if it overlaps"), max_length=10, choices=Overlap, default=Overlap.ALLOW)
    jitter = models.FloatField(_("jitter"), default=0.0)
    declared = models.BooleanField(_("declared in code"), default=False)
    definition = ExactCharField(max_length=64, null=True, editable=False)
    former_definitions = StoredJSONField(default=list, editable=False)
    declared_at = InstantField(_("last declared at"), null=True)
    overridden = models.BooleanField(_("overridden"), default=False)
    paused = models.BooleanField(_("paused"), default=False)
    anchor_at = InstantField(_("counted from"), db_default=InstantNow())
    next_fire_at = InstantField(_("next fire time"), null=True)
    last_fire_at = InstantField(_("last fire time"), null=True)
    last_job_id = models.UUIDField(_("last job"), null=True)
    fired = models.BigIntegerField(_("jobs so far"), default=0)
    skipped = models.BigIntegerField(_("skipped so far"), default=0)
    created_at = InstantField(_("created at"), db_default=InstantNow())
    updated_at = InstantField(_("updated at"), db_default=InstantNow())
    version = models.BigIntegerField(default=1, editable=False)

    objects = ScheduleManager()

    class Meta:
        db_table = "soniq_schedules"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        permissions = [
            ("pause_schedule", _("Can pause and resume schedules")),
            ("run_schedule", _("Can run schedules out of turn")),
        ]
        indexes = [
            # Paused and ended schedules have no next fire time, and no place here.
            PartialIndex(
                fields=["next_fire_at", "name"],
                where=Q(next_fire_at__isnull=False),
                otherwise=["next_fire_at", "name"],
                name="soniq_schedules_fire_order",
            ),
        ]

    def __str__(self) -> str:
        return visible_line(self.name)
