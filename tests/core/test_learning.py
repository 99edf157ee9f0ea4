"""Code that a process finds only when a job asks for it."""

from __future__ import annotations

import asyncio
import json

import pytest

from soniq import Soniq, UnknownTask
from soniq.backends.memory import MemoryBackend
from soniq.errors import InvalidJob
from soniq.ids import uuid7_text
from soniq.job_options import JobOptions
from soniq.jobs import NewJob
from soniq.registry import Registry
from soniq.settings import Settings
from soniq.task import Task
from soniq.testing import wait_until
from soniq.unknown import LEARN_EVERY, UnknownJobs


def print_nothing():
    pass


def made(name, fn=print_nothing):
    return Task(fn, name=name, options=JobOptions(), producer=lambda: None)


def stored(backend, name, **args):
    job = NewJob(uuid7_text(), name, json.dumps(args), "default", 100, 1)
    return backend.enqueue([job])[0]


class Library:
    """A resolver that finds one name, and remembers what it was asked."""

    def __init__(self, *names):
        self.names = names
        self.asked = []

    def __call__(self, name):
        self.asked.append(name)
        return made(name) if name in self.names else None


def test_a_registry_asks_its_resolver_for_what_it_lacks():
    """Only when it is told to learn, and once for each name."""
    registry, library = Registry(producer=lambda: None), Library("late")
    assert (registry.learns, registry.learn(["late"])) == (False, False)

    registry.resolve_with(library)

    assert registry.find("late") is None
    assert registry.learns
    assert registry.learn(["late", "never"]) is True
    assert registry.find("late").name == "late"
    assert registry.learn(["late", "never"]) is False
    assert library.asked == ["late", "never"]
    registry.resolve_with(library)
    assert registry.learn(["never"]) is False
    assert library.asked == ["late", "never", "never"]


def test_a_registry_learns_through_its_parent():
    """What is learned belongs to all that share the parent."""
    parent = Registry(producer=lambda: None)
    child = Registry(producer=lambda: None, parent=parent)
    parent.resolve_with(Library("late"))

    assert child.learns
    assert child.learn(["late"]) is True
    assert "late" in list(parent)


def test_a_task_that_was_made_elsewhere_can_be_added():
    """Under a name that is free, or that its own function has."""
    registry = Registry(producer=lambda: None)
    task = made("added", print_nothing)

    registry.add(task)
    registry.add(made("added", print_nothing))

    with pytest.raises(InvalidJob, match="the job name 'added' is taken by"):
        registry.add(made("added", lambda: None))


async def test_a_producer_finds_the_code_of_a_name(app: Soniq):
    """So jobs are enqueued by name, and dead letters replayed, where the code was not imported yet."""
    app.registry.resolve_with(Library("late"))

    assert await app.enqueue("late")
    with pytest.raises(UnknownTask):
        await app.enqueue("never")


async def test_a_drain_runs_what_it_had_to_find(app: Soniq):
    """Also what is enqueued by the jobs that it runs."""
    library = Library("first", "second")
    app.registry.resolve_with(library)

    @app.job(name="between")
    def between():
        stored(app.backend, "second")

    ids = [stored(app.backend, "first"), await app.enqueue(between)]
    await app.run_worker(run_once=True)

    assert [(await app.get_job(job_id))["status"] for job_id in ids] == ["done", "done"]
    assert app.backend.queue_stats()["done"] == 3


@pytest.mark.slow
async def test_a_worker_at_rest_finds_it_too(app: Soniq):
    """Within about LEARN_EVERY of the job being there, whatever its sweep does."""
    app.registry.resolve_with(Library("late"))
    worker = app.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: worker._lookout._unknown.lesson_in > 0)

    stored(app.backend, "late")

    await wait_until(lambda: worker.processed == 1, timeout=10 * LEARN_EVERY)
    worker.stop()
    await running


def test_a_look_for_code_is_taken_once_a_second():
    """However often jobs come."""
    now = [100.0]
    registry = Registry(producer=lambda: None)
    registry.resolve_with(Library("late"))
    backend = MemoryBackend()
    unknown = UnknownJobs(backend, registry, Settings(), queues=None, clock=lambda: now[0])
    stored(backend, "late")

    assert unknown.lesson_in <= 0
    assert unknown.learn() is True
    assert unknown.lesson_in == LEARN_EVERY
    now[0] += LEARN_EVERY
    assert unknown.lesson_in <= 0
    assert unknown.learn() is False


def test_a_sweep_learns_before_it_speaks_of_unknown_names(caplog):
    """Nobody is told of a name whose code could be found."""
    registry = Registry(producer=lambda: None)
    registry.resolve_with(Library("late"))
    backend = MemoryBackend()
    stored(backend, "late")
    unknown = UnknownJobs(backend, registry, Settings(), queues=None)

    unknown.look()

    assert unknown.learned
    assert caplog.records == []
