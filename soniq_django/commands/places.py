"""The queue on the database that a command was told to work on."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import connections, router

from soniq.dead_letter import DeadLetterService
from soniq.producer import JobProducer
from soniq.redaction import redactor
from soniq.registry import Registry
from soniq.settings import Settings
from soniq_django.backend import DjangoBackend
from soniq_django.conf import current_app, read_settings
from soniq_django.connections import DjangoEnvironment
from soniq_django.models import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The project's jobs and settings, on one database."""

    backend: DjangoBackend
    registry: Registry
    settings: Settings

    @property
    def alias(self) -> str:
        """The database."""
        return self.backend.alias

    @property
    def producer(self) -> JobProducer:
        """Enqueues here."""
        return JobProducer(
            self.backend,
            self.registry,
            self.settings,
            ready=lambda: None,
            run=self.backend.run,
            aware=DjangoEnvironment().aware,
        )

    @property
    def dead_letter(self) -> DeadLetterService:
        """The dead letters here."""
        return DeadLetterService(
            self.backend,
            self.producer,
            ready=lambda: None,
            run=self.backend.run,
            redactor=redactor(self.settings.redact),
        )


def place(database: str | None = None) -> Place:
    """The queue on ``database``; None = where the project keeps its jobs.

    :raises CommandError: there is no such alias
    """
    known = list(connections)
    if database is not None and database not in known:
        raise CommandError(f"--database {database}: DATABASES has no such alias; it has: {', '.join(known)}")
    app = current_app()
    given = read_settings()
    alias = database or given.database or router.db_for_write(Job)
    backend = DjangoBackend(alias, notify=given.notify)
    return Place(backend=backend, registry=app.registry, settings=app.settings)
