"""Which clock the stores of this package go by: the database's own, unless a test puts another in its place.

One clock has to decide what is due, and with many machines that is the database's. A test that freezes
Python's clock, or lets the queue's run ahead, needs the same instant in every statement; so all of them ask
here, and in production the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime


def _the_databases_own() -> None:
    return None


_instead: Callable[[], datetime | None] = _the_databases_own


def instead_of_now() -> datetime | None:
    """The instant to take for now, aware; None: the database's clock decides."""
    return _instead()


def replace_clock(instead: Callable[[], datetime | None]) -> None:
    """From now on ask ``instead``; for tests, and for the whole process."""
    global _instead  # noqa: PLW0603  # the one place that holds it
    _instead = instead
