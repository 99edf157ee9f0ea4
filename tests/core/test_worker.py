"""The worker: what is run, in which order, how it stops, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from contextvars import ContextVar

import pytest

from soniq import JobContext, Snooze, deadline, slot_pool, storage_line, transitions
from soniq.backends.memory import MemoryBackend
from soniq.errors import BackendConflict, BackendError, BackendUnavailable, ConfigurationError
from soniq.jobs import ClaimRequest
from soniq.testing import wait_until
from tests.support.faulty import FaultyBackend


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Back-offs and graces of production would make the tests wait."""
    monkeypatch.setattr(storage_line, "FIRST_BACKOFF", 0.005)
    monkeypatch.setattr(storage_line, "LONGEST_BACKOFF", 0.02)
    monkeypatch.setattr(slot_pool, "CANCEL_GRACE", 0.2)


@pytest.fixture
def faulty(make):
    """An app on a store that can be made to fail."""
    return make(backend=FaultyBackend(), poll_interval=0.02, heartbeat_interval=0.01, dead_after=10)


class Running:
    """A continuous worker beside the test."""

    def __init__(self, app, **options):
        self.worker = app.worker(**options)
        self.task = asyncio.create_task(self.worker.run())

    async def stopped(self):
        async with asyncio.timeout(5):
            return await self.task


@pytest.fixture
async def start():
    """Start continuous workers; those that still run are stopped at once after the test."""
    started = []

    def start_one(app, **options):
        started.append(Running(app, **options))
        return started[-1]

    yield start_one
    for one in started:
        one.worker.stop()
        one.worker.stop()
        await asyncio.wait([one.task], timeout=5)


async def status(app, job_id):
    job = await app.get_job(job_id)
    return job and job["status"]


async def until(app, job_id, expected):
    """Wait until the job has this status."""

    async def has_it():
        return await status(app, job_id) == expected

    await wait_until(has_it, timeout=5, message=f"the job did not become {expected}")


def gate():
    """A started and a go event that work in the loop and in threads."""
    return threading.Event(), threading.Event()


async def is_set(event):
    await wait_until(event.is_set, timeout=5)


# -- run_once


async def test_jobs_that_jobs_enqueue_are_run_in_the_same_drain(any_app):
    """Whatever depth."""
    seen = []

    @any_app.job(name="count_down")
    async def count_down(number):
        seen.append(number)
        if number:
            await any_app.enqueue("count_down", number=number - 1)

    @any_app.job(name="sync_parent")
    def sync_parent():
        count_down.enqueue(1)

    await any_app.enqueue(count_down, number=3)
    await any_app.enqueue(sync_parent)
    assert await any_app.run_worker(run_once=True) is True
    assert sorted(seen) == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("concurrency", [None, 3])
async def test_a_drain_attempts_each_job_once(any_app, concurrency):
    """Failed, snoozed or due again at once: it waits for the next call."""
    seen = []

    @any_app.job(max_retries=5, retry_delay=0)
    async def fail():
        seen.append("fail")
        raise ValueError

    @any_app.job
    async def snooze():
        seen.append("snooze")
        return Snooze(0)

    for job in (fail, snooze):
        await any_app.enqueue(job)
    for count in (1, 2, 3):
        await any_app.run_worker(run_once=True, concurrency=concurrency)
        assert sorted(seen) == ["fail"] * count + ["snooze"] * count


async def test_a_drain_starts_jobs_by_priority_one_after_the_other(any_app):
    """Lower first; among equals in the order of their enqueue. No two at a time."""
    seen, running = [], []

    @any_app.job
    async def work(label):
        running.append(label)
        await asyncio.sleep(0)
        seen.append((label, len(running)))
        running.remove(label)

    for label, priority in [("c", 500), ("a", 0), ("d", 500), ("b", 100)]:
        await any_app.enqueue(work, label=label, priority=priority)
    await any_app.run_worker(run_once=True)
    assert seen == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_concurrency_is_how_many_run_at_a_time(any_app, kind):
    """All three meet at a barrier that takes three; a fourth never joins them."""
    lock, running, most = threading.Lock(), [0], [0]
    meet = threading.Barrier(3) if kind == "sync" else asyncio.Barrier(3)

    def enter(step):
        with lock:
            running[0] += step
            most[0] = max(most[0], running[0])

    if kind == "sync":

        @any_app.job(timeout=5)
        def work():
            enter(1)
            meet.wait()
            enter(-1)
    else:

        @any_app.job(timeout=5)
        async def work():
            enter(1)
            await meet.wait()
            enter(-1)

    ids = await any_app.enqueue_many(work, [{}] * 6)
    await any_app.run_worker(run_once=True, concurrency=3)
    assert [await status(any_app, job_id) for job_id in ids] == ["done"] * 6
    assert most == [3]


async def test_a_drain_serves_its_queues_only(any_app):
    """The others wait."""

    @any_app.job
    async def work():
        pass

    mine = await any_app.enqueue(work, queue="mine")
    theirs = await any_app.enqueue(work, queue="theirs")
    await any_app.run_worker(run_once=True, queues=["mine", "empty"])
    assert [await status(any_app, job_id) for job_id in (mine, theirs)] == ["done", "queued"]


async def test_a_drain_says_whether_it_ran_anything(any_app):
    """Also when what it ran failed."""

    @any_app.job(max_retries=0)
    async def fail():
        raise ValueError

    assert await any_app.run_worker(run_once=True) is False
    await any_app.enqueue(fail)
    assert await any_app.run_worker(run_once=True) is True
    assert await any_app.run_worker(run_once=True) is False


async def test_a_drain_leaves_no_worker_behind(any_app):
    """It registers while it runs, and no longer."""
    seen = []

    @any_app.job
    def work():
        seen.extend(any_app.backend.list_workers())

    await any_app.enqueue(work)
    await any_app.run_worker(run_once=True)
    assert len(seen) == 1
    assert any_app.backend.list_workers() == []


async def test_a_drain_rescues_what_lost_workers_left(any_app):
    """A job in the hands of nobody is run, as its second attempt."""
    seen = []

    @any_app.job
    async def work():
        seen.append(1)

    job_id = await any_app.enqueue(work)
    lost = any_app.worker().info
    any_app.backend.register(lost)
    assert any_app.backend.claim(ClaimRequest(worker_id=lost.id, limit=1))
    any_app.backend.deregister(lost.id)
    await any_app.run_worker(run_once=True)
    job = await any_app.get_job(job_id)
    assert (seen, job["status"], job["attempts"]) == ([1], "done", 2)


async def test_unknown_names_wait_unclaimed(make_any):
    """For a worker that has their code."""
    app = make_any(enqueue_validation="none")
    job_id = await app.enqueue("of_another_service")
    assert await app.run_worker(run_once=True) is False
    job = await app.get_job(job_id)
    assert (job["status"], job["attempts"], job["worker_id"]) == ("queued", 0, None)


# -- the continuous worker


async def test_a_continuous_worker_runs_what_comes(make_any, start):
    """Until it is stopped; then it says whether it ran anything."""
    app = make_any(poll_interval=0.02)

    @app.job
    async def work(number):
        return number

    running = start(app)
    for number in range(3):
        await until(app, await app.enqueue(work, number=number), "done")
    assert not running.task.done()
    running.worker.stop()
    assert await running.stopped() is True
    assert app.backend.list_workers() == []


async def test_an_idle_worker_that_is_stopped_ran_nothing(app, start):
    """And leaves at once."""
    running = start(app)
    await wait_until(app.backend.list_workers)
    running.worker.stop()
    assert await running.stopped() is False


async def test_a_worker_stopped_before_it_started_claims_nothing(app):
    """A signal may come that early."""
    job_id = await app.enqueue(app.job(lambda: None))
    early = app.worker()
    early.stop()
    assert await early.run() is False
    assert await status(app, job_id) == "queued"
    assert app.backend.list_workers() == []


async def test_a_retry_runs_when_it_is_due(app, start):
    """By the same worker, with the delay."""
    attempts = []

    @app.job(max_retries=3, retry_delay=[0.01, 0.02])
    async def work():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError
        return len(attempts)

    job_id = await app.enqueue(work)
    start(app)
    await until(app, job_id, "done")
    job = await app.get_job(job_id)
    assert (job["attempts"], job["result"]) == (3, 3)


async def test_slots_are_refilled_as_they_become_free(app, start):
    """A long job does not hold up short ones."""
    started, go = gate()

    @app.job
    def long():
        started.set()
        go.wait(5)

    @app.job
    async def short():
        pass

    held = await app.enqueue(long, priority=0)
    start(app, concurrency=2)
    await is_set(started)
    ids = await app.enqueue_many(short, [{}] * 20)
    for job_id in ids:
        await until(app, job_id, "done")
    assert await status(app, held) == "processing"
    go.set()
    await until(app, held, "done")


async def test_no_more_is_claimed_than_there_are_slots(app, start):
    """Claimed jobs run; the rest is left to others."""
    started, go = gate()

    @app.job
    def hold():
        started.set()
        go.wait(5)

    await app.enqueue_many(hold, [{}] * 5)
    start(app, concurrency=2)
    await is_set(started)
    await wait_until(lambda: app.backend.queue_stats()["processing"] == 2)
    assert app.backend.queue_stats()["queued"] == 3
    go.set()


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_sync_and_async_jobs_mix(any_app, concurrency):
    """Each runs once, however they alternate and whoever takes them ahead."""
    seen = []

    @any_app.job
    def on_a_thread(number):
        seen.append(number)

    @any_app.job
    async def in_the_loop(number):
        seen.append(number)

    jobs = (on_a_thread, in_the_loop, on_a_thread)
    for number in range(60):
        await any_app.enqueue(jobs[number % 3], number=number)
    await any_app.run_worker(run_once=True, concurrency=concurrency)
    assert sorted(seen) == list(range(60))
    assert (await any_app.get_queue_stats())["done"] == 60


async def test_an_idle_worker_wakes_for_a_job_that_becomes_due(make, start, monkeypatch):
    """It does not sleep through its whole poll_interval then."""
    monkeypatch.setattr("soniq.lookout.FIRST_PAUSE", 30)
    app = make(backend=FaultyBackend(), poll_interval=60)
    job_id = await app.enqueue(app.job(lambda: None), scheduled_at=0.1)
    start(app)
    await until(app, job_id, "done")
    assert app.backend.calls["next_due"] >= 1


async def test_a_hint_that_comes_during_a_claim_is_looked_at_right_after_it(make, start, monkeypatch):
    """The claim found nothing, as the job came after it had looked; nobody wakes the worker again."""
    monkeypatch.setattr("soniq.lookout.FIRST_PAUSE", 30)
    looked, go = gate()

    class Slow(MemoryBackend):
        blocking = True

        def claim(self, request):
            claims = super().claim(request)
            if not looked.is_set():
                looked.set()
                go.wait(5)
            return claims

    app = make(backend=Slow(), poll_interval=60)
    start(app)
    await is_set(looked)
    job_id = await app.enqueue(app.job(lambda: None))
    await asyncio.sleep(0)  # the hint goes by way of the loop
    go.set()
    await until(app, job_id, "done")


async def test_a_worker_that_asks_for_the_next_job_can_be_stopped(make, start, monkeypatch):
    """Though the store is away and gives no answer."""
    monkeypatch.setattr("soniq.lookout.FIRST_PAUSE", 30)
    app = make(backend=FaultyBackend(), poll_interval=60)
    app.backend.fail("next_due")
    running = start(app)
    await wait_until(lambda: app.backend.failed.get("next_due", 0) >= 2, timeout=5)
    running.worker.stop()
    assert await running.stopped() is False


# -- stopping


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_stop_lets_running_jobs_finish_and_claims_no_more(any_app, start, kind):
    """Graceful: the job's outcome is recorded, the next job waits for another worker."""
    started, go = gate()

    if kind == "sync":

        @any_app.job
        def hold():
            started.set()
            go.wait(5)
            return "finished"
    else:

        @any_app.job
        async def hold():
            started.set()
            await is_set(go)
            return "finished"

    first = await any_app.enqueue(hold)
    running = start(any_app, concurrency=1)
    await is_set(started)
    second = await any_app.enqueue(hold)
    running.worker.stop()
    await asyncio.sleep(0)
    go.set()
    assert await running.stopped() is True
    assert await any_app.get_result(first) == "finished"
    assert await status(any_app, second) == "queued"
    assert any_app.backend.list_workers() == []


async def given_back(app, job_id):
    """The job is queued as if it had never been claimed."""
    job = await app.get_job(job_id)
    return (job["status"], job["attempts"], job["last_error"]) == ("queued", 0, None)


@pytest.mark.parametrize("how", ["second stop", "shutdown_timeout", "cancel"])
@pytest.mark.parametrize("kind", ["async", "sync", "sync in loop"])
async def test_jobs_that_do_not_finish_are_given_back_without_using_an_attempt(make_any, start, kind, how):
    """After the time for it, at a second stop, or when run_worker() is cancelled; with max_retries=0, too."""
    app = make_any(poll_interval=0.02, shutdown_timeout=0.05 if how == "shutdown_timeout" else 60)
    started, go = gate()
    cancelled = []

    if kind == "async":

        @app.job(max_retries=0)
        async def hold():
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(1)
                raise
    else:

        @app.job(max_retries=0)
        def hold():
            started.set()
            go.wait(10)

    if kind == "sync in loop":

        @app.middleware
        async def around(ctx, call_next):
            return await call_next()

    job_id = await app.enqueue(hold)
    running = start(app)
    await is_set(started)
    if how == "cancel":
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.stopped()
    else:
        running.worker.stop()
        if how == "second stop":
            await asyncio.sleep(0)
            running.worker.stop()
        await running.stopped()
    assert await given_back(app, job_id)
    assert cancelled == ([1] if kind == "async" else [])
    assert app.backend.list_workers() == []
    go.set()


async def test_a_late_result_of_a_job_given_back_is_dropped(app, start):
    """Its thread may still finish; the next run's outcome is the one that counts."""
    started, go = gate()
    results = iter(["late", "second"])
    left = threading.Event()

    @app.job
    def hold():
        answer = next(results)
        if answer == "late":
            started.set()
            go.wait(5)
            left.set()
        return answer

    job_id = await app.enqueue(hold)
    running = start(app)
    await is_set(started)
    running.worker.stop()
    running.worker.stop()
    await running.stopped()
    assert running.worker.left_behind
    await app.run_worker(run_once=True)
    go.set()
    await is_set(left)
    assert await app.get_result(job_id) == "second"


async def test_a_job_that_swallows_its_cancellation_is_given_back_over_its_head(app, start):
    """The worker does not wait for ever."""
    started = threading.Event()
    release = asyncio.Event()

    @app.job(max_retries=0)
    async def stubborn():
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    job_id = await app.enqueue(stubborn)
    running = start(app)
    await is_set(started)
    running.worker.stop()
    running.worker.stop()
    await running.stopped()
    assert await given_back(app, job_id)
    release.set()
    await asyncio.sleep(0)
    assert await given_back(app, job_id)


@pytest.fixture
async def stay(monkeypatch):
    """Wait until the test is over, whoever cancels that; and be given up soon."""
    monkeypatch.setattr(deadline, "CLEAN_UP", 0.05)
    release = asyncio.Event()

    async def wait():
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    wait.release = release.set
    yield wait
    release.set()
    await asyncio.sleep(0)


async def test_a_job_that_swallows_its_timeout_is_given_up_and_its_slot_is_free(make, start, stay):
    """It is recorded as overrun, and the error hook hears of it."""
    app = make(poll_interval=0.02, job_timeout=0.05)
    heard = []
    app.on_error(lambda name, job_id, error, attempt: heard.append(type(error).__name__))

    @app.job(max_retries=0)
    async def stubborn():
        await stay()

    stuck = await app.enqueue(stubborn)
    running = start(app, concurrency=1)
    await until(app, await app.enqueue(app.job(lambda: None)), "done")
    letter = await app.dead_letter.get_dead_letter_job(stuck)
    assert (letter.dead_letter_reason, heard) == ("timeout", ["JobTimeout"])
    running.worker.stop()
    await running.stopped()
    assert running.worker.left_behind


async def test_what_is_left_of_a_job_that_was_given_up_runs_no_handler_and_no_hook(make, start, stay):
    """A hook that swallowed its timeout returns at last, and nothing follows; hooks hear of the job once."""
    app = make(poll_interval=0.02, job_timeout=0.05)
    heard = []
    app.on_error(lambda name, job_id, error, attempt: heard.append(type(error).__name__))

    @app.before_job
    async def hook(name, *about):
        if name == "watched":
            attempts.append(asyncio.current_task())
            await stay()

    attempts = []
    job_id = await app.enqueue(app.job(lambda: heard.append("ran"), name="watched", max_retries=0))
    start(app, concurrency=1)
    await until(app, await app.enqueue(app.job(lambda: None, name="next")), "done")
    assert await status(app, job_id) is None
    stay.release()
    await wait_until(attempts[0].done, timeout=5)
    assert heard == ["JobTimeout"]


async def test_the_thread_of_the_next_job_is_not_that_of_one_that_was_given_up(make, start, stay):
    """What the latter still calls on its thread meets nobody."""
    app = make(poll_interval=0.02, job_timeout=0.05)
    attempts, threads = [], []

    @app.middleware
    async def stubborn(ctx, call_next):
        threads.append((ctx.job_name, await call_next()))
        if ctx.job_name == "stubborn":
            attempts.append(asyncio.current_task())
            await stay()
            threads.append(("late", await call_next()))

    for name in ("stubborn", "next"):
        app.job(lambda: threading.get_ident(), name=name, max_retries=0)  # noqa: PLW0108  # a job is a function
    await app.enqueue("stubborn")
    start(app, concurrency=1)
    await until(app, await app.enqueue("next"), "done")
    stay.release()
    await wait_until(attempts[0].done, timeout=5)
    used = dict(threads)
    assert used["next"] != used["late"]


async def test_what_a_job_that_was_given_up_has_set_does_not_reach_the_next_ones(make, start, stay):
    """Its context is its own."""
    app = make(poll_interval=0.02, job_timeout=0.05)
    tenant = ContextVar("tenant", default="nobody's")
    seen = []

    @app.job(max_retries=0)
    async def stubborn():
        tenant.set("theirs")
        await stay()

    @app.job
    async def look():
        seen.append(tenant.get())

    await app.enqueue_many(look, [{}] * 100)  # short ones, so that the worker claims ahead
    await app.enqueue(stubborn)
    last = (await app.enqueue_many(look, [{}] * 100))[-1]
    start(app, concurrency=1)
    await until(app, last, "done")
    assert seen == ["nobody's"] * 200


async def test_what_a_job_returns_after_it_was_given_up_is_dropped(make, start, stay):
    """Its next attempt decides."""
    app = make(poll_interval=0.02, job_timeout=0.05)
    goes_on = asyncio.Event()
    left = []

    @app.job(max_retries=1, retry_delay=0)
    async def once_stubborn(ctx: JobContext):
        if ctx.attempt == 1:
            while not goes_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await goes_on.wait()
            left.append(asyncio.current_task())
            return "too late"
        goes_on.set()
        return "in time"

    job_id = await app.enqueue(once_stubborn)
    start(app, concurrency=1)
    await until(app, job_id, "done")
    await wait_until(lambda: left and left[0].done(), timeout=5)
    assert await app.get_result(job_id) == "in time"


@pytest.mark.parametrize("stubborn", [False, True], ids=["waits", "swallows"])
@pytest.mark.parametrize("when", ["before_job", "after_job", "on_error"])
async def test_a_hook_that_never_ends_keeps_no_slot(make, start, stay, when, stubborn):
    """It has as long as the job, and decides nothing, unless the job has not begun before it ends."""
    app = make(poll_interval=0.02, job_timeout=0.05)

    async def hook(name, *about):
        if name == "watched":
            await (stay() if stubborn else asyncio.Event().wait())

    @app.job(name="watched", max_retries=0)
    async def watched():
        if when == "on_error":
            raise ValueError

    getattr(app, when)(hook)
    job_id = await app.enqueue(watched)
    start(app, concurrency=1)
    await until(app, await app.enqueue(app.job(lambda: None)), "done")
    failed = when == "on_error" or (when == "before_job" and stubborn)
    assert await status(app, job_id) == (None if failed else "done")


async def test_claims_that_arrive_with_a_cancellation_are_given_back(make, start):
    """The store had claimed already when run_worker() was cancelled."""
    asked, go = gate()

    class Slow(FaultyBackend):
        blocking = True

        def claim(self, request):
            asked.set()
            go.wait(5)
            return super().claim(request)

    app = make(backend=Slow(), poll_interval=0.02)
    job_id = await app.enqueue(app.job(lambda: None))
    running = start(app)
    await is_set(asked)
    running.task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running.stopped()
    assert await given_back(app, job_id)


async def test_stopping_a_drain_leaves_the_rest_queued(app):
    """run_once can be stopped as well."""
    draining = app.worker(run_once=True)

    @app.job
    async def work():
        draining.stop()

    ids = await app.enqueue_many(work, [{}] * 3)
    assert await draining.run() is True
    assert [await status(app, job_id) for job_id in ids] == ["done", "queued", "queued"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_was_claimed_ahead_is_given_back_at_a_stop(any_app, start, kind):
    """In the middle of many short jobs: each is done, or queued as if nobody had claimed it."""
    count = 0
    running = None

    def step():
        nonlocal count
        count += 1
        if count == 100:
            loop.call_soon_threadsafe(running.worker.stop)

    loop = asyncio.get_running_loop()
    if kind == "sync":
        job = any_app.job(name="work", max_retries=0)(step)
    else:

        @any_app.job(name="work", max_retries=0)
        async def job():
            step()

    await any_app.enqueue_many(job, [{}] * 400)
    running = start(any_app, concurrency=2)
    assert await running.stopped() is True
    stats = await any_app.get_queue_stats()
    assert (stats["processing"], stats["dead_letter"], stats["done"]) == (0, 0, count)
    assert stats["queued"] == 400 - count
    left = await any_app.list_jobs(status="queued", limit=400)
    assert {job["attempts"] for job in left} <= {0}
    assert any_app.backend.list_workers() == []


# -- the store is away


async def test_a_worker_outlives_a_store_that_is_away(faulty, start):
    """It backs off, goes on, and nothing is lost or run twice."""
    seen = []

    @faulty.job
    async def work(number):
        seen.append(number)
        return number

    backend = faulty.backend
    running = start(faulty)
    await until(faulty, await faulty.enqueue(work, number=0), "done")
    backend.fail("claim", "apply", "beat", "orphans", "next_due")
    ids = [await faulty.enqueue(work, number=number) for number in range(1, 6)]
    await wait_until(
        lambda: backend.failed.get("claim", 0) >= 3 and backend.failed.get("beat", 0) >= 3, timeout=5
    )
    assert not running.task.done()
    backend.heal()
    for job_id in ids:
        await until(faulty, job_id, "done")
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
    assert all([(await faulty.get_job(job_id))["attempts"] == 1 for job_id in ids])


async def test_a_slow_job_behind_quick_ones_still_times_out(make, start):
    """The timeout that counts is that of the job that runs, not of the one its burst began with."""
    app = make(max_retries=0)
    proceed = threading.Event()

    @app.job
    def quick() -> None:
        pass

    @app.job(timeout=0.2)
    def slow() -> None:
        proceed.wait(10)

    await app.enqueue_many(quick, [{}] * 60)
    job_id = await app.enqueue(slow)
    try:
        start(app, concurrency=1)

        async def is_dead() -> bool:
            return await app.dead_letter.get_dead_letter_job(job_id) is not None

        await wait_until(is_dead, timeout=5)
    finally:
        proceed.set()
    letter = await app.dead_letter.get_dead_letter_job(job_id)
    assert letter.dead_letter_reason == "timeout"


async def test_a_stop_during_the_error_hook_of_a_timeout_leaves_nothing_processing(make, start):
    """The job was given up, its outcome not decided yet: it is given back."""
    app = make(max_retries=0, shutdown_timeout=0.05)
    in_hook, proceed = threading.Event(), threading.Event()

    @app.on_error
    def hook(*about: object) -> None:
        in_hook.set()
        proceed.wait(10)

    @app.job(timeout=0.1)
    def slow() -> None:
        proceed.wait(10)

    job_id = await app.enqueue(slow)
    running = start(app, concurrency=1)
    try:
        await wait_until(in_hook.is_set)
        running.worker.stop()
        await running.stopped()
    finally:
        proceed.set()

    assert (await app.get_job(job_id))["status"] == "queued"


async def test_an_attempt_is_measured_once_whatever_its_thread_does_later(make):
    """A job that timed out and then returned after all ended once."""
    ends = []

    class Sink:
        def record_job_start(self, **about: object) -> None:
            pass

        def record_job_end(self, *, status: str, **about: object) -> None:
            ends.append(status)

    app = make(max_retries=0, metrics_sink=Sink())
    proceed, returned = threading.Event(), threading.Event()

    @app.job(timeout=0.1)
    def slow() -> None:
        proceed.wait(10)
        returned.set()

    await app.enqueue(slow)
    await app.run_worker(run_once=True)
    proceed.set()
    await wait_until(returned.is_set)

    assert ends == ["bury"]


@pytest.mark.parametrize("leave", [SystemExit, KeyboardInterrupt])
async def test_a_subtask_that_exits_fails_its_job_and_not_the_worker(make, leave):
    """asyncio would end the loop with it."""
    app = make(max_retries=0)

    async def sub() -> None:
        raise leave(3)

    @app.job
    async def work() -> None:
        await asyncio.create_task(sub())

    @app.job
    async def other() -> None:
        pass

    job_id = await app.enqueue(work)
    after = await app.enqueue(other)
    await app.run_worker(run_once=True)

    letter = await app.dead_letter.get_dead_letter_job(job_id)
    assert leave.__name__ in letter.last_error
    assert await status(app, after) == "done"
    assert asyncio.get_running_loop().get_task_factory() is None


@pytest.mark.parametrize("form", ["sync", "async", "async that waits"])
async def test_what_a_job_sets_in_its_context_ends_with_it(make, form):
    """A language, a tenant: the next job in the slot starts without."""
    app = make()
    language = ContextVar("language", default="en")
    seen = []

    def work() -> None:
        seen.append(language.get())
        language.set("de")

    async def awork() -> None:
        if form == "async that waits":
            await asyncio.sleep(0)
        work()

    app.job(name="work")(work if form == "sync" else awork)
    await app.enqueue_many("work", [{}] * 2)
    await app.run_worker(run_once=True)

    assert seen == ["en", "en"]


async def test_what_middleware_sets_reaches_a_sync_job(make):
    """The context travels to the thread."""
    app = make()
    tenant = ContextVar("tenant", default=None)
    seen = []

    @app.middleware
    async def set_tenant(ctx: JobContext, call_next: object) -> object:
        tenant.set("acme")
        return await call_next()

    @app.job
    def work() -> None:
        seen.append(tenant.get())

    await app.enqueue(work)
    await app.run_worker(run_once=True)

    assert seen == ["acme"]


async def test_a_claim_whose_answer_was_lost_is_run_all_the_same(faulty, start):
    """The store gave the job away and the worker never heard: it takes stock, and finds it."""

    @faulty.job
    def work() -> None:
        pass

    job_id = await faulty.enqueue(work)
    faulty.backend.fail("claim", times=1, after=True)
    start(faulty)

    await until(faulty, job_id, "done")
    assert (await faulty.get_job(job_id))["attempts"] == 1


async def test_taking_stock_starts_no_job_twice(faulty, start):
    """What the worker holds already is not new to it."""
    runs = []
    proceed = asyncio.Event()

    @faulty.job
    async def work(number: int) -> None:
        runs.append(number)
        await proceed.wait()

    @faulty.job
    async def quick() -> None:
        pass

    ids = [await faulty.enqueue(work, number=number) for number in range(2)]
    start(faulty, concurrency=4)
    await wait_until(lambda: len(runs) == 2)
    faulty.backend.fail("claim", times=1)
    await until(faulty, await faulty.enqueue(quick), "done")
    assert faulty.backend.failed["claim"] == 1
    await until(faulty, await faulty.enqueue(quick), "done")
    proceed.set()

    for job_id in ids:
        await until(faulty, job_id, "done")
    assert sorted(runs) == [0, 1]


async def test_an_outcome_waits_for_the_store_to_come_back(faulty, start):
    """The job ran; its result is recorded once that is possible."""
    backend = faulty.backend

    @faulty.job
    async def work():
        backend.fail("apply")
        return "kept"

    job_id = await faulty.enqueue(work)
    start(faulty)
    await wait_until(lambda: backend.failed.get("apply", 0) >= 3, timeout=5)
    assert await status(faulty, job_id) == "processing"
    backend.heal()
    await until(faulty, job_id, "done")
    assert await faulty.get_result(job_id) == "kept"


async def test_an_outcome_whose_answer_was_lost_is_recorded_once(faulty, start, caplog):
    """The store wrote it, then the connection broke: the repetition changes nothing."""
    backend = faulty.backend
    ran = []

    @faulty.job
    async def work():
        ran.append(1)
        backend.fail("apply", times=1, after=True)
        return "kept"

    job_id = await faulty.enqueue(work)
    start(faulty)
    await until(faulty, job_id, "done")
    await wait_until(lambda: "dropped" in caplog.text, timeout=5)
    assert await faulty.get_result(job_id) == "kept"
    assert ran == [1]


@pytest.mark.parametrize("method", ["register", "orphans", "claim", "apply", "deregister", "beat"])
@pytest.mark.parametrize(
    "error", [BackendUnavailable("away"), BackendConflict("deadlock")], ids=["away", "conflict"]
)
async def test_a_drain_gets_through_passing_faults(faulty, method, error):
    """Of every method; it does not take a failed claim for an empty queue."""

    @faulty.job
    async def work(number):
        return number

    ids = await faulty.enqueue_many(work, [{"number": number} for number in range(4)])
    faulty.backend.fail(method, times=2, error=error)
    async with asyncio.timeout(5):
        assert await faulty.run_worker(run_once=True) is True
    assert [await faulty.get_result(job_id) for job_id in ids] == [0, 1, 2, 3]


async def test_a_store_that_is_away_at_the_start_is_waited_for(faulty, start):
    """The worker may be started first."""
    faulty.backend.fail("register")
    running = start(faulty)
    job_id = await faulty.enqueue(faulty.job(lambda: "ran"))
    await wait_until(lambda: faulty.backend.failed.get("register", 0) >= 3, timeout=5)
    assert not running.task.done()
    faulty.backend.heal()
    await until(faulty, job_id, "done")


async def test_a_worker_can_be_stopped_while_the_store_is_away(faulty, start):
    """Before it ever reached it."""
    faulty.backend.fail("register", "deregister")
    running = start(faulty)
    await wait_until(lambda: faulty.backend.failed.get("register", 0) >= 1, timeout=5)
    running.worker.stop()
    assert await running.stopped() is False


async def test_a_back_off_does_not_outlast_a_second_stop(faulty, start, monkeypatch):
    """Nobody waits fifteen seconds for a worker that was told to go at once."""
    monkeypatch.setattr(storage_line, "FIRST_BACKOFF", 60)
    faulty.backend.fail("claim", "apply", "register", "deregister")
    running = start(faulty)
    await wait_until(lambda: faulty.backend.failed.get("register", 0) >= 1, timeout=5)
    running.worker.stop()
    running.worker.stop()
    assert await running.stopped() is False


async def test_jobs_finish_gracefully_when_the_stop_comes_during_an_outage(faulty, start):
    """The time of shutdown_timeout is theirs; all outcomes are recorded if the store comes back."""
    started, go = gate()
    backend = faulty.backend

    @faulty.job
    async def hold():
        started.set()
        await is_set(go)
        return "finished"

    @faulty.job
    async def quick():
        backend.fail("apply", "claim", "next_due")
        return "quick"

    ids = [await faulty.enqueue(hold, priority=0), await faulty.enqueue(quick)]
    running = start(faulty, concurrency=2)
    await is_set(started)
    await wait_until(lambda: backend.failed.get("apply", 0) >= 1, timeout=5)
    running.worker.stop()
    await wait_until(lambda: backend.failed.get("apply", 0) >= 3, timeout=5)
    go.set()
    backend.heal()
    assert await running.stopped() is True
    assert [await faulty.get_result(job_id) for job_id in ids] == ["finished", "quick"]


async def test_an_outage_that_outlasts_the_grace_ends_the_worker(make, start, caplog):
    """It says what it leaves; that is found by others, as it does not beat any more."""
    app = make(backend=FaultyBackend(), poll_interval=0.02, shutdown_timeout=0.05)

    @app.job
    async def work(ctx: JobContext):
        if ctx.attempt == 1:
            app.backend.fail("apply", "claim", "deregister")

    job_id = await app.enqueue(work)
    running = start(app)
    await wait_until(lambda: app.backend.failed.get("apply", 0) >= 1, timeout=5)
    running.worker.stop()
    assert await running.stopped() is True
    assert "leaving with 1 outcomes unrecorded" in caplog.text
    assert await status(app, job_id) == "processing"
    app.backend.heal()
    app.backend.deregister(running.worker.info.id)
    await app.run_worker(run_once=True)
    assert await status(app, job_id) == "done"


async def test_a_worker_taken_for_dead_registers_again(faulty, start, caplog):
    """Its heart finds out with the next beat."""
    running = start(faulty)
    await wait_until(faulty.backend.list_workers, timeout=5)
    faulty.backend.deregister(running.worker.info.id)
    await wait_until(faulty.backend.list_workers, timeout=5)
    assert "was taken for dead" in caplog.text


@pytest.mark.parametrize("answer_lost", [False, True], ids=["away", "answer-lost"])
async def test_a_farewell_that_met_a_broken_session_is_said_again(faulty, start, caplog, answer_lost):
    """Or others would wait for a worker that has left, until it is taken for dead."""
    running = start(faulty)
    await wait_until(faulty.backend.list_workers)
    faulty.backend.fail("deregister", times=1, after=answer_lost)

    running.worker.stop()
    await running.stopped()

    assert faulty.backend.calls["deregister"] == 2
    assert faulty.backend.list_workers() == []
    assert "without a word" not in caplog.text


async def test_a_heart_whose_beat_raises_beats_on(faulty, start):
    """Whatever it was."""
    faulty.backend.fail("beat", times=3, error=RuntimeError("a bug"))
    start(faulty)
    await wait_until(lambda: faulty.backend.calls.get("beat", 0) >= 6, timeout=5)


async def test_a_sweep_that_fails_is_tried_again(make, start, caplog):
    """Maintenance stops no worker."""
    app = make(backend=FaultyBackend(), poll_interval=0.02, sweep_interval=0.01)
    app.backend.fail("orphans", times=2, error=RuntimeError("a bug"))
    job_id = await app.enqueue(app.job(lambda: None))
    running = start(app)
    await wait_until(lambda: app.backend.calls.get("orphans", 0) >= 4, timeout=5)
    await until(app, job_id, "done")
    assert not running.task.done()
    assert "maintenance failed" in caplog.text


@pytest.mark.parametrize("method", ["claim", "next_due"])
async def test_a_visit_that_fails_for_a_bug_is_made_again(faulty, start, caplog, method):
    """It is told in full, and the worker goes on, as it does when the storage is away."""
    faulty.backend.fail(method, times=1, error=RuntimeError("a bug"))
    running = start(faulty)
    await wait_until(lambda: "a visit to the storage failed" in caplog.text, timeout=5)
    assert "RuntimeError: a bug" in caplog.text
    await until(faulty, await faulty.enqueue(faulty.job(lambda: None)), "done")
    assert not running.task.done()


async def test_what_a_visit_claimed_before_it_failed_is_run(faulty, start):
    """The worker asks what it holds: nobody else would, as long as it lives."""
    job_id = await faulty.enqueue(faulty.job(lambda: None))
    faulty.backend.fail("claim", times=1, error=RuntimeError("a bug"), after=True)
    start(faulty)
    await until(faulty, job_id, "done")


async def test_a_drain_that_fails_for_a_bug_says_so(faulty):
    """Whoever waits for it has to know that it is not done."""
    await faulty.enqueue(faulty.job(lambda: None))
    faulty.backend.fail("claim", error=RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        await faulty.run_worker(run_once=True)


# -- the store refuses


class Picky(FaultyBackend):
    """Refuses outcomes that carry a certain text, as a database might."""

    error = ValueError("unsupported Unicode escape sequence")
    refuses = "poison"

    def apply(self, changes):
        if any(self.refuses in (change.error or "") + (change.result_json or "") for change in changes):
            raise self.error
        return super().apply(changes)


@pytest.mark.parametrize(
    "error", [ValueError("refused"), BackendError("refused a row")], ids=["foreign", "named"]
)
async def test_an_outcome_that_the_store_refuses_is_recorded_as_a_failure(make, error):
    """With constant text; the others of its batch are recorded as they are."""
    app = make(backend=Picky(), max_retries=0)
    app.backend.error = error
    meet = asyncio.Barrier(2)

    @app.job
    async def work(text):
        await meet.wait()
        return text

    good = await app.enqueue(work, text="good")
    await app.enqueue(work, text="poison")
    await app.run_worker(run_once=True, concurrency=2)
    assert await app.get_result(good) == "good"
    [dead] = await app.dead_letter.list_dead_letter_jobs()
    assert dead.last_error == "the outcome could not be stored; see the worker's log"


async def test_a_store_that_refuses_even_constants_stops_no_worker(make, start, caplog):
    """It is logged; other jobs go on."""
    app = make(backend=Picky(), poll_interval=0.02)
    app.backend.refuses = "the outcome could not be stored"

    class Worse(Picky):
        pass

    original = app.backend.apply

    def apply(changes):
        if any((change.result_json or "") == '"poison"' for change in changes):
            raise ValueError("refused")
        return original(changes)

    app.backend.apply = apply

    @app.job
    async def work(text):
        return text

    running = start(app)
    await app.enqueue(work, text="poison")
    await wait_until(lambda: "refused the outcome" in caplog.text, timeout=5)
    await until(app, await app.enqueue(work, text="good"), "done")
    assert not running.task.done()


async def test_an_observer_sees_each_recorded_outcome_and_its_errors_harm_nobody(app, caplog):
    """Such as a progress bar on a broken terminal."""
    seen = []

    def observe(outcome):
        seen.append(outcome.change.verb)
        raise OSError("broken pipe")

    ids = await app.enqueue_many(app.job(lambda: 1), [{}] * 2)
    await app.worker(run_once=True, observe=observe).run()
    assert seen == ["succeed", "succeed"]
    assert [await status(app, job_id) for job_id in ids] == ["done", "done"]


# -- fences


async def test_an_outcome_of_a_lost_claim_is_dropped_and_logged(app, caplog):
    """Another worker owns the job by now; the row is as that one left it."""

    @app.job
    async def work():
        job = app.backend.list_jobs()[0]
        lost = app.backend.list_workers()[0].id
        claim = next(iter(app.backend.orphans(dead_after=-60, limit=1)))
        assert claim.worker_id == lost
        app.backend.apply([transitions.rescue(claim, max_crashes=9)])
        app.backend.claim(ClaimRequest(worker_id="another", limit=1))
        return job.id

    job_id = await app.enqueue(work)
    with caplog.at_level(logging.WARNING, "soniq.worker"):
        await app.run_worker(run_once=True)
    job = await app.get_job(job_id)
    assert (job["status"], job["worker_id"], job["result"], job["attempts"]) == (
        "processing",
        "another",
        None,
        2,
    )
    assert "dropped" in caplog.text


async def test_an_outcome_of_a_deleted_job_is_dropped(any_app):
    """A job may delete its own row."""

    @any_app.job
    async def work():
        [job] = await any_app.list_jobs()
        assert await any_app.delete_job(job["id"])

    job_id = await any_app.enqueue(work)
    assert await any_app.run_worker(run_once=True) is True
    assert await any_app.get_job(job_id) is None
    assert await any_app.dead_letter.list_dead_letter_jobs() == []


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"queues": []}, {"queues": ["a b"]}])
async def test_run_worker_refuses_what_cannot_work(app, options):
    """Before it registers."""
    with pytest.raises(ConfigurationError):
        await app.run_worker(run_once=True, **options)
    assert app.backend.list_workers() == []
