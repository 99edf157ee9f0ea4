"""What jobs and dead letters show alike: a dead letter is a job that gave up, in a table of its own."""

from __future__ import annotations

from typing import TypeAlias

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from soniq_django.admin import formatting
from soniq_django.models import DeadLetterJob, Job

Row: TypeAlias = Job | DeadLetterJob


class JobFields:
    """Columns and fields for a ``ModelAdmin`` of either."""

    @admin.display(description=_("id"), ordering="id")
    def short_id(self, row: Row) -> SafeString:
        """See :func:`formatting.short_id`."""
        return formatting.short_id(row.pk)

    @admin.display(description=_("attempts"))
    def attempts_of(self, row: Row) -> str:
        """Such as "2 of 4"."""
        return formatting.out_of(row.attempts, row.max_attempts)

    @admin.display(description=_("job"))
    def name(self, row: Row) -> str | SafeString:
        """The name, with a note if no code answers to it."""
        return formatting.job_name(row.job_name)

    @admin.display(description=_("arguments"))
    def pretty_args(self, row: Row) -> SafeString:
        """The arguments, one per line."""
        return formatting.pretty_json(row.args)

    @admin.display(description=_("error"))
    def error(self, row: Row) -> SafeString:
        """The error of the last attempt that failed."""
        return formatting.error(row.last_error or "")

    @admin.display(description=_("failed attempts"))
    def history(self, row: Row) -> SafeString:
        """The attempts that failed, as a table."""
        return formatting.history(row.failures)

    @admin.display(description=_("context"))
    def pretty_context(self, row: Row) -> SafeString:
        """What surrounded the enqueue."""
        return formatting.context(row.context)
