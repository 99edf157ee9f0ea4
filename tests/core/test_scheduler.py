"""``app.scheduler``: schedules made at run time, and looked at, paused, changed, run and removed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from soniq import ScheduleStatus, TaskRef, every
from soniq.backends.memory import MemoryBackend
from soniq.errors import (
    AppClosed,
    BackendConflict,
    ConfigurationError,
    InvalidArguments,
    InvalidEnqueue,
    InvalidSchedule,
    ScheduleNotFound,
    UnknownTask,
)
from soniq.jobs import JobContext
from soniq.schedule_records import Misfire, Overlap


@pytest.fixture
def report(any_app):
    @any_app.job(name="shop.report", queue="reports", priority=7, max_retries=1)
    async def report(day: str, detail: bool = False, *, ctx: JobContext):
        return [day, ctx.scheduled_for]

    return report


async def test_a_schedule_is_named_after_its_job(any_app, report):
    assert await any_app.scheduler.add(report, cron="0 3 * * *", args={"day": "today"}) == "shop.report"
    assert await any_app.scheduler.add(report, every=60, args={"day": "today"}, name="often") == "often"

    assert [one.name for one in await any_app.scheduler.list()] == ["often", "shop.report"]


async def test_a_schedule_holds_what_was_said(any_app, report):
    end = datetime.now(UTC) + timedelta(days=30)
    await any_app.scheduler.add(
        report,
        cron="*/5 * * * *",
        timezone="Europe/Berlin",
        args={"day": "today"},
        queue="slow",
        priority=1,
        misfire="all",
        max_age=timedelta(hours=2),
        overlap="skip",
        jitter=5,
        ends_at=end,
    )

    one = await any_app.scheduler.get("shop.report")
    assert (one.job_name, one.args, one.queue, one.priority) == ("shop.report", {"day": "today"}, "slow", 1)
    assert (one.cron, one.every, one.timezone, one.ends_at) == ("*/5 * * * *", None, "Europe/Berlin", end)
    assert (one.misfire, one.max_age, one.overlap, one.jitter) == (Misfire.ALL, 7200, Overlap.SKIP, 5)
    assert one.status is ScheduleStatus.ACTIVE
    assert 0 < (one.next_fire_at - datetime.now(UTC)).total_seconds() <= 300


async def test_what_a_job_says_itself_stays_open_until_it_fires(any_app, report):
    slow, ref = report.using(queue="slow", priority=2), TaskRef(name="shop.report", queue="ref")
    for target, name in ((report, "own"), (slow, "slow"), (ref, "ref")):
        await any_app.scheduler.add(target, every=60, args={"day": "today"}, name=name)

    found = {one.name: (one.queue, one.priority) for one in await any_app.scheduler.list()}
    assert found == {"own": (None, None), "slow": ("slow", 2), "ref": ("ref", None)}


async def test_adding_again_updates(any_app, report):
    await any_app.scheduler.add(report, every=60, args={"day": "today"})
    first = await any_app.scheduler.get("shop.report")
    await any_app.scheduler.add("shop.report", every=every(1).minutes(), args={"day": "today"})
    assert await any_app.scheduler.get("shop.report") == first

    await any_app.scheduler.add(report, cron="0 3 * * *", args={"day": "other"})
    [second] = await any_app.scheduler.list()
    assert (second.cron, second.every, second.args) == ("0 3 * * *", None, {"day": "other"})
    assert second.created_at == first.created_at


async def test_rules_without_a_zone_are_read_in_that_of_the_settings(make_any):
    app = make_any(timezone="America/New_York")
    app.job(name="work")(lambda: None)
    await app.scheduler.add("work", cron="0 3 * * *")
    assert (await app.scheduler.get("work")).timezone == "America/New_York"

    with pytest.raises(ConfigurationError, match="did you mean 'Europe/Berlin'"):
        make_any(timezone="Europe/Berln")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, InvalidSchedule, "of cron and every neither"),
        ({"cron": "0 25 * * *"}, InvalidSchedule, "Bad hour"),
        ({"every": 60, "timezone": "Mars"}, InvalidSchedule, "timezone is 'Mars'"),
        ({"every": 60, "args": {"day": "", "dya": ""}}, InvalidArguments, "dya"),
        ({"every": 60, "args": {}}, InvalidArguments, "day"),
        ({"every": 60, "args": {"day": object()}}, InvalidArguments, "args.day"),
        ({"every": 60, "queue": "no queue"}, InvalidEnqueue, "no queue name"),
        ({"every": 60, "priority": -1}, InvalidEnqueue, "priority is -1"),
        ({"every": 60, "name": " x"}, InvalidSchedule, "no name of a schedule"),
        ({"every": 60, "name": ""}, InvalidSchedule, "no name of a schedule"),
    ],
)
async def test_a_schedule_that_cannot_work_is_refused_and_nothing_is_written(
    any_app, report, options, error, says
):
    with pytest.raises(error, match=says):
        await any_app.scheduler.add(report, **{"args": {"day": "today"}, **options})
    assert await any_app.scheduler.list() == []


async def test_a_schedule_of_an_unknown_job_is_refused_with_the_nearest_name(any_app, report):
    with pytest.raises(UnknownTask, match=r"did you mean 'shop.report'"):
        await any_app.scheduler.add("shop.repotr", every=60)


async def test_a_paused_schedule_says_so_until_it_is_resumed(any_app, report):
    await any_app.scheduler.add(report, every=60, args={"day": "today"})

    assert await any_app.scheduler.pause("shop.report") is True
    assert await any_app.scheduler.pause("shop.report") is True
    assert (await any_app.scheduler.get("shop.report")).status is ScheduleStatus.PAUSED
    assert await any_app.scheduler.resume("shop.report") is True
    assert (await any_app.scheduler.get("shop.report")).status is ScheduleStatus.ACTIVE


async def test_schedules_can_be_listed_by_where_they_stand(any_app, report):
    for name in ("a", "b", "c"):
        await any_app.scheduler.add(report, every=60, args={"day": ""}, name=name)
    await any_app.scheduler.pause("b")
    past = datetime.now(UTC) - timedelta(days=1)
    await any_app.scheduler.add(report, every=60, args={"day": ""}, name="c", ends_at=past)

    async def names(status):
        return [one.name for one in await any_app.scheduler.list(status)]

    assert await names("active") == ["a"]
    assert await names(ScheduleStatus.PAUSED) == ["b"]
    assert await names("ended") == ["c"]
    with pytest.raises(ConfigurationError, match="known: active, paused, ended"):
        await any_app.scheduler.list("running")


async def test_a_removed_schedule_is_gone_and_its_jobs_stay(any_app, report):
    await any_app.scheduler.add(report, every=60, args={"day": "today"})
    job_id = await any_app.scheduler.run("shop.report")

    assert await any_app.scheduler.remove("shop.report") is True
    assert await any_app.scheduler.get("shop.report") is None
    assert await any_app.scheduler.remove("shop.report") is False
    assert await any_app.get_job(job_id)


async def test_what_is_not_there_is_said(any_app):
    for method in ("pause", "resume", "remove"):
        assert await getattr(any_app.scheduler, method)("nobody") is False
    assert await any_app.scheduler.get("nobody") is None
    with pytest.raises(ScheduleNotFound, match="nobody") as raised:
        await any_app.scheduler.run("nobody")
    assert raised.value.name == "nobody"


async def test_running_now_enqueues_the_job_and_leaves_the_fire_times(any_app, report):
    await any_app.scheduler.add(report, every=3600, args={"day": "today"}, priority=3)
    await any_app.scheduler.pause("shop.report")
    before = await any_app.scheduler.get("shop.report")

    job_id = await any_app.scheduler.run("shop.report")

    job = await any_app.get_job(job_id)
    assert (job["job_name"], job["args"], job["queue"]) == ("shop.report", {"day": "today"}, "reports")
    assert (job["priority"], job["max_attempts"]) == (3, 2)
    after = await any_app.scheduler.get("shop.report")
    assert (after.last_job_id, after.fired) == (job_id, 1)
    assert (after.next_fire_at, after.last_fire_at, after.paused) == (before.next_fire_at, None, True)
    await any_app.run_worker(run_once=True)
    assert await any_app.get_result(job_id) == ["today", None]


async def test_running_a_unique_job_twice_gives_the_live_one(any_app):
    any_app.job(name="once", unique=True)(lambda n=1: n)
    await any_app.scheduler.add("once", every=3600)

    first = await any_app.scheduler.run("once")

    assert await any_app.scheduler.run("once") == first
    assert await any_app.enqueue("once") == first
    assert (await any_app.get_queue_stats())["total"] == 1


async def test_sync_twins_do_the_same(any_app, report):
    await any_app.setup()

    def steer():
        scheduler = any_app.scheduler
        name = scheduler.add_now(report, every=60, args={"day": "today"})
        said = [scheduler.pause_now(name), scheduler.list_now("paused")[0].name, scheduler.resume_now(name)]
        job_id = scheduler.run_now(name)
        said += [scheduler.get_now(name).last_job_id == job_id, scheduler.remove_now(name)]
        any_app.backend.release()
        return said

    assert await asyncio.to_thread(steer) == [True, "shop.report", True, True, True]


async def test_a_closed_app_has_no_scheduler(make_any):
    app = make_any()
    await app.close()
    with pytest.raises(AppClosed):
        app.scheduler.list_now()
    with pytest.raises(AppClosed):
        await app.scheduler.pause("x")


async def test_changes_by_many_at_once_are_all_made(any_app, report):
    """Whoever saw an old version looks again."""
    await any_app.scheduler.add(report, every=60, args={"day": "today"})

    def run(_):
        try:
            return any_app.scheduler.run_now("shop.report")
        finally:
            any_app.backend.release()

    with ThreadPoolExecutor(4) as threads:
        ids = await asyncio.to_thread(lambda: list(threads.map(run, range(8))))

    assert len(set(ids)) == 8
    assert (await any_app.scheduler.get("shop.report")).fired == 8


async def test_a_schedule_that_others_change_all_the_time_is_given_up_in_words(make):
    class Contested(MemoryBackend):
        def write_schedules(self, changes):
            return [None for _ in changes]

    app = make(backend=Contested())
    app.job(name="work")(lambda: None)
    with pytest.raises(BackendConflict, match="'work' is changed by others"):
        await app.scheduler.add("work", every=60)


async def test_a_service_can_steer_the_schedules_of_another_store(any_app, report):
    other = MemoryBackend()
    await any_app.scheduler.on(other).add(report, every=60, args={"day": "today"})

    assert await any_app.scheduler.list() == []
    assert [one.name for one in other.list_schedules()] == ["shop.report"]


async def test_resetting_an_app_removes_its_schedules(any_app, report):
    await any_app.scheduler.add(report, every=60, args={"day": "today"})
    await any_app._reset()
    assert await any_app.scheduler.list() == []
