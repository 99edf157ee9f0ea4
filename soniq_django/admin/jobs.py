"""Jobs: look at them, cancel and delete them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from soniq.visible import visible_line
from soniq_django.admin import formatting
from soniq_django.admin.database import database
from soniq_django.admin.fields import JobFields
from soniq_django.admin.filters import CodeFilter, JobNameFilter, QueueFilter, ScheduleFilter
from soniq_django.admin.history import note
from soniq_django.admin.permissions import may, url_to_look_at
from soniq_django.admin.table import TableAdmin, as_uuid
from soniq_django.models import DeadLetterJob, Job
from soniq_django.querysets import AT_ONCE


@admin.register(Job)
class JobAdmin(JobFields, TableAdmin):
    """Jobs that wait, run, or ended well."""

    list_display = (
        "short_id",
        "listed_name",
        "queue",
        "status_badge",
        "priority",
        "attempts_of",
        "scheduled",
        "created",
        "updated",
    )
    list_display_links = ("short_id", "listed_name")
    list_filter = ("status", QueueFilter, JobNameFilter, CodeFilter, ScheduleFilter)
    ordering = ("-id",)
    search_fields = ("job_name", "dedup_key")
    search_help_text = _("An id, or a part of a job's name or dedup key.")
    sortable_by = ("short_id",)  # the primary key; others would sort the whole table
    unlisted = ("args", "last_error", "result", "context", "failures")
    actions = ("cancel_selected",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What there is to say about a job; no empty headings."""
        groups: list[tuple[Any, Any]] = [
            (None, {"fields": ["id", "name", "status_badge", "queue", "priority"]}),
        ]
        if obj is not None and obj.last_error:
            groups.append((_("Last error"), {"fields": ["error"]}))
        if obj is not None and obj.failures:
            groups.append((_("Failed attempts"), {"fields": ["history"]}))
        groups.append((_("Arguments"), {"fields": ["pretty_args"]}))
        if obj is not None and obj.status == Job.Status.DONE:
            groups.append((_("Result"), {"fields": ["pretty_result"]}))
        groups += [
            (_("Attempts"), {"fields": ["attempts_of", "crashes", "worker_id"]}),
            (
                _("Times"),
                {
                    "fields": [
                        "scheduled_at",
                        "created_at",
                        "started_at",
                        "finished_at",
                        "updated_at",
                        "expires_at",
                    ]
                },
            ),
            (_("Origin"), {"fields": ["producer_id", "dedup", "is_unique"]}),
        ]
        if obj is not None and obj.context:
            groups.append((_("Context"), {"fields": ["pretty_context"]}))
        return groups

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All of them."""
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    # -- columns and fields

    @admin.display(description=_("job"))
    def listed_name(self, job: Job) -> str | SafeString:
        """The name; of a job that waits for code that is not here, with a label that says for how long."""
        if job.status != Job.Status.QUEUED:
            return visible_line(job.job_name)
        return formatting.waiting_name(job.job_name, since=job.created_at, now=timezone.now())

    @admin.display(description=_("dedup key"))
    def dedup(self, job: Job) -> str | None:
        """As the caller gave it."""
        return None if job.dedup_key is None else visible_line(job.dedup_key)

    @admin.display(description=_("status"))
    def status_badge(self, job: Job) -> SafeString:
        """The status as a coloured label."""
        return formatting.badge(job.status, job.get_status_display())

    @admin.display(description=_("scheduled"))
    def scheduled(self, job: Job) -> SafeString:
        """When the job may run, or was to run."""
        return formatting.when(job.scheduled_at, now=timezone.now())

    @admin.display(description=_("created"))
    def created(self, job: Job) -> SafeString:
        """How long ago the job was enqueued."""
        return formatting.when(job.created_at, now=timezone.now())

    @admin.display(description=_("updated"))
    def updated(self, job: Job) -> SafeString:
        """How long ago the job's state changed."""
        return formatting.when(job.updated_at, now=timezone.now())

    @admin.display(description=_("result"))
    def pretty_result(self, job: Job) -> SafeString:
        """What the job returned."""
        return formatting.pretty_json(job.result)

    @admin.display(description=_("unique"), boolean=True)
    def is_unique(self, job: Job) -> bool:
        """Whether the job excludes live twins with the same arguments."""
        return job.args_hash is not None

    # -- cancelling

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Django asks this for the action."""
        return may(request, "cancel", Job)

    @admin.action(permissions=["cancel"], description=_("Cancel selected jobs"))
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Withdraw the jobs that no worker has claimed; say how many that were."""
        self._cancel(request, list(queryset.only("pk", "job_name")))

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The button on a job's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_cancel_permission(request)):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            return self.gone(request, object_id)
        self._cancel(request, [job])
        return HttpResponseRedirect(self.url("change", job.pk))

    def _cancel(self, request: HttpRequest, jobs: Sequence[Job]) -> None:
        cancelled: list[Job] = []
        for start in range(0, len(jobs), AT_ONCE):
            some = {job.pk: job for job in jobs[start : start + AT_ONCE]}
            with transaction.atomic(using=database()):
                ids = Job.objects.using(database()).filter(pk__in=list(some)).cancel()
                done = [some[pk] for pk in ids]
                note(request, done, gettext("Cancelled."))
            cancelled += done
        self._report(request, len(cancelled), len(jobs) - len(cancelled))

    def _report(self, request: HttpRequest, cancelled: int, left: int) -> None:
        if cancelled:
            text = ngettext("%(count)d job was cancelled.", "%(count)d jobs were cancelled.", cancelled)
            self.message_user(request, text % {"count": cancelled}, messages.SUCCESS)
        if left:
            text = ngettext(
                "%(count)d job could not be cancelled: it is running or has ended.",
                "%(count)d jobs could not be cancelled: they are running or have ended.",
                left,
            )
            self.message_user(request, text % {"count": left}, messages.WARNING)

    # -- pages

    def get_urls(self) -> list[Any]:
        """Django's, and the button's."""
        cancel: URLPattern = path(
            "<path:object_id>/cancel/",
            self.admin_site.admin_view(self.cancel_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_cancel",
        )
        return [cancel, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with a button to cancel a job that waits."""
        job = kwargs.get("obj")
        waits = job is not None and job.status == Job.Status.QUEUED
        context["can_cancel"] = waits and self.has_cancel_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of a job; of one that gave up, the page of its dead letter."""
        letter = self._dead_letter_url(request, as_uuid(unquote(object_id)))
        if letter is not None:
            self.message_user(request, gettext("This job gave up; here is its dead letter."))
            return HttpResponseRedirect(letter)
        return super().change_view(request, object_id, form_url, extra_context)

    def _dead_letter_url(self, request: HttpRequest, job_id: UUID | None) -> str | None:
        """The page of the dead letter that the job became; None if it did not, or may not be seen."""
        if job_id is None or self.get_queryset(request).filter(pk=job_id).exists():
            return None
        if not DeadLetterJob.objects.using(database()).filter(pk=job_id).exists():
            return None
        return url_to_look_at(request, self.admin_site, DeadLetterJob, job_id)
