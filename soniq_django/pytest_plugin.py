"""Fixtures for projects that test with pytest and pytest-django.

``soniq_app``
    A ``Soniq`` in memory, with all jobs of the project. While the test runs, ``.enqueue()`` of shared
    jobs goes there. Run them with ``soniq_app.run_worker(run_once=True)``, or without ``await`` through
    the fixture ``run_jobs``.
``run_jobs``
    Call it to run everything that is due in ``soniq_app``, on the test's own thread and connection, so
    inside the test's transaction; each job once. Returns whether any job was attempted.
``soniq_make_app``
    Makes further apps: ``soniq_make_app(max_retries=0)``. They are closed after the test.
``captured_jobs``
    What the test has enqueued so far: :func:`soniq_django.testing.capture_jobs` around all of it, rolled
    back or not.
``drain_jobs``, ``adrain_jobs``
    The functions of :mod:`soniq_django.testing`: run what is due in the default app.
``inline_jobs``
    Jobs run as they are enqueued: ``testing_mode("inline")`` around the test.
``async_db``
    The fixture ``db`` for async tests: what they await uses the test's own connection, too, and is rolled
    back with it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

# The plugin must load without Django, so everything else is imported when a fixture is used.
if TYPE_CHECKING:
    from soniq import Soniq
    from soniq_django.testing import CapturedJobs, DrainSummary


@pytest.fixture(autouse=True)
def _soniq_memory() -> Iterator[None]:
    """With ``SONIQ["TESTING"] = "memory"`` each test has a memory of its own."""
    django = sys.modules.get("django.conf")
    if django is None or not django.settings.configured or "soniq_django.conf" not in sys.modules:
        yield
        return
    from soniq_django.conf import read_settings  # noqa: PLC0415  # see above

    if read_settings().testing != "memory":
        yield
        return
    from soniq_django.testing import testing_mode  # noqa: PLC0415  # see above

    with testing_mode("memory"):
        yield


@pytest.fixture
def soniq_make_app() -> Iterator[Callable[..., Soniq]]:
    """Make apps in memory whose jobs use the test's database connection."""
    from asgiref.sync import async_to_sync  # noqa: PLC0415  # see above

    from soniq.testing import make_app  # noqa: PLC0415  # see above
    from soniq_django.signals import SignalObserver  # noqa: PLC0415  # see above
    from soniq_django.testing import TestEnvironment  # noqa: PLC0415  # see above

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
    from soniq import default_app  # noqa: PLC0415  # see above

    with default_app(soniq_make_app()) as app:
        yield app


@pytest.fixture
def run_jobs(soniq_app: Soniq) -> Callable[..., bool]:
    """Run what is due in ``soniq_app``, each job once."""
    from soniq_django.testing import drain_jobs  # noqa: PLC0415  # see above

    def run(**options: Any) -> bool:
        return bool(drain_jobs(app=soniq_app, once=True, **options))

    return run


@pytest.fixture
def async_db(db: None) -> Iterator[None]:  # noqa: ARG001  # asked for its effect
    """The database for async tests, which all roll back."""
    from soniq_django.testing.sharing import shared_connections  # noqa: PLC0415  # see above

    with shared_connections():
        yield


@pytest.fixture
def captured_jobs() -> Iterator[CapturedJobs]:
    """What the test has enqueued so far."""
    from soniq_django.testing import capture_jobs  # noqa: PLC0415  # see above

    capture = capture_jobs()
    yield capture.__enter__()
    capture.stop()  # and ask nobody what was rolled back: the database may be out of reach by now


@pytest.fixture
def drain_jobs() -> Callable[..., DrainSummary]:
    """Run what is due, within the test; see :func:`soniq_django.testing.drain_jobs`."""
    from soniq_django.testing import drain_jobs  # noqa: PLC0415  # see above

    return drain_jobs


@pytest.fixture
def adrain_jobs() -> Callable[..., Awaitable[DrainSummary]]:
    """The same for async tests; see :func:`soniq_django.testing.adrain_jobs`."""
    from soniq_django.testing import adrain_jobs  # noqa: PLC0415  # see above

    return adrain_jobs


@pytest.fixture
def inline_jobs() -> Iterator[Soniq]:
    """Jobs run as they are enqueued."""
    from soniq_django.testing import testing_mode  # noqa: PLC0415  # see above

    with testing_mode("inline") as app:
        yield app
