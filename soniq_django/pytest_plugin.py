"""Fixtures for projects that test with pytest and pytest-django.

``soniq_app``
    A ``Soniq`` in memory, with all jobs of the project. While the test runs, ``.enqueue()`` of shared
    jobs goes there. Run them with ``soniq_app.run_worker(run_once=True)``, or without ``await`` through
    the fixture ``run_jobs``.
``run_jobs``
    Call it to run everything that is due in ``soniq_app``, on the test's own thread and connection, so
    inside the test's transaction. Returns whether any job was attempted.
``soniq_make_app``
    Makes further apps: ``soniq_make_app(max_retries=0)``. They are closed after the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from soniq import Soniq


@pytest.fixture
def soniq_make_app() -> Iterator[Callable[..., Soniq]]:
    """Make apps in memory whose jobs use the test's database connection."""
    from asgiref.sync import async_to_sync  # noqa: PLC0415  # a plugin must load without Django

    from soniq.testing import make_app  # noqa: PLC0415  # as above
    from soniq_django.signals import SignalObserver  # noqa: PLC0415  # as above
    from soniq_django.testing import TestEnvironment  # noqa: PLC0415  # as above

    made: list[Soniq] = []

    def make(**overrides: Any) -> Soniq:
        app = make_app(**{"environment": TestEnvironment(), "observer": SignalObserver(), **overrides})
        made.append(app)
        return app

    yield make
    for app in made:
        async_to_sync(app.close)()


@pytest.fixture
def soniq_app(soniq_make_app: Callable[..., Soniq]) -> Iterator[Soniq]:
    """An app in memory, the default one for the time of the test."""
    from soniq import default_app  # noqa: PLC0415  # a plugin must load without Django

    with default_app(soniq_make_app()) as app:
        yield app


@pytest.fixture
def run_jobs(soniq_app: Soniq) -> Callable[..., bool]:
    """Run what is due in ``soniq_app``, each job once."""
    from asgiref.sync import async_to_sync  # noqa: PLC0415  # a plugin must load without Django

    def run(**options: Any) -> bool:
        return async_to_sync(soniq_app.run_worker)(run_once=True, **options)

    return run
