"""The queue on the database that a command was told to work on."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import connections, router

from soniq import Soniq
from soniq.registry import Registry
from soniq_django.backend import DjangoBackend
from soniq_django.conf import app_on, current_app, read_settings
from soniq_django.models import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The project's queue on one database."""

    app: Soniq  # enqueues and replays there
    backend: DjangoBackend  # the same database
    registry: Registry  # the jobs for which the project has code

    @property
    def alias(self) -> str:
        """The database."""
        return self.backend.alias


def place(database: str | None = None) -> Place:
    """The queue on ``database``; None = where the project keeps its jobs.

    :raises CommandError: there is no such alias
    """
    known = list(connections)
    if database is not None and database not in known:
        raise CommandError(f"--database {database}: DATABASES has no such alias; it has: {', '.join(known)}")
    settings = read_settings()
    usual = settings.database or router.db_for_write(Job)
    app = current_app() if database in (None, usual) else app_on(database, settings)
    backend = DjangoBackend(database or usual, notify=settings.notify)
    return Place(app=app, backend=backend, registry=current_app().registry)
