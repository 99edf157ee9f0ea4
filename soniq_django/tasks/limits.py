"""How large arguments and results of tasks may be."""

from __future__ import annotations

from soniq import NotConfigured, get_default_app
from soniq.settings import Settings
from soniq_django.conf import read_settings


def limits() -> Settings:
    """The settings of the default app; without one, those that ``settings.SONIQ`` gives to it.

    The immediate and the dummy backend have no use for an app, which may not be installed.
    """
    try:
        return get_default_app().settings
    except NotConfigured:
        return Settings.from_mapping(read_settings().core)
