"""Loggers that never raise: what is told of work must not end it.

A handler that fails reports that to the standard error stream, and raises where that is closed; a filter that
fails raises at once. Both are the project's, and a job may have closed the stream. The line is lost then.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any


class SteadyLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger; what its handlers and filters raise is dropped."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """As it is. The base class would replace ``extra``."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: Any, stacklevel: int = 1, **kwargs: Any) -> None:
        """See :meth:`logging.Logger.log`."""
        with suppress(Exception):  # where could it be told?
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **kwargs)  # ours is not the caller's


def get_logger(name: str) -> SteadyLogger:
    """The logger of this name, made steady."""
    return SteadyLogger(logging.getLogger(name))
