"""The Soniq object: its life, and what it tells about jobs."""

from __future__ import annotations

import threading

import pytest

from soniq import Soniq
from soniq.backends.memory import MemoryBackend
from soniq.errors import AppClosed, ConfigurationError, InvalidEnqueue
from soniq.retry import TaskRetryPolicy
from soniq.testing import make_app

NOBODY = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def work(any_app):
    @any_app.job(name="work", max_retries=0)
    async def work(number=0):
        if number < 0:
            raise ValueError(number)
        return number

    return work


async def test_close_twice_does_no_harm(any_app, work):
    """Nor does closing what was never used."""
    await any_app.enqueue(work)
    await any_app.close()
    await any_app.close()


USES = {
    "enqueue": lambda app, work: app.enqueue("work"),
    "enqueue_many": lambda app, work: app.enqueue_many("work", [{}]),
    "schedule": lambda app, work: app.schedule("work", 5),
    "run_worker": lambda app, work: app.run_worker(run_once=True),
    "get_job": lambda app, work: app.get_job(NOBODY),
    "get_result": lambda app, work: app.get_result(NOBODY),
    "list_jobs": lambda app, work: app.list_jobs(),
    "cancel_job": lambda app, work: app.cancel_job(NOBODY),
    "delete_job": lambda app, work: app.delete_job(NOBODY),
    "get_queue_stats": lambda app, work: app.get_queue_stats(),
    "setup": lambda app, work: app.setup(),
    "ensure_initialized": lambda app, work: app.ensure_initialized(),
    "_reset": lambda app, work: app._reset(),
    "aenter": lambda app, work: app.__aenter__(),
    "aenqueue": lambda app, work: work.aenqueue(),
    "aenqueue_many": lambda app, work: work.aenqueue_many([{}]),
}


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize("use", USES)
async def test_any_use_after_close_says_so(any_app, work, use, used):
    """One error for all methods, whatever the store."""
    if used:
        await any_app.enqueue(work)
    await any_app.close()
    with pytest.raises(AppClosed, match="this Soniq object was closed; make a new one"):
        await USES[use](any_app, work)


def test_sync_use_after_close_says_so_as_well(tmp_path):
    """The job's own enqueue."""
    import asyncio

    for options in ({"backend": "memory"}, {"database_url": str(tmp_path / "x.db")}):
        app = Soniq(**options)
        work = app.job(lambda: None)
        work.enqueue()
        asyncio.run(app.close())
        with pytest.raises(AppClosed):
            work.enqueue()


async def test_a_context_manager_closes_also_after_an_error(make_any):
    """And lets the error through."""
    app = make_any()
    with pytest.raises(KeyError):
        async with app as inside:
            assert inside is app
            raise KeyError
    with pytest.raises(AppClosed):
        await app.get_queue_stats()


async def test_the_first_use_may_be_any_method(make_any):
    """Nobody has to call setup()."""
    assert await make_any().get_job(NOBODY) is None
    assert await make_any().get_result(NOBODY) is None
    assert await make_any().list_jobs() == []
    assert await make_any().cancel_job(NOBODY) is False
    assert await make_any().delete_job(NOBODY) is False
    assert await make_any().run_worker(run_once=True) is False
    await make_any()._reset()


async def test_setup_is_done_once_however_many_need_it():
    """By threads that come at the same time, too."""

    class Slow(MemoryBackend):
        setups = 0

        def setup(self):
            type(self).setups += 1

    app = Soniq(backend=Slow())
    work = app.job(lambda: None)
    start = threading.Barrier(8)

    def use():
        start.wait()
        work.enqueue()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await app.setup()
    assert Slow.setups == 1
    assert (await app.get_queue_stats())["total"] == 8


@pytest.mark.parametrize("job_id", [NOBODY, "", "no-uuid", "x" * 1000])
async def test_a_job_that_is_not_there_is_none(any_app, job_id):
    """Asking is no error, whatever the id looks like."""
    assert await any_app.get_job(job_id) is None
    assert await any_app.get_result(job_id) is None
    assert await any_app.cancel_job(job_id) is False
    assert await any_app.delete_job(job_id) is False


async def test_queue_stats_are_one_mapping_with_six_keys(any_app, work):
    """Also when there is nothing to count."""
    keys = ["total", "queued", "processing", "done", "dead_letter", "cancelled"]
    assert await any_app.get_queue_stats() == dict.fromkeys(keys, 0)
    await any_app.enqueue_many(work, [{}, {"number": -1}])
    await any_app.run_worker(run_once=True)
    await any_app.cancel_job(await any_app.enqueue(work))
    await any_app.enqueue(work)
    expected = dict(zip(keys, [4, 1, 0, 1, 1, 1], strict=True))
    assert await any_app.get_queue_stats() == expected


async def test_only_a_queued_job_can_be_cancelled(any_app, work):
    """It is kept, and never runs."""
    waiting = await any_app.enqueue(work)
    assert await any_app.cancel_job(waiting) is True
    assert await any_app.cancel_job(waiting) is False
    assert await any_app.run_worker(run_once=True) is False
    job = await any_app.get_job(waiting)
    assert (job["status"], job["attempts"]) == ("cancelled", 0)
    assert job["expires_at"] > job["finished_at"]
    done = await any_app.enqueue(work)
    await any_app.run_worker(run_once=True)
    assert await any_app.cancel_job(done) is False
    assert (await any_app.get_job(done))["status"] == "done"


async def test_a_job_in_any_state_can_be_deleted(any_app, work):
    """And then it is gone."""
    done, waiting = [await any_app.enqueue(work) for _ in range(2)]
    await any_app.run_worker(run_once=True)
    waiting = await any_app.enqueue(work)
    for job_id in (done, waiting):
        assert await any_app.delete_job(job_id) is True
        assert await any_app.delete_job(job_id) is False
        assert await any_app.get_job(job_id) is None


async def test_lists_are_filtered_and_paged(any_app, work):
    """Newest first."""
    a, b, c = [await any_app.enqueue(work, queue=queue) for queue in ("one", "two", "one")]
    await any_app.run_worker(run_once=True, queues=["two"])

    async def listed(**options):
        return [job["id"] for job in await any_app.list_jobs(**options)]

    assert await listed() == [c, b, a]
    assert await listed(queue="one") == [c, a]
    assert await listed(status="done") == [b]
    assert await listed(queue="one", status="done") == []
    assert await listed(limit=1, offset=1) == [b]
    assert await listed(limit=0) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"status": "failed"}, "status is 'failed'; known: queued, processing, done, cancelled"),
        ({"status": "dead"}, "status is 'dead'; known"),
        ({"status": 5}, "status is 5; known"),
        ({"queue": "a b"}, "is no queue name"),
        ({"limit": -1}, "limit is -1"),
        ({"limit": "5"}, "limit is '5'"),
        ({"limit": None}, "limit is None"),
        ({"offset": -1}, "offset -1"),
        ({"offset": 0.5}, "offset 0.5"),
    ],
    ids=repr,
)
async def test_an_impossible_list_is_refused(any_app, options, says):
    """In one line; "failed" is no status."""
    with pytest.raises((ConfigurationError, InvalidEnqueue), match=says):
        await any_app.list_jobs(**options)


async def test_a_result_of_none_and_no_result_look_the_same(any_app, work):
    """get_result gives None for both; the status tells them apart."""
    nothing = any_app.job(name="nothing")(lambda: None)
    falsy = any_app.job(name="falsy")(lambda: 0)
    ids = [await any_app.enqueue(job) for job in (nothing, falsy)]
    await any_app.run_worker(run_once=True)
    assert [await any_app.get_result(job_id) for job_id in ids] == [None, 0]


async def test_reset_leaves_the_app_usable(any_app, work):
    """The same connection, the same registrations."""
    await any_app.enqueue(work)
    await any_app._reset()
    job_id = await any_app.enqueue("work", number=3)
    await any_app.run_worker(run_once=True)
    assert await any_app.get_result(job_id) == 3


@pytest.mark.parametrize("page", [{"limit": 10**30}, {"offset": 2**63}, {"limit": -1}, {"limit": True}])
async def test_a_page_is_of_a_size_that_a_database_takes(any_app, page):
    """Whatever the store, what is no part of a list is refused in one line."""
    with pytest.raises(ConfigurationError, match="give whole numbers from 0 to"):
        await any_app.list_jobs(**page)

    assert await any_app.list_jobs(limit=2**63 - 1, offset=2**63 - 1) == []


@pytest.mark.parametrize(
    ("option", "needed"),
    [("retry_policy", r"delay_for\(\)"), ("metrics_sink", r"record_job_start\(\) and record_job_end\(\)")],
)
def test_what_lacks_its_methods_is_refused_at_once(option, needed):
    """Not only when the first job fails."""
    with pytest.raises(ConfigurationError, match=f"{option} is <object .*: it needs {needed}"):
        make_app(**{option: object()})


def test_a_class_is_no_policy():
    """Its methods would be called without self."""
    with pytest.raises(ConfigurationError, match="an object, not a class"):
        make_app(retry_policy=TaskRetryPolicy)
