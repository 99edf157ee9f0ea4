"""How schedules look: their rule, and when they fire."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

from soniq.errors import InvalidSchedule
from soniq.fire_times import preview
from soniq.schedule_records import Schedule, ScheduleStatus
from soniq.visible import visible_line
from soniq.zones import zone
from soniq_django.admin import formatting

AHEAD = 5  # fire times that are shown

_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


def rule(cron: str | None, every: float | None) -> str:
    """Such as "0 3 * * *" or "every 5 minutes"."""
    return visible_line(cron or "") if every is None else interval(every)


def interval(seconds: float) -> str:
    """Such as "every 5 minutes": in the largest unit of which it is a whole number."""
    for size, text in (
        (_DAY, ngettext_lazy("every day of 24 hours", "every %(count)d days of 24 hours", "count")),
        (_HOUR, ngettext_lazy("every hour", "every %(count)d hours", "count")),
        (_MINUTE, ngettext_lazy("every minute", "every %(count)d minutes", "count")),
    ):
        count, rest = divmod(seconds, size)
        if count and not rest:
            return str(text % {"count": int(count)})
    return _("every %(seconds)s seconds") % {"seconds": f"{seconds:g}"}


def status(*, paused: bool, fires: bool) -> SafeString:
    """Where it stands, as a coloured label."""
    status = ScheduleStatus.of(paused=paused, fires=fires)
    labels = {
        ScheduleStatus.ACTIVE: _("active"),
        ScheduleStatus.PAUSED: _("paused"),
        ScheduleStatus.ENDED: _("ended"),
    }
    return formatting.badge(f"schedule-{status}", labels[status])


def fire_times(schedule: Schedule) -> SafeString | str:
    """The next fire times, by the clock of the schedule's time zone; or why there are none."""
    try:
        clock: ZoneInfo = zone(schedule.timezone)
        times = preview(schedule, AHEAD)
    except Exception as error:  # noqa: BLE001  # a row edited by hand may hold any rule
        kind = "" if isinstance(error, InvalidSchedule) else f"{type(error).__name__}: "
        return format_html('<span class="soniq-note">{}{}</span>', kind, formatting.message(error))
    if not times:
        return _("none")
    rows = ((time.isoformat(), f"{time.astimezone(clock):%Y-%m-%d %H:%M:%S %Z}") for time in times)
    listed = format_html_join("", '<li><time datetime="{}">{}</time></li>', rows)
    return format_html('<ol class="soniq-times">{}</ol>', listed)
