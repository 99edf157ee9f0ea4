"""Filters whose choices cost the same on a table of ten rows and of ten million."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from soniq.schedule_records import CONTEXT_KEY, ScheduleStatus
from soniq.visible import visible_line
from soniq_django.admin.formatting import REASONS
from soniq_django.conf import current_app
from soniq_django.models import Job

RECENT = 1000  # rows, newest first, whose values are offered
CHOICES = 100


class ValueFilter(admin.SimpleListFilter):
    """Rows with one value in a column. Offers the values that the code declares and recent rows have."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The values to choose from, the chosen one always among them."""
        column = self.parameter_name
        recent = model_admin.get_queryset(request).order_by("-pk").values_list(column, flat=True)
        values = {*self.declared(), *recent[:RECENT]}
        offered = sorted(values)[:CHOICES]
        chosen = self.value()
        if chosen and chosen not in offered:
            offered.append(chosen)
        return [(value, visible_line(value)) for value in offered]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the chosen value."""
        return _with_value(queryset, str(self.parameter_name), self.value())

    def declared(self) -> Iterable[str]:
        """The values that the project's code can give a job."""
        raise NotImplementedError


class QueueFilter(ValueFilter):
    """By queue."""

    title = _("queue")
    parameter_name = "queue"

    def declared(self) -> Iterator[str]:
        """The queues that jobs name."""
        registry = current_app().registry
        return (registry.get(name).options.queue for name in registry)


class JobNameFilter(ValueFilter):
    """By job."""

    title = _("job")
    parameter_name = "job_name"

    def declared(self) -> Iterable[str]:
        """All jobs that are registered."""
        return current_app().registry


class CodeFilter(admin.SimpleListFilter):
    """Jobs that wait and that this project's code cannot run."""

    title = _("code")
    parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The one choice besides all."""
        return [("unknown", _("waits for unknown code"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Only what waits: an index holds these rows, however many jobs have ended."""
        if self.value() != "unknown":
            return queryset
        return queryset.filter(status=Job.Status.QUEUED).exclude(job_name__in=list(current_app().registry))


class ScheduleFilter(admin.SimpleListFilter):
    """What one schedule has made. Offers none, as there may be many: a schedule's page leads here."""

    title = _("schedule")
    parameter_name = "schedule"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The chosen one."""
        chosen = self.value()
        return [(chosen, visible_line(chosen))] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows whose context names it."""
        return _with_value(queryset, f"context__{CONTEXT_KEY}__name", self.value())


class ReasonFilter(admin.SimpleListFilter):
    """Why a job gave up."""

    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """All reasons."""
        return [(reason.value, label) for reason, label in REASONS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The dead letters with the chosen reason."""
        value = self.value()
        known = value in {reason.value for reason in REASONS}
        return queryset.filter(dead_letter_reason=value) if known else queryset


class ReplayedFilter(admin.SimpleListFilter):
    """Whether a dead letter was replayed."""

    title = _("replayed")
    parameter_name = "replayed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Yes and no."""
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The dead letters that were, or were not."""
        if self.value() == "yes":
            return queryset.filter(resurrection_count__gt=0)
        if self.value() == "no":
            return queryset.filter(resurrection_count=0)
        return queryset


class ScheduleStatusFilter(admin.SimpleListFilter):
    """Whether a schedule fires."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """All there are."""
        return [
            (ScheduleStatus.ACTIVE.value, _("active")),
            (ScheduleStatus.PAUSED.value, _("paused")),
            (ScheduleStatus.ENDED.value, _("ended")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The schedules with the chosen status."""
        value = self.value()
        if value == ScheduleStatus.PAUSED:
            return queryset.filter(paused=True)
        if value == ScheduleStatus.ACTIVE:
            return queryset.filter(paused=False, next_fire_at__isnull=False)
        if value == ScheduleStatus.ENDED:
            return queryset.filter(paused=False, next_fire_at__isnull=True)
        return queryset


def _with_value(rows: QuerySet[Any], field: str, value: str | None) -> QuerySet[Any]:
    """Those with the chosen value; all, if none is chosen."""
    if not value:
        return rows
    if "\x00" in value:  # PostgreSQL refuses to be asked
        return rows.none()
    return rows.filter(**{field: value})
