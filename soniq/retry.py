"""When a failed job runs again.

Jitter is the "full jitter" of Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog,
2015): a retry waits a random part of its back-off, so jobs that failed together do not return together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from soniq.errors import InvalidJob
from soniq.jobs import Claim

_LONGEST = 366 * 86400.0  # a back-off that doubles without a cap ends here


class RetryPolicy(Protocol):
    """Decides about one failure. An app-wide policy replaces the options of the jobs."""

    def delay_for(self, *, attempt: int, job: Claim, exc: BaseException) -> float | None:
        """Seconds until the next attempt; None = never again.

        :param attempt: the attempt that failed, from 1
        :param exc: what the handler raised, the object itself
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetryPolicy:
    """The policy that a job's own options describe.

    :raises InvalidJob: when the options contradict each other
    """

    delays: tuple[float, ...] = (0.0,)  # seconds; the last one repeats
    backoff: bool = False  # double the delay with each attempt
    max_delay: float | None = None  # seconds
    jitter: bool = False
    retry_on: tuple[type[BaseException], ...] = ()  # empty = every exception
    discard_on: tuple[type[BaseException], ...] = ()  # wins over retry_on
    uniform: Callable[[float, float], float] = random.uniform

    def __post_init__(self) -> None:
        if not self.delays or any(not 0 <= delay < float("inf") for delay in self.delays):
            raise InvalidJob(f"retry_delay is {list(self.delays)}: give 0 or more seconds, or a list of them")
        if self.backoff and len(self.delays) > 1:
            raise InvalidJob("retry_backoff doubles one retry_delay; with a list of delays leave it out")
        if self.max_delay is not None and self.max_delay < 0:
            raise InvalidJob(f"retry_max_delay is {self.max_delay}: give 0 or more seconds")

    def delay_for(self, *, attempt: int, job: Claim, exc: BaseException) -> float | None:
        """See :meth:`RetryPolicy.delay_for`."""
        if self.discard_on and isinstance(exc, self.discard_on):
            return None
        if self.retry_on and not isinstance(exc, self.retry_on):
            return None
        return self.delay(attempt)

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the failed ``attempt`` (from 1)."""
        if self.backoff:
            base = self.delays[0] or 1.0
            delay = min(base * 2.0 ** min(attempt - 1, 62), _LONGEST)
        else:
            delay = self.delays[min(attempt, len(self.delays)) - 1]
        if self.max_delay is not None:
            delay = min(delay, self.max_delay)
        return self.uniform(0.0, delay) if self.jitter else delay


def delays_of(value: float | Sequence[float]) -> tuple[float, ...]:
    """The option ``retry_delay`` in its one internal form."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (float(value),)
    if isinstance(value, (list, tuple)) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in value
    ):
        return tuple(float(item) for item in value)
    raise InvalidJob(f"retry_delay is {value!r}: give seconds, or a list of seconds")
