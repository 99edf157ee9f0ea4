"""Language and time zone: a job has those that were active where it was enqueued.

What the settings say anyway is not stored. A zone that is not known where the job runs is logged, and the
job has that of the settings.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import timezone as fixed_offset

from asgiref.local import Local
from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import trans_real

import soniq
from soniq.jobs import JSON
from soniq.steady import get_logger

logger = get_logger("soniq.context")

LANGUAGE = re.compile(r"[A-Za-z]{1,8}([-_@][A-Za-z0-9]{1,8})*")  # becomes part of a path


def untouched(local: Local) -> Callable[[], bool]:
    """Asks whether nothing was activated in the present context, at a twentieth of what reading it costs.

    Each enqueue asks. Where asgiref keeps its data in another way than is known here, the answer is no.
    """
    data = getattr(getattr(local, "_storage", None), "_data", None)
    if not isinstance(data, ContextVar):
        return lambda: False
    return lambda: data.get(None) is None


# What is active is nowhere else to be seen.
_no_language = untouched(trans_real._active)  # type: ignore[attr-defined]  # noqa: SLF001  # see above
_no_zone = untouched(timezone._active)  # type: ignore[attr-defined]  # noqa: SLF001  # see above


def active_language() -> str | None:
    """The language that is not the setting's."""
    if _no_language():
        return None
    language = translation.get_language()
    return None if language == settings.LANGUAGE_CODE else language


@soniq.context("language", capture=active_language)
def in_language(language: JSON) -> AbstractContextManager[None]:
    """Texts are translated into it."""
    if isinstance(language, str) and LANGUAGE.fullmatch(language):
        return translation.override(language)
    logger.warning("%.80r is no language; the job has that of the settings", language)
    return nullcontext()


def active_zone() -> str | int | None:
    """The time zone that is not the setting's: its name, or minutes from UTC."""
    if _no_zone():
        return None
    zone = timezone.get_current_timezone()
    default = timezone.get_default_timezone()
    if zone is default or zone == default:
        return None
    if isinstance(zone, fixed_offset):
        return int(zone.utcoffset(None).total_seconds() // 60)
    return str(zone)


@soniq.context("time_zone", capture=active_zone)
def in_zone(zone: JSON) -> AbstractContextManager[None]:
    """It is the current one."""
    try:
        found = timezone.get_fixed_timezone(zone) if isinstance(zone, int) else zoneinfo.ZoneInfo(zone)
    except (ValueError, TypeError, OSError, zoneinfo.ZoneInfoNotFoundError):
        logger.warning("the time zone %.80r is not known here; the job has that of the settings", zone)
        return nullcontext()
    return timezone.override(found)
