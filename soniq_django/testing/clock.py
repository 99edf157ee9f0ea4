"""Time in tests: one now for Python, for the queue and for the jobs that run ahead of it.

While freezegun or time-machine have Python's clock, the stores go by it, too. Otherwise they go by their own
clock, as in production. A drain with ``until`` puts an instant of its own in the place of both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from soniq_django.clock import replace_clock


class TestClock:
    """The clock of this process's tests."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self) -> None:
        self._at: datetime | None = None

    def instead_of_now(self) -> datetime | None:
        """The instant that the stores are to take for now; None: their own."""
        if self._at is not None:
            return self._at
        return datetime.now(UTC) if _frozen_by() else None

    def now(self) -> datetime:
        """The queue's now, as near as Python knows it."""
        return self.instead_of_now() or datetime.now(UTC)

    def timestamp(self) -> float:
        """The same in seconds since 1970: the clock of a store in memory."""
        return self.now().timestamp()

    @contextmanager
    def travelling(self) -> Iterator[Callable[[datetime], None]]:
        """Gives what moves the queue's clock to an instant, and Python's where a library for that is there.

        Both return to where they were.
        """
        with ExitStack() as ending:
            movers: list[Callable[[datetime], None]] = []

            def move(instant: datetime) -> None:
                self._at = instant
                if movers:
                    movers[0](instant)
                elif (freeze := _freezer(instant)) is not None:
                    movers.append(ending.enter_context(freeze).move_to)

            before = self._at
            try:
                yield move
            finally:
                self._at = before


clock = TestClock()


def follow_python() -> None:
    """Let the stores of this process follow a clock that a test has frozen."""
    replace_clock(clock.instead_of_now)


def _frozen_by() -> str | None:
    """The library that holds Python's clock at present."""
    # Only a library that was imported can hold it; none is imported for the question.
    time_machine = sys.modules.get("time_machine")
    if time_machine is not None and time_machine.escape_hatch.is_travelling():
        return "time_machine"
    freezegun = sys.modules.get("freezegun.api")
    if freezegun is not None and freezegun.freeze_factories:
        return "freezegun"
    return None


def _freezer(instant: datetime) -> Any:
    """A context manager that moves Python's clock, which ticks on from there; None: nothing here can.

    The library that holds the clock already is the one to ask; the other would not see through it.
    """
    installed = [name for name in ("time_machine", "freezegun") if find_spec(name) is not None]
    name = _frozen_by() or next(iter(installed), None)
    if name == "time_machine":
        return import_module(name).travel(instant, tick=True)
    if name == "freezegun":
        # asyncio keeps the real clock: a loop whose time stands still never wakes a sleeping job.
        return import_module(name).freeze_time(instant, tick=True, real_asyncio=True)
    return None
