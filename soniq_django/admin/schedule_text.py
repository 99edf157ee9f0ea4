"""How schedules look: their rule, and when they fire."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from soniq.errors import InvalidSchedule
from soniq.fire_times import preview
from soniq.schedule_records import Schedule, ScheduleStatus
from soniq.schedule_words import rule_in_words
from soniq.visible import visible_line
from soniq.zones import zone
from soniq_django.admin import formatting

AHEAD = 5  # fire times that are shown


def rule(cron: str | None, every: float | None) -> str:
    """Such as "every day at 03:00 (0 3 * * *)"; one that words do not say exactly as it is written."""
    words = rule_in_words(cron, every)
    return visible_line(words if cron is None or words == cron else f"{words} ({cron})")


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
