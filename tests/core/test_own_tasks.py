"""What a subclass of Task may do: take options from the job, insist on its result, be told of its end."""

from __future__ import annotations

import pytest

from soniq import Soniq
from soniq.errors import JobTimeout
from soniq.job_options import EnqueueOptions, JobOptions
from soniq.task import Task


class Watched(Task):
    """Takes its number of seconds from the job, and writes down how its attempts end."""

    observes = True

    def __init__(self, fn, **options):
        super().__init__(fn, name="watched", options=JobOptions(**options), producer=lambda: None)
        self.ends = []
        self.other = None
        self.clumsy = False

    def for_claim(self, claim):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.options = JobOptions(max_retries=0, **(claim.context or {}).get("options", {}))
        return twin

    def instead_of(self, value, error):
        if self.other is None:
            raise TypeError("no")
        return self.other

    def ended(self, claim, change, error):
        self.ends.append((change.verb, claim.attempt, type(error)))
        if self.clumsy:
            raise ZeroDivisionError


async def run(app: Soniq, task, **context):
    app.registry.add(task)
    options = EnqueueOptions(context={"options": context}) if context else EnqueueOptions()
    job_id = app.producer.enqueue(task, {}, options)
    await app.run_worker(run_once=True)
    return job_id


def as_async(fn):
    async def handler():
        return fn()

    return handler


FORMS = pytest.mark.parametrize("form", [lambda fn: fn, as_async], ids=["sync", "async"])


@FORMS
async def test_it_is_told_of_success(app: Soniq, form):
    """And what it raises then changes nothing."""
    task = Watched(form(lambda: 5))
    task.clumsy = True

    job_id = await run(app, task)

    assert task.ends == [("succeed", 1, type(None))]
    assert await app.get_result(job_id) == 5


@FORMS
async def test_it_is_told_of_failure_with_the_exception(app: Soniq, form):
    """Once it is decided what that means for the job."""
    task = Watched(form(lambda: 1 / 0), max_retries=0)

    await run(app, task)

    assert task.ends == [("bury", 1, ZeroDivisionError)]


@FORMS
async def test_its_options_may_come_with_the_job(app: Soniq, form):
    """Here the time limit."""
    import asyncio
    import time

    async def slow():
        await asyncio.sleep(5)

    task = Watched(slow if form is as_async else lambda: time.sleep(0.3), max_retries=0)

    await run(app, task, timeout=0.05)

    assert task.ends[0] == ("bury", 1, JobTimeout)


@FORMS
async def test_it_may_insist_on_its_result(app: Soniq, form):
    """A value that cannot be stored is then a failure, or is replaced."""
    task = Watched(form(object), max_retries=0)
    assert await app.get_job(await run(app, task)) is None
    assert task.ends == [("bury", 1, TypeError)]

    task.other = "instead"
    assert await app.get_result(await run(app, task)) == "instead"


async def test_the_id_and_the_context_of_a_job_may_be_given(app: Soniq):
    """What is captured stays beside what is given."""

    @app.context("tenant", capture=lambda: "acme")
    def restore(tenant):
        from contextlib import nullcontext

        return nullcontext()

    task = app.job(name="work")(lambda: None)
    wanted = "0190d3c0-0000-7000-8000-000000000001"

    given = app.producer.enqueue(task, {}, EnqueueOptions(job_id=wanted, context={"more": [1]}))

    assert given == wanted
    assert app.backend.get_job(wanted).context == {"tenant": "acme", "more": [1]}
