"""The shared registry, and the default app that its jobs are enqueued to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from soniq import tracing
from soniq.errors import NotConfigured
from soniq.registry import Registry
from soniq.task import Producer

if TYPE_CHECKING:
    from soniq.app import Soniq

_default: Soniq | None = None


def set_default_app(app: Soniq | None) -> None:
    """Make ``app`` the one that shared jobs are enqueued to; None = there is none."""
    global _default  # noqa: PLW0603  # the one place that holds it
    _default = app


def configure(**options: Any) -> Soniq:
    """Make a ``Soniq`` with these options, and make it the default app."""
    from soniq.app import Soniq  # noqa: PLC0415  # app stands above this module

    app = Soniq(**options)
    set_default_app(app)
    return app


def get_default_app() -> Soniq:
    """The app that shared jobs are enqueued to.

    :raises NotConfigured: nobody has set one
    """
    if _default is None:
        raise NotConfigured(
            "no default app: in Django add 'soniq_django' to INSTALLED_APPS (if it is there, manage.py check "
            "says what is wrong with settings.SONIQ); elsewhere call soniq.configure(database_url=...)"
        )
    return _default


@contextmanager
def default_app(app: Soniq) -> Iterator[Soniq]:
    """Within the block, shared jobs are enqueued to ``app``; in every thread, so it is for tests."""
    before = _default
    set_default_app(app)
    try:
        yield app
    finally:
        set_default_app(before)


def _producer() -> Producer:
    return get_default_app().producer


shared = Registry(producer=_producer)
shared.contexts.context(tracing.KEY, capture=tracing.capture)(tracing.restore)
