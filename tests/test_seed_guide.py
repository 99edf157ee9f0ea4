"""The testing guide that Soniq was founded on: each of its statements, and each of its code blocks.

The headings name the guide's own sections.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sqlite3
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cronsim
import pytest

import soniq.testing
from soniq import JobContext, Soniq
from soniq.errors import AppClosed
from soniq.testing import MemoryBackend, make_app, wait_until
from tests.support.docs import ROOT


@pytest.fixture
async def eq():
    """The guide's reusable fixture, as it stands there."""
    app = make_app()
    yield app
    await app._reset()
    await app.close()


@pytest.fixture
async def sqlite_eq(tmp_path):
    """The guide's fixture for SQLite, as it stands there."""
    db_path = str(tmp_path / "test.db")
    app = Soniq(backend="sqlite", database_url=db_path)
    yield app
    await app.close()


@pytest.fixture(params=["eq", "sqlite_eq"], ids=["memory", "sqlite"])
def either(request):
    """One after the other, the app of each of the two fixtures."""
    return request.getfixturevalue(request.param)


def printed_by(program, *options):
    """What ``program`` prints in a Python of its own."""
    command = [sys.executable, *options, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


# -- The soniq.testing package


def test_the_package_offers_the_three_names_of_the_guide():
    """MemoryBackend, make_app and wait_until are importable, and advertised."""
    assert {"MemoryBackend", "make_app", "wait_until"} <= set(soniq.testing.__all__)


def test_production_code_never_imports_the_testing_package():
    """Importing all modules of soniq except soniq.testing itself does not import it."""
    program = """
import importlib, sys
from pathlib import Path
for path in sorted(Path("soniq").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if not name.startswith("soniq.testing"):
        importlib.import_module(name)
assert "soniq.backends.sqlite.store" in sys.modules
print(sorted(name for name in sys.modules if name.startswith("soniq.testing")))
"""
    assert printed_by(program) == "[]"


def test_the_django_app_never_imports_the_testing_package():
    """Neither does a Django project with its worker command, outside the modules made for tests."""
    program = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "soniq_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()
import soniq_django.management.commands.soniq_worker
print(sorted(name for name in sys.modules if name.startswith("soniq.testing")))
"""
    assert printed_by(program) == "[]"


def test_make_app_is_a_soniq_on_a_memory_backend():
    """make_app() wires a Soniq against MemoryBackend."""
    app = make_app()
    assert type(app) is Soniq
    assert type(app.backend) is MemoryBackend


def test_make_app_equals_soniq_with_backend_memory():
    """make_app(**overrides) is Soniq(backend="memory", **overrides)."""
    overrides = {"concurrency": 2, "max_retries": 7, "result_ttl": 5}
    made, written_out = make_app(**overrides), Soniq(backend="memory", **overrides)
    assert made.settings == written_out.settings
    assert made.settings.max_retries == 7
    assert type(made.backend) is type(written_out.backend)


def test_make_app_refuses_what_soniq_refuses():
    """An unknown override is not swallowed."""
    with pytest.raises(soniq.ConfigurationError, match="max_retries"):
        make_app(max_retrys=1)


def test_an_instance_of_the_memory_backend_will_do_as_well():
    """The class is given to Soniq(backend=...) like any store."""
    backend = MemoryBackend()
    assert Soniq(backend=backend).backend is backend


def test_the_signature_of_wait_until_is_the_guides():
    """The names, the kinds and the defaults."""
    signature = inspect.signature(wait_until)
    assert [(p.name, p.kind.name, p.default) for p in signature.parameters.values()] == [
        ("predicate", "POSITIONAL_OR_KEYWORD", inspect.Parameter.empty),
        ("timeout", "KEYWORD_ONLY", 2.0),
        ("poll", "KEYWORD_ONLY", 0.01),
        ("message", "KEYWORD_ONLY", None),
    ]


def counting(true_at):
    """A predicate that is true from its ``true_at``-th question on, and its questions."""
    asked = []

    def predicate():
        asked.append(asyncio.get_running_loop().time())
        return len(asked) >= true_at

    return predicate, asked


def as_async(predicate):
    async def asked():
        await asyncio.sleep(0)
        return predicate()

    return asked


@pytest.mark.parametrize("form", [lambda p: p, as_async], ids=["sync", "async"])
async def test_wait_until_polls_until_the_predicate_is_true(form):
    """A sync and an async predicate are asked again until they hold."""
    predicate, asked = counting(true_at=3)
    await wait_until(form(predicate), poll=0.001)
    assert len(asked) == 3


@pytest.mark.parametrize("form", [lambda p: p, as_async], ids=["sync", "async"])
async def test_wait_until_raises_assertion_error_on_timeout(form):
    """After the deadline, and not before it."""
    predicate, asked = counting(true_at=10**9)
    started = asyncio.get_running_loop().time()
    with pytest.raises(AssertionError) as failure:
        await wait_until(form(predicate), timeout=0.05, poll=0.01)
    assert type(failure.value) is AssertionError
    assert asyncio.get_running_loop().time() - started >= 0.05
    assert asked[-1] - started >= 0.04


async def test_the_message_is_that_of_the_error():
    """What was given as message is what the test report shows."""
    with pytest.raises(AssertionError, match=r"^job did not complete within 2s$"):
        await wait_until(lambda: False, timeout=0, message="job did not complete within 2s")


async def test_without_a_message_the_error_names_predicate_and_timeout():
    """The report says what was waited for."""

    def flag_is_up():
        return False

    with pytest.raises(AssertionError, match=r"flag_is_up was not true within 0\.01 s"):
        await wait_until(flag_is_up, timeout=0.01)


async def test_poll_is_the_time_between_two_questions():
    """A predicate is not asked more often than that."""
    predicate, asked = counting(true_at=3)
    await wait_until(predicate, poll=0.02)
    assert all(later - earlier >= 0.019 for earlier, later in itertools.pairwise(asked))


async def test_a_true_predicate_is_enough_even_without_time():
    """It is asked at least once."""
    await wait_until(lambda: [1], timeout=0)


async def test_an_async_predicate_that_hangs_does_not_outlast_the_deadline():
    """The deadline holds for the predicate, too."""

    async def hangs():
        await asyncio.Event().wait()

    with pytest.raises(AssertionError):
        await wait_until(hangs, timeout=0.02)


async def test_what_a_predicate_raises_reaches_the_test():
    """A broken predicate is not a false one."""

    def broken():
        raise KeyError("no such job")

    with pytest.raises(KeyError, match="no such job"):
        await wait_until(broken)


# -- Memory backend for unit tests


async def test_state_lives_in_the_app_and_needs_no_setup():
    """Neither a service nor a call comes before the first job."""
    app = make_app()

    @app.job()
    async def noop():
        pass

    await app.enqueue(noop)
    assert (await app.get_queue_stats())["queued"] == 1


# -- Pytest fixture


async def test_every_test_gets_its_own_queue(eq):
    """Two apps share neither jobs nor rows."""
    other = make_app()

    @eq.job(name="mine")
    async def mine():
        pass

    await eq.enqueue(mine)
    assert (await other.get_queue_stats())["total"] == 0
    with pytest.raises(soniq.UnknownTask):
        await other.enqueue("mine")
    assert await other.run_worker(run_once=True) is False


async def test_hooks_of_one_app_are_not_those_of_another(eq):
    """A hook is called for the jobs of its app only."""
    other, seen = make_app(), []
    other.before_job(lambda *args: seen.append(args))

    @eq.job()
    async def noop():
        pass

    await eq.enqueue(noop)
    await eq.run_worker(run_once=True)
    assert seen == []


@pytest.mark.parametrize("number", [1, 2])
async def test_the_fixture_leaves_nothing_to_the_next_test(eq, number):
    """The same name registers again, and the queue is empty again."""

    @eq.job(name="again")
    async def again():
        pass

    await eq.enqueue(again)
    assert (await eq.get_queue_stats())["total"] == 1


async def test_close_after_reset_ends_the_use_of_the_app():
    """The fixture's last two lines work, and an app that is used afterwards says so."""
    app = make_app()
    await app._reset()
    await app.close()
    with pytest.raises(AppClosed):
        await app.get_queue_stats()


# -- Async waits without fixed sleeps


async def test_worker_beside_the_test_completes_the_job(either):
    """The guide's example: the worker is a task, the test waits for the status."""

    @either.job()
    async def do_thing():
        return "done"

    job_id = await either.enqueue(do_thing)
    worker = asyncio.create_task(either.run_worker(run_once=True))

    async def is_done():
        job = await either.get_job(job_id)
        return job and job["status"] == "done"

    await wait_until(is_done, timeout=2.0, message="job did not complete within 2s")
    assert await worker is True


# -- Testing job logic directly


async def test_an_async_job_can_be_awaited_directly(eq):
    """No queue is involved."""

    @eq.job(queue="emails")
    async def send_welcome(to: str):
        return f"sent to {to}"

    assert await send_welcome("alice@example.com") == "sent to alice@example.com"
    assert await send_welcome(to="bob@example.com") == "sent to bob@example.com"
    assert (await eq.get_queue_stats())["total"] == 0


async def test_a_sync_job_can_be_called_directly(eq):
    """It answers at once, and its exceptions are the caller's."""

    @eq.job(queue="emails")
    def halve(number: int):
        if number % 2:
            raise ValueError("odd")
        return number // 2

    assert halve(8) == 4
    with pytest.raises(ValueError, match="odd"):
        halve(7)
    assert (await eq.get_queue_stats())["total"] == 0


# -- Enqueue + process round-trips


async def test_round_trip(either):
    """enqueue, then run_worker(run_once=True): the job ran with its arguments."""
    results = []

    @either.job(queue="default")
    async def track_call(value: str):
        results.append(value)

    await either.enqueue(track_call, value="hello")
    await either.run_worker(run_once=True)

    assert results == ["hello"]


async def test_run_once_processes_all_available_jobs_and_returns(either):
    """Sync and async jobs of all queues; the second call finds nothing."""
    results = []

    @either.job(queue="emails")
    async def first(value):
        results.append(value)

    @either.job(queue="reports")
    def second(value):
        results.append(value)

    for value in range(5):
        await either.enqueue(first, value=value)
        await either.enqueue(second, value=value + 100)
    assert await either.run_worker(run_once=True) is True
    assert sorted(results) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    assert await either.run_worker(run_once=True) is False


async def test_run_once_returns_at_once_from_an_empty_queue(either):
    """It does not poll."""
    async with asyncio.timeout(1):
        assert await either.run_worker(run_once=True) is False


async def test_run_once_leaves_jobs_that_are_not_due(either):
    """Available means due."""

    @either.job()
    async def noop():
        pass

    job_id = await either.enqueue(noop, scheduled_at=3600)
    await either.run_worker(run_once=True)
    assert (await either.get_job(job_id))["status"] == "queued"


# -- Checking job status


async def test_a_job_that_no_worker_took_is_queued(either):
    """get_job gives a mapping with its status."""

    @either.job()
    async def noop():
        pass

    job_id = await either.enqueue(noop)
    job = await either.get_job(job_id)
    assert job["status"] == "queued"


# -- Testing retries


async def test_each_run_once_is_one_attempt(either):
    """With max_retries=2 and no delay: three calls, three attempts, and the third succeeds."""
    attempts = []

    @either.job(max_retries=2, retry_delay=0)
    async def flaky_job():
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("not yet")

    job_id = await either.enqueue(flaky_job)
    for count, status in [(1, "queued"), (2, "queued"), (3, "done")]:
        await either.run_worker(run_once=True)
        assert len(attempts) == count
        assert (await either.get_job(job_id))["status"] == status


# -- Testing failed jobs


async def test_an_exhausted_job_is_a_dead_letter_and_no_job(either):
    """It is in the dead-letter table under its id, not among the jobs."""

    @either.job(max_retries=0)
    async def always_fails():
        raise ValueError("boom")

    job_id = await either.enqueue(always_fails)
    await either.run_worker(run_once=True)

    dead = await either.dead_letter.list_dead_letter_jobs()
    assert len(dead) == 1
    assert dead[0].id == job_id
    assert "boom" in dead[0].last_error
    assert await either.get_job(job_id) is None
    assert await either.list_jobs() == []


async def test_the_two_tables_are_two_tables(sqlite_eq, tmp_path):
    """In SQL: the row left soniq_jobs."""

    @sqlite_eq.job(max_retries=0)
    async def always_fails():
        raise ValueError("boom")

    await sqlite_eq.enqueue(always_fails)
    await sqlite_eq.run_worker(run_once=True)

    connection = sqlite3.connect(tmp_path / "test.db")
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("soniq_jobs", "soniq_dead_letter_jobs")
    ]
    connection.close()
    assert counts == [0, 1]


# -- Resetting state between tests


async def test_reset_wipes_jobs_dead_letters_and_workers(either):
    """And keeps the registrations and the connection: the next job runs."""
    ran, hooked = [], []
    either.before_job(lambda *args: hooked.append(args))

    @either.job(name="works")
    async def works():
        ran.append(1)

    @either.job(max_retries=0)
    async def fails():
        raise ValueError("boom")

    await either.enqueue(works)
    await either.enqueue(fails)
    await either.run_worker(run_once=True)
    await either.enqueue(works)
    either.backend.register(either.worker().info)

    await either._reset()

    assert set((await either.get_queue_stats()).values()) == {0}
    assert await either.dead_letter.list_dead_letter_jobs() == []
    assert either.backend.list_workers() == []
    ran.clear()
    hooked.clear()
    await either.enqueue("works")
    await either.run_worker(run_once=True)
    assert ran == [1]
    assert len(hooked) == 1


# -- SQLite for integration tests


async def test_sqlite_is_a_file_with_real_sql(sqlite_eq, tmp_path):
    """Constraints hold: the same id is not stored twice."""

    @sqlite_eq.job()
    async def noop():
        pass

    await sqlite_eq.enqueue(noop)
    connection = sqlite3.connect(tmp_path / "test.db")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(soniq_jobs)")]
    every = ", ".join(columns)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"INSERT INTO soniq_jobs ({every}) SELECT {every} FROM soniq_jobs")
    connection.close()


def test_sqlite_needs_no_extra():
    """The store imports the standard library only, the core cronsim, and no extra is named for it."""
    assert "sqlite" not in (metadata.metadata("soniq-django").get_all("Provides-Extra") or [])
    packages = str(Path(cronsim.__file__).parents[1])
    program = f"""
import sys
sys.path.append({packages!r})
from soniq import Soniq
Soniq(backend="sqlite", database_url="never-made.db")
ours = {{"soniq"}} | set(sys.stdlib_module_names) | set(sys.builtin_module_names)
print(sorted({{name.partition(".")[0] for name in sys.modules if not name.startswith("_")}} - ours))
"""
    assert printed_by(program, "-S") == "['cronsim']"


async def test_a_second_app_on_the_file_sees_the_jobs(sqlite_eq, tmp_path):
    """They are in the file, not in the process."""

    @sqlite_eq.job(name="kept")
    async def kept():
        pass

    job_id = await sqlite_eq.enqueue(kept)
    async with Soniq(backend="sqlite", database_url=str(tmp_path / "test.db")) as other:
        assert (await other.get_job(job_id))["job_name"] == "kept"


# -- Tips


async def test_the_context_is_injected_whatever_the_parameter_is_called(either):
    """By its annotation, JobContext; the caller never passes it."""
    seen = []

    @either.job(queue="emails", max_retries=4)
    async def with_ctx(to: str, ctx: JobContext):
        seen.append((to, ctx))

    @either.job()
    def with_another_name(me: JobContext, to: str):
        seen.append((to, me))

    job_id = await either.enqueue(with_ctx, to="alice")
    other_id = await either.enqueue(with_another_name, to="bob")
    await either.run_worker(run_once=True)

    [(to, ctx), (other_to, other_ctx)] = seen
    assert (to, other_to) == ("alice", "bob")
    assert (ctx.job_id, other_ctx.job_id) == (job_id, other_id)
    assert (ctx.attempt, ctx.max_attempts, ctx.queue) == (1, 5, "emails")
    assert ctx.job_name.endswith("with_ctx")
    assert ctx.worker_id
    assert ctx.scheduled_at.tzinfo is not None
    assert ctx.created_at.tzinfo is not None


def recorder(seen, label, form):
    """A hook that notes its label and arguments."""
    if form == "sync":
        return lambda *args: seen.append((label, *args))

    async def hook(*args):
        await asyncio.sleep(0)
        seen.append((label, *args))

    return hook


@pytest.mark.parametrize("handler", ["sync", "async"])
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_hooks_are_called_with_the_jobs_facts_in_order(eq, form, handler):
    """before_job, after_job and on_error: expected arguments, registration order."""
    seen = []
    for label in ("one", "two"):
        eq.before_job(recorder(seen, f"before {label}", form))
        eq.after_job(recorder(seen, f"after {label}", form))
        eq.on_error(recorder(seen, f"error {label}", form))
    boom = ValueError("boom")

    def fail(broken):
        if broken:
            raise boom

    async def afail(broken):
        fail(broken)

    job = eq.job(name="work", max_retries=1)(fail if handler == "sync" else afail)

    good = await eq.enqueue(job, broken=False)
    await eq.run_worker(run_once=True)
    assert [call[:3] for call in seen] == [
        ("before one", "work", good),
        ("before two", "work", good),
        ("after one", "work", good),
        ("after two", "work", good),
    ]
    assert [call[3] for call in seen[:2]] == [1, 1]
    assert all(isinstance(call[3], float) and call[3] >= 0 for call in seen[2:])

    seen.clear()
    bad = await eq.enqueue(job, broken=True)
    await eq.run_worker(run_once=True)
    await eq.run_worker(run_once=True)
    assert seen == [
        (f"{what} {label}", "work", bad, *rest)
        for attempt in (1, 2)
        for what, rest in (("before", (attempt,)), ("error", (boom, attempt)))
        for label in ("one", "two")
    ]


async def test_hooks_can_be_registered_with_the_decorators(eq):
    """@eq.before_job, @eq.after_job and @eq.on_error give the function back."""
    seen = []

    @eq.before_job
    def before(job_name, job_id, attempt):
        seen.append("before")

    @eq.after_job
    async def after(job_name, job_id, duration_ms):
        seen.append("after")

    @eq.on_error
    def error(job_name, job_id, error, attempt):
        seen.append("error")

    @eq.job()
    async def noop():
        pass

    await eq.enqueue(noop)
    await eq.run_worker(run_once=True)
    assert seen == ["before", "after"]
    assert [hook.__name__ for hook in (before, after, error)] == ["before", "after", "error"]
