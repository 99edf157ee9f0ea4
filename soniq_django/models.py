"""The tables. Their state is written by :class:`soniq_django.backend.DjangoBackend` and nobody else."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from soniq.ids import uuid7
from soniq.visible import visible_line
from soniq_django.fields import ExactCharField, ExactTextField, StoredJSONField
from soniq_django.functions import DatabaseNow
from soniq_django.indexes import PartialIndex, UniqueWhereSet


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

    objects = models.Manager()

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

    objects = models.Manager()

    class Meta:
        db_table = "soniq_dead_letter_jobs"
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        permissions = [("replay_deadletterjob", _("Can replay dead letters"))]
        indexes = [models.Index(fields=["moved_to_dead_letter_at", "id"], name="soniq_dead_letters_moved")]

    def __str__(self) -> str:
        return f"{visible_line(self.job_name)} {self.id}"


class Worker(models.Model):
    """A worker process that has registered itself."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    hostname = ExactCharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    concurrency = models.IntegerField(_("concurrency"))
    queues = models.JSONField(_("queues"), null=True)
    started_at = models.DateTimeField(_("started at"), db_default=DatabaseNow())
    last_heartbeat_at = models.DateTimeField(_("last heartbeat at"), db_default=DatabaseNow())

    objects = models.Manager()

    class Meta:
        db_table = "soniq_workers"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"
