"""Steps in the life of jobs: enqueue, claim, outcomes, cancel, delete, purge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from soniq import transitions
from soniq.jobs import Claim, ClaimRequest, WorkerInfo
from soniq.transitions import Change
from tests.contract import choices
from tests.contract.base import WORKERS, Steps
from tests.contract.choices import DAY, FAR, INSTANTS
from tests.contract.model import ModelClaim
from tests.contract.saying import FRONT, PLAIN, ROUTINE, UNKNOWN, change_of, due_again, put_off, twisted
from tests.contract.stores import Store

claims = st.fixed_dictionaries(
    {
        "worker_id": st.sampled_from(WORKERS),
        "limit": choices.limits,
        "queues": choices.some_of(choices.QUEUES),
        "names": choices.some_of(choices.NAMES),
        "skip_own": st.booleans(),
        "crashed": st.sampled_from([None, None, True, False]),
    }
)
# Of which claim, those that hold first; what is said of it; how that is out of date.
which_claim = st.integers(0, 3) | st.integers(0, 40)
saying = st.lists(st.tuples(which_claim, choices.outcomes, choices.twists), min_size=1, max_size=6)
Said: TypeAlias = list[tuple[ModelClaim, dict[str, Claim], Any, str | None]]


class Jobs(Steps):
    @initialize(options=st.lists(choices.new_jobs, min_size=3, max_size=6))
    def begin(self, options: list[dict[str, Any]]) -> None:
        self._round = 0
        for worker in WORKERS[:2]:
            self.ask(
                lambda store: store.backend.register(
                    WorkerInfo(id=worker, hostname="host", pid=1, concurrency=2)  # noqa: B023  # called at once
                )
            )
            self.model.register(worker, ("host", 1, 2, None), self.now)
        self._enqueue(options)
        for error in ("first", "second"):
            self._enqueue([{**PLAIN, "priority": 0, "when": ("instant", INSTANTS[0])}])
            self.claim(FRONT)
            self.apply([(0, ("bury", "timeout", error), None)])

    @rule()
    def a_worker_goes_on(self) -> None:
        """The one step without a choice, and so the one that is drawn most: it has to lead somewhere."""
        if any(self.model.holds(claim) for claim, _ in self.given):
            self._round += 1
            self.apply([(0, ROUTINE[self._round % len(ROUTINE)], None)])
        elif any(job.due.low <= self.now.low for job in self.model.queued(None, None)):
            self.claim({**FRONT, "limit": 2})
        else:
            self._enqueue([PLAIN, {**PLAIN, "unique_key": "k1", "priority": 0}])

    # -- producing

    @rule(options=choices.new_jobs)
    def enqueue(self, options: dict[str, Any]) -> None:
        self._enqueue([options])

    @rule(options=st.lists(choices.new_jobs, max_size=6))
    def enqueue_batch(self, options: list[dict[str, Any]]) -> None:
        self._enqueue(options)

    @rule(options=choices.new_jobs, count=st.sampled_from([2, 25]))
    def enqueue_many_alike(self, options: dict[str, Any], count: int) -> None:
        """As many as a store may take a faster way for; they differ in id and arguments."""
        when = options["when"] if options["when"][0] == "instant" else ("now", 0.0)
        one = {**options, "unique_key": None, "when": when}
        planned = [{**one, "id": self.new_id(), "args": {**one["args"], "n": n}} for n in range(count)]
        answers = self.ask(lambda store: store.backend.enqueue([self.new_job(store, job) for job in planned]))
        self.agree("enqueue", answers, self.model.enqueue([self.model_job(job) for job in planned]))

    def _enqueue(self, options: list[dict[str, Any]]) -> None:
        planned = self.plan(options)
        answers = self.ask(lambda store: store.backend.enqueue([self.new_job(store, one) for one in planned]))
        self.agree("enqueue", answers, self.model.enqueue([self.model_job(one) for one in planned]))

    @rule(options=st.lists(choices.new_jobs, min_size=1, max_size=4), place=st.integers(0, 3))
    def enqueue_a_broken_batch(self, options: list[dict[str, Any]], place: int) -> None:
        """One job without a name keeps out all."""
        planned = self.plan(options)
        planned[place % len(planned)]["name"] = None
        planned[place % len(planned)]["unique_key"] = None
        self._refused(planned)

    @precondition(lambda self: self.model.jobs)
    @rule(options=st.lists(choices.new_jobs, min_size=1, max_size=4), which=st.integers(0, 40))
    def enqueue_a_taken_id(self, options: list[dict[str, Any]], which: int) -> None:
        planned = self.plan(options)
        planned[-1]["id"] = self._some(self.model.jobs, which)
        planned[-1]["unique_key"] = None
        self._refused(planned)

    def _refused(self, planned: list[dict[str, Any]]) -> None:
        def refuse(store: Store) -> None:
            with pytest.raises(Exception):  # noqa: B017  # the contract names no class
                store.backend.enqueue([self.new_job(store, one) for one in planned])

        self.ask(refuse)

    # -- consuming

    @rule(asked=claims)
    def claim(self, asked: dict[str, Any]) -> None:
        answers = self.ask(lambda store: store.claimer().claim(ClaimRequest(**asked)))
        self.check_claims(answers, asked)

    @rule(worker=st.sampled_from(WORKERS))
    def claim_all(self, worker: str) -> None:
        self.claim({**FRONT, "worker_id": worker, "limit": 100})

    @precondition(lambda self: self.given)
    @rule(saying=saying)
    def apply(self, saying: list[Any]) -> None:
        said = self._said(saying)
        changes = self._changes(said)
        answers = self.ask(lambda store: store.backend.apply(changes[store.name]))
        self.agree("apply", answers, self._applied(said))

    @precondition(lambda self: self.given)
    @rule(saying=saying, asked=claims)
    def exchange(self, saying: list[Any], asked: dict[str, Any]) -> None:
        said = self._said(saying)
        changes = self._changes(said)
        answers = self.ask(lambda store: store.claimer().exchange(changes[store.name], ClaimRequest(**asked)))
        self.agree("exchange", {name: one[0] for name, one in answers.items()}, self._applied(said))
        self.check_claims({name: one[1] for name, one in answers.items()}, asked)

    @precondition(lambda self: self.given)
    @rule(
        outcome=choices.outcomes, which=st.integers(0, 2), twist=st.sampled_from(["worker", "attempt", "job"])
    )
    def say_something_wrong(self, outcome: Any, which: int, twist: str) -> None:
        """Of a claim that holds, but in the name of another worker, of another attempt, of another job."""
        self.apply([(which, outcome, twist)])

    @precondition(lambda self: self.given)
    @rule(outcome=choices.outcomes, which=st.integers(0, 2))
    def say_something_late(self, outcome: Any, which: int) -> None:
        """Of a claim whose job runs again, in the hands of the same worker if there is one."""
        late = [one for one in self.given if not self.model.holds(one[0])]
        late.sort(key=lambda one: self.model.holds(replace(one[0], attempt=one[0].attempt + 1)))
        if late:
            claim, told = late[-1 - which % len(late)]
            said: Said = [(claim, told, outcome, None)]
            changes = self._changes(said)
            answers = self.ask(lambda store: store.backend.apply(changes[store.name]))
            self.agree("late", answers, self._applied(said))

    @rule(which=st.integers(0, 40), ttl=choices.ttls)
    def cancel(self, which: int, ttl: float | None) -> None:
        job_id = self._some([*self.model.jobs, *UNKNOWN], which)
        change = transitions.cancel(job_id, ttl=ttl)
        answers = self.ask(lambda store: store.backend.apply([change]))
        self.agree("cancel", answers, [self.model.cancel(job_id, self.now, ttl)])

    @rule(which=st.integers(0, 40))
    def hasten(self, which: int) -> None:
        job_id = self._some([*self.model.jobs, *UNKNOWN], which)
        answers = self.ask(lambda store: store.backend.apply([transitions.hasten(job_id)]))
        self.agree("hasten", answers, [self.model.hasten(job_id, self.now)])

    @rule(worker=st.sampled_from(WORKERS))
    def held(self, worker: str) -> None:
        answers = self.ask(lambda store: [claim.job_id for claim in store.backend.held(worker)])
        self.agree("held", answers, [job.id for job in self.model.held(worker)])

    # -- housekeeping

    @rule(which=st.integers(0, 40))
    def delete(self, which: int) -> None:
        job_id = self._some([*self.model.jobs, *self.model.letters, *UNKNOWN], which)
        answers = self.ask(lambda store: store.backend.delete_job(job_id))
        self.agree("delete", answers, self.model.jobs.pop(job_id, None) is not None)

    @rule(limit=st.sampled_from([0, 1, 2, 100]), ttl=st.sampled_from([None, 0.0, DAY]))
    def purge(self, limit: int, ttl: float | None) -> None:
        """Until nothing is left: which go first is the store's affair, how many is not."""

        def purge_all(store: Store) -> list[int]:
            counts = [store.backend.purge(limit=limit, dead_letter_ttl=ttl)]
            while counts[-1]:
                counts.append(store.backend.purge(limit=limit, dead_letter_ttl=ttl))
            return counts

        answers = self.ask(purge_all)
        jobs = self.model.expired(self.now) if limit else []
        letters = self.model.older(self.now, ttl) if limit and ttl is not None else []
        expected = []
        left = [len(jobs), len(letters)]
        while any(left):
            expected.append(sum(min(limit, count) for count in left))
            left = [max(0, count - limit) for count in left]
        self.agree("purge", answers, [*expected, 0])
        for job_id in jobs:
            del self.model.jobs[job_id]
        for job_id in letters:
            del self.model.letters[job_id]

    # -- what is said of claims

    def _some(self, ids: Any, which: int) -> str:
        known = list(ids)
        return known[which % len(known)]

    def _said(self, saying: list[Any]) -> Said:
        """Whose claims these are; at most one job of each priority is due again at once.

        Which of two is claimed first then needs no telling.
        """
        newest_first = self.given[::-1]
        claims = [one for one in newest_first if self.model.holds(one[0])]
        claims += [one for one in newest_first if not self.model.holds(one[0])]
        taken: set[int] = set()
        said: Said = []
        for place, (which, outcome, twist) in enumerate(saying):
            claim, told = claims[which % len(claims)]
            due = due_again(outcome)
            if due == 0.0 and claim.job.priority not in taken:
                taken.add(claim.job.priority)
                said.append((claim, told, outcome, twist))
            elif due != 0.0 or outcome[0] not in ("interrupt", "rescue"):
                said.append((claim, told, put_off(outcome, FAR + place), twist))
        return said

    def _changes(self, said: Said) -> dict[str, list[Change]]:
        """What is said, with the claims as each store told them."""
        return {
            store.name: [
                change_of(twisted(told[store.name], twist), outcome) for _, told, outcome, twist in said
            ]
            for store in self.stores
        }

    def _applied(self, said: Said) -> list[bool]:
        answers = []
        for claim, _, (verb, *details), twist in said:
            meant = claim
            if twist == "worker":
                meant = replace(claim, worker=UNKNOWN[0])
            elif twist == "attempt":
                meant = replace(claim, attempt=claim.attempt + 1)
            elif twist == "job":
                meant = replace(claim, job=replace(claim.job, id=UNKNOWN[0]))
            answers.append(getattr(self.model, verb)(meant, self.now, *details))
        return answers
