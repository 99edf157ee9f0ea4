"""What becomes of jobs while tests run: they wait, they run at once, or there is no database at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, get_args

from asgiref.sync import async_to_sync, sync_to_async
from django.test.utils import TestContextDecorator

from soniq.app import Soniq
from soniq.backends.memory import MemoryBackend
from soniq.default import default_app, get_default_app
from soniq.errors import ConfigurationError
from soniq.jobs import NewJob
from soniq_django.conf import read_settings
from soniq_django.signals import SignalObserver
from soniq_django.testing.clock import clock
from soniq_django.testing.drain import Drain
from soniq_django.testing.environment import TestEnvironment

P = ParamSpec("P")
T = TypeVar("T")

Mode: TypeAlias = Literal["manual", "inline", "memory"]
MODES: tuple[Mode, ...] = get_args(Mode)


class TestMemory(MemoryBackend):
    """A store in memory by the clock of tests, called on the thread that has their connection."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self) -> None:
        super().__init__(clock.timestamp)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As the store on a database does, so that jobs run inline may use the ORM."""
        return await sync_to_async(call, thread_sensitive=True)(*args, **kwargs)


def memory_app(**overrides: Any) -> Soniq:
    """An app in memory, with all jobs of the project; its settings are those of ``settings.SONIQ``.

    :param overrides: parameters of :class:`soniq.Soniq` that differ
    """
    defaults = {
        "backend": TestMemory(),
        "environment": TestEnvironment(),
        "observer": SignalObserver(),
        **read_settings().of_app,
    }
    return Soniq(**{**defaults, **overrides})


class testing_mode(TestContextDecorator):  # noqa: N801  # used like override_settings
    """Run tests in a mode: a context manager, or a decorator of functions, of methods and of test classes.

    ``manual``
        The default: jobs are stored, and run when the test says so (:func:`drain_jobs`).
    ``inline``
        A job that is due runs within its ``enqueue()``, right after it was stored, whatever transaction is
        open: claimed, run and recorded as in a drain. What it raises reaches the caller of ``enqueue()``,
        once it is recorded. What is scheduled for later waits for a drain.
    ``memory``
        The default app keeps its jobs in memory, so that tests that need no database have none. It gets the
        settings of the project, and is empty each time.

    :param raising: inline alone: whether errors reach the caller. If not, they are recorded, and retries
        without delay run at once, too.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self, mode: Mode, *, raising: bool = True) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"{mode!r} is no mode of tests: give one of {', '.join(MODES)}")
        super().__init__()
        self.mode = mode
        self.raising = raising
        self._ending = ExitStack()

    def enable(self) -> Soniq:
        """Begin; the app that the mode holds for."""
        if self.mode == "memory":
            return self._ending.enter_context(default_app(memory_app()))
        app = get_default_app()
        watchers = app.audience.watchers
        before = list(watchers)
        # A mode replaces the one around it: "manual" is to hold within "inline", too.
        watchers[:] = [watcher for watcher in watchers if not isinstance(watcher, Inline)]
        if self.mode == "inline":
            watchers.append(Inline(app, raising=self.raising))

        def restore() -> None:
            watchers[:] = before

        self._ending.callback(restore)
        return app

    def __enter__(self) -> Soniq:  # type: ignore[override]  # the stubs know one decorator of Django's alone
        return self.enable()

    def disable(self) -> None:
        """End."""
        self._ending.close()


class Inline:
    """Runs the jobs of an app as they are enqueued."""

    def __init__(self, app: Soniq, *, raising: bool = True) -> None:
        self._app = app
        self._raising = raising

    def __call__(self, jobs: Sequence[NewJob], ids: Sequence[str]) -> None:
        """See :data:`soniq.audience.Watcher`."""
        for job, stored_id in zip(jobs, ids, strict=True):
            if job.id == stored_id:
                drain = Drain(self._app, raising=self._raising)
                async_to_sync(drain.run_one)(job.id, name=job.job_name, queue=job.queue)
