"""Dead letters: look at them, replay and delete them."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Right
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from soniq.dead_letter import Replay
from soniq.errors import DeadLetterNotFound, SoniqError
from soniq.visible import visible_line
from soniq_django.admin import formatting
from soniq_django.admin.database import database
from soniq_django.admin.fields import JobFields
from soniq_django.admin.filters import (
    JobNameFilter,
    QueueFilter,
    ReasonFilter,
    ReplayedFilter,
    ScheduleFilter,
)
from soniq_django.admin.history import note
from soniq_django.admin.permissions import may, url_to_look_at
from soniq_django.admin.replay_form import ReplayForm
from soniq_django.admin.table import TableAdmin
from soniq_django.models import DeadLetterJob, Job

ERROR_TAIL = 2000  # characters of an error that a list reads; it shows the last line of them
REFUSALS = 10  # that are told one by one


class OvertakenError(Exception):
    """The dead letter was replayed by somebody else since the user looked at it."""


@admin.register(DeadLetterJob)
class DeadLetterAdmin(JobFields, TableAdmin):
    """Jobs that gave up."""

    list_display = (
        "short_id",
        "called",
        "reason",
        "error_line",
        "queue",
        "attempts_of",
        "gave_up",
        "resurrection_count",
    )
    list_display_links = ("short_id", "called")
    list_filter = (ReasonFilter, QueueFilter, JobNameFilter, ReplayedFilter, ScheduleFilter)
    ordering = ("-moved_to_dead_letter_at", "-id")
    search_fields = ("job_name",)
    search_help_text = _("An id, or a part of a job's name.")
    sortable_by = ("short_id", "gave_up")  # what an index sorts
    unlisted = ("args", "last_error", "tags", "context", "failures")
    actions = ("replay_selected",)

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows, each with the end of its error only: a whole one may take 32 KiB."""
        listed: QuerySet[Any] = super().for_list(rows).annotate(error_tail=Right("last_error", ERROR_TAIL))
        return listed

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What there is to say about a dead letter; no empty headings."""
        groups: list[tuple[Any, Any]] = [
            (None, {"fields": ["id", "name", "reason", "queue", "priority", "tag_list"]}),
        ]
        if obj is not None and obj.last_error:
            groups.append((_("Last error"), {"fields": ["error"]}))
        if obj is not None and obj.failures:
            groups.append((_("Failed attempts"), {"fields": ["history"]}))
        groups += [
            (_("Arguments"), {"fields": ["pretty_args"]}),
            (_("Attempts"), {"fields": ["attempts_of"]}),
            (_("Times"), {"fields": ["original_created_at", "moved_to_dead_letter_at"]}),
            (_("Replays"), {"fields": ["resurrection_count", "last_resurrection_at"]}),
        ]
        if obj is not None and obj.context:
            groups.append((_("Context"), {"fields": ["pretty_context"]}))
        return groups

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All of them."""
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    # -- columns and fields

    @admin.display(description=_("job"))
    def called(self, letter: DeadLetterJob) -> str:
        """The name alone."""
        return visible_line(letter.job_name)

    @admin.display(description=_("reason"))
    def reason(self, letter: DeadLetterJob) -> SafeString:
        """Why the job gave up, as a coloured label."""
        return formatting.reason_badge(letter.dead_letter_reason)

    @admin.display(description=_("gave up"), ordering="moved_to_dead_letter_at")
    def gave_up(self, letter: DeadLetterJob) -> SafeString:
        """How long ago the job gave up."""
        return formatting.when(letter.moved_to_dead_letter_at, now=timezone.now())

    @admin.display(description=_("error"), empty_value="")
    def error_line(self, letter: Any) -> str:
        """The last line of the error."""
        tail = letter.error_tail or ""
        return formatting.one_line(tail, is_cut=len(tail) == ERROR_TAIL)

    @admin.display(description=_("tags"))
    def tag_list(self, letter: DeadLetterJob) -> str | None:
        """The tags."""
        return ", ".join(visible_line(str(tag)) for tag in letter.tags) or None

    # -- replaying

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Django asks this for the action."""
        return may(request, "replay", DeadLetterJob)

    @admin.action(permissions=["replay"], description=_("Replay selected dead letters"))
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetterJob]) -> None:
        """Enqueue each anew. One that is refused is named, and the others go on."""
        replayed = 0
        refused: list[tuple[DeadLetterJob, str]] = []
        for letter in list(queryset.only("pk", "job_name")):
            try:
                replay = self._replay(request, letter)
            except SoniqError as error:
                refused.append((letter, formatting.message(error)))
            else:
                if replay.enqueued:
                    replayed += 1
                else:
                    refused.append((letter, _held(replay.job_id)))
        self._report(request, replayed, refused)

    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page with the form to replay one dead letter, with other arguments if need be."""
        if not (self.has_view_permission(request) and self.has_replay_permission(request)):
            raise PermissionDenied
        letter = self.get_object(request, unquote(object_id))
        if letter is None:
            return self.gone(request, object_id)
        form = ReplayForm.of(letter, request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                replay = self._replay(request, letter, seen=letter.resurrection_count, **_options(form))
            except DeadLetterNotFound:
                return self.gone(request, object_id)
            except OvertakenError:
                letter.refresh_from_db(fields=["resurrection_count"])
                form.refuse_as_overtaken()
            except SoniqError as error:
                form.refuse(error)
            else:
                return self._replayed(request, letter, replay)
        return self._form_page(request, letter, form)

    def _replay(
        self, request: HttpRequest, letter: DeadLetterJob, *, seen: int | None = None, **options: Any
    ) -> Replay:
        """Replay one, and note it in the history.

        If the history cannot be written, there is no replay either. Where the history is in another
        database than the jobs, it may tell of a replay whose commit then failed.

        :param seen: how often it had been replayed when the user looked
        :raises OvertakenError: it has been replayed since; nothing was written
        """
        with transaction.atomic(using=database()):
            replay = letter.replay(**options)
            if seen is not None:
                # After the replay, whose lock makes two that were sent at once follow each other.
                rows = DeadLetterJob.objects.using(database()).filter(pk=letter.pk)
                if rows.values_list("resurrection_count", flat=True).get() != seen + replay.enqueued:
                    raise OvertakenError
            if replay.enqueued:
                note(request, [letter], gettext("Replayed as job %(id)s.") % {"id": replay.job_id})
            else:
                note(request, [letter], gettext("Not replayed: %(why)s") % {"why": _held(replay.job_id)})
        return replay

    def _replayed(self, request: HttpRequest, letter: DeadLetterJob, replay: Replay) -> HttpResponse:
        job_id = replay.job_id
        url = url_to_look_at(request, self.admin_site, Job, job_id)
        link: str = job_id if url is None else format_html('<a href="{}">{}</a>', url, job_id)
        if replay.enqueued:
            self.message_user(request, format_html(gettext("Replayed as job {}."), link), messages.SUCCESS)
        else:
            self.message_user(request, format_html(capfirst(_held("{}")), link), messages.WARNING)
        return HttpResponseRedirect(url or self.url("change", letter.pk))

    def _form_page(self, request: HttpRequest, letter: DeadLetterJob, form: ReplayForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Replay dead letter"),
            "subtitle": str(letter),
            "opts": self.opts,
            "original": letter,
            "has_view_permission": True,
            "code_note": formatting.code_note(letter.job_name),
            "adminform": AdminForm(
                cast("Any", form), [(None, {"fields": [name for name in form.fields if name != "seen"]})], {}
            ),
            "errors": form.errors,
            "media": self.media + form.media,
        }
        request.current_app = self.admin_site.name  # as Django's own pages do
        return TemplateResponse(request, "admin/soniq_django/deadletterjob/replay.html", context)

    def _report(self, request: HttpRequest, replayed: int, refused: list[tuple[DeadLetterJob, str]]) -> None:
        if replayed:
            text = ngettext(
                "%(count)d dead letter was replayed.", "%(count)d dead letters were replayed.", replayed
            )
            self.message_user(request, text % {"count": replayed}, messages.SUCCESS)
        for letter, why in refused[:REFUSALS]:
            text = gettext("%(letter)s was not replayed: %(why)s")
            self.message_user(request, text % {"letter": letter, "why": why}, messages.ERROR)
        more = len(refused) - REFUSALS
        if more > 0:
            text = ngettext("%(count)d more was not replayed.", "%(count)d more were not replayed.", more)
            self.message_user(request, text % {"count": more}, messages.ERROR)

    # -- pages

    def get_urls(self) -> list[Any]:
        """Django's, and the form's."""
        replay: URLPattern = path(
            "<path:object_id>/replay/",
            self.admin_site.admin_view(self.replay_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_replay",
        )
        return [replay, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with a button that leads to the form."""
        context["can_replay"] = self.has_replay_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)


def _options(form: ReplayForm) -> dict[str, Any]:
    return {name: value for name, value in form.cleaned_data.items() if name != "seen"}


def _held(job_id: str) -> str:
    """Why nothing was enqueued; the id is that of the job in the way."""
    return gettext("nothing was enqueued, the live job %(id)s holds its unique key.") % {"id": job_id}
