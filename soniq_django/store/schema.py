"""Whether the database has the tables that this code expects."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from django.db import ProgrammingError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from soniq.errors import BackendNotReady
from soniq_django.store.errors import remedy, translated

APP = "soniq_django"


def check_migrated(alias: str) -> None:
    """Return if all migrations of this app are applied.

    :raises BackendNotReady: names those that are not, and what to do
    :raises BackendUnavailable: the database cannot be reached
    """
    missing = unapplied_migrations(alias)
    if missing:
        raise BackendNotReady(
            f"{alias}: migrations of {APP} are not applied: {', '.join(missing)}; {remedy(alias)}",
            missing=missing,
        )


def unapplied_migrations(alias: str) -> list[str]:
    """The migrations of this app that the database lacks, in order. Those of a newer release do no harm.

    Only this app's names are compared. Django's own plan would import the migrations of the whole project
    into every worker, and fail with any of them.
    """
    known = _migrations()
    if not known:
        return []
    recorder = MigrationRecorder(connections[alias])
    with translated(alias):
        try:
            applied = {name for app, name in recorder.applied_migrations() if app == APP}
        except ProgrammingError:
            # The role may not read Django's table. Should our own be missing, their first use will say so.
            return []
    return [name for name in known if name not in applied]


def _migrations() -> list[str]:
    """The names of this app's migrations; none where the project has switched migrations off."""
    module, _ = MigrationLoader.migrations_module(APP)
    if module is None:
        return []
    names = (name for _, name, _ in pkgutil.iter_modules(import_module(module).__path__))
    return sorted(name for name in names if name[0] not in "_~")
