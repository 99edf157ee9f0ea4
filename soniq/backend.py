"""The storage contract.

Synchronous, because every store behind it is; batch-first, because one job is a batch of one. Any
thread may call any method. ``soniq.testing.BackendConformance`` is this page as a test suite: a store
that passes it can run jobs.

What a store cannot do it says by a flag; nothing in this library asks what class a store is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import ParamSpec, Protocol, TypeVar

from soniq.errors import BackendError, ConfigurationError
from soniq.jobs import Claim, ClaimRequest, JobStatus, NewJob, WorkerInfo
from soniq.records import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterStats,
    Job,
    LiveJobs,
    OverdueJob,
    WorkerRecord,
)
from soniq.schedule_store import ScheduleStore
from soniq.transitions import Change

P = ParamSpec("P")
T = TypeVar("T")


class Subscription(Protocol):
    """Wake-ups that keep coming until it is closed."""

    @property
    def healthy(self) -> bool:
        """Whether hints arrive at present; if not, its worker polls more often."""
        ...

    def close(self) -> None:
        """No more wake-ups."""


class Silence:
    """The subscription of a store that cannot wake anybody."""

    healthy = False

    def close(self) -> None:
        """Nothing to do."""


class JobTransaction(Protocol):
    """The transaction around the handler of one atomic job. All calls come from the thread that began it."""

    def begin(self) -> None:
        """Open it."""

    def check(self) -> None:
        """Refuse to go on if the handler left something that cannot be committed as a whole.

        :raises Exception: it closed the connection, left a block open, or caused an error and hid it
        """

    def commit(self) -> None:
        """Commit. If this raises, nobody knows whether it did."""

    def roll_back(self) -> None:
        """Undo everything, unless it has ended already. Does not raise."""


class Run(Protocol):
    """How async code makes a blocking call; :meth:`StorageBackend.run` is one."""

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Make the call; give what it gives."""
        ...


class StorageBackend(ScheduleStore, Protocol):
    """Where jobs, dead letters, workers and schedules are kept."""

    # Can several processes share this store?
    supports_processes: bool
    # Do jobs outlive the process?
    supports_persistence: bool
    # Does an enqueue belong to the transaction that its caller has open?
    supports_transactions: bool
    # Do calls wait for I/O? Then a worker makes them on a thread of its own.
    blocking: bool

    def describe(self) -> str:
        """Where jobs are kept, for people."""
        ...

    def setup(self) -> None:
        """Make the store ready; doing so twice does no harm."""

    def close(self) -> None:
        """Let go of everything; the store is not used afterwards."""

    def release(self) -> None:
        """Let go of what the calling thread holds; called by a worker's threads before they end."""

    def reset(self) -> None:
        """Remove all jobs, dead letters, workers and schedules."""

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await a blocking ``call`` in the way that suits this store."""
        ...

    def check_can_work(self) -> None:
        """Refuse to run a worker where it could not see what the caller sees.

        Called on the thread on which :meth:`run` makes calls.

        :raises ConfigurationError: says why, and what to do instead
        """
        return

    def check_ready(self) -> None:
        """Refuse a store whose tables are older than this code. :meth:`register` refuses it, too.

        :raises BackendNotReady: names what is missing, and what to do
        :raises BackendUnavailable: the store cannot be reached
        """
        return

    def subscribe(
        self, wake: Callable[[str | None], None], lost: Callable[[str], None] | None = None
    ) -> Subscription:
        """Call ``wake`` with the queue's name whenever a job may have become claimable there.

        A hint: it may be lost, come late or come for nothing; None means any queue. ``wake`` may be
        called on any thread and must not block.

        :param lost: called in the same way, with the reason in a word, each time that hints which did arrive
            cease to; the store listens anew by itself
        """
        return Silence()

    def job_transaction(self) -> JobTransaction:
        """A transaction for the handler of an atomic job, on the calling thread; not yet begun.

        :meth:`apply` on that thread belongs to it while it is open.
        Asked for only where ``supports_transactions``.
        """
        raise ConfigurationError(f"{self.describe()} has no transactions")

    # -- producing

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        """Store all ``jobs`` or none, in one transaction; return their ids in order.

        The jobs may come from a generator: a store reads them in chunks, and one that raises leaves
        nothing stored.

        A job whose ``unique_key`` is held by a live job is not stored: its place in the answer holds the
        id of the holder; of twins within ``jobs`` the first holds the key. An id that is taken, or a
        value that the store refuses, is an error.
        """
        ...

    # -- consuming

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Take the due jobs that the request asks for, in order of (priority, scheduled_at, id).

        No job is ever given to two callers. Each claimed job is ``processing``, its attempt counted.
        """
        ...

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """Write ``changes`` in one transaction; say of each whether its guard held.

        The only method besides ``claim`` that writes the state of a job. False means that the job has
        moved on (another owner, another attempt, deleted): nothing was written for it.
        """
        ...

    def exchange(self, changes: Sequence[Change], request: ClaimRequest) -> tuple[list[bool], list[Claim]]:
        """:meth:`apply` and :meth:`claim` in one visit; a store may make them one transaction.

        Should the claim fail after the changes were written, their answers are returned with no claims.
        """
        answers = self.apply(changes) if changes else []
        try:
            claims = self.claim(request)
        except BackendError:
            if not changes:
                raise
            claims = []
        return answers, claims

    def held(self, worker_id: str) -> list[Claim]:
        """The claims of a worker as the store knows them, by id.

        For a worker that lost the answer to a claim: what it does not know of, it was just given.
        """
        ...

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        """How many jobs a claim could take now."""
        ...

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """Seconds until the next queued job is due (0 or less: one is due now); None without any."""
        ...

    def overdue(
        self, *, seconds: float, limit: int, queues: Collection[str] | None = None
    ) -> list[OverdueJob]:
        """The first ``limit`` jobs that have been due for at least ``seconds``, in the order of a claim.

        Costs no more than these rows, however many others wait: every worker asks now and then.

        :param queues: only these; None = all, empty = none
        """
        ...

    # -- liveness

    def register(self, worker: WorkerInfo) -> None:
        """Make ``worker`` known and alive from now on. It must not claim before.

        :raises BackendNotReady: see :meth:`check_ready`; trying again is right
        """

    def beat(self, worker_id: str) -> bool:
        """Say that the worker lives. False: it is not known (any more), its claims are forfeit."""
        ...

    def deregister(self, worker_id: str) -> None:
        """Forget the worker; whatever it still holds becomes an orphan at once."""

    def orphans(self, *, dead_after: float, limit: int) -> list[Claim]:
        """Processing jobs without a worker that beat within the last ``dead_after`` seconds."""
        ...

    def forget_workers(self, *, dead_after: float) -> int:
        """Drop workers that did not beat for ``dead_after`` seconds and hold no job; return how many."""
        ...

    def list_workers(self) -> list[WorkerRecord]:
        """All known workers, oldest first."""
        ...

    # -- reading and housekeeping

    def get_job(self, job_id: str) -> Job | None:
        """The job, or None when it is gone, dead, or never was."""
        ...

    def list_jobs(
        self,
        *,
        queue: str | None = None,
        status: JobStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Job]:
        """Jobs, newest first: by their ids, which are ordered by time."""
        ...

    def count_live(self) -> list[LiveJobs]:
        """Queued and processing jobs counted by name, queue and status, in this order.

        Looks at every live job: for people and deployments, not for a worker's routine.
        """
        ...

    def walk_live(self, *, after: str | None = None, limit: int) -> list[Job]:
        """The first ``limit`` queued and processing jobs behind the id ``after``, by their ids."""
        ...

    def delete_job(self, job_id: str) -> bool:
        """Remove a job in any state. A worker that runs it drops its outcome."""
        ...

    def queue_stats(self) -> dict[str, int]:
        """Counts by status, plus ``dead_letter`` and ``total`` (dead letters included)."""
        ...

    def purge(self, *, limit: int, dead_letter_ttl: float | None = None) -> int:
        """Delete up to ``limit`` finished jobs past their time, and as many dead letters older than
        ``dead_letter_ttl`` seconds; return how many rows went.
        """
        ...

    # -- dead letters

    def list_dead_letters(self, where: DeadLetterFilter) -> list[DeadLetter]:
        """Dead letters, newest first."""
        ...

    def delete_dead_letters(self, where: DeadLetterFilter) -> int:
        """Delete what :meth:`list_dead_letters` would list; return how many."""
        ...

    def replay_dead_letter(self, dead_letter_id: str, job: NewJob) -> str | None:
        """Enqueue ``job`` and count one resurrection of the dead letter, both or neither.

        Returns the job's id as :meth:`enqueue` does, or None when there is no such dead letter. When
        the job's key is held, nothing was enqueued and nothing is counted.
        """
        ...

    def tag_dead_letter(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        """Add tags after those it has, each once. False when there is no such dead letter."""
        ...

    def dead_letter_stats(self, *, hours: float | None = None) -> DeadLetterStats:
        """Counts of all dead letters, or of those moved within the last ``hours``."""
        ...
