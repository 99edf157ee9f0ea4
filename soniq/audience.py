"""Who is told of an app's jobs, besides its log: a metrics sink and an observer.

A **metrics sink** counts. It is told in passing, in the event loop and on the threads of jobs, so it must
not wait for anything. An **observer** may: it is told where code may block and use a database, which is what
a framework's signals need. It says first whether it wants to hear anything; until then it costs nothing.

Both are told of an end once it is recorded. Neither decides anything: what they raise is logged.

A **watcher** is a part of a test that looks at enqueues, or runs what was enqueued. What it raises reaches
whoever enqueued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from soniq.hooks import MetricsSink
from soniq.jobs import Claim, NewJob
from soniq.steady import get_logger
from soniq.transitions import Change

if TYPE_CHECKING:
    from soniq.execution.outcome import Outcome

logger = get_logger("soniq.hooks")

NOTHING: AbstractContextManager[None] = nullcontext()
# Told of each enqueue on the thread that made it: the jobs, and of each the id that the store answered.
Watcher: TypeAlias = Callable[[Sequence[NewJob], Sequence[str]], None]

DROPPED = "dropped"  # the status of an attempt whose claim was lost before its outcome was recorded


class End(NamedTuple):
    """What was recorded of a job: the end of an attempt, of a lost worker's, or of waiting in vain."""

    change: Change
    job_name: str
    queue: str
    max_attempts: int = 0  # 0: unknown, as nobody claimed the job
    seconds: float | None = None  # that the attempt took; None: nobody knows
    summary: str = ""  # one line about what went wrong, if something did; secrets masked
    started: bool = True  # whether code of the job may have run since the claim

    @classmethod
    def of(cls, outcome: Outcome) -> End:
        """The end that an outcome is, once it is recorded."""
        claim = outcome.claim
        return cls(
            outcome.change,
            claim.job_name,
            claim.queue,
            claim.max_attempts,
            outcome.seconds,
            outcome.summary,
            outcome.started,
        )

    @classmethod
    def of_lost(cls, claim: Claim, change: Change) -> End:
        """The end of a lost worker's attempt, which took nobody knows how long."""
        return cls(change, claim.job_name, claim.queue, claim.max_attempts, None, change.error or "")


class Observer:
    """Whoever wants to hear of jobs and may take time for it. As it is, it hears nothing.

    The three properties are asked each time, so they have to be cheap.
    """

    @property
    def hears_enqueues(self) -> bool:
        """Whether :meth:`enqueued` is to be called."""
        return False

    @property
    def hears_starts(self) -> bool:
        """Whether :meth:`started` is to be called."""
        return False

    @property
    def hears_ends(self) -> bool:
        """Whether :meth:`ended` is to be called."""
        return False

    def enqueued(self, job: NewJob) -> None:
        """This was written just now: on the caller's thread, within its transaction."""

    def started(self, claim: Claim) -> None:
        """An attempt begins: on the thread of the job's sync code, before any of it. Counts as its time."""

    def ended(self, end: End) -> None:
        """This is recorded: on a thread of its own, in order."""


class Audience:
    """A metrics sink and an observer, told safely; and watchers, who are not.

    :param sink: see :class:`soniq.MetricsSink`; of the methods that a sink need not have, those that it has
        are called
    :param now: aware; against it the sink's latencies are measured
    """

    def __init__(
        self,
        sink: MetricsSink | None = None,
        observer: Observer | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sink = sink
        self._observer = observer or Observer()
        self._now = now
        self.watchers: list[Watcher] = []
        self.measures = sink is not None  # whether the methods that measure have anybody to tell
        self._counts_enqueues = getattr(sink, "record_enqueued", None)
        self._times_latency = getattr(sink, "record_job_latency", None)
        self._counts_dead_letters = getattr(sink, "record_dead_letter", None)
        self._counts_lost_listeners = getattr(sink, "record_listener_lost", None)
        self._surrounds = getattr(sink, "around_job", None)

    def tell(self, end: End, *, kept: bool) -> None:
        """Tell both of an end, here and now: for drains in tests, where code may block."""
        self.measure_end(end, kept=kept)
        if kept and self.hears_ends:
            self.announce_end(end)

    # -- enqueueing

    @property
    def hears_enqueues(self) -> bool:
        """Whether :meth:`enqueued` has anybody to tell."""
        return bool(self.watchers) or self._counts_enqueues is not None or self._observer.hears_enqueues

    def enqueued(self, jobs: Sequence[NewJob], ids: Sequence[str]) -> None:
        """Tell of jobs; sink and observer of those alone that were stored under their own id.

        :raises Exception: what a watcher raises
        """
        stored = [job for job, stored_id in zip(jobs, ids, strict=True) if job.id == stored_id]
        if stored and self._counts_enqueues is not None:
            self._count_enqueues(stored)
        if self._observer.hears_enqueues:
            for job in stored:
                _tell(self._observer.enqueued, job)
        for watcher in tuple(self.watchers):
            watcher(jobs, ids)

    def _count_enqueues(self, jobs: Sequence[NewJob]) -> None:
        counts: dict[tuple[str, str], int] = {}
        for job in jobs:
            key = job.job_name, job.queue
            counts[key] = counts.get(key, 0) + 1
        for (name, queue), count in counts.items():
            _measure(self._counts_enqueues, job_name=name, queue=queue, count=count)

    # -- attempts

    def measure_start(self, claim: Claim) -> None:
        """Tell the sink of an attempt that begins."""
        if self._sink is None:
            return
        _measure(self._sink.record_job_start, job_name=claim.job_name, queue=claim.queue)
        if self._times_latency is not None:
            waited = (self._now() - claim.scheduled_at).total_seconds()
            _measure(
                self._times_latency, job_name=claim.job_name, queue=claim.queue, seconds=max(waited, 0.0)
            )

    @property
    def hears_starts(self) -> bool:
        """Whether :meth:`announce_start` has anybody to tell."""
        return self._observer.hears_starts

    def announce_start(self, claim: Claim) -> None:
        """Tell the observer; on the thread of the job's sync code."""
        _tell(self._observer.started, claim)

    def around(self, claim: Claim) -> AbstractContextManager[Any]:
        """What the sink puts around the code of an attempt, which may raise through it."""
        if self._surrounds is None:
            return NOTHING
        try:
            return _Guarded(self._surrounds(claim))
        except BaseException:  # a sink must never decide about a job
            logger.exception("the metrics sink failed; the job goes on")
            return NOTHING

    # -- the worker

    def measure_listener_lost(self, reason: str) -> None:
        """Tell the sink that hints which did arrive have ceased to; on any thread."""
        _measure(self._counts_lost_listeners, reason=reason)

    # -- ends

    @property
    def hears_ends(self) -> bool:
        """Whether :meth:`announce_end` has anybody to tell."""
        return self._observer.hears_ends

    def measure_end(self, end: End, *, kept: bool) -> None:
        """Tell the sink of an end that was recorded, or dropped because the claim was lost."""
        if self._sink is None:
            return
        about = {"job_name": end.job_name, "queue": end.queue}
        if end.started and end.seconds is not None:
            status = end.change.verb if kept else DROPPED
            _measure(self._sink.record_job_end, **about, status=status, duration_s=end.seconds)
        if kept and end.change.reason is not None and self._counts_dead_letters is not None:
            _measure(self._counts_dead_letters, **about, reason=end.change.reason.value)

    def announce_end(self, end: End) -> None:
        """Tell the observer; where it may block."""
        _tell(self._observer.ended, end)


class _Guarded:
    """A context manager of a sink: lets the job's errors through, and none of its own."""

    def __init__(self, inner: AbstractContextManager[Any]) -> None:
        self._inner = inner
        self._entered = False

    def __enter__(self) -> None:
        try:
            self._inner.__enter__()
            self._entered = True
        except BaseException:  # a sink must never decide about a job
            logger.exception("the metrics sink failed; the job goes on")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._entered:
            return
        try:
            self._inner.__exit__(kind, error, trace)
        except BaseException as raised:  # as above
            if raised is not error:
                logger.exception("the metrics sink failed; the job goes on")


def _measure(record: Callable[..., object] | None, **facts: object) -> None:
    try:
        if record is not None:
            record(**facts)
    except BaseException:  # a sink must never decide about a job
        logger.exception("the metrics sink failed; the job goes on")


def _tell(call: Callable[[Any], None], about: object) -> None:
    try:
        call(about)
    except BaseException:  # neither must an observer
        logger.exception("the observer %r failed; the queue goes on", call)
