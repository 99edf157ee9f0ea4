"""Tasks that begin at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

_EAGERLY: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def eager_task(coroutine: Coroutine[Any, Any, T], *, context: Context | None = None) -> asyncio.Task[T]:
    """A task of the running loop. From Python 3.12 on, it has run up to its first wait on return."""
    return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), context=context, **_EAGERLY)
