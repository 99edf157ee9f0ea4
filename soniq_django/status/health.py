"""Whether the queue is healthy: somebody is there, and the work is done in time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from soniq.durations import rough
from soniq.errors import BackendError, BackendNotReady
from soniq.settings import Settings
from soniq.visible import visible_line
from soniq_django.backend import DjangoBackend
from soniq_django.status.depth import Late, oldest_due
from soniq_django.status.records import WorkerStatus
from soniq_django.status.working import live_workers
from soniq_django.store.errors import translated

MAX_AGE = 300.0  # seconds

Code: TypeAlias = Literal["no_worker", "late_jobs", "not_migrated", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What has to be so."""

    max_age: float | None = MAX_AGE  # seconds that a due job may wait; None = for ever
    workers: int = 1  # at least so many have to be live; 0 = do not look
    queues: tuple[str, ...] | None = None  # only these, and each has to be served by so many workers
    host: str | None = None  # only workers on this host


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it has to be."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found."""

    problems: tuple[Problem, ...] = ()
    workers: int = 0  # live ones that count
    oldest: float | None = None  # seconds for which the first due job has waited

    @property
    def state(self) -> Literal["healthy", "unhealthy", "unknown"]:
        """Unknown: the database could not be asked."""
        if any(problem.code == "unreachable" for problem in self.problems):
            return "unknown"
        return "unhealthy" if self.problems else "healthy"

    def __str__(self) -> str:
        if self.problems:
            return f"{self.state}: {'; '.join(problem.text for problem in self.problems)}"
        waits = (
            "nothing is due" if self.oldest is None else f"the oldest due job waits for {rough(self.oldest)}"
        )
        return f"healthy: {_workers(self.workers)} live, {waits}"


def examine(backend: DjangoBackend, settings: Settings, asked: Asked) -> Health:
    """Find out. Costs a few look-ups in indexes, however many jobs there are; raises nothing."""
    try:
        backend.check_ready()
        with translated(backend.alias):
            live = live_workers(backend, dead_after=settings.dead_after)
            late = None if asked.max_age is None else oldest_due(backend.jobs, asked.queues)
    except BackendNotReady as error:
        return Health(problems=(Problem("not_migrated", str(error)),))
    except BackendError as error:
        return Health(problems=(Problem("unreachable", f"the database cannot be asked: {error}"),))
    return judged([worker for worker in live if asked.host in (None, worker.hostname)], late, asked)


def judged(workers: Collection[WorkerStatus], late: Late | None, asked: Asked) -> Health:
    """The verdict on what was found."""
    problems = []
    for queue in asked.queues or (None,):
        serving = [worker for worker in workers if queue is None or serves(worker, queue)]
        if len(serving) < asked.workers:
            problems.append(Problem("no_worker", _missing(len(serving), queue, asked)))
    if late is not None and asked.max_age is not None and late.seconds > asked.max_age:
        problems.append(
            Problem(
                "late_jobs",
                f"{visible_line(late.job_name)} in {visible_line(late.queue)} has been due for "
                f"{rough(late.seconds)}, more than {rough(asked.max_age)}; see manage.py soniq_status",
            )
        )
    return Health(
        problems=tuple(problems), workers=len(workers), oldest=None if late is None else late.seconds
    )


def serves(worker: WorkerStatus, queue: str) -> bool:
    """Whether the worker claims jobs of this queue."""
    return worker.queues is None or queue in worker.queues


def _missing(live: int, queue: str | None, asked: Asked) -> str:
    found = f"{_workers(live)} live" if live else "no live worker"
    of = "" if queue is None else f" for the queue {queue}"
    on = "" if asked.host is None else f" on {visible_line(asked.host)}"
    wanted = "" if asked.workers == 1 else f", {asked.workers} wanted"
    return f"{found}{of}{on}{wanted}; start manage.py soniq_worker"


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count:,} workers"
