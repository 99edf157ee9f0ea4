"""Calls from the event loop that run where the sync code of the slot's jobs runs, and are awaited here.

What travels there by itself is what context variables hold. What a call raises travels back inside a value.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from soniq.environment import Environment
from soniq.slots import Slot


async def to_thread(environment: Environment, slot: Slot, call: Callable[[], Any]) -> Any:
    """What ``call`` returns, with everything set up before it and cleaned up after it."""

    def surrounded() -> Any:
        with environment.around_sync():
            return call()

    call_there = partial(copy_context().run, _carry(surrounded))
    return _unwrap(await environment.submit(slot.thread, call_there))


async def to_transaction(environment: Environment, slot: Slot, call: Callable[[], Any]) -> Any:
    """Like :func:`to_thread` for code of an atomic job: nothing is set up or cleaned up around it."""
    call_there = partial(copy_context().run, _carry(call))
    return _unwrap(await environment.visit(slot.thread, call_there))


@dataclass(slots=True)
class _Raised:
    """An exception on its way through a future, which could not carry StopIteration."""

    error: BaseException


def _carry(call: Callable[[], Any]) -> Callable[[], Any]:
    def attempt() -> Any:
        try:
            return call()
        except BaseException as error:  # noqa: BLE001  # handed on to the caller
            return _Raised(error)

    return attempt


def _unwrap(value: Any) -> Any:
    if isinstance(value, _Raised):
        raise value.error
    return value
