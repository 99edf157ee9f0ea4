"""Where the admin's tables are."""

from __future__ import annotations

from django.db import router

from soniq_django.conf import read_settings
from soniq_django.models import Job


def database() -> str:
    """The alias of the database that holds the jobs."""
    return read_settings().database or router.db_for_write(Job)
