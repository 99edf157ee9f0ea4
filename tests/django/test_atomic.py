"""Atomic jobs: effects and outcome commit together, or neither does."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, connections, transaction

import soniq
from soniq import Snooze, Soniq, transitions
from soniq_django.testing import drain_jobs, simulate_crash
from tests.shop.models import Note
from tests.yard.jobs import noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(params=["sync", "async"])
def declare(request, app: Soniq):
    """Make an atomic job of a plain function, in each form; the async one calls it as the ORM is called."""

    def declared(fn, **options):
        async def handler():
            return await sync_to_async(fn)()

        return app.job(**{"name": "work", "max_retries": 0, "atomic": True, "retry_delay": 0, **options})(
            handler if request.param == "async" else fn
        )

    return declared


def write(alias: str, text: str = "effect") -> None:
    Note.objects.using(alias).create(text=text)


async def notes(alias: str) -> list[str]:
    return sorted([note.text async for note in Note.objects.using(alias)])


async def attempted(app: Soniq, job) -> dict:
    """Enqueue and attempt once; the job as it is then, or its dead letter."""
    job_id = await app.enqueue(job)
    assert await app.run_worker(run_once=True) is True
    found = await app.get_job(job_id) or await app.dead_letter.get_dead_letter_job(job_id)
    return found if isinstance(found, dict) else found.to_dict()


def elsewhere(call):
    """Run on a thread, and so with connections, of its own."""
    answers = []

    def run():
        try:
            answers.append(call())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


async def test_effect_and_outcome_are_there_together(app: Soniq, alias: str, declare) -> None:
    """While the handler runs it is in a transaction; after it, both are committed."""
    seen = []

    def work():
        write(alias)
        seen.append(connections[alias].in_atomic_block)
        return {"n": 1}

    job = await attempted(app, declare(work))

    assert (job["status"], job["result"], job["attempts"]) == ("done", {"n": 1}, 1)
    assert seen == [True]
    assert await notes(alias) == ["effect"]


async def test_what_a_failed_handler_wrote_is_gone(app: Soniq, alias: str, declare) -> None:
    """The failure is recorded as any other."""

    def work():
        write(alias)
        raise ValueError("broken")

    letter = await attempted(app, declare(work))

    assert letter["dead_letter_reason"] == "max_retries_exceeded"
    assert "ValueError: broken" in letter["last_error"]
    assert await notes(alias) == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_leaving_by_an_exit_rolls_back(app: Soniq, alias: str, kind) -> None:
    """No exception commits."""

    @app.job(atomic=True, max_retries=0)
    def work() -> None:
        write(alias)
        raise kind

    letter = await attempted(app, work)

    assert letter["dead_letter_reason"] == "max_retries_exceeded"
    assert await notes(alias) == []


async def test_a_lost_claim_takes_the_effect_along(app: Soniq, alias: str, declare, caplog) -> None:
    """The job was rescued while it ran: nothing of this run is seen; the next one leaves its effect once."""
    only_writer = connections[alias].vendor == "sqlite"  # which is the job's own transaction
    runs = []

    def rescue():
        [claim] = app.backend.orphans(dead_after=-1000, limit=1)
        assert app.backend.apply([transitions.rescue(claim, max_crashes=5)]) == [True]

    def work():
        runs.append(1)
        write(alias, f"run {len(runs)}")
        if len(runs) == 1:
            rescue() if only_writer else elsewhere(rescue)

    job_id = await app.enqueue(declare(work, max_retries=3))
    await app.run_worker(run_once=True)

    assert "no longer belongs to this worker" in caplog.text
    assert await notes(alias) == []
    if not only_writer:  # there, the rescue was rolled back as well
        await app.run_worker(run_once=True)
        assert await notes(alias) == ["run 2"]
        assert (await app.get_job(job_id))["attempts"] == 2


async def test_a_snooze_commits_what_the_handler_wrote(app: Soniq, alias: str, declare) -> None:
    """It returned: its effects and its wish are written together."""

    def work():
        write(alias)
        return Snooze(3600, reason="later")

    job = await attempted(app, declare(work))

    assert (job["status"], job["attempts"], job["last_error"]) == ("queued", 0, "later")
    assert await notes(alias) == ["effect"]


async def test_a_timeout_rolls_back(app: Soniq, alias: str) -> None:
    """An async job that waits too long leaves nothing."""

    @app.job(atomic=True, max_retries=0, timeout=0.05)
    async def work() -> None:
        await Note.objects.using(alias).acreate(text="effect")
        await asyncio.sleep(60)

    letter = await attempted(app, work)

    assert letter["dead_letter_reason"] == "timeout"
    assert await notes(alias) == []


async def test_a_sync_job_that_overran_cannot_commit_late(app: Soniq, alias: str) -> None:
    """Its thread goes on, meets its guard, and rolls back."""
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has one writer, so nobody can record the timeout before the thread has ended")
    go, ended = threading.Event(), threading.Event()

    @app.job(atomic=True, max_retries=0, timeout=0.1)
    def work() -> None:
        write(alias)
        transaction.on_commit(ended.set, using=alias)
        go.wait(30)

    letter = await attempted(app, work)
    go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("soniq-slot"):
            await asyncio.to_thread(thread.join, 10)

    assert letter["dead_letter_reason"] == "timeout"
    assert not ended.is_set()
    assert await notes(alias) == []


async def test_an_interrupted_job_is_given_back_without_effect(app: Soniq, alias: str) -> None:
    """The worker stops at once; the attempt does not count."""
    started = asyncio.Event()

    @app.job(atomic=True, max_retries=0)
    async def work() -> None:
        await Note.objects.using(alias).acreate(text="effect")
        started.set()
        await asyncio.sleep(60)

    job_id = await app.enqueue(work)
    worker = app.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(started.wait(), 10)
    worker.stop()
    worker.stop()
    await running

    job = await app.get_job(job_id)
    assert (job["status"], job["attempts"]) == ("queued", 0)
    assert await notes(alias) == []


@pytest.mark.parametrize(
    ("leave", "told"),
    [
        ("a block", "left a transaction.atomic() block open"),
        ("a rollback", "marked its transaction for rollback"),
        ("a closed connection", "closed the connection"),
        ("another connection", "closed the connection"),
        ("a hidden error", ""),
    ],
)
async def test_what_cannot_be_committed_as_a_whole_is_a_failure(
    app: Soniq, alias: str, leave: str, told: str
) -> None:
    """Rolled back as a whole, told, and the next job starts clean."""

    @app.job(atomic=True, max_retries=0)
    def work() -> None:
        write(alias)
        if leave == "a block":
            transaction.atomic(using=alias).__enter__()
            write(alias, "inner")
        elif leave == "a rollback":
            transaction.set_rollback(True, using=alias)
        elif leave == "a closed connection":
            connections[alias].close()
        elif leave == "another connection":
            kept.append(connections[alias])
            del connections[alias]
        else:
            with pytest.raises(Exception, match=""), connections[alias].cursor() as cursor:
                cursor.execute("SELECT no_such_column FROM no_such_table")
            if connections[alias].vendor != "postgresql":  # others go on after an error
                raise ValueError

    kept: list = []
    letter = await attempted(app, work)
    again = await attempted(app, app.job(name="after", atomic=True)(lambda: write(alias, "after")))

    assert letter["dead_letter_reason"] == "max_retries_exceeded"
    assert told in letter["last_error"]
    assert again["status"] == "done"
    assert await notes(alias) == ["after"]


async def test_inner_blocks_and_savepoints_are_the_handlers_own(app: Soniq, alias: str, declare) -> None:
    """What it rolls back itself is gone, the rest commits."""

    def work():
        write(alias, "kept")
        with pytest.raises(ValueError), transaction.atomic(using=alias):
            write(alias, "undone")
            raise ValueError
        with transaction.atomic(using=alias):
            write(alias, "inner")
        # Django 6.1 gave it another name.
        getattr(transaction, "savepoint_create", transaction.savepoint)(using=alias)

    assert (await attempted(app, declare(work)))["status"] == "done"
    assert await notes(alias) == ["inner", "kept"]


async def test_callbacks_run_after_the_commit_that_made_the_job_done(app: Soniq, alias: str, declare) -> None:
    """They see the effect and the outcome from another session; after a failure there are none."""
    seen = []

    def work():
        write(alias)
        transaction.on_commit(lambda: seen.append(elsewhere(look)), using=alias)

    def look():
        return Note.objects.using(alias).count(), app.backend.queue_stats()["done"]

    await attempted(app, declare(work))

    assert seen == [(1, 1)]


async def test_a_callback_that_fails_does_not_undo_the_job(app: Soniq, alias: str, declare, caplog) -> None:
    """It is logged: the commit has been."""

    def work():
        write(alias)
        transaction.on_commit(lambda: 1 / 0, using=alias)

    job = await attempted(app, declare(work))

    assert job["status"] == "done"
    assert await notes(alias) == ["effect"]
    assert "a callback of on_commit() failed" in caplog.text


async def test_jobs_enqueued_inside_belong_to_the_same_transaction(app: Soniq, alias: str, declare) -> None:
    """They are there once it is done, and never were if it failed."""
    fails = [True, False]

    def work():
        noop.enqueue()
        if fails.pop(0):
            raise ValueError("broken")

    job_id = await app.enqueue(declare(work, max_retries=1))
    await app.run_worker(run_once=True)
    assert (await app.get_queue_stats())["total"] == 1
    await app.run_worker(run_once=True)

    assert (await app.get_job(job_id))["attempts"] == 2
    assert (await app.get_queue_stats())["done"] == 2


async def test_hooks_are_outside_of_the_transaction(app: Soniq, alias: str, declare) -> None:
    """What they write stays whatever becomes of the handler; after_job sees what is committed."""
    states = []

    @app.before_job
    def before(*args):
        states.append(connections[alias].in_atomic_block)
        write(alias, "before")

    @app.after_job
    def after(*args):
        states.append(connections[alias].in_atomic_block)

    @app.on_error
    def on_error(*args):
        states.append(connections[alias].in_atomic_block)

    def work():
        write(alias)
        raise ValueError

    await attempted(app, declare(work))
    assert states == [False, False]
    assert await notes(alias) == ["before"]

    await attempted(app, app.job(name="well", atomic=True)(lambda: None))
    assert states == [False] * 4


async def test_a_middleware_that_fails_rolls_the_handler_back(app: Soniq, alias: str) -> None:
    """It is a part of the attempt."""

    @app.middleware
    async def refuse(ctx, call_next):
        await call_next()
        raise ValueError("refused")

    @app.job(atomic=True, max_retries=0)
    def work() -> None:
        write(alias)

    await attempted(app, work)

    assert await notes(alias) == []


async def test_middleware_and_handler_share_the_transaction(app: Soniq, alias: str) -> None:
    """What a middleware writes commits with the rest."""

    @app.middleware
    async def note(ctx, call_next):
        await Note.objects.using(alias).acreate(text="middleware")
        assert await sync_to_async(lambda: connections[alias].in_atomic_block)()
        return await call_next()

    @app.job(atomic=True)
    def work() -> str:
        assert Note.objects.using(alias).count() == 1
        write(alias)
        return "done"

    assert (await attempted(app, work))["result"] == "done"
    assert await notes(alias) == ["effect", "middleware"]


class Losing:
    """Stands for a connection that breaks at the commit: before the server has it, or after."""

    def __init__(self, connection, *, too_late: bool) -> None:
        self.connection = connection
        self.commit = connection._commit
        self.too_late = too_late

    def __call__(self) -> None:
        del self.connection._commit
        if self.too_late:
            self.commit()
        self.connection.connection.close()
        raise OperationalError("the answer was lost")


@pytest.mark.parametrize("too_late", [True, False], ids=["commit went through", "commit did not"])
async def test_an_answer_lost_at_the_commit_neither_doubles_nor_loses(
    app: Soniq, alias: str, declare, too_late: bool
) -> None:
    """Nobody knows what became of it but the guard."""
    runs = []

    def work():
        runs.append(1)
        write(alias)
        if len(runs) == 1:
            connections[alias]._commit = Losing(connections[alias], too_late=too_late)

    job_id = await app.enqueue(declare(work, max_retries=3))
    await app.run_worker(run_once=True)
    await app.run_worker(run_once=True)

    job = await app.get_job(job_id)
    assert (job["status"], len(runs)) == ("done", 1 if too_late else 2)
    assert await notes(alias) == ["effect"]


async def test_two_atomic_jobs_at_a_time_have_a_transaction_each(app: Soniq, alias: str) -> None:
    """One that fails takes nothing of the other along."""
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has one writer")
    both = asyncio.Barrier(2)

    @app.job(atomic=True, max_retries=0)
    async def work(text: str) -> None:
        await Note.objects.using(alias).acreate(text=text)
        await both.wait()
        if text == "fails":
            raise ValueError

    await app.enqueue_many(work, [{"text": "stays"}, {"text": "fails"}])
    await app.run_worker(run_once=True, concurrency=2)

    assert await notes(alias) == ["stays"]


async def test_the_outcome_is_logged_and_measured_once(alias: str, app: Soniq, caplog) -> None:
    """By the recorder, which does not write it again."""
    told = []

    class Sink:
        def record_job_start(self, **fact):
            told.append("start")

        def record_job_end(self, **fact):
            told.append(fact["status"])

    measured = Soniq(backend=app.backend, environment=app._environment, metrics_sink=Sink())

    @measured.job(atomic=True, name="work")
    def work() -> None:
        write(alias)

    with caplog.at_level(logging.INFO, "soniq.worker"):
        await measured.enqueue(work)
        await measured.run_worker(run_once=True)

    assert told == ["start", "succeed"]
    assert [r.message.split()[:2] for r in caplog.records if "work" in r.message] == [["done", "work"]]


# -- where the jobs are not in a database


@pytest.mark.django_db(transaction=False)
def test_an_atomic_job_can_be_tested_from_memory(soniq_app, run_jobs) -> None:
    """Its handler runs in transaction.atomic(), within the test's own, and rolls back when it raises."""
    fails = [True, False]

    @soniq_app.job(atomic=True, max_retries=1, retry_delay=0)
    def work() -> None:
        Note.objects.create(text="effect")
        if fails.pop(0):
            raise ValueError

    @soniq_app.job(atomic=True)
    async def awork() -> None:
        await Note.objects.acreate(text="async")

    work.enqueue()
    run_jobs()
    assert not Note.objects.exists()
    run_jobs()
    awork.enqueue()
    run_jobs()

    assert sorted(Note.objects.values_list("text", flat=True)) == ["async", "effect"]
    assert connection.in_atomic_block


@pytest.mark.django_db(transaction=False)
def test_an_atomic_job_can_be_drained_within_a_test() -> None:
    """On the test's own connection: its outcome is written once, with its effect; a failure undoes it."""
    fails = [True, False]

    @soniq.job(name="test_atomic.drained", atomic=True, max_retries=1, retry_delay=0)
    def work() -> None:
        Note.objects.create(text="effect")
        if fails.pop(0):
            raise ValueError

    work.enqueue()
    summary = drain_jobs()

    assert (summary.retried, summary.succeeded, summary.dead_lettered) == (1, 1, 0)
    assert [note.text for note in Note.objects.all()] == ["effect"]


@pytest.mark.django_db(transaction=False)
def test_a_simulated_crash_after_an_atomic_job_doubles_nothing() -> None:
    """There is no moment between its effect and its outcome; a crash before them leaves neither."""

    @soniq.job(name="test_atomic.crashed", atomic=True)
    def work() -> None:
        Note.objects.create(text="effect")

    for ran in (True, False):
        work.enqueue()
        with simulate_crash(work, attempts=1, ran=ran):
            summary = drain_jobs()
        assert summary.succeeded == 1

    assert Note.objects.count() == 2
