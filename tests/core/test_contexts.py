"""What surrounds an enqueue surrounds the job: captured, carried, restored around all of its code."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import ContextVar

import pytest

import soniq
from soniq.contexts import MAX_VALUE_BYTES, Contexts, as_text, restored
from soniq.errors import ConfigurationError
from soniq.testing import make_app

tenant = ContextVar("tenant", default=None)
local = threading.local()  # what asgiref's Local and database connections are: of the thread


@contextlib.contextmanager
def in_tenant(value):
    token, before = tenant.set(value), getattr(local, "tenant", None)
    local.tenant = value
    try:
        yield
    finally:
        tenant.reset(token)
        local.tenant = before


@contextlib.contextmanager
def acting_for(value):
    """Within the block, enqueues are made for a tenant."""
    token = tenant.set(value)
    try:
        yield
    finally:
        tenant.reset(token)


@pytest.fixture(autouse=True)
def _forget_tenant():
    local.tenant = None
    yield
    assert (tenant.get(), local.tenant) == (None, None)


def carrying(app):
    app.context("tenant", capture=tenant.get)(in_tenant)
    return app


@pytest.fixture
def app(app):
    return carrying(app)


@pytest.fixture
def any_app(any_app):
    return carrying(any_app)


def seen():
    return [tenant.get(), getattr(local, "tenant", None)]


async def context_of(app, job_id):
    return (await app.get_job(job_id))["context"]


# -- carried


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_job_runs_in_the_context_of_its_enqueue(any_app, kind, middleware):
    """On its thread or in its task; the next job, which has none, sees nothing of it."""
    if middleware:

        @any_app.middleware
        async def transparent(ctx, call_next):
            return await call_next()

    @any_app.job(name="sync")
    def on_thread():
        return seen()

    @any_app.job(name="async")
    async def in_loop():
        await asyncio.sleep(0)
        return seen()

    with acting_for("acme"):
        first = await any_app.enqueue(kind)
    second = await any_app.enqueue(kind)
    with acting_for({"id": 5}):
        third = await any_app.enqueue(kind)
    await any_app.run_worker(run_once=True)

    assert await any_app.get_result(first) == ["acme", "acme"]
    assert await any_app.get_result(second) == [None, None]
    assert await any_app.get_result(third) == [{"id": 5}, {"id": 5}]
    assert await context_of(any_app, first) == {"tenant": "acme"}
    assert await context_of(any_app, second) is None


async def test_async_jobs_that_run_at_once_have_each_their_own_context(app):
    """Contexts of tasks do not mix, though they share a thread."""
    together = asyncio.Barrier(2)

    @app.job
    async def work():
        await together.wait()
        before = tenant.get()
        await together.wait()
        return [before, tenant.get()]

    ids = []
    for name in ("one", "two"):
        with acting_for(name):
            ids.append(await app.enqueue(work))
    await app.run_worker(run_once=True, concurrency=2)
    assert [await app.get_result(job_id) for job_id in ids] == [["one", "one"], ["two", "two"]]


async def test_many_jobs_are_enqueued_in_one_context(any_app):
    """It is captured once per call, before the generator of the arguments runs."""
    asked = []
    any_app.context("count", capture=lambda: asked.append(1) or len(asked))(contextlib.nullcontext)

    @any_app.job(name="work")
    def work(n: int):
        return seen()

    def arguments():
        tenant.set("changed by the generator")
        yield {"n": 1}
        yield {"n": 2}

    with acting_for("acme"):
        ids = await any_app.enqueue_many(work, arguments())
    tenant.set(None)
    assert [await context_of(any_app, job_id) for job_id in ids] == [{"tenant": "acme", "count": 1}] * 2


async def test_a_job_that_a_job_enqueues_inherits_its_context(app):
    """Naturally: it is enqueued in it."""

    @app.job(name="child")
    def child():
        return seen()

    @app.job(name="parent")
    async def parent():
        return await app.enqueue(child)

    with acting_for("acme"):
        job_id = await app.enqueue(parent)
    await app.run_worker(run_once=True)
    assert await app.get_result(await app.get_result(job_id)) == ["acme", "acme"]


async def test_a_retry_and_a_replay_keep_the_context(any_app):
    """Whoever replays acts for the tenant of the job, not for his own."""
    runs = []

    @any_app.job(name="work", max_retries=1)
    def work():
        runs.append(tenant.get())
        raise ValueError

    with acting_for("acme"):
        job_id = await any_app.enqueue(work)
    for _ in range(2):
        await any_app.run_worker(run_once=True)
    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    assert letter.context == {"tenant": "acme"}
    with acting_for("support"):
        again = await any_app.dead_letter.replay(job_id)
    job = await any_app.get_job(again)
    assert (job["context"], job["failures"]) == ({"tenant": "acme"}, [])
    await any_app.run_worker(run_once=True)
    assert runs == ["acme"] * 3


async def test_hooks_and_middleware_see_the_context(app):
    """Sync or async, before, after and on error, around a job of either kind."""
    told = []

    @app.middleware
    async def around(ctx, call_next):
        told.append(tenant.get())
        return await call_next()

    for register in (app.before_job, app.after_job, app.on_error):
        register(lambda *about: told.append(local.tenant))

        @register
        async def in_loop(*about):
            told.append(tenant.get())

    @app.job(max_retries=0)
    def fails():
        raise ValueError

    @app.job
    async def works():
        pass

    with acting_for("acme"):
        await app.enqueue(fails)
        await app.enqueue(works)
    await app.run_worker(run_once=True)
    assert told == ["acme"] * 10


async def test_on_error_hooks_of_a_job_on_its_thread_see_the_context(app):
    """A reporter of errors wants to know whose job it was."""
    told = []
    app.on_error(lambda *about: told.append(seen()))

    @app.job(max_retries=0)
    def fails():
        raise ValueError

    with acting_for("acme"):
        await app.enqueue(fails)
    await app.run_worker(run_once=True)
    assert told == [["acme", "acme"]]


# -- what does not fit


async def test_a_context_that_is_not_known_here_is_left_out(make, caplog):
    """A worker of another code base runs the job without it."""
    app = carrying(make())
    plain = make(backend=app.backend)

    @plain.job(name="work")
    def work():
        return seen()

    app.job(name="work")(work.fn)
    with acting_for("acme"):
        job_id = await app.enqueue("work")
    await plain.run_worker(run_once=True)
    assert await plain.get_result(job_id) == [None, None]


def refusing(error):
    def capture():
        raise error

    return capture


@pytest.mark.parametrize(
    ("capture", "says"),
    [
        (refusing(LookupError("no request")), "no request"),
        (object, "is of type object, which JSON cannot hold"),
        (lambda: "x" * MAX_VALUE_BYTES, "too large"),
        (lambda: "\ud800", "surrogate"),
    ],
    ids=["raises", "no-json", "too-large", "no-text"],
)
async def test_a_capture_that_fails_is_logged_and_loses_no_job(app, caplog, capture, says):
    """The job is stored with all other contexts."""
    app.context("request", capture=capture)(contextlib.nullcontext)

    @app.job
    def work():
        return seen()

    with acting_for("acme"):
        job_id = await app.enqueue(work)
    await app.run_worker(run_once=True)
    assert await context_of(app, job_id) == {"tenant": "acme"}
    assert await app.get_result(job_id) == ["acme", "acme"]
    [record] = [one for one in caplog.records if one.name == "soniq.context"]
    assert (record.levelname, "'request' could not be captured" in record.message) == ("ERROR", True)
    assert says.replace("too large", "bytes") in str(record.exc_info[1])


@pytest.mark.parametrize("kind", ["sync", "async", "sync with middleware"])
@pytest.mark.parametrize("when", ["called", "entered"])
async def test_a_restore_that_raises_fails_the_attempt(app, when, kind):
    """A job must not run for nobody, or for somebody else; it is retried like any failure."""
    ran, told = [], []
    app.on_error(lambda name, job_id, error, attempt: told.append(repr(error)))
    if "middleware" in kind:

        @app.middleware
        async def transparent(ctx, call_next):
            return await call_next()

    class Refuses(contextlib.AbstractContextManager):
        def __init__(self, value):
            if when == "called":
                raise PermissionError(f"{value} is closed")
            self.value = value

        def __enter__(self):
            raise PermissionError(f"{self.value} is closed")

        def __exit__(self, *raised):
            ran.append("left")

    app.context("owner", capture=lambda: "acme")(Refuses)

    async def in_loop():
        ran.append("ran")

    job = app.job(name="work", max_retries=1)(in_loop if kind == "async" else lambda: ran.append("ran"))
    with acting_for("acme"):
        job_id = await app.enqueue(job)
    await app.run_worker(run_once=True)
    found = await app.get_job(job_id)
    assert (found["status"], found["attempts"]) == ("queued", 1)
    assert "PermissionError: acme is closed" in found["last_error"]
    assert found["failures"][0]["error_class"] == "builtins.PermissionError"
    assert ran == []
    assert told == ["PermissionError('acme is closed')"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_leaving_a_context_changes_no_outcome(app, caplog, kind):
    """What it raises is logged, what it would swallow is not swallowed."""

    class Swallows(contextlib.AbstractContextManager):
        def __init__(self, value):
            pass

        def __exit__(self, *raised):
            return True

    class Breaks(Swallows):
        def __exit__(self, *raised):
            raise RuntimeError("cannot leave")

    app.context("a", capture=lambda: 1)(Swallows)
    app.context("b", capture=lambda: 1)(Breaks)

    def work(fail: bool):
        if fail:
            raise ValueError("boom")
        return "fine"

    async def awork(fail: bool):
        return work(fail)

    job = app.job(name="work")(awork if kind == "async" else work)
    good = await app.enqueue(job, fail=False)
    bad = await app.enqueue(job, fail=True)
    await app.run_worker(run_once=True)
    assert await app.get_result(good) == "fine"
    assert (await app.get_job(bad))["failures"][0]["error_class"] == "builtins.ValueError"
    assert [one.message for one in caplog.records if "could not be left" in one.message] == [
        "the context 'b' could not be left; the job's outcome stands"
    ] * 2


def test_a_context_is_left_with_the_error_of_the_job():
    """So that a span can note it; the last one entered is left first."""
    left = []

    class Notes(contextlib.AbstractContextManager):
        def __init__(self, value):
            self.value = value

        def __exit__(self, kind, error, trace):
            left.append((self.value, kind, str(error), trace is not None))

    contexts = Contexts()
    contexts.context("a", capture=lambda: 1)(Notes)
    contexts.context("b", capture=lambda: 2)(Notes)
    with pytest.raises(ValueError, match="boom"), restored(contexts.kinds(), {"b": 2, "a": 1}):
        raise ValueError("boom")
    assert left == [(2, ValueError, "boom", True), (1, ValueError, "boom", True)]


@pytest.mark.parametrize("stored", [None, {}, [], "text", 5, {"unknown": 1}], ids=repr)
def test_a_stored_context_that_says_nothing_restores_nothing(stored):
    """A row may have been edited by hand."""
    contexts = Contexts()
    contexts.context("a", capture=lambda: 1)(refusing(AssertionError))
    with restored(contexts.kinds(), stored):
        pass
    assert as_text(stored) == ('{"unknown": 1}' if stored == {"unknown": 1} else None)


# -- registering


def test_contexts_of_the_library_come_before_those_of_an_app():
    """In the order in which they were registered, shared ones first."""
    shared = Contexts()
    own = Contexts(shared)
    own.context("z", capture=lambda: 1)(contextlib.nullcontext)
    shared.context("b", capture=lambda: "ü")(contextlib.nullcontext)
    shared.context("a", capture=lambda: None)(contextlib.nullcontext)
    assert [kind.name for kind in own.kinds()] == ["b", "a", "z"]
    assert (own.capture(), shared.capture()) == ('{"b":"ü","z":1}', '{"b":"ü"}')
    assert Contexts().capture() is None


def test_a_name_belongs_to_one_context():
    """Another function is refused; the same one, of a module that was loaded anew, replaces it."""
    contexts = Contexts(Contexts())
    contexts.context("tenant", capture=lambda: 1)(in_tenant)
    contexts.context("tenant", capture=lambda: 2)(in_tenant)
    assert contexts.capture() == '{"tenant":2}'
    with pytest.raises(ConfigurationError, match=r"'tenant' is taken by .*in_tenant"):
        contexts.context("tenant", capture=lambda: 1)(acting_for)
    with pytest.raises(ConfigurationError, match=r"'trace' is taken by soniq\.tracing\.restore"):
        make_app().context("trace", capture=lambda: 1)(acting_for)


@pytest.mark.parametrize("name", ["", "Tenant", "a b", "a\n", 'a"', 5, None, "x" * 64], ids=repr)
def test_a_name_that_is_none_is_refused(name):
    """It becomes a key of the stored context."""
    with pytest.raises(ConfigurationError, match="is no name of a context"):
        soniq.context(name, capture=lambda: 1)


def test_a_capture_that_cannot_be_called_is_refused():
    """When it is registered, not at the first enqueue."""
    with pytest.raises(ConfigurationError, match="capture of the context 'a' is 5: give a function"):
        soniq.context("a", capture=5)


# -- shown


async def test_an_export_masks_the_context(app):
    """By names, and in the text of headers."""
    context = {"api_token": "s3cret", "trace": {"baggage": "user=5,password=s3cret"}, "tenant": "acme"}
    for name, value in context.items():
        if name == "api_token":
            app.context(name, capture=lambda value=value: value)(contextlib.nullcontext)
    app.context("headers", capture=lambda: context["trace"])(contextlib.nullcontext)

    @app.job(max_retries=0)
    def fails():
        raise ValueError("password=s3cret")

    with acting_for("acme"):
        await app.enqueue(fails)
    await app.run_worker(run_once=True)
    for form in ("json", "csv"):
        text = await app.dead_letter.export_dead_letter_jobs(format=form)
        assert "s3cret" not in text
        assert "acme" in text
        assert "user=5" in text


# -- the price
