"""Job ids: UUIDv7 (RFC 9562, section 5.7).

Time-ordered ids keep the newest entries of the primary-key index together and sort by age.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from soniq.errors import ConfigurationError

_RANDOM_BITS = 74
_VERSION = 7
STEP_BACK = 60_000  # milliseconds; a clock that steps back by more was wrong before, and is right now


class UUID7Factory:
    """Makes UUIDv7 values that do not go backwards within one process.

    Within a millisecond, and when the clock steps back, the random part is counted up
    (RFC 9562, section 6.2, method 2), so ids of one process sort in the order they were made. A clock that
    was set back by more than a minute is followed: an id also says when it was made.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock_ns = clock_ns
        self._random_bytes = random_bytes
        self._lock = threading.RLock()
        self._last = 0
        self._latest = 0  # milliseconds: the latest that the clock said, unless it was set back since

    def __call__(self) -> uuid.UUID:
        """A new id, later than those before."""
        return uuid.UUID(int=self.number())

    def number(self) -> int:
        """A new id as a number of 128 bits."""
        millis = self._clock_ns() // 1_000_000
        tail = int.from_bytes(self._random_bytes(10), "big") >> (80 - _RANDOM_BITS)
        # A handler of a signal may interrupt the holder and get an id itself: hence an RLock. Such handlers
        # are called where functions are, and in the block there is none.
        with self._lock:
            value = (millis << _RANDOM_BITS) | tail
            set_back = millis + STEP_BACK < self._latest
            if millis <= self._last >> _RANDOM_BITS and not set_back:
                value = self._last + 1 + (tail & 0xFFFFFFFF)
            if set_back or millis > self._latest:
                self._latest = millis
            self._last = value
        high = value >> _RANDOM_BITS
        rand_a = (value >> 62) & 0xFFF
        rand_b = value & ((1 << 62) - 1)
        return (high << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b

    def after_fork(self) -> None:
        """A fork may copy a held lock; and a child that counted on would repeat its parent's ids."""
        self._lock = threading.RLock()
        self._last = self._latest = 0


_factory = UUID7Factory()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_factory.after_fork)


def uuid7() -> uuid.UUID:
    """A new id, later than those that this process made before."""
    return _factory()


def uuid7_text() -> str:
    """:func:`uuid7` as text, at a third of the price of ``str(uuid7())``."""
    digits = f"{_factory.number():032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def canonical(value: object) -> str:
    """The id as stores write it: lower-case text with dashes. A text that is no id stays as it is.

    :raises ConfigurationError: ``value`` is neither a text nor a UUID
    """
    if isinstance(value, uuid.UUID):
        return str(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"the id is {value!r}: give a text or a UUID")
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return value


def is_job_id(value: str) -> bool:
    """Whether ``value`` can be the id of a job at all (any UUID)."""
    try:
        uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        return False
    return True


def made_at(job_id: str) -> datetime | None:
    """The time, to the millisecond, that a UUIDv7 was made at; None of any other id."""
    try:
        found = uuid.UUID(job_id)
    except ValueError:
        return None
    if found.version != _VERSION:
        return None
    try:
        return datetime.fromtimestamp((found.int >> 80) / 1000, UTC)
    except (OverflowError, ValueError):
        return None
