"""Workers and schedules: what is declared, what is fired, how often, and what gets in the way."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

import soniq
from soniq import DeadLetterFilter, JobContext, lookout, storage_line
from soniq.audience import Observer
from soniq.backend import Silence
from soniq.backends.memory import MemoryBackend
from soniq.backends.sqlite import SQLiteBackend
from soniq.errors import (
    BackendConflict,
    BackendError,
    BackendUnavailable,
    InvalidArguments,
    InvalidJob,
    InvalidSchedule,
)
from soniq.schedule_changes import CONFIRM_EVERY, RETIRE_AFTER
from soniq.schedule_records import ScheduleChange
from soniq.testing import wait_until
from soniq.timetable import Timetable
from tests.support.faulty import FaultyBackend

START = datetime(2026, 3, 1, 12, 2, tzinfo=UTC)
MINUTE = 60.0


class Clock:
    """A clock that stands still until it is told how late it is."""

    def __init__(self):
        self.now = START.timestamp()

    def __call__(self):
        return self.now

    def later(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def app(request, make, tmp_path, clock):
    """An app whose store goes by the clock of the test."""
    if request.param == "memory":
        return make(backend=MemoryBackend(clock=clock))
    return make(backend=SQLiteBackend(tmp_path / "jobs.db", clock=clock))


@pytest.fixture
def ran():
    """What the jobs of the test have noted."""
    return []


async def work(app):
    """Declare, fire and run what is due."""
    return await app.run_worker(run_once=True, scheduler=True)


async def schedules(app):
    return {one.name: one for one in await app.scheduler.list()}


def visited(app, timetable=None):
    """Visit until nothing is left to do; seconds until the next fire time."""
    app._make_ready()
    timetable = timetable or app.timetable()
    while (upcoming := timetable.visit()) is not None and upcoming <= 0:
        pass
    return upcoming


# -- declaring


async def test_a_declared_schedule_comes_to_the_store_with_the_first_worker(app, ran):
    @app.periodic(cron="0 3 * * *", timezone="Europe/Berlin", queue="reports", name="shop.nightly")
    def nightly():
        ran.append("nightly")

    assert nightly() is None
    assert await app.scheduler.list() == []

    await work(app)

    one = (await schedules(app))["shop.nightly"]
    assert (one.cron, one.timezone, one.declared, one.overridden) == (
        "0 3 * * *",
        "Europe/Berlin",
        True,
        False,
    )
    assert one.next_fire_at == datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert ran == ["nightly"]


async def test_a_declared_job_is_called_with_its_arguments_as_they_are_typed(app, clock, ran):
    @app.periodic(every=soniq.every(5).minutes(), args={"day": date(2026, 3, 1)}, name="typed")
    def typed(day: date, ctx: JobContext):
        ran.append((day, ctx.scheduled_for))

    await work(app)
    assert ran == []
    clock.later(5 * MINUTE + 3)
    await work(app)

    assert ran == [(date(2026, 3, 1), START + timedelta(minutes=5))]


async def test_one_job_may_have_several_schedules(app, clock, ran):
    @app.periodic(every=60, args={"who": "b"}, schedule_name="b")
    @app.periodic(every=60, args={"who": "a"}, schedule_name="a", timezone="Asia/Tokyo")
    @app.job(name="greet", queue="hello")
    async def greet(who):
        ran.append(who)

    await work(app)
    clock.later(MINUTE)
    await work(app)

    assert sorted(ran) == ["a", "b"]
    assert {job["queue"] for job in await app.list_jobs()} == {"hello"}


async def test_shared_schedules_are_every_apps(app, clock, ran, make):
    registry = soniq.default.shared
    try:

        @soniq.periodic(every=60, name="tests.shared_schedule")
        def shared():
            ran.append(1)

        await work(app)
        assert "tests.shared_schedule" in await schedules(app)
    finally:
        registry._declarations.pop("tests.shared_schedule")
        registry._tasks.pop("tests.shared_schedule")


def test_what_cannot_be_declared_is_refused_where_it_stands(make):
    app = make()
    with pytest.raises(InvalidSchedule, match=r"cron is 'daily'.*such as"):
        app.periodic(cron="daily")(lambda: None)
    with pytest.raises(InvalidSchedule, match="did you mean 'Europe/Berlin'"):
        app.periodic(cron="0 3 * * *", timezone="Europe/Berlni", name="a")(lambda: None)
    with pytest.raises(InvalidArguments, match="missing a required argument: 'n'"):
        app.periodic(every=60, name="b")(lambda n: None)
    with pytest.raises(InvalidJob, match="unknown job option 'quue'; did you mean 'queue'"):
        app.periodic(every=60, name="c", quue="x")(lambda: None)
    assert app.registry.declarations() == {}


def test_options_of_a_job_belong_to_its_own_decorator(make):
    app = make()
    job = app.job(name="work")(lambda: None)
    with pytest.raises(InvalidJob, match="work is a job already; give queue where it is made one"):
        app.periodic(every=60, queue="x")(job)


def test_two_jobs_cannot_declare_schedules_of_one_name(make):
    app = make()
    app.periodic(every=60, schedule_name="s", name="one")(lambda: None)
    with pytest.raises(InvalidSchedule, match="'s' is taken by one; give another schedule_name="):
        app.periodic(every=60, schedule_name="s", name="two")(lambda: None)


async def test_a_rule_that_changed_in_the_code_is_the_next_workers_rule(app, make, clock):
    app.periodic(cron="0 3 * * *", name="work")(lambda: None)
    await work(app)
    await app.scheduler.pause("work")

    newer = make(backend=app.backend)
    newer.periodic(cron="0 4 * * *", name="work")(lambda: None)
    await work(newer)
    await work(app)  # the older release is started once more

    one = (await schedules(app))["work"]
    assert (one.cron, one.paused) == ("0 4 * * *", True)


async def test_what_an_admin_changed_survives_the_next_worker(app, clock):
    job = app.periodic(cron="0 3 * * *", name="work")(lambda: None)
    await work(app)
    await app.scheduler.add(job, cron="0 5 * * *")

    await work(app)

    one = (await schedules(app))["work"]
    assert (one.cron, one.overridden) == ("0 5 * * *", True)


async def test_a_schedule_that_no_code_declares_any_more_does_not_fire_and_is_removed_in_the_end(
    app, make, clock, ran
):
    app.periodic(every=60, name="work")(lambda: ran.append("old"))
    await work(app)
    await app.scheduler.add("work", every=7200, name="by-hand")
    newer = make(backend=app.backend)
    newer.job(name="work")(lambda: ran.append("new"))

    clock.later(MINUTE)
    await work(newer)
    assert ran == []
    clock.later(RETIRE_AFTER)
    await work(newer)

    assert list(await schedules(app)) == ["by-hand"]
    assert ran == ["new"]


async def test_a_declaration_that_cannot_be_stored_keeps_no_other_from_being_declared(app, caplog):
    app.periodic(every=60, name="bad", args={"what": object()})(lambda what: None)
    app.periodic(every=60, name="good")(lambda: None)

    await work(app)

    assert list(await schedules(app)) == ["good"]
    assert "'bad' cannot be stored" in caplog.text


async def test_workers_that_declare_at_once_make_one_schedule_each(app, make):
    await app.setup()
    apps = [make(backend=app.backend) for _ in range(6)]
    for one in apps:
        for number in range(5):
            one.periodic(every=60, name=f"work{number}")(lambda: None)

    def declare(one):
        try:
            one.timetable().declare()
        finally:
            one.backend.release()

    with ThreadPoolExecutor(6) as threads:
        await asyncio.to_thread(lambda: list(threads.map(declare, apps)))

    assert list(await schedules(app)) == [f"work{number}" for number in range(5)]


async def test_a_worker_confirms_its_declarations_now_and_then(app, clock):
    app.periodic(every=7200, name="work")(lambda: None)
    await app.setup()
    monotonic = Clock()
    timetable = Timetable(app.backend, app.registry, app.producer, app.settings, clock=monotonic)
    visited(app, timetable)
    for late in (CONFIRM_EVERY - 1, 1):
        before = (await schedules(app))["work"].declared_at
        clock.later(late)
        monotonic.later(late)
        visited(app, timetable)

    assert before == START
    assert (await schedules(app))["work"].declared_at == START + timedelta(seconds=CONFIRM_EVERY)


# -- firing


async def test_after_three_hours_down_one_run_makes_up_for_all(app, clock, ran):
    """Of a 5-minute schedule: one catch-up run, the rest skipped and counted."""

    @app.periodic(every=soniq.every(5).minutes(), name="work")
    def often(ctx: JobContext):
        ran.append(ctx.scheduled_for)

    await work(app)
    clock.later(3 * 60 * MINUTE + 90)
    await work(app)
    await work(app)

    one = (await schedules(app))["work"]
    assert ran == [START + timedelta(hours=3)]
    assert (one.fired, one.skipped) == (1, 35)
    assert one.next_fire_at == START + timedelta(hours=3, minutes=5)


async def test_each_fire_time_has_one_job_however_many_workers_look(app, make, clock):
    apps = [app, *(make(backend=app.backend) for _ in range(4))]
    for one in apps:
        one.periodic(cron="* * * * *", name="work")(lambda: None)
    await app.setup()

    def visit(one):
        try:
            return visited(one)
        finally:
            one.backend.release()

    with ThreadPoolExecutor(5) as threads:
        await asyncio.to_thread(lambda: list(threads.map(visit, apps)))
        for _ in range(20):
            clock.later(MINUTE)
            await asyncio.to_thread(lambda: list(threads.map(visit, apps)))

    jobs = await app.list_jobs(limit=1000)
    minutes = [START.replace(minute=3) + timedelta(minutes=number) for number in range(20)]
    assert sorted(job["scheduled_at"] for job in jobs) == minutes
    assert (await schedules(app))["work"].fired == 20


async def test_a_job_is_made_as_its_code_says_when_it_fires(app, make, clock):
    app.job(name="work", queue="old", priority=9, max_retries=0)(lambda: None)
    await app.scheduler.add("work", every=60)
    await app.scheduler.add("work", every=60, queue="fixed", priority=1, name="fixed")
    newer = make(backend=app.backend, max_retries=7)
    newer.job(name="work", queue="new")(lambda: None)

    clock.later(MINUTE)
    visited(newer)

    found = [(job["queue"], job["priority"], job["max_attempts"]) for job in await app.list_jobs()]
    assert sorted(found) == [("fixed", 1, 8), ("new", 100, 8)]


async def test_jitter_makes_a_job_due_a_little_later(app, clock):
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", every=60, jitter=30)
    clock.later(MINUTE)
    visited(app)

    [job] = await app.list_jobs()
    assert timedelta() < job["scheduled_at"] - (START + timedelta(minutes=1)) < timedelta(seconds=30)
    assert job["context"]["$schedule"] == {"name": "work", "fire_at": "2026-03-01T12:03:00+00:00"}


async def test_a_schedule_of_a_job_that_is_unknown_here_waits_for_others(app, make, clock, ran):
    app.job(name="theirs")(lambda: ran.append("theirs"))
    await app.scheduler.add("theirs", every=60)
    other = make(backend=app.backend)
    other.job(name="ours")(lambda: ran.append("ours"))
    await other.scheduler.add("ours", every=120)

    clock.later(90)
    assert visited(other) == 30
    assert await app.list_jobs() == []
    assert visited(app) is not None
    assert [job["job_name"] for job in await app.list_jobs()] == ["theirs"]


async def test_a_run_that_is_still_live_is_not_overlapped(app, clock):
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", every=60, overlap="skip")
    for _ in range(3):
        clock.later(MINUTE)
        visited(app)
    one = (await schedules(app))["work"]
    assert (one.fired, one.skipped) == (1, 2)

    await app.run_worker(run_once=True)
    clock.later(MINUTE)
    visited(app)
    assert (await schedules(app))["work"].fired == 2


async def test_a_unique_job_that_is_live_stands_for_the_next_run(app, clock):
    app.job(name="work", unique=True)(lambda n=1: None)
    await app.scheduler.add("work", every=60)
    for _ in range(3):
        clock.later(MINUTE)
        visited(app)

    [job] = await app.list_jobs()
    one = (await schedules(app))["work"]
    assert (one.fired, one.last_job_id) == (3, job["id"])


async def test_arguments_that_no_longer_fit_become_a_dead_letter(app, make, clock):
    app.job(name="work")(lambda day: None)
    await app.scheduler.add("work", every=60, args={"day": "today"})
    newer = make(backend=app.backend)
    newer.job(name="work")(lambda: None)

    clock.later(MINUTE)
    await work(newer)

    [letter] = await newer.dead_letter.list_dead_letter_jobs(DeadLetterFilter())
    assert (letter.job_name, letter.dead_letter_reason) == ("work", "invalid_arguments")


async def test_a_schedule_that_cannot_be_fired_is_said_once_and_keeps_no_other_from_firing(
    app, clock, caplog
):
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", every=60)
    await app.scheduler.add("work", every=60, name="a-broken-one")
    [broken] = app.backend.list_schedules(["a-broken-one"])
    damaged = replace(broken, every=None, cron="99 * * * *", version=broken.version + 1)
    change = ScheduleChange(name=broken.name, seen=broken.version, becomes=damaged)
    assert app.backend.write_schedules([change]) == [[]]
    timetable = app.timetable()

    with caplog.at_level(logging.ERROR, "soniq.scheduler"):
        for _ in range(3):
            clock.later(MINUTE)
            assert visited(app, timetable) is None

    assert (await schedules(app))["work"].fired == 3
    assert caplog.text.count("a-broken-one cannot be fired") == 1


async def test_a_job_that_the_store_refuses_keeps_no_other_schedule_from_firing(make, clock, caplog):
    class Picky(MemoryBackend):
        def write_schedules(self, changes):
            if any(change.name == "bad" and change.jobs for change in changes):
                raise BackendError("refused")
            return super().write_schedules(changes)

    app = make(backend=Picky(clock=clock))
    app.job(name="work")(lambda: None)
    for name in ("a", "bad", "c"):
        await app.scheduler.add("work", every=60, name=name)
    timetable = app.timetable()
    for _ in range(2):
        clock.later(MINUTE)
        assert visited(app, timetable) is None

    assert {name: one.fired for name, one in (await schedules(app)).items()} == {"a": 2, "bad": 0, "c": 2}
    assert caplog.text.count("bad cannot be fired") == 1
    assert "refused" in caplog.text


async def test_many_schedules_that_are_due_at_once_are_written_together(make, clock):
    app = make(backend=FaultyBackend(clock=clock))
    app.job(name="work")(lambda: None)
    for number in range(250):
        await app.scheduler.add("work", every=60, name=f"s{number}")
    app.backend.calls.clear()
    clock.later(MINUTE)

    assert visited(app) == 60
    assert app.backend.calls["write_schedules"] == 3
    assert (await app.get_queue_stats())["queued"] == 250


async def test_a_visit_says_when_the_next_one_should_be(app, clock):
    app.job(name="work")(lambda: None)
    assert visited(app) is None
    await app.scheduler.add("work", every=3600)
    assert visited(app) == 3600
    clock.later(3000)
    assert visited(app) == 600


async def test_a_drain_fires_schedules_only_if_it_is_told_to(app, clock, ran):
    app.periodic(every=60, name="work")(lambda: ran.append(1))
    await app.run_worker(run_once=True)
    assert await app.scheduler.list() == []

    await work(app)
    clock.later(MINUTE)
    await app.run_worker(run_once=True)
    assert ran == []
    await work(app)
    assert ran == [1]


# -- workers that stay


@pytest.fixture
async def start():
    """Start workers that stay; they are stopped after the test."""
    started = []

    def start_one(app, **options):
        worker = app.worker(**options)
        started.append((worker, asyncio.create_task(worker.run())))
        return worker

    yield start_one
    for worker, task in started:
        worker.stop()
        worker.stop()
        async with asyncio.timeout(5):
            await task


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(storage_line, "FIRST_BACKOFF", 0.005)
    monkeypatch.setattr(storage_line, "LONGEST_BACKOFF", 0.02)


async def test_a_worker_fires_and_runs_at_the_fire_time(make, start, ran, clock):
    app = make(backend=MemoryBackend(clock=clock), poll_interval=0.02)
    app.periodic(every=60, name="work")(lambda: ran.append(1))
    start(app)
    await wait_until(app.backend.list_schedules)

    for number in (1, 2, 3):
        clock.later(MINUTE)
        await wait_until(lambda number=number: len(ran) == number)


@pytest.mark.slow
async def test_a_worker_is_there_when_a_schedule_is_due(make, start, ran):
    """Although it looks at its queue seldom: it knows when."""
    app = make(poll_interval=60)
    app.periodic(every=1, name="work")(lambda: ran.append(1))
    start(app)

    await wait_until(lambda: ran, timeout=3)


async def test_a_worker_without_a_scheduler_fires_nothing(make, start, clock):
    for app, options in (
        (make(backend=FaultyBackend(clock=clock), poll_interval=0.02), {"scheduler": False}),
        (make(backend=FaultyBackend(clock=clock), poll_interval=0.02, scheduler=False), {}),
    ):
        app.periodic(every=60, name="work")(lambda: None)
        start(app, **options)
        await wait_until(lambda app=app: app.backend.calls.get("next_due", 0) > 3)
        assert app.backend.list_schedules() == []
        assert "upcoming_schedules" not in app.backend.calls


async def test_the_setting_is_checked(make):
    with pytest.raises(soniq.ConfigurationError, match="scheduler is 'no': give True or False"):
        make(scheduler="no")


@pytest.mark.slow
async def test_an_idle_worker_asks_for_schedules_seldom(make, start):
    app = make(backend=FaultyBackend(), poll_interval=0.2)
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", every=3600)
    app.backend.calls.clear()
    start(app)
    await wait_until(lambda: app.backend.calls.get("next_due", 0) >= 6, timeout=5)

    assert 1 <= app.backend.calls["upcoming_schedules"] <= app.backend.calls["next_due"] // 2 + 1
    assert "write_schedules" not in app.backend.calls


@pytest.mark.parametrize(
    "fault",
    [
        {"error": BackendUnavailable("away")},
        {"error": BackendUnavailable("away"), "after": True},
        {"error": BackendConflict("in the way")},
    ],
    ids=["away", "answer-lost", "conflict"],
)
async def test_a_storage_that_fails_under_a_fire_time_loses_and_doubles_nothing(
    make, start, ran, clock, fault
):
    app = make(backend=FaultyBackend(clock=clock), poll_interval=0.02)
    app.periodic(every=60, name="work")(lambda: ran.append(1))
    start(app)
    await wait_until(app.backend.list_schedules)
    app.backend.fail("write_schedules", times=3, **fault)
    clock.later(MINUTE)
    await wait_until(lambda: ran)
    app.backend.heal()

    clock.later(MINUTE)
    await wait_until(lambda: len(ran) == 2)
    assert app.backend.failed["write_schedules"] >= 1
    assert app.backend.list_schedules()[0].fired == 2


@pytest.mark.parametrize("error", [BackendUnavailable("away"), BackendConflict("in the way")])
async def test_a_storage_that_is_away_is_the_workers_line_to_wait_for(make, clock, error, caplog):
    """It backs off as with all its calls; the schedule is not to blame."""
    app = make(backend=FaultyBackend(clock=clock))
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", every=60)
    clock.later(MINUTE)
    app.backend.fail("write_schedules", times=1, error=error)

    with pytest.raises(type(error)):
        visited(app)
    assert "cannot be fired" not in caplog.text
    assert visited(app) == 60


@pytest.mark.slow
async def test_a_worker_that_nobody_wakes_runs_what_it_has_fired_at_once(make, start, ran, monkeypatch):
    class Deaf(MemoryBackend):
        def subscribe(self, wake, lost=None):
            return Silence()

    monkeypatch.setattr(lookout, "LONGEST_PAUSE_UNTOLD", 60.0)
    monkeypatch.setattr(lookout, "FIRST_PAUSE", 60.0)
    app = make(backend=Deaf(), poll_interval=60)
    app.periodic(every=1, name="work")(lambda: ran.append(1))
    start(app)

    await wait_until(lambda: ran, timeout=3)


async def test_a_job_that_is_run_out_of_turn_wakes_a_worker(make, start, ran):
    app = make(backend=FaultyBackend(), poll_interval=60)
    app.periodic(every=3600, name="work")(lambda: ran.append(1))
    start(app)
    await wait_until(app.backend.list_schedules)
    await wait_until(lambda: app.backend.calls.get("next_due"))  # so it rests

    await app.scheduler.run("work")
    await wait_until(lambda: ran)


async def test_a_visit_that_fails_is_no_reason_to_end(make, start, ran, clock, caplog):
    app = make(backend=FaultyBackend(clock=clock), poll_interval=0.02)
    app.periodic(every=60, name="work")(lambda: ran.append(1))
    start(app)
    await wait_until(app.backend.list_schedules)
    app.backend.fail("upcoming_schedules", times=2, error=ValueError("a bug"))
    clock.later(MINUTE)

    await wait_until(lambda: ran)
    assert "firing schedules failed" in caplog.text


async def test_observers_hear_of_the_jobs_that_schedules_make(make, start, clock, ran):
    heard = []

    class Hearing(Observer):
        hears_enqueues = True

        def enqueued(self, job):
            heard.append(job.id)

    app = make(backend=MemoryBackend(clock=clock), poll_interval=0.02, observer=Hearing())

    @app.periodic(every=60, name="work")
    def noting(ctx: JobContext):
        ran.append(ctx.job_id)

    start(app)
    await wait_until(app.backend.list_schedules)
    clock.later(MINUTE)
    await wait_until(lambda: ran and heard)
    assert heard == ran


async def test_debug_lines_tell_of_the_jobs_that_schedules_make(app, clock, caplog):
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", every=60)
    clock.later(10 * MINUTE)
    with caplog.at_level(logging.DEBUG, "soniq"):
        visited(app)

    [job] = await app.list_jobs()
    assert f"enqueued  work {job['id']}" in caplog.text
    assert "skipped   work: 9 fire times have no job" in caplog.text
