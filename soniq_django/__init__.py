"""Soniq for Django: jobs are rows of your database, run by ``manage.py soniq_worker``.

``from soniq_django import soniq`` gives the app that ``settings.SONIQ`` describes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soniq import Soniq

    soniq: Soniq

__all__ = ["soniq"]


def __getattr__(name: str) -> object:
    # Importing this package must not need Django to be set up: INSTALLED_APPS imports it first.
    if name == "soniq":
        from soniq_django.conf import current_app  # noqa: PLC0415  # see above

        return current_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
