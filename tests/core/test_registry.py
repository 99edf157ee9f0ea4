"""Which jobs exist: names, duplicates, shared jobs, and suggestions."""

from __future__ import annotations

import pytest

import soniq
from soniq import Soniq, default
from soniq.default import shared
from soniq.errors import InvalidJob, NotConfigured, UnknownTask
from soniq.registry import Registry


@pytest.fixture
def fresh_shared(monkeypatch):
    """The shared registry, as it is before anybody declared a job."""
    monkeypatch.setattr(shared, "_tasks", {})
    for hooks in ("before", "after", "error", "around"):
        monkeypatch.setattr(shared.hooks, hooks, [])
    before = default._default
    soniq.set_default_app(None)
    yield shared
    soniq.set_default_app(before)


@pytest.mark.parametrize("name", ["a", "send_receipt", "shop.send_receipt", "a1.b2.c_3", "n" * 255])
def test_dotted_lower_case_words_are_names(app, name):
    """As documented."""
    assert app.job(name=name)(lambda: None).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "Shop.send",
        "1a",
        "_a",
        "a.",
        ".a",
        "a..b",
        "a-b",
        "a b",
        "a\n",
        "ä",
        "a\x00",
        "n" * 256,
        5,
        b"a",
    ],
    ids=repr,
)
def test_other_names_are_refused(app, name):
    """In one line that says what a name looks like."""
    with pytest.raises(InvalidJob, match="is no job name: use dotted lower-case words") as error:
        app.job(name=name)(lambda: None)
    assert "\n" not in str(error.value)


def test_the_default_name_is_module_and_qualname(app):
    """Whatever its letters."""

    def CamelCase():  # noqa: N802  # on purpose
        pass

    job = app.job(CamelCase)
    assert job.name == f"{__name__}.test_the_default_name_is_module_and_qualname.<locals>.CamelCase"


def test_a_default_name_that_no_column_holds_asks_for_another(app):
    """And says how to give it."""

    def work():
        pass

    work.__qualname__ = "x" * 250
    with pytest.raises(InvalidJob, match="longer than 255 characters; give it a name="):
        app.job(work)


def test_a_name_belongs_to_one_function(app):
    """The error names both."""

    @app.job(name="work")
    def one():
        pass

    with pytest.raises(InvalidJob, match=r"'work' is taken by .*one; give .*two another name="):

        @app.job(name="work")
        def two():
            pass

    assert app.registry.get("work") is one


def test_a_function_may_be_declared_again(app):
    """As when its module is reloaded; the newer one counts."""

    def declare(answer):
        @app.job
        def work():
            return answer

        return work

    declare(1)
    newer = declare(2)
    assert set(app.registry) - set(shared) == {newer.name}
    assert app.registry.get(newer.name) is newer


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [("send_reciept", "send_receipt"), ("receipt", "shop.receipt"), ("shop.reciept", "shop.receipt")],
)
async def test_an_unknown_name_is_answered_with_the_nearest(app, asked, nearest):
    """As an attribute and in the message."""
    app.job(name="send_receipt")(lambda: None)
    app.job(name="shop.receipt")(lambda: None)
    with pytest.raises(UnknownTask, match=f"did you mean {nearest!r}") as error:
        await app.enqueue(asked)
    assert (error.value.name, error.value.nearest, error.value.code) == (asked, nearest, "unknown_task")
    assert (await app.get_queue_stats())["total"] == 0


async def test_a_name_like_no_other_asks_for_its_module(app):
    """The usual reason."""
    with pytest.raises(UnknownTask, match="is the module that declares it imported") as error:
        await app.enqueue("nothing_like_it")
    assert error.value.nearest is None


def test_a_child_finds_what_its_parent_holds():
    """Its own first; the parent never finds the child's."""
    parent = Registry(producer=pytest.fail)
    child = Registry(producer=pytest.fail, parent=parent)
    theirs, both, mine, own = (
        registry.job(name=name)(lambda: None)
        for registry, name in [(parent, "theirs"), (parent, "both"), (child, "both"), (child, "own")]
    )
    assert (child.find("theirs"), child.find("both"), child.find("own")) == (theirs, mine, own)
    assert (parent.find("both"), parent.find("own")) == (both, None)
    assert sorted(child) == ["both", "own", "theirs"]
    assert (len(child), len(parent)) == (3, 2)


async def test_every_app_runs_shared_jobs(fresh_shared, make):
    """Those of soniq.job, with the shared hooks before its own."""
    seen = []

    @soniq.job(name="project_job")
    def project_job(number):
        seen.append(number)

    @soniq.before_job
    def shared_hook(*args):
        seen.append("shared")

    app = make()
    app.before_job(lambda *args: seen.append("own"))
    await app.enqueue(project_job, number=5)
    await app.enqueue("project_job", number=6)
    await app.run_worker(run_once=True)
    assert seen == ["shared", "own", 5, "shared", "own", 6]


async def test_shared_middleware_surrounds_the_apps(fresh_shared, make):
    """It was registered first: outermost."""
    seen = []
    app = make()

    @app.middleware
    async def own(ctx, call_next):
        seen.append("own")
        return await call_next()

    @soniq.middleware
    async def shared_one(ctx, call_next):
        seen.append("shared")
        return await call_next()

    await app.enqueue(app.job(lambda: None))
    await app.run_worker(run_once=True)
    assert seen == ["shared", "own"]


def test_a_shared_job_needs_a_default_app(fresh_shared):
    """One line says what to do, in Django and elsewhere."""

    @soniq.job
    def work():
        pass

    with pytest.raises(NotConfigured) as error:
        work.enqueue()
    assert "INSTALLED_APPS" in str(error.value)
    assert "soniq.configure(" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(NotConfigured):
        soniq.get_default_app()


async def test_a_shared_job_goes_to_the_default_app(fresh_shared, make):
    """The one that is set when it is enqueued."""

    @soniq.job
    def work():
        pass

    first, second = make(), make()
    soniq.set_default_app(first)
    one = work.enqueue()
    with soniq.default_app(second) as inside:
        assert inside is second is soniq.get_default_app()
        other = await work.aenqueue()
    assert soniq.get_default_app() is first
    assert [(await app.get_job(one)) is not None for app in (first, second)] == [True, False]
    assert [(await app.get_job(other)) is not None for app in (first, second)] == [False, True]


def test_the_former_default_app_comes_back_after_an_error(fresh_shared, make):
    """Also none."""
    with pytest.raises(KeyError), soniq.default_app(make()):
        raise KeyError
    with pytest.raises(NotConfigured):
        soniq.get_default_app()


def test_configure_makes_the_default_app(fresh_shared):
    """With the options of Soniq."""
    app = soniq.configure(backend="memory", max_retries=7)
    assert type(app) is Soniq
    assert app is soniq.get_default_app()
    assert app.settings.max_retries == 7


def test_configure_that_fails_leaves_the_default_app(fresh_shared):
    """What was wrong is raised."""
    app = soniq.configure(backend="memory")
    with pytest.raises(soniq.ConfigurationError):
        soniq.configure(backend="memory", concurrency=0)
    assert soniq.get_default_app() is app


def test_options_beside_the_function_are_those_of_the_job(app):
    """The decorator, called in one step."""
    assert app.job(lambda: None, name="work", queue="emails").options.queue == "emails"
    assert app.registry.find("work") is not None
