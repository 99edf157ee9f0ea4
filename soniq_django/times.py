"""Between instants and what the project's DateTimeFields hold.

With ``USE_TZ = False`` that is local time by ``TIME_ZONE``, whatever zone a request has activated.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils.timezone import get_default_timezone, is_naive, make_aware, make_naive


def stored_time(value: datetime) -> datetime:
    """An aware time in the form that the project's DateTimeFields take."""
    return value if settings.USE_TZ else make_naive(value, get_default_timezone())


def aware(value: datetime) -> datetime:
    """A time from the database, aware and in UTC whatever USE_TZ says."""
    if is_naive(value):
        value = make_aware(value, get_default_timezone())
    return value.astimezone(UTC)


def meant_by(naive: datetime) -> datetime | None:
    """The instant of a time without a zone; None with ``USE_TZ``, where such a time is a mistake."""
    return None if settings.USE_TZ else make_aware(naive, get_default_timezone())
