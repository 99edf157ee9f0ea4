"""Faults on demand: a worker that is lost during an attempt, a job that overruns its timeout."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from soniq.jobs import JSON, Claim
from soniq.registry import Registry
from soniq_django.testing.enqueued import Named, holds, name_of

Kind: TypeAlias = Literal["crash", "timeout"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to go wrong, and in which attempts."""

    kind: Kind
    job_name: str | None  # None = any job
    args: Mapping[str, Any]
    attempts: Collection[int] | None  # None = every one
    ran: bool = False  # whether the handler ran before its worker was lost

    def hits(self, claim: Claim, registry: Registry) -> bool:
        """Whether this attempt goes wrong."""
        if self.job_name not in (None, claim.job_name):
            return False
        if self.attempts is not None and claim.attempt not in self.attempts:
            return False
        task = registry.find(claim.job_name)
        args = claim.args if task is None else task.signature.by_name(claim.args)
        return all(_has(args, name, value) for name, value in self.args.items())


def _has(args: Mapping[str, JSON], name: str, value: object) -> bool:
    return name in args and holds(value, args[name], args[name])


_present: list[Fault] = []


def fault_of(claim: Claim, registry: Registry) -> Fault | None:
    """The fault that hits an attempt; of several the one that was asked for last."""
    return next((fault for fault in reversed(_present) if fault.hits(claim, registry)), None)


@contextmanager
def simulate_crash(
    job: Named | None = None,
    /,
    *,
    attempts: int | Collection[int] | None = 1,
    ran: bool = False,
    args: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Iterator[None]:
    """Within the block, drains lose the worker during these attempts, as when its machine dies.

    The job is rescued as a sweep would: the attempt stays counted, one crash is counted, and after
    ``MAX_CRASHES`` of them (or the last attempt) it is a dead letter with the reason ``worker_lost``.

    :param job: a job or the name of one; None = any
    :param attempts: which attempts, from 1; None = all
    :param ran: let the handler run first, so that all but the record of it is there; of an atomic job
        nothing is, as its worker is lost before the commit
    :param args: only jobs with these arguments; joined with ``kwargs``
    """
    with _faulty(Fault("crash", *_meant(job, args, kwargs, attempts), ran)):
        yield


@contextmanager
def simulate_timeout(
    job: Named | None = None,
    /,
    *,
    attempts: int | Collection[int] | None = 1,
    args: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Iterator[None]:
    """Within the block, these attempts overrun the job's timeout, without anybody waiting for it.

    The handler is not called. Retries, hooks and the dead letter (``timeout``) are those of a job that
    really took too long. Parameters as of :func:`simulate_crash`.
    """
    with _faulty(Fault("timeout", *_meant(job, args, kwargs, attempts))):
        yield


@contextmanager
def _faulty(fault: Fault) -> Iterator[None]:
    _present.append(fault)
    try:
        yield
    finally:
        # By identity: an equal fault may surround this one.
        _present[:] = [other for other in _present if other is not fault]


def _meant(
    job: Named | None,
    args: Mapping[str, Any] | None,
    kwargs: Mapping[str, Any],
    attempts: int | Collection[int] | None,
) -> tuple[str | None, Mapping[str, Any], Collection[int] | None]:
    numbers = (attempts,) if isinstance(attempts, int) else attempts
    return (None if job is None else name_of(job)), {**(args or {}), **kwargs}, numbers
