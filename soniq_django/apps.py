"""The Django app: configured at start, finds the jobs of all other apps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class SoniqConfig(AppConfig):
    """Reads ``settings.SONIQ`` and imports ``<app>.jobs`` from every installed app."""

    name = "soniq_django"
    label = "soniq_django"
    verbose_name = _("Background jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django once all models are loaded."""
        from soniq_django import (  # noqa: PLC0415  # needs the models
            checks,
            context,  # noqa: F401  # registers language and time zone
        )
        from soniq_django.conf import configure  # noqa: PLC0415  # as above
        from soniq_django.mid_use import load_early  # noqa: PLC0415  # as above
        from soniq_django.references import register  # noqa: PLC0415  # as above
        from soniq_django.task_modules import discover  # noqa: PLC0415  # as above

        checks.register_all()
        register()
        setting_changed.connect(_reconfigure, dispatch_uid="soniq_django")
        try:
            settings = configure()
        except ImproperlyConfigured:
            if _checks_come():
                return
            raise
        load_early()
        autodiscover_modules(settings.jobs_module)
        discover()
        if settings.dev_worker:
            from soniq_django.dev_worker import accompany  # noqa: PLC0415  # few processes need it

            accompany(sys.argv)


def _checks_come() -> bool:
    """Whether this is manage.py, whose commands run the system checks, which tell a mistake more kindly.

    Elsewhere, in a web server for one, nobody would hear of it until the first enqueue. The few commands that
    skip the checks, such as shell, find no default app.
    """
    return Path(sys.argv[0]).name in ("manage.py", "django-admin", "__main__.py")


def _reconfigure(*, setting: str, **_kwargs: Any) -> None:
    """Tests that override settings.SONIQ get an app that follows; with TASKS, workers that find its tasks."""
    if setting == "SONIQ":
        from soniq_django.conf import configure  # noqa: PLC0415  # needs the models

        configure()
    if setting == "TASKS":
        from soniq_django.task_modules import discover  # noqa: PLC0415  # as above

        discover()
