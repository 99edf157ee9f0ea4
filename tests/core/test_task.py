"""The decorated function: its options, its copies, and which arguments fit it."""

from __future__ import annotations

import functools
import math
import typing
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pydantic
import pytest

from soniq import JobContext
from soniq import JobContext as Ctx
from soniq.default import shared
from soniq.errors import InvalidArguments, InvalidJob
from soniq.job_options import JobOptions
from soniq.registry import Registry
from soniq.signature import Signature
from soniq.task import Task

if TYPE_CHECKING:
    from somewhere import Unknown

LONGEST_NAME = "n" * 255


# -- the decorator


def test_bare_and_called_decorator_do_the_same(app):
    """@app.job and @app.job()."""

    @app.job
    def bare(number):
        return number + 1

    @app.job()
    def called(number):
        return number + 1

    assert type(bare) is type(called) is Task
    assert bare.options == called.options == JobOptions()
    assert bare(1) == called(1) == 2


def test_the_job_still_looks_like_its_function(app):
    """Name, docstring, module and signature, for people and for tools."""

    @app.job
    def documented(number: int) -> int:
        """Double it."""
        return number * 2

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Double it."
    assert documented.__module__ == __name__
    assert list(documented.__wrapped__.__annotations__) == ["number", "return"]
    assert repr(documented) == f"<Task {documented.name}>"


def test_attributes_of_the_function_do_not_become_the_jobs(app):
    """A function may carry a .name or .options of its own."""

    def handler():
        pass

    handler.name = "not the job's"
    handler.options = None
    handler.fn = None
    job = app.job(name="kept")(handler)
    assert job.name == "kept"
    assert job.fn is handler
    assert job.options == JobOptions()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"retrys": 1}, "unknown job option 'retrys'; did you mean 'retries'?"),
        ({"max_retry": 1}, "unknown job option 'max_retry'; did you mean 'max_retries'?"),
        ({"delay": 5}, "unknown job option 'delay'"),
        ({"zzz": 5}, "unknown job option 'zzz'; known: "),
        ({"retries": 1, "max_retries": 1}, "retries and max_retries are the same option"),
        (
            {"validate": pydantic.BaseModel, "args_model": pydantic.BaseModel},
            "args_model and validate are the same",
        ),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"retries": True}, "max_retries is True"),
        ({"retries": 32_767}, "max_retries is 32767"),
        ({"retries": 1.5}, "max_retries is 1.5"),
        ({"priority": 1001}, "priority is 1001"),
        ({"priority": -1}, "priority is -1"),
        ({"priority": "high"}, "priority is 'high'"),
        ({"queue": "a b"}, "'a b' is no queue name"),
        ({"queue": None}, "None is no queue name"),
        ({"timeout": -1}, "timeout is -1"),
        ({"timeout": "5"}, "timeout is '5'"),
        ({"timeout": math.nan}, "timeout is nan"),
        ({"timeout": math.inf}, "timeout is inf"),
        ({"result_ttl": -1}, "result_ttl is -1"),
        ({"result_ttl": "5"}, "result_ttl is '5'"),
        ({"result_ttl": 1e300}, r"result_ttl is 1e\+300"),
        ({"validate": dict}, "validate is <class 'dict'>: give a pydantic model"),
        ({"validate": "Model"}, "validate is 'Model'"),
        ({"unique": "yes"}, "unique is 'yes': give True or False"),
        ({"retry_backoff": 2}, "retry_backoff is 2: give True or False"),
        ({"retry_jitter": "no"}, "retry_jitter is 'no': give True or False"),
    ],
    ids=repr,
)
def test_an_impossible_option_is_refused_when_the_job_is_declared(app, options, says):
    """In one line that names option, value and remedy."""
    with pytest.raises(InvalidJob, match=says) as error:
        app.job(**options)(lambda: None)
    assert "\n" not in str(error.value)
    assert set(app.registry) == set(shared)


def test_retries_is_max_retries(app):
    """And attempts are one more."""
    assert app.job(retries=5)(lambda: None).options.max_retries == 5


def test_args_model_is_validate(app):
    """Two names for one option."""

    class Model(pydantic.BaseModel):
        pass

    assert app.job(args_model=Model)(lambda: None).options.validate is Model


def test_a_timeout_of_zero_is_none_and_none_is_the_settings(make):
    """The job's own, switched off, or the app's."""
    app = make(job_timeout=77)
    own, off, default = (
        app.job(name=f"j{n}", **options)(lambda: None)
        for n, options in enumerate([{"timeout": 5}, {"timeout": 0}, {}])
    )
    assert [task.options.timeout_seconds(app.settings) for task in (own, off, default)] == [5, None, 77]


def a_generator():
    yield 1


async def an_async_generator():
    yield 1


class CallableObject:
    def __call__(self):
        pass


@pytest.mark.parametrize(
    "value",
    [
        len,
        functools.partial(a_generator),
        CallableObject(),
        CallableObject,
        5,
        "emails",
        a_generator,
        an_async_generator,
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_only_a_function_can_be_a_job(app, value):
    """A generator function would be called and never run."""
    with pytest.raises(InvalidJob, match="function"):
        app.job(value)
    with pytest.raises(InvalidJob, match="function"):
        app.job()(value)


def test_a_job_is_not_made_a_job_twice(app):
    """It says which one it is."""
    job = app.job(name="once")(lambda: None)
    with pytest.raises(InvalidJob, match="once is a job already"):
        app.job(job)


async def test_a_bound_method_can_be_a_job(app):
    """It is called on its object."""
    seen = []

    class Mailer:
        def send(self, to):
            seen.append((self, to))

    mailer = Mailer()
    job = app.job(mailer.send)
    await app.enqueue(job, to="alice")
    await app.run_worker(run_once=True)
    assert seen == [(mailer, "alice")]


# -- copies


def test_using_gives_a_copy_and_leaves_the_job_alone(app):
    """The copy enqueues with its options, the job without."""

    @app.job(queue="emails", priority=5)
    def work():
        pass

    urgent = work.using(queue="urgent", priority=0)
    slow = urgent.using(queue="slow")
    jobs = [app.backend.get_job(task.enqueue()) for task in (work, urgent, slow)]
    assert [(job.queue, job.priority) for job in jobs] == [("emails", 5), ("urgent", 0), ("slow", 0)]
    assert {task.name for task in (work, urgent, slow)} == {work.name}
    assert urgent.fn is work.fn
    assert set(app.registry) - set(shared) == {work.name}


async def test_a_copy_is_still_callable_and_a_target(app):
    """It can be called, enqueued by the app, and its options hold there as well."""

    @app.job
    async def work(number):
        return number

    twin = work.using(queue="slow", dedup_key="k")
    assert await twin(5) == 5
    job = await app.get_job(await app.enqueue(twin, number=1))
    assert (job["queue"], job["dedup_key"]) == ("slow", "k")
    other = await app.get_job(await app.enqueue(twin, number=1, queue="fast", dedup_key="j"))
    assert (other["queue"], other["dedup_key"]) == ("fast", "j")


def test_all_four_ways_to_enqueue_store_the_same(app):
    """enqueue and enqueue_many; the other two are their async twins."""

    @app.job(queue="emails")
    def work(number, text="x"):
        pass

    first = work.enqueue(1, text="y")
    [second, third] = work.enqueue_many([{"number": 2}, {"number": 3, "text": "z"}])
    args = [app.backend.get_job(job_id).args for job_id in (first, second, third)]
    assert args == [{"number": 1, "text": "y"}, {"number": 2}, {"number": 3, "text": "z"}]


async def test_the_async_twins_store_the_same(any_app):
    """aenqueue and aenqueue_many."""

    @any_app.job(queue="emails")
    def work(number):
        pass

    ids = [await work.aenqueue(1), *await work.aenqueue_many([{"number": 2}])]
    assert [(await any_app.get_job(job_id))["args"] for job_id in ids] == [{"number": 1}, {"number": 2}]


# -- signatures


def plain(a, b=2):
    return a, b


def keyword_only(a, *, b, c=3):
    return a, b, c


def positional_only(a, b=2, /, c=3):
    return a, b, c


def positional_defaults(a=1, b=2, /):
    return a, b


def extra(a, **rest):
    return a, rest


def positional_and_extra(a, /, **rest):
    return a, rest


def varargs(a, *rest):
    return a, rest


def nothing():
    return ()


FITTING = [
    (plain, (1,), {}, (1, 2)),
    (plain, (1, 5), {}, (1, 5)),
    (plain, (), {"b": 5, "a": 1}, (1, 5)),
    (plain, (1,), {"b": None}, (1, None)),
    (keyword_only, (1,), {"b": 2}, (1, 2, 3)),
    (keyword_only, (), {"a": 1, "b": 2, "c": 9}, (1, 2, 9)),
    (positional_only, (1,), {}, (1, 2, 3)),
    (positional_only, (1, 5), {"c": 6}, (1, 5, 6)),
    (positional_only, (), {"a": 1}, (1, 2, 3)),
    (positional_only, (), {"a": 1, "b": 5, "c": 6}, (1, 5, 6)),
    (positional_defaults, (), {}, (1, 2)),
    (positional_defaults, (), {"b": 5}, (1, 5)),
    (positional_defaults, (), {"a": 5}, (5, 2)),
    (extra, (1,), {"x": 1, "y": 2}, (1, {"x": 1, "y": 2})),
    (extra, (), {"a": 1}, (1, {})),
    (positional_and_extra, (1,), {"x": 2}, (1, {"x": 2})),
    (varargs, (1,), {}, (1, ())),
    (nothing, (), {}, ()),
]


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "expected"), FITTING, ids=lambda v: getattr(v, "__name__", repr(v))
)
async def test_fitting_arguments_reach_the_handler(any_app, fn, args, kwargs, expected):
    """Through both ways to enqueue, as the call itself would have passed them."""
    seen = []

    @functools.wraps(fn)
    def handler(*given, **named):
        seen.append(fn(*given, **named))

    job = any_app.job(handler)
    await job.aenqueue(*args, **kwargs)
    if not args:
        await any_app.enqueue(job, args=kwargs)
        await any_app.enqueue(job.name, args=kwargs)
        await any_app.enqueue_many(job, [kwargs])
    await any_app.run_worker(run_once=True)
    assert seen == [expected] * (1 if args else 4)


UNFITTING = [
    (plain, (), {}, "missing a required argument: 'a'"),
    (plain, (1, 2, 3), {}, "too many positional arguments"),
    (plain, (1,), {"a": 1}, "multiple values for argument 'a'"),
    (plain, (1,), {"c": 1}, "unexpected keyword argument 'c'"),
    (keyword_only, (1,), {}, "missing a required"),
    (keyword_only, (1, 2), {}, "too many positional arguments"),
    (positional_only, (), {"b": 1}, "missing a required"),
    (positional_only, (1,), {"z": 1}, "unexpected keyword argument 'z'"),
    (positional_and_extra, (), {"x": 1}, "missing a required"),
    (varargs, (1, 2), {}, r"\*rest, which cannot be stored by name"),
    (nothing, (), {"a": 1}, "unexpected keyword argument 'a'"),
]


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "says"), UNFITTING, ids=lambda v: getattr(v, "__name__", repr(v))
)
async def test_unfitting_arguments_are_refused_at_enqueue(any_app, fn, args, kwargs, says):
    """The error names the job with its parameters; nothing is written."""
    job = any_app.job(name="work")(fn)
    with pytest.raises(InvalidArguments, match=says) as error:
        await job.aenqueue(*args, **kwargs)
    assert str(error.value).startswith("work(")
    if not args:
        with pytest.raises(InvalidArguments):
            await any_app.enqueue(job, args=kwargs)
    assert (await any_app.get_queue_stats())["total"] == 0


# -- the context


def named_ctx(a, ctx: JobContext):
    return a, ctx


def named_otherwise(anything: JobContext, a):
    return a, anything


def as_string(a, ctx: "JobContext"):  # noqa: UP037  # quoted on purpose
    return a, ctx


def optional(a, ctx: JobContext | None = None):
    return a, ctx


def old_optional(a, ctx: Optional[JobContext] = None):  # noqa: UP045  # the old spelling on purpose
    return a, ctx


def annotated(a, ctx: Annotated[JobContext, "for the log"]):
    return a, ctx


def keyword_ctx(a, *, ctx: JobContext):
    return a, ctx


def positional_ctx(ctx: JobContext, a, /):
    return a, ctx


def positional_ctx_last(a, ctx: JobContext, /):
    return a, ctx


def ctx_between_defaults(a, b=2, ctx: JobContext = None, /, c=3):
    return a, ctx


def beside_an_unknown_name(a: Unknown, ctx: JobContext):
    return a, ctx


def alias_beside_an_unknown_name(a: Unknown, ctx: Ctx):
    return a, ctx


def optional_beside_an_unknown_name(a: Unknown, ctx: Optional[JobContext] = None):  # noqa: UP045  # as above
    return a, ctx


def with_extra(a, ctx: JobContext, **rest):
    return a, ctx


WITH_CONTEXT = [
    named_ctx,
    named_otherwise,
    as_string,
    optional,
    old_optional,
    annotated,
    keyword_ctx,
    positional_ctx,
    positional_ctx_last,
    ctx_between_defaults,
    beside_an_unknown_name,
    alias_beside_an_unknown_name,
    optional_beside_an_unknown_name,
    with_extra,
]


@pytest.mark.parametrize("fn", WITH_CONTEXT, ids=lambda fn: fn.__name__)
async def test_the_context_goes_where_the_annotation_says(app, fn):
    """Whatever name, kind, or spelling; the caller passes the rest."""
    seen = []

    @functools.wraps(fn)
    async def handler(*given, **named):
        seen.append(fn(*given, **named))

    job = app.job(handler)
    job_id = (
        await job.aenqueue(a=1)
        if fn not in (positional_ctx, positional_ctx_last)
        else await app.enqueue(job, a=1)
    )
    await app.run_worker(run_once=True)
    [(a, context)] = seen
    assert a == 1
    assert type(context) is JobContext
    assert context.job_id == job_id


@pytest.mark.parametrize("fn", [named_ctx, keyword_ctx, with_extra], ids=lambda fn: fn.__name__)
async def test_the_context_cannot_be_passed_by_the_caller(app, fn):
    """Its name is taken, also where any keyword would do."""
    job = app.job(fn)
    with pytest.raises(InvalidArguments, match="ctx"):
        await app.enqueue(job, a=1, args={"ctx": 5})


def many(a, contexts: list[JobContext]):
    return a, contexts


def other(a, ctx: Any, maker: typing.Callable[[], JobContext]):
    return a, ctx, maker


@pytest.mark.parametrize(("fn", "name"), [(many, "contexts"), (other, "maker")])
def test_an_annotation_that_merely_mentions_the_context_is_none(app, fn, name):
    """A list of contexts is an argument like any other."""
    assert Signature(fn, "work").context_name is None


def test_two_contexts_are_refused(app):
    """One of the two is a mistake."""
    with pytest.raises(InvalidJob, match="asks for its JobContext twice: one, two"):

        @app.job
        def work(one: JobContext, two: JobContext):
            pass


@pytest.mark.parametrize("kind", ["*", "**"])
def test_a_context_has_one_parameter(app, kind):
    """Not *args of contexts."""
    namespace = {"JobContext": JobContext}
    exec(f"def work({kind}ctx: JobContext): pass", namespace)
    with pytest.raises(InvalidJob, match="JobContext"):
        app.job(namespace["work"])


def test_the_result_annotation_is_no_parameter(app):
    """A function may return a context."""

    @app.job
    def work(a) -> JobContext:
        raise NotImplementedError

    assert work.signature.context_name is None


# -- validation with a model


class Line(pydantic.BaseModel):
    product: str
    count: int = 1


class OrderArgs(pydantic.BaseModel):
    number: int
    lines: list[Line]


async def test_a_model_checks_and_converts_arguments(any_app):
    """Stored in the model's form, given to the handler as the model's values."""
    seen = []

    @any_app.job(validate=OrderArgs)
    def work(number, lines):
        seen.append((number, lines))

    job_id = await any_app.enqueue(work, number="7", lines=[{"product": "tea"}])
    assert (await any_app.get_job(job_id))["args"] == {"number": 7, "lines": [{"product": "tea", "count": 1}]}
    await any_app.run_worker(run_once=True)
    assert seen == [(7, [Line(product="tea")])]


async def test_what_the_model_refuses_is_not_enqueued(any_app):
    """One line that names the job and the field."""

    @any_app.job(validate=OrderArgs, name="order")
    def work(number, lines):
        pass

    with pytest.raises(InvalidArguments, match=r"order refuses these arguments: .*number") as error:
        await any_app.enqueue(work, number="seven", lines=[])
    assert "\n" not in str(error.value)
    assert (await any_app.get_queue_stats())["total"] == 0


async def test_a_model_that_adds_what_the_handler_cannot_take_is_refused_at_enqueue(app):
    """Not found out by the worker."""

    class WithMore(pydantic.BaseModel):
        number: int
        unknown_to_the_handler: int = 5

    @app.job(validate=WithMore)
    def work(number):
        pass

    with pytest.raises(InvalidArguments, match="unknown_to_the_handler"):
        await app.enqueue(work, number=1)


async def test_get_result_validates_into_a_model(app):
    """With result_model."""

    @app.job
    def work():
        return {"product": "tea", "count": 3}

    job_id = await app.enqueue(work)
    assert await app.get_result(job_id) is None
    await app.run_worker(run_once=True)
    assert await app.get_result(job_id) == {"product": "tea", "count": 3}
    assert await app.get_result(job_id, result_model=Line) == Line(product="tea", count=3)


def test_a_registry_without_an_app_still_makes_jobs():
    """Enqueueing is what needs one."""
    registry = Registry(producer=lambda: pytest.fail("nobody enqueued"))
    assert registry.job(plain)(1) == (1, 2)
