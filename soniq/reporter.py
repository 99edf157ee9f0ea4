"""What a worker says of outcomes once they are recorded: to the log, the metrics sink and the observer.

And of the jobs that it stores itself, as schedules want them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from soniq.audience import Audience, End
from soniq.environment import Environment
from soniq.execution import Outcome
from soniq.jobs import NewJob
from soniq.outcomes import log_outcome
from soniq.slots import SlotThread
from soniq.steady import get_logger

logger = get_logger("soniq.worker")

BACKLOG = 1000  # ends that an observer may be behind, before its worker claims no further jobs


class Reporter:
    """Tells of ends in the order in which they were recorded. Used in the event loop.

    The observer may block, so it is told on a thread of its own, which starts with the first end that
    somebody wants to hear of, and whose connections are kept healthy like those of jobs.

    :param environment: of the app; says what surrounds code on that thread
    :param at_thread_exit: called on that thread before it ends
    :param watch: called with each recorded outcome
    :param changed: called when an observer that was :attr:`behind` has caught up
    """

    def __init__(
        self,
        audience: Audience,
        *,
        environment: Environment,
        at_thread_exit: Callable[[], None],
        watch: Callable[[Outcome], None] | None,
        changed: Callable[[], None],
    ) -> None:
        self._audience = audience
        self._environment = environment
        self._watch = watch
        self._changed = changed
        self._thread = SlotThread("soniq-signals", at_thread_exit)
        self._telling: set[asyncio.Future[None]] = set()
        self._backlog = 0

    @property
    def behind(self) -> bool:
        """Whether the observer has so much to hear yet that no further jobs should be claimed."""
        return self._backlog >= BACKLOG

    def report(self, outcomes: Sequence[Outcome], applied: Sequence[bool]) -> None:
        """Tell of outcomes; ``applied`` says of each whether its claim still held."""
        hears, measures = self._audience.hears_ends, self._audience.measures
        recorded: list[End] = []
        for outcome, kept in zip(outcomes, applied, strict=True):
            log_outcome(outcome, kept=kept)
            if measures:
                self._audience.measure_end(End.of(outcome), kept=kept)
            if hears and kept:
                recorded.append(End.of(outcome))
            if self._watch is not None:
                try:
                    self._watch(outcome)
                except Exception:
                    logger.exception("whoever watches the worker failed; the worker goes on")
        self._announce(recorded)

    def report_ends(self, ends: Sequence[End]) -> None:
        """Tell of ends that are no outcomes of this worker's attempts; they are in the log already."""
        for end in ends:
            self._audience.measure_end(end, kept=True)
        if self._audience.hears_ends:
            self._announce(ends)

    def report_enqueued(self, jobs: Sequence[tuple[NewJob, str]]) -> None:
        """Tell of jobs that the worker has stored itself, each with the id that the store answered."""
        if self._audience.hears_enqueues:
            self._submit(lambda: self._tell_enqueued(jobs), len(jobs))

    def _tell_enqueued(self, jobs: Sequence[tuple[NewJob, str]]) -> None:
        with self._environment.around_sync():
            self._audience.enqueued([job for job, _ in jobs], [stored_id for _, stored_id in jobs])

    def _announce(self, ends: Sequence[End]) -> None:
        def announce() -> None:
            for end in ends:
                with self._environment.around_sync():
                    self._audience.announce_end(end)

        if ends:
            self._submit(announce, len(ends))

    def _submit(self, tell: Callable[[], None], count: int) -> None:
        self._backlog += count
        telling = asyncio.ensure_future(self._environment.submit(self._thread, tell))
        self._telling.add(telling)
        telling.add_done_callback(lambda told: self._told(told, count))

    def _told(self, telling: asyncio.Future[None], count: int) -> None:
        was_behind = self.behind
        self._telling.discard(telling)
        self._backlog -= count
        if not telling.cancelled() and telling.exception() is not None:
            logger.error("what became of %d jobs was not announced", count, exc_info=telling.exception())
        if was_behind and not self.behind:
            self._changed()

    async def close(self, timeout: float) -> None:
        """Let the observer hear the rest within ``timeout`` seconds, and end its thread."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=timeout)
        if self._telling:
            logger.warning("leaving with what became of %d jobs unannounced", self._backlog)
        self._thread.shutdown(wait=not self._thread.busy)
