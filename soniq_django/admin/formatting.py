"""How values look. What comes from a job is masked, made visible and escaped here."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings as django_settings
from django.contrib.admin.utils import display_for_value
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.timezone import get_default_timezone, make_naive
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from soniq.backends.stored import failed_attempts
from soniq.jobs import DeadLetterReason
from soniq.readable import readable
from soniq.redaction import Redactor, redactor
from soniq.visible import visible, visible_json, visible_line
from soniq_django.conf import current_app

REASONS = {
    DeadLetterReason.MAX_RETRIES_EXCEEDED: gettext_lazy("retries used up"),
    DeadLetterReason.PERMANENT_FAILURE: gettext_lazy("permanent failure"),
    DeadLetterReason.JOB_NOT_FOUND: gettext_lazy("job not found"),
    DeadLetterReason.INVALID_ARGUMENTS: gettext_lazy("invalid arguments"),
    DeadLetterReason.TIMEOUT: gettext_lazy("timeout"),
    DeadLetterReason.WORKER_LOST: gettext_lazy("worker lost"),
}
LINE = 100  # characters of an error in a list
JUST_NOW = timedelta(minutes=1)


def badge(kind: str, text: object) -> SafeString:
    """A coloured label. The colour says nothing that the text does not."""
    return format_html('<span class="soniq-badge soniq-{}">{}</span>', kind, text)


def reason_badge(reason: str) -> SafeString:
    """Why a job gave up; a reason that is not known here is shown as it is stored."""
    labels: dict[str, Any] = {str(known): label for known, label in REASONS.items()}
    return badge(reason, labels.get(reason, reason))


def short_id(value: UUID) -> SafeString:
    """The end of an id, which tells ids of the same minute apart; the whole of it as tooltip."""
    return format_html('<code class="soniq-id" title="{}">…{}</code>', value, value.hex[-8:])


def job_name(name: str) -> str | SafeString:
    """The name, with a note if no code answers to it here."""
    note = code_note(name)
    text = visible_line(name)
    return text if note is None else format_html("{} {}", text, note)


def code_note(name: str) -> SafeString | None:
    """A note that no code answers to the name here; None if some does."""
    if current_app().registry.find(name) is not None:
        return None
    text = _("No job of this name is registered in this project.")
    return format_html('<span class="soniq-note">{}</span>', text)


def waiting_name(name: str, *, since: datetime, now: datetime) -> str | SafeString:
    """The name of a job that waits; labelled if no code answers to it here."""
    if current_app().registry.find(name) is not None:
        return name
    text = _("unknown here, waits for %(time)s") % {"time": timesince(since, now, depth=1)}
    return format_html("{} {}", visible_line(name), badge("job_not_found", text))


def out_of(done: int, most: int) -> str:
    """Such as "2 of 4"."""
    return _("%(done)d of %(most)d") % {"done": done, "most": most}


def when(value: datetime, *, now: datetime) -> SafeString:
    """Such as "5 minutes ago" or "in 2 hours", the exact time as tooltip."""
    if abs(now - value) < JUST_NOW:
        text = _("just now")
    elif value > now:
        text = _("in %(time)s") % {"time": timesince(now, value, depth=1)}
    else:
        text = _("%(time)s ago") % {"time": timesince(value, now, depth=1)}
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        display_for_value(value, ""),
        text,
    )


def secrets() -> Redactor:
    """What the setting ``REDACT`` hides."""
    return redactor(current_app().settings.redact)


def pretty_json(value: Any) -> SafeString:
    """Stored JSON over several lines, marks told by their types, secrets masked."""
    return _scrollable(visible_json(readable(secrets().value(value))))


def context(value: Any) -> SafeString:
    """What surrounded an enqueue, as JSON over several lines. Secrets are masked within its texts, too."""
    return _scrollable(as_json(secrets().value(value, texts=True)))


def as_json(value: Any) -> str:
    """JSON over several lines, secrets masked, as text that can be edited."""
    return visible_json(json.dumps(secrets().value(value), indent=2, ensure_ascii=False))


def error(text: str) -> SafeString:
    """The last line, which says what went wrong, above the whole. Secrets are masked."""
    text = visible(secrets().text(text))
    line = headline(text)
    if line == text.strip():
        return format_html('<strong class="soniq-error">{}</strong>', line)
    return format_html('<strong class="soniq-error">{}</strong>{}', line, _scrollable(text))


def history(value: Any) -> SafeString:
    """The attempts that failed as a table, the last one first. Secrets are masked."""
    rows = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                one.attempt,
                exact_time(one.at),
                worker(one.worker_id),
                error(one.error),
            )
            for one in reversed(failed_attempts(value))
        ),
    )
    return format_html(
        '<table class="soniq-history"><thead><tr>'
        '<th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th>'
        "</tr></thead><tbody>{}</tbody></table>",
        _("attempt"),
        _("when"),
        _("worker"),
        _("error"),
        rows,
    )


def worker(worker_id: str) -> SafeString:
    """The end of a worker's id, the whole of it as tooltip."""
    text = visible_line(secrets().text(worker_id))
    return format_html('<code class="soniq-id" title="{}">…{}</code>', text, text[-8:])


def exact_time(value: datetime) -> SafeString:
    """The time as the admin writes times, in the zone of the page."""
    local = value if django_settings.USE_TZ else make_naive(value, get_default_timezone())
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), display_for_value(local, ""))


def message(error: Exception) -> str:
    """What an error says: a refusal may quote the values that it refuses."""
    return visible(secrets().text(str(error)))


def headline(text: str) -> str:
    """The last line of an error."""
    return text.rstrip().rpartition("\n")[2].strip()


def one_line(tail: str, *, is_cut: bool) -> str:
    """The last line of an error, or of its end, cut to fit a list."""
    line = visible(secrets().text(headline(tail)))
    if is_cut and "\n" not in tail.rstrip():
        line = f"…{line}"
    return Truncator(line).chars(LINE)


def _scrollable(text: str) -> SafeString:
    # tabindex: without it the keyboard cannot scroll there.
    return format_html('<pre class="soniq-text" tabindex="0">{}</pre>', text)
