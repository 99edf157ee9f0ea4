# ruff: noqa: S101, PLR2004  (these are tests)
"""Schedules: what is written is read, guards hold, and a schedule moves on together with its jobs."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier as ProcessBarrier
from typing import Any

import pytest

from soniq.backend import StorageBackend
from soniq.errors import BackendError
from soniq.jobs import JobStatus, NewJob
from soniq.schedule_records import Misfire, Overlap, Schedule, ScheduleChange, ScheduleFilter
from soniq.testing.conformance.races import PATIENCE, PROCESSES, THREADS, at_once
from soniq.testing.conformance.support import (
    PAYLOADS,
    Conformance,
    enqueue_one,
    exactly,
    new_id,
    new_job,
    new_jobs,
    stored,
    take,
    wait_until,
    written,
)
from soniq.transitions import succeed

ANY = ScheduleFilter()
ROUNDS = 5


def new_schedule(backend: StorageBackend, **fields: Any) -> Schedule:
    """A schedule that is due in an hour, unless ``fields`` say otherwise; not yet written."""
    now = backend.now()
    usual: dict[str, Any] = {
        "name": "nightly",
        "job_name": "work",
        "cron": "0 3 * * *",
        "anchor_at": now,
        "next_fire_at": now + timedelta(hours=1),
        "created_at": now,
        "updated_at": now,
        "version": 1,
    }
    return Schedule(**{**usual, **fields})


def added(backend: StorageBackend, **fields: Any) -> Schedule:
    """Add a schedule under a name that is free; return it as it was written."""
    schedule = new_schedule(backend, **fields)
    change = ScheduleChange(name=schedule.name, seen=None, becomes=schedule)
    assert backend.write_schedules([change]) == [[]]
    return schedule


def due(backend: StorageBackend, name: str, *, ago: float = 60.0, **fields: Any) -> Schedule:
    """Add a schedule whose time has come ``ago`` seconds before now."""
    return added(backend, name=name, next_fire_at=backend.now() - timedelta(seconds=ago), **fields)


def changed(schedule: Schedule, *jobs: NewJob, **fields: Any) -> ScheduleChange:
    """The change that makes these fields of a schedule what they are here."""
    becomes = replace(schedule, **{"version": schedule.version + 1, **fields})
    return ScheduleChange(name=schedule.name, seen=schedule.version, becomes=becomes, jobs=jobs)


def removed(schedule: Schedule) -> ScheduleChange:
    """The change that removes a schedule."""
    return ScheduleChange(name=schedule.name, seen=schedule.version, becomes=None)


def read(backend: StorageBackend, name: str = "nightly") -> Schedule:
    """The schedule as the store has it; it must be there."""
    [schedule] = backend.list_schedules([name])
    return schedule


def names_due(backend: StorageBackend, where: ScheduleFilter = ANY, limit: int = 100) -> list[str]:
    """The names of the schedules that are due."""
    return [schedule.name for schedule in backend.due_schedules(where, limit=limit)]


class ScheduleConformance(Conformance):
    """What is promised about schedules."""

    # -- the clock

    def test_the_clock_is_aware_and_moves_on(self, backend: StorageBackend) -> None:
        """It is the one that the jobs' times are of."""
        first = backend.now()

        assert first.utcoffset() is not None
        wait_until(lambda: backend.now() > first)
        created = stored(backend, enqueue_one(backend)).created_at
        assert timedelta() <= created - first < timedelta(seconds=30)
        assert created <= backend.now()

    # -- writing and reading

    def test_a_schedule_is_read_as_it_was_written(self, backend: StorageBackend) -> None:
        """Every field, to the microsecond."""
        at = datetime(2031, 3, 30, 1, 2, 3, 456789, tzinfo=UTC)
        full = added(
            backend,
            name="Über 'full' \" %s ?",
            job_name="shop.jobs.report",
            args_json='{"n": 1}',
            queue="mail",
            priority=7,
            cron="*/15 1-5 * * MON",
            timezone="America/Argentina/Buenos_Aires",
            starts_at=at,
            ends_at=at + timedelta(days=1),
            misfire=Misfire.ALL,
            max_age=3600.5,
            overlap=Overlap.SKIP,
            jitter=2.25,
            declared=True,
            definition="d" * 32,
            former_definitions=("a" * 32, "b" * 32),
            declared_at=at,
            overridden=True,
            paused=True,
            anchor_at=at,
            next_fire_at=at + timedelta(hours=1),
            last_fire_at=at - timedelta(hours=1),
            last_job_id=new_id(),
            fired=2**40,
            skipped=3,
            created_at=at,
            updated_at=at,
            version=1_900_000_000_000_000,
        )

        assert read(backend, full.name) == full

    def test_what_a_schedule_leaves_out_is_read_as_none(self, backend: StorageBackend) -> None:
        """An interval has no cron rule, and one that ended no next fire time."""
        bare = added(backend, cron=None, every=1.5, next_fire_at=None)

        assert read(backend) == bare
        assert (bare.queue, bare.cron, bare.last_job_id) == (None, None, None)

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=list(PAYLOADS))
    def test_arguments_come_back_as_they_were_stored(self, backend: StorageBackend, payload: str) -> None:
        """Without any loss."""
        added(backend, args_json=payload)

        assert exactly(read(backend).args) == exactly(json.loads(payload))

    def test_schedules_are_listed_by_name(self, backend: StorageBackend) -> None:
        """All of them, or those of some names; what is not there is left out."""
        for name in ("c", "a", "b"):
            added(backend, name=name)

        def names(wanted: list[str] | None = None) -> list[str]:
            return [schedule.name for schedule in backend.list_schedules(wanted)]

        assert names() == ["a", "b", "c"]
        assert names(["c", "a", "x"]) == ["a", "c"]
        assert names([]) == []

    def test_names_that_differ_in_case_or_accent_are_two_schedules(self, backend: StorageBackend) -> None:
        """A name is its letters, exactly."""
        made = {added(backend, name=name).name for name in ("report", "Report", "répört")}

        assert {schedule.name for schedule in backend.list_schedules()} == made
        assert read(backend, "Report").name == "Report"

    def test_reset_removes_schedules(self, backend: StorageBackend) -> None:
        """And their names are free."""
        added(backend)

        backend.reset()

        assert backend.list_schedules() == []
        added(backend)

    # -- guards

    def test_a_taken_name_is_not_added(self, backend: StorageBackend) -> None:
        """What is there stays as it is."""
        first = added(backend)
        second = new_schedule(backend, cron="0 4 * * *", version=9)

        assert backend.write_schedules([ScheduleChange(name="nightly", seen=None, becomes=second)]) == [None]
        assert read(backend) == first

    def test_a_change_needs_the_version_that_was_seen(self, backend: StorageBackend) -> None:
        """The second of two that saw the same schedule writes nothing."""
        schedule = added(backend)

        assert backend.write_schedules([changed(schedule, cron="0 4 * * *")]) == [[]]
        assert backend.write_schedules([changed(schedule, cron="0 5 * * *")]) == [None]
        assert backend.write_schedules([removed(schedule)]) == [None]
        assert read(backend).cron == "0 4 * * *"
        assert read(backend).version == 2

    def test_a_removed_schedule_is_gone(self, backend: StorageBackend) -> None:
        """It can be neither changed nor removed again, and its name is free."""
        schedule = added(backend)

        assert backend.write_schedules([removed(schedule)]) == [[]]

        assert backend.list_schedules() == []
        assert backend.write_schedules([changed(schedule), removed(schedule)]) == [None, None]
        assert backend.list_schedules() == []
        assert added(backend, version=5) == read(backend)

    def test_a_schedule_that_never_was_is_not_changed(self, backend: StorageBackend) -> None:
        """No row comes of it."""
        assert backend.write_schedules([changed(new_schedule(backend), new_job())]) == [None]
        assert backend.list_schedules() == []
        assert backend.queue_stats()["total"] == 0

    def test_each_change_of_a_list_is_held_to_its_own_guard(self, backend: StorageBackend) -> None:
        """One that fails takes no other with it; later ones see what earlier ones wrote."""
        one, two = added(backend, name="one"), added(backend, name="two")
        stale = replace(two, version=99)
        first = changed(one, fired=1)
        assert first.becomes is not None

        answers = backend.write_schedules(
            [first, changed(stale, fired=1), changed(first.becomes, fired=2), removed(two)]
        )

        assert answers == [[], None, [], []]
        assert [(schedule.name, schedule.fired) for schedule in backend.list_schedules()] == [("one", 2)]
        assert backend.write_schedules([]) == []

    # -- with jobs

    def test_a_schedule_moves_on_together_with_its_jobs(self, backend: StorageBackend) -> None:
        """The jobs can be claimed, and the schedule names the last of them."""
        schedule = due(backend, "nightly")
        jobs = new_jobs(2, job_name="report", queue="mail", args_json='{"n": 1}')
        later = backend.now() + timedelta(hours=1)

        [ids] = backend.write_schedules([changed(schedule, *jobs, next_fire_at=later, fired=2)])

        assert ids == [job.id for job in jobs]
        assert read(backend).last_job_id == jobs[-1].id
        assert (read(backend).next_fire_at, read(backend).fired) == (later, 2)
        assert {take(backend).job_id, take(backend).job_id} == set(ids)
        assert stored(backend, ids[0]).args == {"n": 1}

    def test_a_change_without_jobs_keeps_the_last_job(self, backend: StorageBackend) -> None:
        """What it says is written as it stands."""
        schedule = added(backend, last_job_id=(job_id := new_id()))

        backend.write_schedules([changed(schedule, skipped=1)])

        assert read(backend).last_job_id == job_id

    def test_a_change_that_is_refused_stores_no_job(self, backend: StorageBackend) -> None:
        """Neither the late one's jobs, nor those of a schedule that is gone."""
        schedule = due(backend, "nightly")
        backend.write_schedules([changed(schedule, new_job(), fired=1)])
        gone = due(backend, "gone")
        backend.write_schedules([removed(gone)])

        assert backend.write_schedules([changed(schedule, new_job()), changed(gone, new_job())]) == [None] * 2
        assert backend.queue_stats()["queued"] == 1

    def test_a_job_that_the_store_refuses_leaves_the_schedule_as_it_was(
        self, backend: StorageBackend
    ) -> None:
        """Both or neither, for the whole call."""
        one, two = due(backend, "one"), due(backend, "two")

        with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
            backend.write_schedules([changed(one, new_job()), changed(two, new_job(), self.broken_job())])

        assert backend.list_schedules() == [one, two]
        assert backend.queue_stats()["total"] == 0

    @pytest.mark.parametrize("column", ["job_name", "args_json", "timezone", "anchor_at"])
    def test_a_schedule_that_lacks_a_value_is_refused(self, backend: StorageBackend, column: str) -> None:
        """It is neither added nor changed to that, and nothing else of the call is written."""
        other = added(backend, name="other")
        broken = new_schedule(backend, **{column: None})
        add = ScheduleChange(name="nightly", seen=None, becomes=broken)

        with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
            backend.write_schedules([changed(other, new_job(), fired=1), add])
        with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
            backend.write_schedules([changed(other, **{column: None})])

        assert backend.list_schedules() == [other]
        assert backend.queue_stats()["total"] == 0

    def test_the_holder_of_a_unique_key_stands_for_the_job(self, backend: StorageBackend) -> None:
        """As with an enqueue: nothing is stored, and the schedule names the holder as its last job."""
        holder = enqueue_one(backend, unique_key="k")
        schedule = due(backend, "nightly")

        assert backend.write_schedules([changed(schedule, new_job(unique_key="k"))]) == [[holder]]

        assert read(backend).last_job_id == holder
        assert backend.queue_stats()["total"] == 1

    def test_of_two_changes_in_one_call_the_second_says_which_job_was_the_last(
        self, backend: StorageBackend
    ) -> None:
        """Also if what stands for the job of the first one is known only after both are written."""
        holder = enqueue_one(backend, unique_key="k")
        first = changed(due(backend, "nightly"), new_job(unique_key="k"))
        assert first.becomes is not None
        second = changed(first.becomes, job := new_job())

        assert backend.write_schedules([first, second]) == [[holder], [job.id]]

        assert read(backend).last_job_id == job.id

    def test_a_schedule_outlives_its_jobs(self, backend: StorageBackend) -> None:
        """A job that ended, was purged or deleted does not take it along."""
        schedule = due(backend, "nightly")
        backend.write_schedules([changed(schedule, new_job())])
        claim = take(backend)
        assert written(backend, succeed(claim, result_json=None, ttl=0)).status is JobStatus.DONE

        assert backend.purge(limit=10) == 1
        assert read(backend).last_job_id == claim.job_id

    # -- being due

    def test_due_schedules_come_in_the_order_of_their_times(self, backend: StorageBackend) -> None:
        """The longest due first, of one time by name; of these the first ``limit``."""
        at = backend.now() - timedelta(hours=1)
        for name in ("c", "a", "b"):
            added(backend, name=name, next_fire_at=at)
        due(backend, "older", ago=7200)
        added(backend, name="later")

        assert names_due(backend) == ["older", "a", "b", "c"]
        assert names_due(backend, limit=2) == ["older", "a"]
        assert names_due(backend, limit=0) == []
        assert backend.due_schedules(ANY, limit=1) == [read(backend, "older")]

    def test_a_schedule_becomes_due_by_the_clock_of_the_store(self, backend: StorageBackend) -> None:
        """Not before its time, and whoever asks finds it from then on."""
        added(backend, next_fire_at=backend.now() + timedelta(seconds=0.3))

        assert names_due(backend) == []
        first = backend.upcoming_schedules(ANY)
        assert first is not None
        assert 0 < first <= 0.3
        wait_until(lambda: names_due(backend) == ["nightly"])
        upcoming = backend.upcoming_schedules(ANY)
        assert upcoming is not None
        assert upcoming <= 0

    def test_a_schedule_without_a_next_time_is_never_due(self, backend: StorageBackend) -> None:
        """It is paused, or has ended."""
        added(backend, next_fire_at=None, paused=True)

        assert names_due(backend) == []
        assert backend.upcoming_schedules(ANY) is None

    def test_the_next_schedule_is_the_one_that_is_due_first(self, backend: StorageBackend) -> None:
        """In seconds from now."""
        assert backend.upcoming_schedules(ANY) is None
        now = backend.now()
        added(backend, name="far", next_fire_at=now + timedelta(hours=3))
        added(backend, name="near", next_fire_at=now + timedelta(hours=1))

        upcoming = backend.upcoming_schedules(ANY)
        assert upcoming is not None
        assert 3500 < upcoming <= 3600
        due(backend, "now", ago=120)
        late = backend.upcoming_schedules(ANY)
        assert late is not None
        assert -150 < late <= -120

    def test_a_worker_is_given_the_schedules_of_jobs_that_it_knows(self, backend: StorageBackend) -> None:
        """What other code runs, other workers fire."""
        due(backend, "mine", job_name="mine")
        due(backend, "other", job_name="other", ago=7200)
        mine = ScheduleFilter(job_names=frozenset({"mine", "more"}))

        assert names_due(backend, mine) == ["mine"]
        upcoming = backend.upcoming_schedules(mine)
        assert upcoming is not None
        assert upcoming > -3600
        assert names_due(backend, ScheduleFilter(job_names=frozenset())) == []
        assert backend.upcoming_schedules(ScheduleFilter(job_names=frozenset())) is None

    def test_a_worker_is_given_of_declared_schedules_those_of_its_code(self, backend: StorageBackend) -> None:
        """Schedules that were made at run time are everybody's."""
        due(backend, "a", declared=True)
        due(backend, "b", declared=True)
        due(backend, "c", declared=False)

        assert names_due(backend, ScheduleFilter(declared=frozenset({"a", "c"}))) == ["a", "c"]
        assert names_due(backend, ScheduleFilter(declared=frozenset())) == ["c"]
        both = ScheduleFilter(job_names=frozenset({"work"}), declared=frozenset({"b"}))
        assert names_due(backend, both) == ["b", "c"]
        neither = ScheduleFilter(job_names=frozenset({"other"}), declared=frozenset({"b"}))
        assert backend.upcoming_schedules(neither) is None

    # -- with others

    def test_of_many_threads_one_fires_each_time(self, backend: StorageBackend) -> None:
        """Exactly one job for each fire time, round after round."""
        schedule = due(backend, "nightly")
        for number in range(ROUNDS):
            latest = read(backend)

            def fire(_: int, seen: Schedule = latest) -> list[list[str] | None]:
                return backend.write_schedules([changed(seen, new_job(), fired=seen.fired + 1)])

            answers = at_once(backend, fire)

            assert sorted(answer[0] is None for answer in answers) == [False] + [True] * (THREADS - 1)
            assert backend.queue_stats()["queued"] == number + 1
        assert read(backend).fired == ROUNDS
        assert read(backend).version == schedule.version + ROUNDS

    def test_threads_add_one_schedule_of_a_name(self, backend: StorageBackend) -> None:
        """The others are told that it is there."""
        makers = [new_schedule(backend, job_name=f"work{number}") for number in range(THREADS)]

        def add(number: int) -> list[list[str] | None]:
            return backend.write_schedules(
                [ScheduleChange(name="nightly", seen=None, becomes=makers[number], jobs=(new_job(),))]
            )

        answers = at_once(backend, add)

        [winner] = [number for number, answer in enumerate(answers) if answer != [None]]
        assert read(backend).job_name == f"work{winner}"
        assert backend.queue_stats()["queued"] == 1

    def test_threads_that_write_the_same_schedules_in_other_orders_all_come_to_an_end(
        self, backend: StorageBackend
    ) -> None:
        """Each is written by one of them; none waits for ever, and a conflict leaves nothing half done."""
        schedules = [due(backend, f"s{number}") for number in range(6)]

        def write(number: int) -> int:
            wanted = schedules if number % 2 else schedules[::-1]
            try:
                answers = backend.write_schedules([changed(one, new_job(), fired=1) for one in wanted])
            except BackendError:
                return 0
            return sum(answer is not None for answer in answers)

        total = sum(at_once(backend, write))

        fired = sum(schedule.fired for schedule in backend.list_schedules())
        assert 0 < fired <= len(schedules)
        assert total == fired == backend.queue_stats()["queued"]

    def test_processes_fire_each_schedule_once(self, backend: StorageBackend) -> None:
        """Exactly one job for each fire time, whoever fires it."""
        if not backend.supports_processes:
            pytest.skip("processes cannot share the store (supports_processes is False)")
        due(backend, "nightly")
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(PROCESSES)
        opens = self.open_backend(backend)
        with ProcessPoolExecutor(
            PROCESSES, mp_context=context, initializer=_open, initargs=(opens, barrier)
        ) as processes:
            fired = list(processes.map(_fire, range(PROCESSES), timeout=PATIENCE))

        assert sum(fired) == FIRES
        assert backend.queue_stats()["queued"] == FIRES
        assert read(backend).fired == FIRES

    def test_a_schedule_belongs_to_the_callers_transaction(self, backend: StorageBackend) -> None:
        """Rolled back with it, its jobs too."""
        if not backend.supports_transactions:
            pytest.skip("the store joins no transaction (supports_transactions is False)")
        schedule = due(backend, "nightly")
        with self.rolled_back(backend):
            added(backend, name="other")
            assert backend.write_schedules([changed(schedule, new_job(), fired=1)]) != [None]

        assert backend.list_schedules() == [schedule]
        assert backend.queue_stats()["total"] == 0


FIRES = 40  # times that processes fire a schedule
_opened: tuple[StorageBackend, ProcessBarrier]


def _open(opens: Callable[[], StorageBackend], barrier: ProcessBarrier) -> None:
    global _opened  # noqa: PLW0603  # what an initializer gives to its process
    _opened = opens(), barrier


def _fire(_number: int) -> int:
    """Fire the schedule until it has fired as often as it should; how often this process did."""
    backend, barrier = _opened
    barrier.wait(PATIENCE)
    mine = 0
    while (seen := read(backend)).fired < FIRES:
        try:
            [answer] = backend.write_schedules([changed(seen, new_job(), fired=seen.fired + 1)])
        except BackendError:
            continue
        mine += answer is not None
    backend.close()
    return mine
