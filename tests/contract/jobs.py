"""Steps in the life of jobs: enqueue, claim, outcomes, cancel, delete, purge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from soniq import transitions
from soniq.jobs import Claim, DeadLetterReason
from soniq.transitions import Change
from tests.contract import choices
from tests.contract.base import WORKERS, Steps
from tests.contract.choices import DAY, FAR
from tests.contract.model import ModelClaim
from tests.contract.stores import Store

UNKNOWN = ("00000000-0000-4000-8000-000000000000", "no-id-at-all")
claims = st.fixed_dictionaries(
    {
        "worker_id": st.sampled_from(WORKERS),
        "limit": choices.limits,
        "queues": choices.some_of(choices.QUEUES),
        "names": choices.some_of(choices.NAMES),
        "skip_own": st.booleans(),
    }
)
# Which of all claims, newest first; what is said of it; how that is out of date.
saying = st.lists(st.tuples(st.integers(0, 40), choices.outcomes, choices.twists), max_size=6)


class Jobs(Steps):
    # -- producing

    @rule(options=choices.new_jobs)
    def enqueue(self, options: dict[str, Any]) -> None:
        self._enqueue([options])

    @rule(options=st.lists(choices.new_jobs, max_size=6))
    def enqueue_batch(self, options: list[dict[str, Any]]) -> None:
        self._enqueue(options)

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
        answers = self.ask(lambda store: store.claimer().claim(**asked))
        self.check_claims(answers, asked)

    @precondition(lambda self: self.given)
    @rule(said=saying)
    def apply(self, said: list[Any]) -> None:
        changes = self._changes(said)
        answers = self.ask(lambda store: store.backend.apply(changes[store.name]))
        self.agree("apply", answers, self._applied(said))

    @precondition(lambda self: self.given)
    @rule(said=saying, asked=claims)
    def exchange(self, said: list[Any], asked: dict[str, Any]) -> None:
        changes = self._changes(said)
        answers = self.ask(lambda store: store.claimer().exchange(changes[store.name], **asked))
        self.agree("exchange", {name: one[0] for name, one in answers.items()}, self._applied(said))
        self.check_claims({name: one[1] for name, one in answers.items()}, asked)

    @rule(which=st.integers(0, 40), ttl=choices.ttls)
    def cancel(self, which: int, ttl: float | None) -> None:
        job_id = self._some([*self.model.jobs, *UNKNOWN], which)
        change = transitions.cancel(job_id, ttl=ttl)
        answers = self.ask(lambda store: store.backend.apply([change]))
        self.agree("cancel", answers, [self.model.cancel(job_id, self.now, ttl)])

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

    def _changes(self, said: list[Any]) -> dict[str, list[Change]]:
        """The changes in each store's words; makes `said` unambiguous on the way."""
        self._make_clear(said)
        changes: dict[str, list[Change]] = {store.name: [] for store in self.stores}
        for which, outcome, twist in said:
            _, told = self._given(which)
            for name, claim in told.items():
                changes[name].append(change_of(twisted(claim, twist), outcome))
        return changes

    def _make_clear(self, said: list[Any]) -> None:
        """At most one job of each priority is due again at once: which is first then needs no telling."""
        taken: set[int] = set()
        clear = []
        for place, (which, outcome, twist) in enumerate(said):
            priority = self._given(which)[0].job.priority
            due = due_again(outcome)
            if due == 0.0 and priority in taken and outcome[0] in ("interrupt", "rescue"):
                continue
            if due == 0.0 and priority not in taken:
                taken.add(priority)
                clear.append((which, outcome, twist))
            else:
                clear.append((which, put_off(outcome, FAR + place), twist))
        said[:] = clear

    def _applied(self, said: list[Any]) -> list[bool]:
        answers = []
        for which, (verb, *details), twist in said:
            claim, _ = self._given(which)
            if twist == "worker":
                claim = replace(claim, worker=UNKNOWN[0])
            elif twist == "attempt":
                claim = replace(claim, attempt=claim.attempt + 1)
            elif twist == "job":
                claim = ModelClaim(replace(claim.job, id=UNKNOWN[0]), claim.worker, claim.attempt)
            answers.append(getattr(self.model, verb)(claim, self.now, *details))
        return answers

    def _given(self, which: int) -> tuple[ModelClaim, dict[str, Claim]]:
        return self.given[-1 - which % len(self.given)]


def due_again(outcome: Any) -> float | None:
    """Seconds until a job with this outcome may be due again; None = never."""
    verb, *details = outcome
    return {
        "fail": lambda: details[1],
        "snooze": lambda: details[0],
        "interrupt": float,
        "rescue": float,
    }.get(verb, lambda: None)()


def put_off(outcome: Any, seconds: float) -> Any:
    """The same outcome, but the job is due again after ``seconds``, if it is at all."""
    if outcome[0] == "fail" and outcome[2] is not None:
        return ("fail", outcome[1], seconds)
    return ("snooze", seconds, outcome[2]) if outcome[0] == "snooze" else outcome


def twisted(claim: Claim, twist: str | None) -> Claim:
    if twist == "worker":
        return replace(claim, worker_id=UNKNOWN[0])
    if twist == "attempt":
        return replace(claim, attempt=claim.attempt + 1)
    if twist == "job":
        return replace(claim, job_id=UNKNOWN[0])
    return claim


def change_of(claim: Claim, outcome: Any) -> Change:
    verb, *details = outcome
    if verb == "succeed":
        return transitions.succeed(claim, result_json=details[0], ttl=details[1], error=details[2])
    if verb == "fail":
        return transitions.fail(claim, error=details[0], delay=details[1])
    if verb == "snooze":
        return transitions.snooze(claim, seconds=details[0], reason=details[1])
    if verb == "rescue":
        return transitions.rescue(claim, max_crashes=details[0])
    if verb == "bury":
        return transitions.bury(claim, reason=DeadLetterReason(details[0]), error=details[1])
    return transitions.interrupt(claim)
