"""What surrounds a job: captured where it is enqueued, restored around its code.

A kind of context is a pair: ``capture()`` says what is so now, as JSON, or None; ``restore(value)`` gives a
context manager in which that is so again. What was captured is stored with the job and travels with it,
through retries, into the dead letters, and into a replay.

The two ends treat errors differently. An enqueue must not fail for what surrounds it, so a capture that
raises is logged, and the job is stored without that value. A job must not run as if it were somebody else's,
so a restore that raises fails the attempt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

from soniq.arguments import encode
from soniq.errors import ConfigurationError
from soniq.jobs import JSON
from soniq.steady import get_logger

logger = get_logger("soniq.context")

MAX_VALUE_BYTES = 4096  # of one captured value, as JSON text
NAME = re.compile(r"[a-z][a-z0-9_.]{0,62}")

Capture: TypeAlias = Callable[[], JSON]
Restore: TypeAlias = Callable[[Any], AbstractContextManager[Any]]
C = TypeVar("C", bound=Restore)


class Kind(NamedTuple):
    """One kind of context."""

    name: str
    capture: Capture
    restore: Restore


class Contexts:
    """The kinds of context that are registered, in their order.

    :param parent: whose kinds come first
    """

    def __init__(self, parent: Contexts | None = None) -> None:
        self._parent = parent
        self._kinds: dict[str, Kind] = {}

    def context(self, name: str, *, capture: Capture) -> Callable[[C], C]:
        """Carry what ``capture()`` says along with each job, and restore it with the decorated function.

        Both are called where the job is enqueued and where its code runs, so neither may block: they look
        at, and set, what the process holds, such as a ``ContextVar``.

        :param name: of the value in the stored context, such as "tenant"
        :param capture: the value as JSON, of 4 KiB at most; None = there is nothing to carry
        :raises ConfigurationError: the name is none, or taken
        """
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name of a context: use a word such as 'tenant'")
        if not callable(capture):
            raise ConfigurationError(f"capture of the context {name!r} is {capture!r}: give a function")

        def register(restore: C) -> C:
            taken = self.find(name)
            if taken is not None and _whole_name(taken.restore) != _whole_name(restore):
                raise ConfigurationError(
                    f"the context {name!r} is taken by {_whole_name(taken.restore)}; give yours another name"
                )
            self._kinds[name] = Kind(name, capture, restore)
            return restore

        return register

    def find(self, name: str) -> Kind | None:
        """The kind of this name, or None."""
        found = self._kinds.get(name)
        return self._parent.find(name) if found is None and self._parent is not None else found

    def kinds(self) -> tuple[Kind, ...]:
        """All of them, the parent's first."""
        return (*(() if self._parent is None else self._parent.kinds()), *self._kinds.values())

    def capture(self) -> str | None:
        """What surrounds the caller, as the JSON text of an object; None when there is nothing to carry."""
        parts = self.captured()
        return f"{{{','.join(parts)}}}" if parts else None

    def captured(self) -> list[str]:
        """The members of that object, as JSON text."""
        parts = [] if self._parent is None else self._parent.captured()
        for name, capture, _ in self._kinds.values():
            try:
                value = capture()
                if value is not None:
                    text = encode(value, limit=MAX_VALUE_BYTES, path=f"the context {name!r}")
                    parts.append(f'"{name}":{text}')
            except Exception:  # code of the project; what it cannot say is left out
                logger.exception("the context %r could not be captured; the job goes without it", name)
        return parts


class Restored:
    """What surrounded an enqueue, around the code of the job. Leaving never raises and hides no error.

    :param pairs: kinds with their captured values
    :param strict: raise what a restore raises; else it is logged, and nothing is restored
    """

    __slots__ = ("_entered", "_pairs", "_strict")

    def __init__(self, pairs: Iterable[tuple[Kind, JSON]], *, strict: bool = True) -> None:
        self._pairs = tuple(pairs)
        self._strict = strict
        self._entered: list[tuple[str, AbstractContextManager[Any]]] = []

    def __enter__(self) -> Self:
        try:
            for kind, value in self._pairs:
                manager = kind.restore(value)
                manager.__enter__()  # an ExitStack would let a manager swallow the job's error
                self._entered.append((kind.name, manager))
        except BaseException as error:
            self.leave(error)
            if self._strict:
                raise
            logger.warning("the context of a job could not be restored around its hooks", exc_info=True)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.leave(error)

    def leave(self, error: BaseException | None) -> None:
        """Undo it, the last one first; ``error`` is what the code of the job raised."""
        trace = None if error is None else error.__traceback__
        while self._entered:
            name, manager = self._entered.pop()
            try:
                manager.__exit__(None if error is None else type(error), error, trace)
            except BaseException as raised:  # the job has ended; its outcome stands
                if raised is not error:
                    logger.exception("the context %r could not be left; the job's outcome stands", name)


_NOTHING = Restored(())


def restored(kinds: Iterable[Kind], stored: Mapping[str, JSON] | None, *, strict: bool = True) -> Restored:
    """What was captured, to be entered. Values of kinds that are not known here are left out.

    :param stored: the context of a job; what is no object (a row edited by hand) counts as none
    :param strict: see :class:`Restored`
    """
    if not stored or not isinstance(stored, dict):
        return _NOTHING
    return Restored(((kind, stored[kind.name]) for kind in kinds if kind.name in stored), strict=strict)


def as_text(stored: Mapping[str, JSON] | None) -> str | None:
    """A stored context as it was captured, for a job that takes it over."""
    return json.dumps(stored, ensure_ascii=False) if stored and isinstance(stored, dict) else None


def _whole_name(fn: Any) -> str:
    return f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', repr(fn))}"
