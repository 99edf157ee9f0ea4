"""Where the admin's tables are."""

from __future__ import annotations

from django.db import router

from soniq_django.backend import DjangoBackend
from soniq_django.conf import current_app
from soniq_django.models import Job


def database() -> str:
    """The alias of the database that the app keeps its jobs in."""
    backend = current_app().backend
    # Not a question of capability: a store that has no tables has no alias either, and then the admin
    # shows what the project's own tables hold.
    return backend.alias if isinstance(backend, DjangoBackend) else router.db_for_write(Job)
