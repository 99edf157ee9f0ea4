"""Schedules: look at them, pause and resume them, run their jobs out of turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from soniq.errors import ScheduleNotFound, SoniqError
from soniq.scheduler import SchedulerService
from soniq.visible import visible_line
from soniq_django.admin import formatting, schedule_text
from soniq_django.admin.database import database
from soniq_django.admin.filters import JobNameFilter, ScheduleStatusFilter
from soniq_django.admin.history import note
from soniq_django.admin.permissions import may
from soniq_django.admin.table import ModelAdmin, TableAdmin
from soniq_django.backend import scheduler_on
from soniq_django.models import DeadLetterJob, Job, Schedule
from soniq_django.store.schedule_rows import schedule_record

REFUSALS = 5  # that are told one by one


@admin.register(Schedule)
class ScheduleAdmin(TableAdmin):
    """What enqueues jobs again and again."""

    list_display = ("listed_name", "job", "rule", "timezone", "state", "next", "last", "fired", "declared")
    list_display_links = ("listed_name",)
    list_filter = (ScheduleStatusFilter, "declared", JobNameFilter)
    ordering = ("name",)
    search_fields = ("name", "job_name")
    sortable_by = ("listed_name", "next", "last")
    unlisted = ("args_json", "former_definitions")
    actions = ("pause_selected", "resume_selected", "run_selected")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What there is to say about a schedule."""
        return [
            (None, {"fields": ["listed_name", "job_here", "state", "next_times"]}),
            (_("Rule"), {"fields": ["rule", "timezone", "starts_at", "ends_at"]}),
            (_("Job"), {"fields": ["pretty_args", "queue", "priority"]}),
            (_("Policies"), {"fields": ["misfire", "max_age", "overlap", "jitter"]}),
            (_("So far"), {"fields": ["last_fire_at", "last_job", "past_jobs", "fired", "skipped"]}),
            (
                _("Origin"),
                {"fields": ["declared", "overridden", "declared_at", "created_at", "updated_at"]},
            ),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All of them."""
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The schedules with the text in their name or that of their job; ids are none of theirs."""
        return ModelAdmin.get_search_results(self, request, queryset, search_term)

    # -- columns and fields

    @admin.display(description=_("name"), ordering="name")
    def listed_name(self, schedule: Schedule) -> str:
        """The name, on one line."""
        return visible_line(schedule.name)

    @admin.display(description=_("job"))
    def job(self, schedule: Schedule) -> str:
        """The name of its job."""
        return visible_line(schedule.job_name)

    @admin.display(description=_("job"))
    def job_here(self, schedule: Schedule) -> str | SafeString:
        """The same, with a note if no code answers to it."""
        return formatting.job_name(schedule.job_name)

    @admin.display(description=_("rule"))
    def rule(self, schedule: Schedule) -> str:
        """Such as "0 3 * * *" or "every 5 minutes"."""
        return schedule_text.rule(schedule.cron, schedule.every)

    @admin.display(description=_("status"))
    def state(self, schedule: Schedule) -> SafeString:
        """Whether it fires."""
        return schedule_text.status(paused=schedule.paused, fires=schedule.next_fire_at is not None)

    @admin.display(description=_("next"), ordering="next_fire_at", empty_value="-")
    def next(self, schedule: Schedule) -> SafeString | None:
        """When it fires next."""
        return _when(schedule.next_fire_at)

    @admin.display(description=_("last"), ordering="last_fire_at", empty_value="-")
    def last(self, schedule: Schedule) -> SafeString | None:
        """The fire time that its last job stands for."""
        return _when(schedule.last_fire_at)

    @admin.display(description=_("next fire times"))
    def next_times(self, schedule: Schedule) -> SafeString | str:
        """The next few, in the schedule's own time zone."""
        return schedule_text.fire_times(schedule_record(schedule))

    @admin.display(description=_("arguments"))
    def pretty_args(self, schedule: Schedule) -> SafeString:
        """The arguments, one per line."""
        return formatting.pretty_json(schedule_record(schedule).args)

    @admin.display(description=_("last job"))
    def last_job(self, schedule: Schedule) -> SafeString | None:
        """Its id; leads to its page, where it may be looked at."""
        if schedule.last_job_id is None:
            return None
        if not self.admin_site.is_registered(Job):
            return formatting.short_id(schedule.last_job_id)
        url = reverse(
            f"admin:{self.opts.app_label}_job_change",
            args=[schedule.last_job_id],
            current_app=self.admin_site.name,
        )
        return format_html('<a href="{}">{}</a>', url, formatting.short_id(schedule.last_job_id))

    @admin.display(description=_("jobs"))
    def past_jobs(self, schedule: Schedule) -> SafeString | None:
        """Leads to the jobs that it has made and that are still kept, and to those that gave up."""
        # The job's name as well: its rows are picked out first, and the context of few is looked into.
        chosen = urlencode({"job_name": schedule.job_name, "schedule": schedule.name})
        lists = [
            (f"{self._list_of(model)}?{chosen}", label)
            for model, label in ((Job, _("jobs")), (DeadLetterJob, _("dead letters")))
            if self.admin_site.is_registered(model)
        ]
        return format_html_join(", ", '<a href="{}">{}</a>', lists) if lists else None

    def _list_of(self, model: type[Model]) -> str:
        meta = model._meta  # noqa: SLF001  # Django's documented API
        name = f"admin:{meta.app_label}_{meta.model_name}_changelist"
        return reverse(name, current_app=self.admin_site.name)

    # -- steering

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Django asks this for the actions."""
        return may(request, "pause", Schedule)

    def has_run_permission(self, request: HttpRequest) -> bool:
        """The same for running out of turn."""
        return may(request, "run", Schedule)

    @admin.action(permissions=["pause"], description=_("Pause selected schedules"))
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Let them fire no more."""
        self._steer(request, "pause", list(queryset.only("pk")))

    @admin.action(permissions=["pause"], description=_("Resume selected schedules"))
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Let them fire again."""
        self._steer(request, "resume", list(queryset.only("pk")))

    @admin.action(permissions=["run"], description=_("Run selected schedules now"))
    def run_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Enqueue the job of each, out of turn."""
        self._steer(request, "run", list(queryset.only("pk")))

    def steer_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """A button on a schedule's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self._may(request, verb)):
            raise PermissionDenied
        schedule = self.get_object(request, unquote(object_id))
        if schedule is None:
            return self.gone(request, unquote(object_id))
        self._steer(request, verb, [schedule])
        return HttpResponseRedirect(self.url("change", quote(schedule.pk)))

    def _may(self, request: HttpRequest, verb: str) -> bool:
        return self.has_run_permission(request) if verb == "run" else self.has_pause_permission(request)

    def _steer(self, request: HttpRequest, verb: str, schedules: Sequence[Schedule]) -> None:
        service = scheduler_on(database())
        steered = 0
        refused: list[str] = []
        for schedule in schedules:
            try:
                with transaction.atomic(using=database()):
                    note(request, [schedule], _VERBS[verb](service, schedule.pk))
            except SoniqError as error:
                refused.append(formatting.message(error))
            else:
                steered += 1
        self._report(request, verb, steered, refused)

    def _report(self, request: HttpRequest, verb: str, steered: int, refused: list[str]) -> None:
        texts = {
            "pause": ngettext("%(n)d schedule is paused.", "%(n)d schedules are paused.", steered),
            "resume": ngettext("%(n)d schedule is active.", "%(n)d schedules are active.", steered),
            "run": ngettext("%(n)d job was enqueued.", "%(n)d jobs were enqueued.", steered),
        }
        if steered:
            self.message_user(request, texts[verb] % {"n": steered}, messages.SUCCESS)
        for why in refused[:REFUSALS]:
            self.message_user(request, why, messages.ERROR)
        more = len(refused) - REFUSALS
        if more > 0:
            text = ngettext("%(count)d more was refused.", "%(count)d more were refused.", more)
            self.message_user(request, text % {"count": more}, messages.ERROR)

    # -- pages

    def get_urls(self) -> list[Any]:
        """Django's, and the buttons'."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        buttons = [
            path(
                f"<path:object_id>/{verb}/",
                self.admin_site.admin_view(self.steer_view),
                {"verb": verb},
                name=f"{prefix}_{verb}",
            )
            for verb in _VERBS
        ]
        return [*buttons, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with a button for each thing that can be done now."""
        schedule = kwargs.get("obj")
        paused = schedule is not None and schedule.paused
        verbs = [("resume", gettext("Resume")) if paused else ("pause", gettext("Pause"))]
        verbs.append(("run", gettext("Run now")))
        context["verbs"] = [(verb, label) for verb, label in verbs if self._may(request, verb)]
        return super().render_change_form(request, context, *args, **kwargs)


def _when(value: Any) -> SafeString | None:
    return None if value is None else formatting.when(value, now=timezone.now())


def _pause(service: SchedulerService, name: str) -> str:
    if not service.pause_now(name):
        raise ScheduleNotFound(name)
    return gettext("Paused.")


def _resume(service: SchedulerService, name: str) -> str:
    if not service.resume_now(name):
        raise ScheduleNotFound(name)
    return gettext("Resumed.")


def _run(service: SchedulerService, name: str) -> str:
    return gettext("Run as job %(id)s.") % {"id": service.run_now(name)}


# Each gives what the history notes.
_VERBS: dict[str, Callable[[SchedulerService, str], str]] = {
    "pause": _pause,
    "resume": _resume,
    "run": _run,
}
