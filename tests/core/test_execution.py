"""One attempt: whatever a job raises or returns, and whatever surrounds it, there is an outcome."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import threading
from contextlib import contextmanager, nullcontext
from unittest.mock import AsyncMock, Mock

import pytest

from soniq import JobContext, Snooze
from soniq.backends.memory import MemoryBackend
from soniq.environment import Environment
from soniq.testing import wait_until

# Every way in which a handler can be run: in a thread, in the loop, in a thread for the loop.
FORMS = ["sync", "async", "sync with middleware", "async with middleware"]


@pytest.fixture(params=FORMS)
def declare(request, app):
    """Make a job of a plain function, in each of the forms."""
    if "middleware" in request.param:

        @app.middleware
        async def transparent(ctx, call_next):
            return await call_next()

    def declared(fn=None, **options):
        if fn is None:
            return functools.partial(declared, **options)

        @functools.wraps(fn)
        async def as_async(*args, **kwargs):
            return fn(*args, **kwargs)

        handler = as_async if request.param.startswith("async") else fn
        return app.job(**{"name": "work", "max_retries": 1, **options})(handler)

    return declared


async def attempted(app, target="work", **kwargs):
    """Enqueue and attempt once; the job as it is then, or its dead letter as a dict."""
    job_id = await app.enqueue(target, **kwargs)
    assert await app.run_worker(run_once=True) is True
    job = await app.get_job(job_id)
    if job is None:
        return (await app.dead_letter.get_dead_letter_job(job_id)).to_dict()
    assert job["status"] in ("done", "queued")
    return job


async def still_works(app):
    """The same worker set-up runs another job."""
    job_id = await app.enqueue(app.job(name="another")(lambda: "fine"))
    await app.run_worker(run_once=True)
    assert await app.get_result(job_id) == "fine"


# -- what a job raises


class CustomBase(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Exits(Exception):
    def __str__(self):
        raise SystemExit(3)


class NotText(Exception):
    __str__ = int


class Meta(type):
    @property
    def __name__(cls):
        raise RuntimeError("no name")

    def __instancecheck__(cls, instance):
        raise RuntimeError("no answer")


class Nameless(Exception, metaclass=Meta):
    pass


def chained():
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    error.__context__ = error
    error.add_note("a note\x00")
    return error


def endless():
    """A chain of causes that bites its tail."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


RAISED = {
    "exception": (lambda: ValueError("boom"), "ValueError: boom"),
    "empty": (ValueError, "ValueError"),
    "system-exit": (lambda: SystemExit(3), "SystemExit: 3"),
    "keyboard-interrupt": (KeyboardInterrupt, "KeyboardInterrupt"),
    "generator-exit": (GeneratorExit, "GeneratorExit"),
    "cancelled": (asyncio.CancelledError, "CancelledError"),
    "stop-iteration": (lambda: StopIteration(5), "StopIteration"),
    "stop-async-iteration": (StopAsyncIteration, "StopAsyncIteration"),
    "timeout": (lambda: TimeoutError("its own"), "TimeoutError: its own"),
    "base": (lambda: CustomBase("boom"), "CustomBase: boom"),
    "group": (lambda: BaseExceptionGroup("two", [ValueError("a"), SystemExit(1)]), "two (2 sub-exceptions)"),
    "recursion": (lambda: RecursionError("too deep"), "RecursionError: too deep"),
    "memory": (MemoryError, "MemoryError"),
    "unprintable": (Unprintable, "Unprintable"),
    "str-exits": (Exits, "Exits"),
    "str-is-no-text": (NotText, "NotText"),
    "no-class-name": (Nameless, "Nameless"),
    "nul": (lambda: ValueError("a\x00b"), "a\\x00b"),
    "surrogate": (lambda: ValueError("a\ud800b"), "a\\ud800b"),
    "lines": (lambda: ValueError("one\ntwo\r\nthree"), "three"),
    "chained": (chained, "KeyError: 'inner'"),
    "endless": (endless, "ValueError: one"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", RAISED)
async def test_whatever_a_job_raises_is_a_recorded_failure(app, declare, caplog, case):
    """With its text, once as a retry and once as a dead letter; the log has it on one line."""
    make_error, says = RAISED[case]

    @declare
    def work():
        raise make_error()

    job = await attempted(app)
    assert (job["status"], job["attempts"]) == ("queued", 1)
    assert says in job["last_error"]
    with caplog.at_level(logging.WARNING, "soniq.worker"):
        await app.run_worker(run_once=True)
    [dead] = await app.dead_letter.list_dead_letter_jobs()
    assert (dead.dead_letter_reason, dead.attempts) == ("max_retries_exceeded", 2)
    assert says in dead.last_error
    assert "\x00" not in dead.last_error
    dead.last_error.encode()
    line = next(one.getMessage() for one in caplog.records if one.getMessage().startswith("dead"))
    assert "\n" not in line
    await still_works(app)


async def test_ten_megabytes_of_message_keep_head_and_tail(app, declare, caplog):
    """What was going on, and what went wrong; within 32 KiB. The log has one line."""

    @declare
    def work():
        raise ValueError("the head " + "\x00\ud800x" * 3_000_000 + " the tail")

    job = await attempted(app)
    error = job["last_error"]
    assert error.startswith("Traceback (most recent call last):")
    assert error.endswith("the tail")
    assert "characters left out" in error
    assert len(error.encode()) <= 32_768
    line = next(one.getMessage() for one in caplog.records if one.getMessage().startswith("retry"))
    assert "\n" not in line
    assert len(line) < 1000


async def test_the_traceback_begins_in_the_jobs_own_code(app, declare):
    """The queue's frames above it are left out."""

    @declare
    def work():
        raise ValueError("boom")

    error = (await attempted(app))["last_error"]
    assert "test_execution.py" in error.splitlines()[1]
    assert 'raise ValueError("boom")' in error


async def test_deep_recursion_is_a_failure_like_any_other(app, declare):
    """And its traceback is cut."""

    @declare
    def work():
        def again():
            again()

        again()

    job = await attempted(app)
    assert "RecursionError" in job["last_error"]
    await still_works(app)


async def test_a_job_that_cancels_itself_has_failed(app):
    """It was not the worker, so the job is not given back, over and over."""

    @app.job(name="work", max_retries=0)
    async def work():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    dead = await attempted(app)
    assert dead["dead_letter_reason"] == "max_retries_exceeded"
    assert "CancelledError" in dead["last_error"]


@pytest.mark.parametrize("hooked", [False, True])
async def test_a_job_that_cancels_itself_at_the_very_end_gets_an_outcome(app, hooked):
    """Whatever it is, it is recorded, and the worker goes on."""
    if hooked:

        @app.after_job
        async def after(*args):
            await asyncio.sleep(0)

        @app.on_error
        async def error(*args):
            await asyncio.sleep(0)

    @app.job(name="work", max_retries=0)
    async def work():
        asyncio.current_task().cancel()

    job_id = await app.enqueue("work")
    await app.run_worker(run_once=True)
    job = await app.get_job(job_id)
    assert job is None or job["status"] == "done"
    await still_works(app)


# -- what a job returns


def foreign():
    class Foreign:
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    return Foreign()


UNSTORABLE = {
    "object": (foreign, "Foreign"),
    "nan": (lambda: {"x": [math.nan]}, "result.x[0]"),
    "nul": (lambda: "a\x00", "NUL"),
    "surrogate": (lambda: ["\ud800"], "result[0]"),
    "set": (lambda: {math.nan}, "result{}"),
    "bytearray": (lambda: bytearray(b"raw"), "pass bytes"),
    "too-large": (lambda: "x" * 1_100_000, "1,100,002 bytes, over the limit of 1,048,576"),
    "huge-int": (lambda: 10**5000, "int"),
    "class": (lambda: Nameless, "Meta"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
async def test_a_result_that_cannot_be_stored_leaves_the_job_done_with_a_note(app, declare, case):
    """The work was done; doing it again would not help."""
    make_result, says = UNSTORABLE[case]
    declare(make_result)
    job = await attempted(app)
    assert (job["status"], job["result"]) == ("done", None)
    assert job["last_error"].startswith("the result was not stored: ")
    assert says in job["last_error"]


@pytest.mark.parametrize("value", [None, 0, "", False, [], {"a": [1.5, None]}, "ü"], ids=repr)
async def test_a_json_result_is_stored(app, declare, value):
    """Falsy ones, too."""
    declare(lambda: value)
    job = await attempted(app)
    assert (job["status"], job["result"], job["last_error"]) == ("done", value, None)


async def test_a_success_keeps_no_error_of_an_earlier_attempt_from_view(app, declare):
    """The last error stays as a trace of the retry; the status says that it is over."""
    outcomes = iter([ValueError("first"), None])

    @declare
    def work():
        error = next(outcomes)
        if error:
            raise error
        return "ok"

    job = await attempted(app)
    assert "first" in job["last_error"]
    await app.run_worker(run_once=True)
    job = await app.get_job(job["id"])
    assert (job["status"], job["result"], job["attempts"]) == ("done", "ok", 2)


@pytest.mark.filterwarnings("error")
async def test_a_sync_job_that_returns_a_coroutine_has_failed(app):
    """A decorator made it sync: its code never ran, and "done" would hide that."""
    ran = []

    def lossy(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            return fn(*args, **kwargs)

        return wrapper

    @app.job(name="work", max_retries=0)
    @lossy
    async def work():
        ran.append(1)

    dead = await attempted(app)
    assert "returned a coroutine" in dead["last_error"]
    assert ran == []


@pytest.mark.parametrize(
    ("own", "setting", "expected"), [(None, 50, 50), (7, 50, 7), (0, 50, 0), (None, None, None), (7, None, 7)]
)
async def test_a_finished_job_stays_for_its_time_to_live(make, own, setting, expected):
    """The job's own, or the setting's; None = for ever."""
    app = make(result_ttl=setting)
    app.job(name="work", **({} if own is None else {"result_ttl": own}))(lambda: 5)
    job = await attempted(app)
    if expected is None:
        assert job["expires_at"] is None
    else:
        assert (job["expires_at"] - job["finished_at"]).total_seconds() == expected


async def test_a_finished_job_past_its_time_is_purged(app):
    """With its result, by the next worker."""
    app.job(name="work", result_ttl=0)(lambda: 5)
    job = await attempted(app)
    await app.run_worker(run_once=True)
    assert await app.get_job(job["id"]) is None


# -- snooze


@pytest.mark.parametrize("reason", [None, "the shop is closed", "a\x00\ud800", "x" * 100_000])
async def test_a_snooze_gives_the_attempt_back(app, declare, reason):
    """Queued for later, with the reason for people."""
    declare(lambda: Snooze(60, reason))
    job = await attempted(app)
    assert (job["status"], job["attempts"]) == ("queued", 0)
    assert (job["scheduled_at"] - job["updated_at"]).total_seconds() == pytest.approx(60)
    if reason is not None:
        assert job["last_error"].startswith(reason[:1])


async def test_a_snooze_is_capped(make):
    """By the setting snooze_max_seconds."""
    app = make(snooze_max_seconds=10)
    app.job(name="work")(lambda: Snooze(1e6))
    job = await attempted(app)
    assert (job["scheduled_at"] - job["updated_at"]).total_seconds() == pytest.approx(10)


@pytest.mark.parametrize(
    "seconds",
    [-1, math.nan, math.inf, 1e300, "5", None, True, foreign()],
    ids=lambda v: type(v).__name__ + str(v)[:4] if not hasattr(v, "__dict__") else "foreign",
)
async def test_an_impossible_snooze_is_a_failure(app, declare, seconds):
    """It uses an attempt: the code is wrong."""
    declare(lambda: Snooze(seconds))
    job = await attempted(app)
    assert (job["status"], job["attempts"]) == ("queued", 1)
    assert job["last_error"]


async def test_a_job_can_snooze_more_often_than_it_has_attempts(app):
    """max_retries=0 is no limit to that."""
    seen = []

    @app.job(max_retries=0)
    async def work(ctx: JobContext):
        seen.append(ctx.attempt)
        return Snooze(0) if len(seen) < 4 else "ran"

    job_id = await app.enqueue(work)
    for _ in range(4):
        await app.run_worker(run_once=True)
    assert await app.get_result(job_id) == "ran"
    assert seen == [1, 1, 1, 1]


# -- timeouts


async def test_an_async_job_that_overruns_is_cancelled_and_fails(app):
    """Its finally blocks run; the last attempt's reason is timeout."""
    cleaned = []

    @app.job(name="work", max_retries=1, timeout=0.02)
    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(1)

    job = await attempted(app)
    assert job["status"] == "queued"
    assert "longer than its timeout of 0.02 s" in job["last_error"]
    await app.run_worker(run_once=True)
    [dead] = await app.dead_letter.list_dead_letter_jobs()
    assert (dead.dead_letter_reason, dead.attempts, cleaned) == ("timeout", 2, [1, 1])


@pytest.mark.parametrize("middleware", [False, True])
async def test_a_sync_job_that_overruns_fails_and_its_late_result_is_dropped(app, middleware):
    """The thread cannot be stopped, so it is left behind; the slot has another one."""
    go, left = threading.Event(), threading.Event()
    if middleware:

        @app.middleware
        async def transparent(ctx, call_next):
            return await call_next()

    @app.job(name="work", max_retries=0, timeout=0.02)
    def work():
        go.wait(5)
        left.set()
        return "too late"

    dead = await attempted(app)
    assert dead["dead_letter_reason"] == "timeout"
    await still_works(app)
    go.set()
    await wait_until(left.is_set, timeout=5)
    assert await app.get_job(dead["id"]) is None
    assert (await app.get_queue_stats())["dead_letter"] == 1


async def test_an_overrun_is_told_to_the_error_hook(app):
    """As JobTimeout."""
    seen = []
    app.on_error(lambda *args: seen.append(args))

    @app.job(name="work", max_retries=0, timeout=0.02)
    def work():
        threading.Event().wait(0.2)

    await attempted(app)
    [(name, _, error, attempt)] = seen
    assert (name, type(error).__name__, error.seconds, attempt) == ("work", "JobTimeout", 0.02, 1)


async def test_a_timeout_error_of_the_jobs_own_is_no_overrun(app, declare):
    """Its reason is not timeout."""

    @declare(max_retries=0, timeout=60)
    def work():
        raise TimeoutError("of a socket")

    dead = await attempted(app)
    assert dead["dead_letter_reason"] == "max_retries_exceeded"


async def test_the_setting_gives_the_timeout(make):
    """Where the job says nothing; zero switches it off."""
    app = make(job_timeout=0.02)

    @app.job(name="work", max_retries=0)
    async def work():
        await asyncio.Event().wait()

    @app.job(timeout=0)
    async def patient():
        await asyncio.sleep(0.03)
        return "finished"

    assert (await attempted(app))["dead_letter_reason"] == "timeout"
    assert (await attempted(app, patient))["result"] == "finished"


async def test_jobs_behind_an_overrun_are_run(app):
    """A thread that is stuck takes none of them with it."""
    go = threading.Event()

    @app.job(name="stuck", max_retries=0, timeout=0.05)
    def stuck():
        go.wait(5)

    @app.job(name="quick")
    def quick(number):
        return number

    ids = await app.enqueue_many(quick, [{"number": number} for number in range(20)], priority=1)
    await app.enqueue("stuck", priority=2)
    ids += await app.enqueue_many(quick, [{"number": number} for number in range(20, 40)], priority=3)
    await app.run_worker(run_once=True, concurrency=2)
    go.set()
    assert [await app.get_result(job_id) for job_id in ids] == list(range(40))


# -- stored arguments that do not fit (any more)


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ('{"gone": 1}', "work(number)"),
        ("{}", "missing a required argument: 'number'"),
        ("[1]", "the stored arguments are list, no dict"),
        ("null", "no dict"),
        ("garbage", "no dict"),
        ('"text"', "no dict"),
    ],
)
async def test_stored_arguments_that_do_not_fit_are_a_dead_letter_at_once(app, declare, stored, says):
    """Retries would not change them; the reason is invalid_arguments."""
    ran = []

    @declare
    def work(number):
        ran.append(number)

    job_id = await app.enqueue("work", number=1)
    row = app.backend._jobs.get(job_id)
    row.new = row.new._replace(args_json=stored)
    await app.run_worker(run_once=True)
    [dead] = await app.dead_letter.list_dead_letter_jobs()
    assert (dead.id, dead.dead_letter_reason, ran) == (job_id, "invalid_arguments", [])
    assert says.replace("(number)", "") in dead.last_error
    await still_works(app)


async def test_a_model_that_refuses_stored_arguments_is_a_dead_letter(app):
    """It became stricter since; even if it raises what it likes."""

    class Model:
        strict = None

        @classmethod
        def model_validate(cls, value):
            if cls.strict is not None:
                raise cls.strict
            return cls()

        def model_dump(self, mode):
            return {}

    app.job(name="work", validate=Model)(lambda: None)
    for error in (ValueError("stricter"), SystemExit(1)):
        Model.strict = None
        job_id = await app.enqueue("work")
        Model.strict = error
        await app.run_worker(run_once=True)
        dead = await app.dead_letter.get_dead_letter_job(job_id)
        assert dead.dead_letter_reason == "invalid_arguments"


async def test_a_job_whose_code_vanished_after_the_claim_is_a_dead_letter(make):
    """The reason is job_not_found."""

    class Late(MemoryBackend):
        def claim(self, request):
            claims = super().claim(request)
            app.registry._tasks.pop("work", None)
            return claims

    app = make(backend=Late())
    app.job(name="work")(lambda: None)
    dead = await attempted(app)
    assert (dead["dead_letter_reason"], dead["attempts"]) == ("job_not_found", 1)
    assert "'work'" in dead["last_error"]


# -- middleware


async def test_middleware_surrounds_the_job_in_the_order_of_registration(app):
    """The first is outermost; each sees the context."""
    seen = []

    def layer(label):
        @app.middleware
        async def wrapper(ctx, call_next):
            seen.append((f"{label} in", ctx.job_name, ctx.attempt))
            result = await call_next()
            seen.append((f"{label} out", ctx.job_name, ctx.attempt))
            return f"{label}({result})"

    layer("outer")
    layer("inner")
    app.before_job(lambda *args: seen.append("before"))
    app.after_job(lambda *args: seen.append("after"))
    app.job(name="work")(lambda: "job")
    job = await attempted(app)
    assert job["result"] == "outer(inner(job))"
    labels = [one if isinstance(one, str) else one[0] for one in seen]
    assert labels == ["before", "outer in", "inner in", "inner out", "outer out", "after"]
    assert {one[1:] for one in seen if isinstance(one, tuple)} == {("work", 1)}


async def test_middleware_may_raise_instead(app, declare):
    """The job has failed then, and did not run."""
    ran = []
    declare(lambda: ran.append(1))

    @app.middleware
    async def forbid(ctx, call_next):
        raise PermissionError("not on Sundays")

    job = await attempted(app)
    assert "PermissionError: not on Sundays" in job["last_error"]
    assert ran == []


async def test_middleware_may_answer_without_the_job(app, declare):
    """Or hide its error."""
    declare(lambda: 1 / 0)

    @app.middleware
    async def forgive(ctx, call_next):
        try:
            return await call_next()
        except ZeroDivisionError:
            return "forgiven"

    assert (await attempted(app))["result"] == "forgiven"


async def test_middleware_sees_what_the_job_raised_itself(app, declare):
    """Also exceptions that a future could not carry."""
    seen = []
    error = StopIteration(5)

    @declare
    def work():
        raise error

    @app.middleware
    async def look(ctx, call_next):
        try:
            return await call_next()
        except BaseException as raised:
            seen.append(raised)
            raise ValueError("seen") from None

    assert "seen" in (await attempted(app))["last_error"]
    assert seen == [error] or isinstance(seen[0], RuntimeError)  # a coroutine turns it into RuntimeError


# -- hooks and metrics


@pytest.mark.parametrize(
    "error",
    [ValueError("hook"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), CustomBase()],
    ids=repr,
)
@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("hook", ["before_job", "after_job", "on_error"])
async def test_a_hook_that_raises_changes_no_outcome(app, declare, caplog, hook, form, error):  # noqa: PLR0917  # fixtures and parameters
    """It is logged; the hooks after it are called."""
    seen = []

    def broken(*args):
        raise error

    async def abroken(*args):
        raise error

    getattr(app, hook)(broken if form == "sync" else abroken)
    getattr(app, hook)(lambda *args: seen.append(args))

    @declare
    def work(broken):
        if broken:
            raise ValueError("the job's own")
        return "ran"

    job = await attempted(app, broken=hook == "on_error")
    if hook == "on_error":
        assert "the job's own" in job["last_error"]
        assert job["attempts"] == 1
    else:
        assert (job["status"], job["result"]) == ("done", "ran")
    assert len(seen) == 1
    assert "failed; the job goes on" in caplog.text


class AsyncCallable:
    def __init__(self):
        self.seen = []

    async def __call__(self, *args):
        await asyncio.sleep(0)
        self.seen.append(args)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["Mock", "AsyncMock", "object", "partial"])
async def test_any_callable_can_be_a_hook(app, declare, kind):
    """Mocks, above all: tests assert that they were called."""
    calls = []

    async def noted(*args):
        calls.append(args)

    hook = {
        "Mock": Mock,
        "AsyncMock": AsyncMock,
        "object": AsyncCallable,
        "partial": lambda: functools.partial(noted),
    }[kind]()
    app.before_job(hook)
    declare(lambda: None)
    job = await attempted(app)
    if kind in ("Mock", "AsyncMock"):
        hook.assert_called_once_with("work", job["id"], 1)
    if kind == "AsyncMock":
        hook.assert_awaited_once()
    if kind == "object":
        assert hook.seen == [("work", job["id"], 1)]
    if kind == "partial":
        assert calls == [("work", job["id"], 1)]


@pytest.mark.filterwarnings("error")
async def test_a_sync_hook_that_returns_a_coroutine_is_reported(app, declare, caplog):
    """Nobody would await it."""

    async def asynchronous(*args):
        raise AssertionError

    def hook(*args):
        return asynchronous(*args)

    app.before_job(hook)
    declare(lambda: "ran")
    assert (await attempted(app))["result"] == "ran"
    assert "declare it async" in caplog.text


class Sink:
    """Notes what it is told, and raises ``error`` each time."""

    def __init__(self, error=None):
        self.told = []
        self.error = error

    def record_job_start(self, **facts):
        self.told.append(facts)
        if self.error:
            raise self.error

    record_job_end = record_job_start


async def test_the_sink_is_told_of_start_and_end_of_each_attempt(make):
    """The verb of the change is the status."""
    sink = Sink()
    app = make(metrics_sink=sink)
    outcomes = iter([ValueError(), None])

    @app.job(name="work", queue="q")
    async def work():
        error = next(outcomes)
        if error is not None:
            raise error

    await attempted(app)
    await app.run_worker(run_once=True)
    start = {"job_name": "work", "queue": "q"}
    assert sink.told[0] == sink.told[2] == start
    assert [{**told, "duration_s": None} for told in sink.told[1::2]] == [
        {**start, "status": status, "duration_s": None} for status in ("retry", "succeed")
    ]
    assert all(told["duration_s"] >= 0 for told in sink.told[1::2])


@pytest.mark.parametrize("error", [ValueError("sink"), SystemExit(1), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_sink_that_raises_changes_no_outcome(make, caplog, form, error):
    """It is logged."""
    app = make(metrics_sink=Sink(error))

    async def awork():
        return "ran"

    app.job(name="work")(awork if form == "async" else lambda: "ran")
    assert (await attempted(app))["result"] == "ran"
    assert "the metrics sink failed" in caplog.text


class Broken(Environment):
    """Like a database that gives no connection."""

    @contextmanager
    def around_sync(self):
        raise ConnectionError("no connection")
        yield


@pytest.mark.parametrize("hooked", [False, True])
async def test_an_environment_that_fails_is_a_failure_of_the_job(make, hooked):
    """Around the job, and around the hook that is told of it."""
    app = make(environment=Broken(), max_retries=0)
    if hooked:
        app.on_error(lambda *args: None)

    app.job(name="work")(lambda: "ran")
    dead = await attempted(app)
    assert dead["dead_letter_reason"] == "max_retries_exceeded"
    assert ("could not be told" if hooked else "no connection") in dead["last_error"]


async def test_an_overrun_has_an_outcome_though_its_hook_has_no_environment(make):
    """The job did run; what is told of it fails."""
    calls = []

    class Later(Environment):
        def around_sync(self):
            calls.append(1)
            return nullcontext() if len(calls) == 1 else Broken().around_sync()

    app = make(environment=Later(), max_retries=0)
    app.on_error(lambda *args: None)
    go = threading.Event()

    @app.job(name="work", timeout=0.02)
    def work():
        go.wait(5)

    dead = await attempted(app)
    go.set()
    assert "could not be told" in dead["last_error"]


async def test_context_is_frozen_and_complete(app, declare):
    """Facts of this very attempt."""
    seen = []

    @declare
    def work(ctx: JobContext):
        seen.append(ctx)
        raise ValueError

    job = await attempted(app, queue="q")
    await app.run_worker(run_once=True)
    assert [ctx.attempt for ctx in seen] == [1, 2]
    assert {(ctx.job_id, ctx.job_name, ctx.max_attempts, ctx.queue) for ctx in seen} == {
        (job["id"], "work", 2, "q")
    }
    with pytest.raises(AttributeError):
        seen[0].attempt = 5
