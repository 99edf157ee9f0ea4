"""Assertions about enqueued jobs, and messages that show what was enqueued instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, overload

from soniq_django.testing.enqueued import EnqueuedJob, Named, call, declared, holds, name_of, shown
from soniq_django.times import meant_by

LISTED = 10  # jobs in a message
WITHIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an assertion asks of a job. None asks nothing."""

    name: str
    args: Mapping[str, Any]  # these, whatever else there is
    queue: str | None = None
    priority: int | None = None
    at: datetime | timedelta | None = None
    within: timedelta = WITHIN
    unique: bool | None = None
    dedup_key: str | None = None

    def differences(self, job: EnqueuedJob) -> list[str]:
        """How the job differs; empty: it is the one."""
        if job.name != self.name:
            return ["it is another job"]
        found = []
        for name, value in self.args.items():
            if name not in job.args:
                found.append(f"{name}: expected {shown(value)}, was not given")
            elif not holds(value, job.args[name], job.stored_args[name]):
                found.append(f"{name}: expected {shown(value)}, was {shown(job.args[name])}")
        for option in ("queue", "priority", "unique", "dedup_key"):
            expected, actual = getattr(self, option), getattr(job, option)
            if expected is not None and expected != actual:
                found.append(f"{option}: expected {expected!r}, was {actual!r}")
        return found + self._differs_in_time(job)

    def _differs_in_time(self, job: EnqueuedJob) -> list[str]:
        if self.at is None:
            return []
        actual: datetime | timedelta
        if isinstance(self.at, timedelta):
            actual, off = job.delay, abs(job.delay - self.at)
        else:
            actual, off = job.scheduled_at, abs(job.scheduled_at - self.at)
        if off <= self.within:
            return []
        what = "delay" if isinstance(self.at, timedelta) else "scheduled_at"
        return [f"{what}: expected {self.at}, was {actual} ({off} off, allowed: {self.within})"]

    def __str__(self) -> str:
        facts = [
            f"{option} {getattr(self, option)!r}"
            for option in ("queue", "priority", "unique", "dedup_key")
            if getattr(self, option) is not None
        ]
        if self.at is not None:
            facts.append(f"in {self.at}" if isinstance(self.at, timedelta) else f"at {self.at}")
        return call(self.name, self.args) + (f" with {', '.join(facts)}" if facts else "")


class EnqueuedJobs(Sequence[EnqueuedJob]):
    """Jobs in the order in which they were enqueued, and what can be claimed of them.

    Its repr lists them.
    """

    def __init__(self, jobs: Iterable[EnqueuedJob] = ()) -> None:
        self._jobs = list(jobs)

    @overload
    def __getitem__(self, index: int) -> EnqueuedJob: ...
    @overload
    def __getitem__(self, index: slice) -> list[EnqueuedJob]: ...
    def __getitem__(self, index: int | slice) -> EnqueuedJob | list[EnqueuedJob]:
        return self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[EnqueuedJob]:
        return iter(self._jobs)

    def __repr__(self) -> str:
        return "\n".join([f"{_counted(len(self._jobs))} enqueued", *(f"  {job}" for job in self._jobs)])

    def of(self, job: Named) -> list[EnqueuedJob]:
        """Those of one job."""
        return [one for one in self._jobs if one.name == name_of(job)]

    def assert_enqueued(
        self,
        job: Named,
        /,
        *,
        count: int | None = None,
        queue: str | None = None,
        priority: int | None = None,
        at: datetime | timedelta | float | None = None,
        within: timedelta | float = WITHIN,
        unique: bool | None = None,
        dedup_key: str | None = None,
        args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[EnqueuedJob]:
        """The jobs that match; an AssertionError that shows the nearest ones if there are none.

        :param job: a job or the name of one; ``kwargs`` are arguments that it has, whatever others it has
        :param count: exactly so many; None = at least one; 0 = none
        :param at: not before: an aware datetime, or (timedelta, seconds) how long after the enqueue
        :param within: by how much ``at`` may be missed; timedelta or seconds
        :param args: arguments whose names this method uses itself; joined with ``kwargs``
        :raises TypeError: the job takes no argument of that name, so no enqueue could ever match
        """
        __tracebackhide__ = True  # pytest shows the line of the test
        given = {**(args or {}), **kwargs}
        _check_names(job, given)
        wanted = Wanted(
            name=name_of(job),
            args=given,
            queue=queue,
            priority=priority,
            at=_instant(at),
            within=_duration(within),
            unique=unique,
            dedup_key=dedup_key,
        )
        compared = [(wanted.differences(one), one) for one in self._jobs]
        found = [one for differences, one in compared if not differences]
        if count is None and not found:
            raise AssertionError(f"no job was enqueued as {wanted}\n{_nearest(wanted, compared)}")
        if count is not None and len(found) != count:
            raise AssertionError(
                f"{_counted(len(found))} enqueued as {wanted}, expected {count}\n{_nearest(wanted, compared)}"
            )
        return found

    def assert_none(self) -> None:
        """An AssertionError that lists the jobs if there are any."""
        __tracebackhide__ = True  # as above
        if self._jobs:
            raise AssertionError(f"expected no job, but {self!r}")


def _nearest(wanted: Wanted, compared: list[tuple[list[str], EnqueuedJob]]) -> str:
    """The jobs there are and how each differs, the nearest first."""
    if not compared:
        return "nothing was enqueued"
    in_order = sorted(compared, key=lambda pair: (pair[1].name != wanted.name, len(pair[0])))
    lines = [f"{_counted(len(compared))} enqueued in all:"]
    for differences, job in in_order[:LISTED]:
        lines.append(f"  {job}")
        lines += [f"    {difference}" for difference in differences or ["matches"]]
    if len(compared) > LISTED:
        lines.append(f"  … and {len(compared) - LISTED} more")
    return "\n".join(lines)


def _counted(number: int) -> str:
    return "1 job was" if number == 1 else f"{number} jobs were"


def _check_names(job: Named, given: Mapping[str, Any]) -> None:
    known = None if isinstance(job, str) else declared(job)
    if known is None or known.options.validate is not None:
        return
    parameters = known.signature.parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in given:
        if name not in parameters:
            raise TypeError(
                f"{known.name} has no argument {name!r}; it has: {', '.join(parameters) or 'none'}"
            )


def _instant(at: datetime | timedelta | float | None) -> datetime | timedelta | None:
    if at is None or isinstance(at, timedelta):
        return at
    if not isinstance(at, datetime):
        return _duration(at)
    aware = at if at.utcoffset() is not None else meant_by(at)
    if aware is None:
        raise TypeError(f"at is the naive {at.isoformat()}: give it a time zone")
    return aware


def _duration(value: timedelta | float) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=value)
