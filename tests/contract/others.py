"""Steps of workers and of dead letters, looks at what is there, and time that passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from soniq import transitions
from soniq.jobs import JobStatus, WorkerInfo
from soniq.records import DeadLetterFilter
from tests.contract import choices
from tests.contract.base import WORKERS, Steps, orphan_of
from tests.contract.choices import DAY, JUMP
from tests.contract.compared import SLACK, check_claim, check_job
from tests.contract.model import STATUSES
from tests.contract.saying import UNKNOWN
from tests.contract.stores import Store

pages = st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3))  # limit and offset


class Workers(Steps):
    @rule(worker=st.sampled_from(WORKERS), facts=choices.workers)
    def register(self, worker: str, facts: dict[str, Any]) -> None:
        self.ask(lambda store: store.backend.register(WorkerInfo(id=worker, **facts)))
        told = (facts["hostname"], facts["pid"], facts["concurrency"], facts["queues"])
        self.model.register(worker, told, self.now)

    @rule(worker=st.sampled_from(WORKERS))
    def beat(self, worker: str) -> None:
        answers = self.ask(lambda store: store.backend.beat(worker))
        self.agree("beat", answers, self.model.beat(worker, self.now))

    @rule(worker=st.sampled_from(WORKERS))
    def deregister(self, worker: str) -> None:
        self.ask(lambda store: store.backend.deregister(worker))
        self.model.workers.pop(worker, None)

    @rule(limit=st.sampled_from([1, 2, 100]), max_crashes=st.integers(1, 3))
    def rescue_orphans(self, limit: int, max_crashes: int) -> None:
        """Batch by batch, until there are none; each batch is applied in every store."""
        while True:
            answers = self.ask(lambda store: store.backend.orphans(dead_after=DAY, limit=limit))
            orphans = {job.id: job for job in self.model.orphans(self.now, DAY)}
            first = answers[self.stores[0].name]
            ids = [claim.job_id for claim in first]
            assert {*ids} <= {*orphans}
            self.agree("number of orphans", _counts(answers), min(limit, len(orphans)))
            if not ids:
                return
            for store in self.stores:
                told = {claim.job_id: claim for claim in answers[store.name]}
                for job_id in ids:
                    check_claim(store, told[job_id], orphan_of(orphans[job_id]))
            # One by one: of those that are due again at once, the first rescued is the first claimed.
            for claim in first:
                change = transitions.rescue(claim, max_crashes=max_crashes)
                answer = self.ask(lambda store: store.backend.apply([change]))  # noqa: B023  # called at once
                rescued = self.model.rescue(orphan_of(orphans[claim.job_id]), self.now, max_crashes)
                self.agree("rescue", answer, [rescued])

    @rule(dead_after=st.sampled_from([DAY, 2 * DAY]))
    def forget_workers(self, dead_after: float) -> None:
        answers = self.ask(lambda store: store.backend.forget_workers(dead_after=dead_after))
        self.agree("forget_workers", answers, self.model.forget(self.now, dead_after))

    @rule(seconds=st.sampled_from([JUMP, 2 * JUMP]))
    def time_passes(self, seconds: float) -> None:
        for store in self.stores:
            store.let_pass(seconds)
        self.passed += seconds


class DeadLetters(Steps):
    @rule(which=st.integers(0, 40), options=choices.new_jobs)
    def replay(self, which: int, options: dict[str, Any]) -> None:
        letter_id = self._letter(which)
        [planned] = self.plan([options])
        answers = self.ask(
            lambda store: store.backend.replay_dead_letter(letter_id, self.new_job(store, planned))
        )
        self.agree("replay", answers, self.model.replay(letter_id, self.model_job(planned), self.now))

    @precondition(lambda self: self.model.jobs and self.model.letters)
    @rule(which=st.integers(0, 40), options=choices.new_jobs)
    def replay_as_a_taken_id(self, which: int, options: dict[str, Any]) -> None:
        """Both or neither: nothing is counted when nothing could be enqueued."""
        letter_id = [*self.model.letters][which % len(self.model.letters)]
        [planned] = self.plan([{**options, "unique_key": None}])
        planned["id"] = next(iter(self.model.jobs))

        def refuse(store: Store) -> None:
            with pytest.raises(Exception):  # noqa: B017  # the contract names no class
                store.backend.replay_dead_letter(letter_id, self.new_job(store, planned))

        self.ask(refuse)

    @rule(which=st.integers(0, 40), tags=st.lists(st.sampled_from(choices.TAGS), max_size=3))
    def tag(self, which: int, tags: list[str]) -> None:
        letter_id = self._letter(which)
        answers = self.ask(lambda store: store.backend.tag_dead_letter(letter_id, tags))
        self.agree("tag", answers, self.model.tag(letter_id, tags))

    @rule(data=st.data(), where=choices.filters, page=pages)
    def list_letters(self, data: st.DataObject, where: dict[str, Any], page: Any) -> None:
        where = self._with_ids_and_dates(data, where)
        answers = self.ask(lambda store: store.backend.list_dead_letters(self._filter(store, where, page)))
        meant = self.model.meant(where)
        limit, offset = page or (1000, 0)
        steps = [letter.moved.low for letter in meant][offset : offset + limit]
        for store in self.stores:
            ids = [letter.id for letter in answers[store.name]]
            assert {*ids} <= {letter.job.id for letter in meant}, (store.name, where, page, ids)
            assert len({*ids}) == len(ids), (store.name, ids)
        # Those of one step may come in any order among themselves.
        told = {
            name: [self.model.letters[letter.id].moved.low for letter in letters]
            for name, letters in answers.items()
        }
        self.agree(f"dead letters of {where}, {page}", told, steps)

    @rule(data=st.data(), where=choices.filters, page=pages)
    def delete_letters(self, data: st.DataObject, where: dict[str, Any], page: Any) -> None:
        where = self._with_ids_and_dates(data, where)
        meant = self.model.meant(where)
        steps = [letter.moved.low for letter in meant]
        if page is not None and len({*steps}) < len(steps):
            page = None  # a page might begin or end among those of one step
        limit, offset = page or (1000, 0)
        answers = self.ask(lambda store: store.backend.delete_dead_letters(self._filter(store, where, page)))
        gone = meant[offset : offset + limit]
        for letter in gone:
            del self.model.letters[letter.job.id]
        self.agree(f"deleted dead letters of {where}, {page}", answers, len(gone))

    @rule(hours=st.sampled_from([None, 24.0]))
    def count_letters(self, hours: float | None) -> None:
        answers = self.ask(lambda store: _as_dict(store.backend.dead_letter_stats(hours=hours)))
        letters = list(self.model.letters.values())
        if hours is not None:
            letters = [one for one in letters if one.moved.low >= self.now.low - hours * 3600]
        expected = {
            "total": len(letters),
            "by_reason": _tally(letter.reason for letter in letters),
            "by_job_name": _tally(letter.job.name for letter in letters),
            "by_queue": _tally(letter.job.queue for letter in letters),
        }
        self.agree("dead_letter_stats", answers, expected)

    def _letter(self, which: int) -> str:
        known = [*self.model.letters, *list(self.model.jobs)[:1], *UNKNOWN]
        return known[which % len(known)]

    def _with_ids_and_dates(self, data: st.DataObject, where: dict[str, Any]) -> dict[str, Any]:
        ids = [*self.model.letters, *UNKNOWN]
        more: dict[str, Any] = {}
        if data.draw(st.booleans(), "by id"):
            more["ids"] = data.draw(st.lists(st.sampled_from(ids), max_size=4), "ids")
        for name in ("date_from", "date_to"):
            if self.between and data.draw(st.booleans(), f"by {name}"):
                more[name] = self.between[data.draw(st.integers(0, 99), name) % len(self.between)]
        return {**where, **more}

    def _filter(self, store: Store, where: dict[str, Any], page: Any) -> DeadLetterFilter:
        given = dict(where)
        for name in ("date_from", "date_to"):
            if name in given:
                given[name] = store.instant(given[name])
        if page is not None:
            given |= {"limit": page[0], "offset": page[1]}
        return DeadLetterFilter(**given)


class Looks(Steps):
    @rule(queues=choices.some_of(choices.QUEUES), names=choices.some_of(choices.NAMES))
    def ask_what_is_due(self, queues: Any, names: Any) -> None:
        counts = self.ask(lambda store: store.backend.count_due(queues=queues, names=names))
        self.agree("count_due", counts, len(self.model.due(self.now, queues, names)))
        answers = self.ask(lambda store: store.backend.next_due(queues=queues, names=names))
        first = min(
            (job.due for job in self.model.queued(queues, names)), key=lambda due: due.low, default=None
        )
        for name, seconds in answers.items():
            if first is None or seconds is None:
                assert seconds is first, (name, seconds, first)
                continue
            low, high = first.low - self.now.high - SLACK, first.high - self.now.low + SLACK
            assert low <= seconds <= high, (name, low, seconds, high)

    @rule(
        queue=st.none() | st.sampled_from(choices.QUEUES),
        status=st.none() | st.sampled_from(STATUSES),
        page=pages,
    )
    def list_jobs(self, queue: str | None, status: str | None, page: Any) -> None:
        limit, offset = page or (100, 0)
        answers = self.ask(
            lambda store: store.backend.list_jobs(
                queue=queue, status=status and JobStatus(status), limit=limit, offset=offset
            )
        )
        found = [
            job.id
            for job in self.model.jobs.values()
            if queue in (None, job.queue) and status in (None, job.status)
        ]
        ids = {name: [job.id for job in jobs] for name, jobs in answers.items()}
        self.agree("list_jobs", ids, sorted(found, reverse=True)[offset : offset + limit])

    @rule(which=st.integers(0, 40))
    def get_job(self, which: int) -> None:
        known = [*self.model.jobs, *list(self.model.letters)[:1], *UNKNOWN]
        job_id = known[which % len(known)]
        answers = self.ask(lambda store: store.backend.get_job(job_id))
        for store in self.stores:
            found = answers[store.name]
            assert (found is not None) == (job_id in self.model.jobs), (store.name, job_id, found)
            if found is not None:
                check_job(store, found, self.model.jobs[job_id])


def _counts(answers: dict[str, list[Any]]) -> dict[str, int]:
    return {name: len(claims) for name, claims in answers.items()}


def _as_dict(stats: Any) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in ("total", "by_reason", "by_job_name", "by_queue")}


def _tally(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
