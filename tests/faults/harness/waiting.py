"""Waiting for what another process brings about."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0  # seconds; a deadline for the hopeless case, not a measure


def until(condition: Callable[[], T], what: str, timeout: float = PATIENCE, every: float = 0.02) -> T:
    """The first true answer of ``condition``; a failure that says ``what`` did not come about."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what() if callable(what) else what}"
        time.sleep(every)
    return answer
