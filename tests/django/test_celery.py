"""Tasks written for Celery, as soniq's jobs."""

import importlib
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

import soniq
from soniq_django import celery as shim
from soniq_django.celery import (
    AsyncResult,
    Ignore,
    MaxRetriesExceededError,
    ResultGone,
    Retry,
    TaskFailed,
    Unsupported,
    shared_task,
)
from soniq_django.celery.options import TaskKeywords
from soniq_django.celery.refusals import DECLARED, OF_TASK, SENT
from soniq_django.models import Job

seen = []


@pytest.fixture(autouse=True)
def nothing_seen():
    seen.clear()


@shared_task
def add(a, b=2):
    return a + b


@shared_task(bind=True, max_retries=2, default_retry_delay=60)
def ask_again(self, times, countdown=None):
    seen.append(self.request.retries)
    if self.request.retries < times:
        raise self.retry(exc=ConnectionError("busy"), countdown=countdown)
    return self.request.retries


@shared_task(autoretry_for=(ConnectionError,), dont_autoretry_for=(ConnectionResetError,), max_retries=1)
def fetch(kind):
    seen.append(kind)
    raise getattr(__import__("builtins"), kind)("no")


@shared_task(ignore_result=True, queue="quiet", priority=9, time_limit=5)
def quiet():
    return "not kept"


def job_of(app, result):
    return app.backend.get_job(result.id)


# Sending


def test_delay_stores_a_job_by_the_names_of_its_parameters(soniq_app):
    job = job_of(soniq_app, add.delay(1, b=3))
    assert (job.job_name, job.args) == ("tests.django.test_celery.add", {"a": 1, "b": 3})


def test_delay_and_enqueue_are_the_same_job(soniq_app, run_jobs):
    ids = [add.delay(1).id, add.enqueue(1), add.using(priority=3).delay(1).id]
    run_jobs()
    assert [soniq_app.backend.get_job(one).result for one in ids] == [3, 3, 3]


def test_apply_async_translates_its_options(soniq_app):
    when = datetime(2031, 5, 1, tzinfo=UTC)
    job = job_of(soniq_app, add.apply_async([1], {"b": 5}, queue="slow", priority=9, eta=when))
    assert (job.args, job.queue, job.priority) == ({"a": 1, "b": 5}, "slow", 91)
    assert job.scheduled_at == when
    waits = job_of(soniq_app, add.apply_async((1,), countdown=60))
    assert 50 < (waits.scheduled_at - waits.created_at).total_seconds() < 70
    assert job_of(soniq_app, add.apply_async((1,), countdown=-5)).scheduled_at <= waits.scheduled_at


def test_declared_options_are_translated(soniq_app):
    job = job_of(soniq_app, quiet.delay())
    assert (job.queue, job.priority, quiet.options.timeout) == ("quiet", 91, 5.0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (add.delay, soniq.InvalidArguments),
        (lambda: add.delay(1, c=1), soniq.InvalidArguments),
        (lambda: add.apply_async("1"), soniq.InvalidArguments),
        (lambda: add.apply_async([1], countdown=1, eta=datetime.now(UTC)), soniq.InvalidEnqueue),
        (lambda: add.apply_async([1], eta=5), soniq.InvalidEnqueue),
        (lambda: add.apply_async([1], eta=datetime(2031, 1, 1)), soniq.InvalidEnqueue),  # noqa: DTZ001
        (lambda: add.apply_async([1], priority=101), soniq.InvalidEnqueue),
        (lambda: add.apply_async([1], priority="high"), soniq.InvalidEnqueue),
        *[(lambda name=name: add.apply_async([1], **{name: "x"}), Unsupported) for name in [*SENT, "other"]],
    ],
)
def test_what_cannot_be_sent_is_refused_and_nothing_is_stored(call, error, soniq_app):
    with pytest.raises(error):
        call()
    assert soniq_app.backend.queue_stats()["total"] == 0


def test_options_that_are_switched_off_are_no_error(soniq_app):
    assert add.apply_async([1], expires=None, link=None, serializer="json", retry=False)


def test_a_job_is_sent_by_its_name(soniq_app):
    job = job_of(soniq_app, shim.app.send_task("tests.django.test_celery.add", [1], {"b": 1}, queue="slow"))
    assert (job.args, job.queue) == ({"a": 1, "b": 1}, "slow")
    with pytest.raises(soniq.UnknownTask):
        shim.app.send_task("tests.django.test_celery.ad")


@pytest.mark.django_db
def test_a_task_that_was_sent_in_a_transaction_goes_with_it():
    with pytest.raises(KeyError), transaction.atomic():
        gone = add.delay(1)
        raise KeyError
    with transaction.atomic():
        kept = add.delay_on_commit(1)
    assert list(Job.objects.values_list("id", flat=True).filter(id__in=[gone.id, kept.id])) == [
        Job.objects.get().id
    ]


# Running


def test_a_bound_task_knows_its_attempt(soniq_app, run_jobs):
    @shared_task(bind=True, name="celery_tests.knows")
    def knows(self, a):
        request = self.request
        return [request.id, request.task, request.retries, request.kwargs, request.called_directly, self.name]

    sent = knows.delay(1)
    run_jobs()
    assert sent.get() == [sent.id, "celery_tests.knows", 0, {"a": 1}, False, "celery_tests.knows"]


def test_retry_comes_again_after_its_countdown(soniq_app, run_jobs):
    sent = ask_again.delay(1, countdown=30)
    run_jobs()
    job = job_of(soniq_app, sent)
    assert (sent.status, sent.retries) == ("RETRY", 0)
    assert 25 < (job.scheduled_at - job.updated_at).total_seconds() < 35
    assert "ConnectionError: busy" in sent.traceback


def test_retry_without_a_countdown_waits_as_declared(soniq_app, run_jobs):
    job_id = ask_again.delay(1).id
    run_jobs()
    job = soniq_app.backend.get_job(job_id)
    assert 55 < (job.scheduled_at - job.updated_at).total_seconds() < 65


def test_retry_at_a_time(soniq_app, run_jobs):
    when = datetime.now(UTC) + timedelta(hours=2)

    @shared_task(bind=True, name="celery_tests.at_a_time")
    def at_a_time(self):
        self.retry(eta=when)

    sent = at_a_time.delay()
    run_jobs()
    assert abs(job_of(soniq_app, sent).scheduled_at - when) < timedelta(seconds=2)


def test_a_task_gets_its_retries_and_then_its_error(soniq_app, run_jobs):
    sent = ask_again.delay(9, countdown=0)
    for _ in range(4):
        run_jobs()
    assert (seen, sent.status, sent.retries) == ([0, 1, 2], "FAILURE", 2)
    with pytest.raises(TaskFailed, match="ConnectionError: busy"):
        sent.get()


def test_a_retry_that_succeeds_ends_well(soniq_app, run_jobs):
    sent = ask_again.delay(2, countdown=0)
    for _ in range(3):
        run_jobs()
    assert (sent.status, sent.get(), seen) == ("SUCCESS", 2, [0, 1, 2])


def test_fewer_retries_for_one_call(soniq_app, run_jobs):
    @shared_task(bind=True, name="celery_tests.fewer", max_retries=5)
    def fewer(self):
        seen.append(self.request.retries)
        self.retry(countdown=0, max_retries=1)

    sent = fewer.delay()
    for _ in range(4):
        run_jobs()
    assert (seen, sent.status) == ([0, 1], "FAILURE")
    assert "MaxRetriesExceededError" in sent.traceback


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_retries": 9}, "declare max_retries=9"),
        ({"args": [1]}, "the same job"),
        ({"queue": "x"}, "the same"),
    ],
)
def test_a_retry_that_would_be_another_job_is_refused(options, says, soniq_app, run_jobs):
    @shared_task(bind=True, name="celery_tests.another")
    def another(self):
        self.retry(**options)

    sent = another.delay()
    run_jobs()
    assert sent.status == "FAILURE"
    assert says in sent.traceback


def test_retry_without_throwing_ends_the_attempt_with_its_return(soniq_app, run_jobs):
    @shared_task(bind=True, name="celery_tests.no_throw")
    def no_throw(self):
        seen.append(self.request.retries)
        assert isinstance(self.retry(countdown=5, throw=False), Retry)
        return "not the end"

    sent = no_throw.delay()
    run_jobs()
    assert (sent.status, seen) == ("RETRY", [0])


def test_an_error_that_nobody_retries_fails_at_once(soniq_app, run_jobs):
    @shared_task(name="celery_tests.plain")
    def plain():
        raise KeyError("x")

    sent = plain.delay()
    run_jobs()
    assert (sent.status, sent.retries) == ("FAILURE", 0)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("ConnectionError", "RETRY"), ("ConnectionResetError", "FAILURE"), ("KeyError", "FAILURE")],
)
def test_autoretry_takes_the_errors_that_it_names(kind, status, soniq_app, run_jobs):
    sent = fetch.delay(kind)
    run_jobs()
    assert (sent.status, seen) == (status, [kind])


def test_autoretry_backs_off_as_celery_does():
    @shared_task(name="celery_tests.backs_off", autoretry_for=[OSError], retry_backoff=3, retry_jitter=False)
    def backs_off(): ...

    policy = backs_off.options.retry_policy(soniq.settings.Settings())
    delays = [policy.delay_for(attempt=n, job=None, exc=OSError()) for n in (1, 2, 3, 20)]
    assert delays == [3, 6, 12, 600]


def test_retry_kwargs_count():
    @shared_task(
        name="celery_tests.kwargs", autoretry_for=[OSError], retry_kwargs={"max_retries": 7, "countdown": 4}
    )
    def with_kwargs(): ...

    assert (with_kwargs.max_retries, with_kwargs.options.retry_delay) == (7, (4.0,))


@pytest.mark.parametrize("ends", [True, False])
def test_results_are_kept_unless_told_otherwise(ends, soniq_app, run_jobs):
    @shared_task(name=f"celery_tests.ignores_{int(ends)}")
    def ignores():
        if ends:
            raise Ignore
        return "kept"

    results = [ignores.delay(), quiet.delay()]
    run_jobs()
    assert [one.status for one in results] == ["SUCCESS", "SUCCESS"]
    assert [one.result for one in results] == [None if ends else "kept", None]


def test_async_tasks_retry_too(soniq_app, run_jobs):
    @shared_task(bind=True, name="celery_tests.asynchronous")
    async def asynchronous(self, a):
        if not self.request.retries:
            self.retry(countdown=0)
        return a

    sent = asynchronous.delay(5)
    run_jobs()
    run_jobs()
    assert sent.get() == 5


def test_a_task_is_still_its_function():
    assert add(1) == 3
    assert ask_again(0) == 0
    with pytest.raises(ConnectionError, match="busy"):
        ask_again(1)  # nothing to retry
    assert ask_again.request.called_directly
    with pytest.raises(AttributeError, match="it has: id, task, retries"):
        _ = ask_again.request.root_id


# Declaring


@pytest.mark.parametrize("option", DECLARED)
def test_options_without_a_counterpart_are_refused_at_declaration(option):
    with pytest.raises(Unsupported, match=f"{option}='x'"):
        shared_task(**{option: "x"})(lambda: None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate_limits": 1}, "leave it out; known:"),
        ({"acks_late": False}, "at least once"),
        ({"reject_on_worker_lost": False}, "at least once"),
        ({"max_retries": None}, "retries are counted"),
        ({"retry_kwargs": {"max_retries": 2}, "max_retries": 3}, "give it once"),
        ({"retry_kwargs": {"queue": "x"}}, "in retry_kwargs"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"autoretry_for": ["KeyError"]}, "give exception classes"),
        ({"default_retry_delay": -1}, "0 or more seconds"),
        ({"time_limit": "1 min"}, "0 or more seconds"),
        ({"priority": 255}, "priority is 255"),
        ({"name": "No Name"}, "is no job name"),
    ],
)
def test_options_that_cannot_be_are_refused_at_declaration(options, says):
    with pytest.raises((Unsupported, soniq.InvalidJob), match=says):
        shared_task(**options)(lambda: None)


def test_functions_that_cannot_be_tasks_are_refused_at_declaration():
    for function in (lambda *args: None, print, 5):
        with pytest.raises(soniq.InvalidJob):
            shared_task(function)
    with pytest.raises(soniq.InvalidJob, match="no parameter to bind"):
        shared_task(bind=True)(lambda: None)


def test_what_soniq_always_does_may_be_said():
    @shared_task(
        name="celery_tests.always",
        acks_late=True,
        reject_on_worker_lost=True,
        track_started=True,
        throws=(KeyError,),
    )
    def always(): ...

    assert always.name == "celery_tests.always"


@pytest.mark.parametrize("name", ["chain", "group", "chord", "signature", "Celery", "current_task"])
def test_names_without_a_counterpart_say_so_when_they_are_imported(name):
    with pytest.raises(ImportError, match=f"no counterpart of celery.{name}: "):
        exec(f"from soniq_django.celery import {name}", {})


@pytest.mark.parametrize("name", OF_TASK)
def test_methods_without_a_counterpart_say_what_to_do(name):
    with pytest.raises(Unsupported, match=f"task.{name}"):
        getattr(add, name)
    with pytest.raises(Unsupported, match="enqueue the next one"):
        add | add
    with pytest.raises(Unsupported, match=r"app\.conf"):
        _ = shim.app.conf
    with pytest.raises(AttributeError):
        _ = add.what


# Asking


def test_a_result_tells_each_state(soniq_app, run_jobs):
    done, failed, cancelled = add.delay(1), fetch.delay("KeyError"), add.delay(1)
    assert [done.status, done.ready(), done.result] == ["PENDING", False, None]
    assert cancelled.revoke()
    run_jobs()
    assert [one.state for one in (done, failed, cancelled)] == ["SUCCESS", "FAILURE", "REVOKED"]
    assert [done.successful(), failed.failed(), cancelled.ready()] == [True, True, True]
    assert [done.get(), done.wait()] == [3, 3]
    assert isinstance(failed.get(propagate=False), TaskFailed)
    assert isinstance(failed.result, TaskFailed)
    with pytest.raises(TaskFailed, match="was cancelled"):
        cancelled.get()
    assert (AsyncResult(done.id), str(done), done.task_id) == (done, done.id, done.id)
    assert not done.revoke()
    done.forget()
    assert done.status == "PENDING"
    with pytest.raises(ResultGone):
        done.get()
    with pytest.raises(Unsupported, match="time_limit"):
        cancelled.revoke(terminate=True)
    with pytest.raises(Unsupported, match="keep ids"):
        _ = done.children


def test_get_waits_no_longer_than_it_may(soniq_app):
    with pytest.raises(TimeoutError, match=r"is PENDING after 0\.01 s"):
        add.delay(1).get(timeout=0.01, interval=0.005)


def test_get_within_a_task_is_refused(soniq_app, run_jobs):
    @shared_task(name="celery_tests.waits")
    async def waits():
        return add.delay(1).get()

    sent = waits.delay()
    run_jobs()
    assert "get() within a task" in sent.traceback


@pytest.mark.django_db
def test_get_in_the_transaction_of_the_enqueue_is_refused():
    with transaction.atomic():
        sent = add.delay(1)
        with pytest.raises(RuntimeError, match="within a transaction"):
            sent.get()


# Beside Celery itself

SOURCE = """
from celery import shared_task

@shared_task(bind=True, max_retries=4, default_retry_delay=0)
def third_time(self, order_id, note="x"):
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("busy"))
    return [order_id, note, self.request.retries, self.max_retries]

@shared_task(autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0, max_retries=1)
def never(order_id):
    tried.append(order_id)
    raise OSError("down")

@shared_task(bind=True, max_retries=1, default_retry_delay=0)
def gives_up(self):
    tried.append("x")
    self.retry()

@shared_task
def plain(a, *, b):
    return {"a": a, "b": b}
"""


def outcomes(source, finish):
    """What each task of the module comes to: its result or the name of its error, and what it tried."""
    namespace = {"__name__": "celery_tests.moved", "tried": []}
    exec(source, namespace)
    told = []
    for name, args, kwargs in [
        ("third_time", (7,), {"note": "n"}),
        ("never", (3,), {}),
        ("gives_up", (), {}),
        ("plain", (1,), {"b": 2}),
    ]:
        told.append((name, finish(namespace[name].delay(*args, **kwargs))))
        told.append(list(namespace["tried"]))
    return told


def test_a_module_of_tasks_does_the_same_as_under_celery(soniq_app, run_jobs):
    celery = pytest.importorskip("celery")

    app = celery.Celery("beside", set_as_current=True)
    app.conf.update(task_always_eager=True, task_store_eager_result=False)

    def under_celery(result):
        return result.result if result.successful() else type(result.result).__name__

    def here(result):
        for _ in range(6):
            run_jobs()
        if result.successful():
            return result.result
        return result.traceback.strip().splitlines()[-1].partition(":")[0].rpartition(".")[2]

    try:
        theirs = outcomes(SOURCE, under_celery)
    finally:
        app.close()
    assert outcomes(SOURCE.replace("from celery import", "from soniq_django.celery import"), here) == theirs


def test_every_option_of_celerys_tasks_has_an_answer():
    """A task attribute that Celery documents is taken, or refused with the next step."""
    pytest.importorskip("celery")
    base = importlib.import_module("celery.app.task").Task
    options = {name for name, value in vars(base).items() if not name.startswith("_") and not callable(value)}
    inner = {  # of Celery's machinery; none is an option that a project sets
        "Request",
        "Strategy",
        "abstract",
        "add_around",
        "annotate",
        "app",
        "bind",
        "from_config",
        "on_bound",
        "request",
        "request_stack",
        "typing",
    }
    assert options - inner - set(TaskKeywords.__annotations__) - set(DECLARED) == set()
    assert issubclass(MaxRetriesExceededError, Exception)
