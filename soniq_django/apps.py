"""The Django app: configured at start, finds the jobs of all other apps."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig
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
        from soniq_django import context  # noqa: F401, PLC0415  # registers language and time zone
        from soniq_django.conf import configure  # noqa: PLC0415  # needs the models
        from soniq_django.references import register  # noqa: PLC0415  # as above

        register()
        settings = configure()
        autodiscover_modules(settings.jobs_module)
        setting_changed.connect(_reconfigure, dispatch_uid="soniq_django")
        if settings.dev_worker:
            from soniq_django.dev_worker import accompany  # noqa: PLC0415  # few processes need it

            accompany(sys.argv)


def _reconfigure(*, setting: str, **_kwargs: Any) -> None:
    """Tests that override settings.SONIQ get an app that follows."""
    if setting == "SONIQ":
        from soniq_django.conf import configure  # noqa: PLC0415  # needs the models

        configure()
