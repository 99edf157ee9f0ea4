"""What a drain tells of the attempts it made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from soniq.jobs import DeadLetterReason

Ending: TypeAlias = Literal[
    "succeeded", "retried", "snoozed", "crashed", "dead_lettered", "interrupted", "dropped"
]

_OF_VERB: dict[str, Ending] = {
    "succeed": "succeeded",
    "retry": "retried",
    "snooze": "snoozed",
    "rescue": "crashed",
    "bury": "dead_lettered",
    "interrupt": "interrupted",
}


def ending_of(verb: str, *, kept: bool) -> Ending:
    """How an attempt ended whose change has this verb; ``kept``: whether the change was written."""
    return _OF_VERB[verb] if kept else "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a job, and how it ended."""

    job_id: str
    job_name: str
    args: Mapping[str, Any]
    number: int  # of the attempt, from 1
    ending: Ending  # "dropped": the job was gone when its outcome was to be recorded
    error: BaseException | None = None  # what the job raised, itself
    message: str | None = None  # what was recorded as the job's last error
    reason: DeadLetterReason | None = None  # of a dead letter
    again_in: float | None = None  # seconds until it is due again, if it is queued again

    def __str__(self) -> str:
        about = f"{self.job_name}, attempt {self.number}: {self.ending}"
        if self.reason is not None:
            about += f" ({self.reason})"
        if self.again_in:
            about += f", again in {self.again_in:g} s"
        if self.error is not None:
            about += f": {type(self.error).__name__}: {self.error}"
        return about


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSummary:
    """What a drain did. True if it attempted any job.

    Its repr lists every attempt, so that a failed ``assert summary.succeeded == 1`` tells what went on.
    """

    attempts: tuple[Attempt, ...] = field(default=())  # in the order in which they were made
    waiting: int = 0  # jobs that are queued for later, or that nothing here can run

    @property
    def succeeded(self) -> int:
        """How many jobs ended well."""
        return self._count("succeeded")

    @property
    def failed(self) -> int:
        """How many attempts failed: :attr:`retried`, or the last ones, which made a dead letter."""
        return sum(attempt.ending in ("retried", "dead_lettered", "crashed") for attempt in self.attempts)

    @property
    def retried(self) -> int:
        """How many failed attempts were followed by a retry, done or to come."""
        return self._count("retried")

    @property
    def snoozed(self) -> int:
        """How many attempts asked to run later."""
        return self._count("snoozed")

    @property
    def crashed(self) -> int:
        """How many attempts lost their worker (:func:`simulate_crash`) and were queued again."""
        return self._count("crashed")

    @property
    def dead_lettered(self) -> int:
        """How many jobs gave up."""
        return self._count("dead_lettered")

    @property
    def errors(self) -> list[BaseException]:
        """What the attempts raised, in order."""
        return [attempt.error for attempt in self.attempts if attempt.error is not None]

    def __bool__(self) -> bool:
        return bool(self.attempts)

    def __repr__(self) -> str:
        counts = ("succeeded", "retried", "snoozed", "crashed", "dead_lettered")
        told = [f"{name}={getattr(self, name)}" for name in counts if getattr(self, name)]
        lines = [f"DrainSummary({', '.join([*told, f'waiting={self.waiting}'])})"]
        return "\n  ".join([*lines, *map(str, self.attempts)])

    def _count(self, ending: Ending) -> int:
        return sum(attempt.ending == ending for attempt in self.attempts)
