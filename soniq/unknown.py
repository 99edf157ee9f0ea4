"""Jobs whose name this worker has no code for: told to people, and given up after a limit.

Such a job is not lost. It waits for a worker that knows it: one of the release that is being deployed,
or of another project that shares the tables. If none comes, people have to hear of it.

Looking for unknown names among all that waits would read every waiting job, on every worker. So a look
reads the first jobs in the order of a claim, and no more. That finds what matters: known jobs in front
are claimed one after the other, until what nobody claims stands first. On a million waiting jobs a look
takes about 20 ms, where the search through all of them takes 70 ms to more than a second, and an index by
name would cost each enqueue and each claim something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from soniq import transitions
from soniq.audience import End
from soniq.backend import StorageBackend
from soniq.durations import rough
from soniq.jobs import DeadLetterReason
from soniq.records import OverdueJob
from soniq.registry import Registry
from soniq.settings import Settings
from soniq.steady import get_logger
from soniq.visible import visible_line

logger = get_logger("soniq.maintenance")

SWEEPS_PER_LOOK = 4  # at the usual sweep interval, a look each minute
REACH = 1000  # jobs that a look reads
LEARN_REACH = 100  # ... when it looks only for code that could be found
LEARN_EVERY = 1.0  # seconds
BURY_BATCH = 100
NAMES_TOLD = 10
FIRST_SILENCE = 300.0  # seconds before the same names are told again; doubled each time
LONGEST_SILENCE = 6 * 3600.0


class UnknownJobs:
    """Looks for due jobs, in the worker's queues, that nobody here can run.

    :param queues: what the worker serves; None = all
    :param clock: monotonic seconds
    """

    def __init__(
        self,
        backend: StorageBackend,
        registry: Registry,
        settings: Settings,
        *,
        queues: tuple[str, ...] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._limit = settings.unknown_job_ttl
        self._every = settings.sweep_interval * SWEEPS_PER_LOOK
        self._queues = queues
        self._clock = clock
        self._next_look = float("-inf")
        self._next_lesson = float("-inf")
        self._told: frozenset[str] = frozenset()
        self._ends: list[End] = []
        self._silence = FIRST_SILENCE
        self._silent_until = float("-inf")
        self.learned = False  # whether the last look made a name known

    @property
    def lesson_in(self) -> float:
        """Seconds until :meth:`learn` may look again; 0 or less: now."""
        return self._next_lesson - self._clock()

    def learn(self) -> bool:
        """Find the code of due jobs that nobody here knows. True: a claim may get more than before."""
        self._next_lesson = self._clock() + LEARN_EVERY
        jobs = self._backend.overdue(seconds=0.0, limit=LEARN_REACH, queues=self._queues)
        return self._registry.learn(job.job_name for job in jobs)

    def take_ends(self) -> list[End]:
        """The jobs that were given up, and not taken before."""
        ends, self._ends = self._ends, []
        return ends

    def look(self) -> bool:
        """If it is time: bury what waited too long, warn of the rest. True: there may be more to bury."""
        if self._clock() < self._next_look:
            return False
        jobs = self._backend.overdue(seconds=0.0, limit=REACH, queues=self._queues)
        self.learned = self._registry.learn(job.job_name for job in jobs)
        unknown = [job for job in jobs if self._registry.find(job.job_name) is None]
        hopeless = [job for job in unknown if self._limit is not None and job.overdue >= self._limit]
        if hopeless:
            self._bury(hopeless[:BURY_BATCH])
            return True
        self._tell(unknown, all_read=len(jobs) < REACH)
        self._next_look = self._clock() + self._every
        return False

    def _bury(self, jobs: Sequence[OverdueJob]) -> None:
        """Give up jobs; of one that was claimed in this moment, the claim holds."""
        limit = self._limit or 0.0
        changes = [
            transitions.bury_waiting(
                job.job_id,
                reason=DeadLetterReason.JOB_NOT_FOUND,
                error=f"no worker of the queue {job.queue!r} knew the name {job.job_name!r} "
                f"within {rough(limit)} of the job being due",
                overdue=limit,
            )
            for job in jobs
        ]
        answers = self._backend.apply(changes)
        buried = [job for job, applied in zip(jobs, answers, strict=True) if applied]
        self._ends += [
            End(change, job.job_name, job.queue, summary=change.error or "", started=False)
            for job, change, applied in zip(jobs, changes, answers, strict=True)
            if applied
        ]
        for job in buried:
            logger.info(
                "dead      %s %s: job_not_found",
                visible_line(job.job_name),
                job.job_id,
                extra={
                    "job_id": job.job_id,
                    "job_name": job.job_name,
                    "queue": job.queue,
                    "outcome": "bury",
                },
            )
        if buried:
            logger.warning(
                "gave up jobs that no worker knew within %s: %s; dead letters (job_not_found)",
                rough(limit),
                _summary(buried),
            )

    def _tell(self, jobs: Sequence[OverdueJob], *, all_read: bool) -> None:
        """Warn when there is a new name, and of the same names ever more rarely."""
        names = frozenset(job.job_name for job in jobs)
        now = self._clock()
        if not names:
            if self._told and all_read:
                logger.info("no due job waits for unknown code any more")
                self._told = frozenset()
            return
        if names <= self._told and now < self._silent_until:
            return
        self._silence = min(self._silence * 2, LONGEST_SILENCE) if names <= self._told else FIRST_SILENCE
        self._silent_until = now + self._silence
        self._told |= names
        fate = "" if self._limit is None else f"; after {rough(self._limit)} they are given up"
        logger.warning(
            "due jobs wait for a worker that knows their names, this one does not: %s%s%s",
            _summary(jobs),
            "" if all_read else "; there may be more",
            fate,
        )


def _summary(jobs: Sequence[OverdueJob]) -> str:
    """Such as ``'shop.old' (12 jobs, the first due for 3 h)``, name by name, the oldest first."""
    groups: dict[str, list[float]] = {}
    for job in jobs:
        groups.setdefault(job.job_name, []).append(job.overdue)
    ordered = sorted(groups.items(), key=lambda group: -max(group[1]))
    parts = [
        f"{name!r} ({len(ages)} {'job' if len(ages) == 1 else 'jobs'}, the first due for {rough(max(ages))})"
        for name, ages in islice(ordered, NAMES_TOLD)
    ]
    more = len(ordered) - len(parts)
    return ", ".join([*parts, f"and {more} more names"] if more else parts)
