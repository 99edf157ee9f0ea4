"""What a worker holds: claims until their outcome is recorded, and outcomes on their way to the storage."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from soniq import transitions
from soniq.alarm import Alarm
from soniq.eager import eager_task
from soniq.execution import Outcome
from soniq.jobs import Claim, ClaimRequest
from soniq.lookout import Lookout
from soniq.outcomes import exchange
from soniq.pace import Pace
from soniq.presence import Presence
from soniq.registry import Registry
from soniq.storage_line import AWAY, StorageLine
from soniq.suspects import Suspects


class Ledger:
    """No claim is forgotten and no outcome is lost, whatever becomes of a visit to the storage.

    :param presence: the worker that holds them
    :param claims_anew: whether it may claim jobs again that it has attempted before
    :param start: given the claims that are to be run
    :param report: given outcomes once they are recorded, and of each whether its claim still held
    """

    def __init__(
        self,
        presence: Presence,
        *,
        registry: Registry,
        storage: StorageLine,
        lookout: Lookout,
        alarm: Alarm,
        pace: Pace,
        claims_anew: bool,
        start: Callable[[Sequence[Claim]], None],
        report: Callable[[list[Outcome], list[bool]], None],
    ) -> None:
        self._presence = presence
        self._registry = registry
        self._storage = storage
        self._lookout = lookout
        self._alarm = alarm
        self._pace = pace
        self._claims_anew = claims_anew
        self._start = start
        self._report = report
        # A worker that attempts each job once need not hold suspects back.
        self._suspects = Suspects(enabled=claims_anew)
        self.outcomes: deque[Outcome] = deque()  # to be recorded; slot threads append to it, too
        self.holding: set[str] = set()  # ids of what was claimed, and whose outcome is not recorded yet
        self.processed = 0  # jobs that were claimed and not given back unstarted

    # -- bringing

    def deliver(self, outcome: Outcome) -> None:
        """An attempt has ended. Called in the event loop and on slot threads."""
        self.outcomes.append(outcome)
        self._pace.took(outcome.seconds)
        if self._alarm.resting:
            self._alarm.ring_once()

    def give_back(self, claims: Sequence[Claim], *, unstarted: bool = False) -> None:
        """These are not run, or not to their end: others may have them."""
        if unstarted:
            self.processed -= len(claims)
        self.outcomes.extend(
            Outcome(claim, transitions.interrupt(claim), started=not unstarted) for claim in claims
        )

    # -- the visit

    async def exchange(self, wanted: int) -> None:
        """Record what piled up and claim up to ``wanted`` jobs, in one visit to the storage.

        :raises BackendUnavailable: it is away, and the worker has no more time; what was to be recorded stays
        :raises BackendConflict: the same
        """
        self._pace.visits()
        self._storage.at_stake = len(self.outcomes)
        if self._storage.doubtful:
            await self.take_stock()
        outcomes = self._taken()
        self._storage.at_stake = len(outcomes)
        suspects = self._suspects.wanted if wanted else None
        self._lookout.claiming()
        visit = eager_task(self._storage.call(self._visit, outcomes, wanted, suspects))
        try:
            applied, claims = await self._seen_through(visit, outcomes)
        except AWAY:
            self.outcomes.extendleft(reversed(outcomes))
            if outcomes or not self._storage.stopping.requested:
                raise
            return  # there was nothing to record, and there is nothing to claim any more
        except Exception:
            self.outcomes.extendleft(reversed(outcomes))
            raise
        finally:
            self._storage.at_stake = 0
        self._claimed(claims)
        if suspects:
            self._suspects.found(len(claims))
        elif wanted:
            self._lookout.claimed(len(claims), wanted)
        self._recorded(outcomes, applied)

    async def take_stock(self) -> None:
        """After an answer was lost: the storage may have given us jobs that we never heard of."""
        held = await self._storage.call(self._storage.backend.held, self._presence.info.id)
        self._storage.doubtful = False
        self._claimed([claim for claim in held if claim.job_id not in self.holding])

    async def _seen_through(
        self, visit: asyncio.Future[tuple[list[bool], list[Claim]]], outcomes: list[Outcome]
    ) -> tuple[list[bool], list[Claim]]:
        """The visit's answer. It goes on in its thread whatever happens to us: its claims are ours."""
        try:
            return await asyncio.shield(visit)
        except asyncio.CancelledError:
            self._storage.stopping.now()
            try:
                applied, claims = await visit
            except BaseException:
                self.outcomes.extendleft(reversed(outcomes))
                raise
            self._claimed(claims)
            self._recorded(outcomes, applied)
            raise

    def _visit(
        self, outcomes: list[Outcome], wanted: int, suspects: bool | None
    ) -> tuple[list[bool], list[Claim]]:
        """Runs on the database thread."""
        request = ClaimRequest(
            worker_id=self._presence.info.id,
            limit=0 if self._storage.stopping.requested else 1 if suspects and wanted else wanted,
            queues=self._presence.info.queues,
            names=tuple(self._registry),
            skip_own=not self._claims_anew,
            crashed=suspects,
        )
        return exchange(self._storage.backend, outcomes, request)

    def _taken(self) -> list[Outcome]:
        """What piled up; slot threads may go on adding meanwhile."""
        outcomes = []
        while self.outcomes:
            outcomes.append(self.outcomes.popleft())
        return outcomes

    def _claimed(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        self.holding.update(claim.job_id for claim in claims)
        if not self._presence.heart.trusted:
            # The answer came so late that others may have been given these jobs by now.
            self.give_back(claims)
            return
        self._lookout.busy()
        self.processed += len(claims)
        kept, too_many = self._suspects.sift(claims)
        self.give_back(too_many, unstarted=True)
        self._start(kept)

    def _recorded(self, outcomes: list[Outcome], applied: list[bool]) -> None:
        if outcomes:
            ended = {outcome.claim.job_id for outcome in outcomes}
            self.holding -= ended
            self._suspects.ended(ended)
            self._pace.finished(len(outcomes))
            self._lookout.hungry = True  # a finished job may have enqueued others
            # The next visit to the storage goes first.
            asyncio.get_running_loop().call_soon(self._report, outcomes, applied)
